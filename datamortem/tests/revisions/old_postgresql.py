"""What tests of adoption need on PostgreSQL: odd databases of the old system, read without our own code."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any, Final

import psycopg
from django.contrib.auth import get_user_model
from django.core.management import call_command

from cases.models import Case, Event
from datamortem.revisions import live
from datamortem.revisions.adoption.findings import quoted
from datamortem.revisions.backup.clients import clients_for
from datamortem.revisions.live import Level
from datamortem.tests.revisions import legacy
from datamortem.tests.revisions.scratch import Scratch

#: table -> column -> text of each value by the number of its row, or by all of it where it has none.
Values = dict[str, dict[str, dict[str, str | None]]]

OLD_TABLES: Final = frozenset(
    ["users", "cases", "evidence", "analysis_modules", "task_run", "events", "custom_scripts", "user_scripts"]
)
PASSWORDS: Final = {
    "admin": "admin123",
    "elodie": "mot de passe très long!",
    "viewer": "é" * 40 + "-longer-than-72-bytes",
}
_COLUMNS: Final = """
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY 1, a.attnum
"""


def load(
    scratch: Scratch, sample: str, statements: Iterable[str] = (), claims: Iterable[str] | None = None
) -> None:
    """Fill the database with a sample, change it, and let it claim these revisions."""
    if sample:
        legacy.load(scratch, postgresql=sample, sqlite="")
    with opened(scratch) as session:
        for statement in statements:
            session.execute(statement)
        if claims is not None:
            session.execute(
                "CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32) PRIMARY KEY)"
            )
            session.execute("DELETE FROM alembic_version")
            for claim in claims:
                session.execute("INSERT INTO alembic_version VALUES (%s)", [claim])


@contextmanager
def opened(scratch: Scratch) -> Iterator[psycopg.Connection]:
    """Use the database as another program would."""
    with psycopg.connect(scratch.url, autocommit=True) as session:
        session.execute("SET search_path TO public")
        yield session


def grow(scratch: Scratch, events: int) -> None:
    """Give `events` of a sample that many more rows."""
    with opened(scratch) as session:
        session.execute(
            "INSERT INTO events (ts, source, message, host, score, case_id, created_at_utc)"
            " SELECT '2025-10-26T00:30:00Z', 'log', 'event number ' || n || ' ' || md5(n::text),"
            " 'host-' || n %% 100, n %% 10, (SELECT min(case_id) FROM cases),"
            " timestamp '2025-10-26' + n * interval '1 millisecond'"
            " FROM generate_series(1, %s) n",
            [events],
        )
        session.execute("VACUUM ANALYZE events")


def dump(scratch: Scratch) -> list[str]:
    """Return what pg_dump writes."""
    command = clients_for(scratch.connection).command("pg_dump", "--dbname", scratch.url)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # A random word, since PostgreSQL 15.14.
    return [line for line in done.stdout.splitlines() if "restrict " not in line]


def values(scratch: Scratch) -> Values:
    """Return every value of every table, as text; times with and without zone alike, as UTC."""
    found: Values = {}
    with opened(scratch) as session:
        session.execute("SET timezone TO 'UTC'; SET datestyle TO 'ISO, YMD'; SET extra_float_digits TO 1")
        for table, column, kind in session.execute(_COLUMNS).fetchall():
            shown = quoted(column)
            if kind == "timestamp with time zone":
                shown += " AT TIME ZONE 'UTC'"
            columns = found.setdefault(table, {})
            number = (
                "id::text" if column == "id" or "id" in columns else "row_number() OVER (ORDER BY t::text)"
            )
            rows = session.execute(f"SELECT {number}, ({shown})::text FROM {quoted(table)} AS t").fetchall()
            columns[column] = {str(name): value for name, value in rows}
    return found


def changed(before: Values, after: Values) -> list[str]:
    """Return what is not what it was, but for what adoption is meant to change."""

    def meant(table: str, column: str, value: str | None) -> str | None:
        hashed = (table, column) == ("users", "hashed_password") and value and value.startswith("$2")
        return f"bcrypt${value}" if hashed else value

    return [
        f"{table}.{column}, row {row}: {value!r} -> {after.get(table, {}).get(column, {}).get(row)!r}"
        for table, columns in before.items()
        if not table.startswith(("alembic_version", "django_"))
        for column, rows in columns.items()
        for row, value in rows.items()
        if after.get(table, {}).get(column, {}).get(row, "gone") != meant(table, column, value)
    ] + [
        f"{table}: other rows than before"
        for table, columns in before.items()
        if "id" in columns and table in after and columns["id"].keys() != after[table]["id"].keys()
    ]


def adopt(scratch: Scratch, *options: str) -> str:
    """Run the command on the database, in this process, and return what it says."""
    out = StringIO()
    arguments = ["--backup-dir", str(scratch.home / "backups"), "--database", scratch.alias]
    call_command("adopt", *options, *arguments, stdout=out, stderr=out)
    return out.getvalue()


def migrate(scratch: Scratch, *arguments: str) -> None:
    """Run `migrate` on the database, in this process."""
    call_command("migrate", *arguments, database=scratch.alias, verbosity=0)


def rows(scratch: Scratch, query: str) -> list[tuple[Any, ...]]:
    """Return what another program gets for a query."""
    with opened(scratch) as session:
        return session.execute(query).fetchall()


def faults(scratch: Scratch) -> list[str]:
    """What `db check` would not call clean."""
    return [str(d) for d in live.drift(scratch.connection) if d.level is not Level.EXTRA]


def assert_passwords_are_those_of_before(scratch: Scratch) -> None:
    """Assert that old passwords are right, others wrong, and who was inactive is."""
    for user in get_user_model().objects.using(scratch.alias).filter(username__in=PASSWORDS):
        assert not user.check_password("x" + PASSWORDS[user.username])
        assert user.check_password(PASSWORDS[user.username]), user.username
        assert user.is_active == (user.username != "viewer")


def assert_new_rows_get_ids_above(scratch: Scratch, before: Values) -> None:
    """Assert that a new case and event get ids that no row had."""
    highest = {t: max(map(int, c["id"]), default=0) for t, c in before.items() if t in OLD_TABLES}
    case = Case.objects.using(scratch.alias).create(case_id="NEW-1")
    event = Event.objects.using(scratch.alias).create(
        case=case, ts="2026-01-01T00:00:00Z", source="x", message=""
    )
    assert case.pk > highest.get("cases", 0)
    assert event.pk > highest.get("events", 0)
    event.delete()
    case.delete()
