"""The adoption itself: look, back up, then convert, record, verify and fence in one transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.timezone import now

from datamortem.revisions import live
from datamortem.revisions.adoption import declaring, obstacles, postgresql, sqlite
from datamortem.revisions.adoption.claim import read_claim
from datamortem.revisions.adoption.findings import Finding, blocking, quoted
from datamortem.revisions.adoption.fingerprint import Fingerprint, Say, exact_text, in_steps, take
from datamortem.revisions.adoption.finishing import ValuesChanged
from datamortem.revisions.adoption.hashes import PREFIX, is_bcrypt
from datamortem.revisions.adoption.postgresql import RowsChanged
from datamortem.revisions.adoption.preflight import examine, orphans
from datamortem.revisions.adoption.records import (
    apply_foreign,
    documented_nodes,
    expected_of,
    outlook,
    record,
    wanted_nodes,
    within,
)
from datamortem.revisions.adoption.report import Done, Found
from datamortem.revisions.backup import backup
from datamortem.revisions.errors import RevisionError
from datamortem.revisions.executor import short_lock_waits, when_free, whole_transaction
from datamortem.revisions.graph import RevisionGraph
from datamortem.revisions.guard import (
    FENCE,
    KEPT_VERSIONS,
    OLD_TABLES,
    OLD_VERSIONS,
    old_versions,
    recorded_here,
    table_names,
)
from datamortem.revisions.live import Difference, Level, Table

_TRIES: Final = 3


class NothingToAdopt(RevisionError):
    """The database is not one of the old system, or has been taken over already."""


class CannotAdopt(RevisionError):
    """Something in the database stands in the way. Nothing was changed."""


# Looking --------------------------------------------------------------------------------------


def look(connection: BaseDatabaseWrapper, override: str = "") -> Found:
    """Return what the database is and what stands in the way. Reads only. Raises NothingToAdopt."""
    graph = RevisionGraph(connection)
    refuse_unless_old(connection)
    tables = old_tables(connection)
    claim = read_claim(connection, graph, tables, override)
    documented = expected_of(connection, graph, documented_nodes(graph))
    claimed = expected_of(connection, graph, wanted_nodes(graph, claim.revisions))
    wanted = within(documented, tables)
    rows = _rows(connection, tables)
    large = _large(connection, tables, rows)
    findings = examine(connection, wanted, tables)
    if connection.vendor == "postgresql":
        findings += obstacles.obstacles(connection, wanted, tables, large)
    return Found(
        graph=graph,
        claim=claim,
        tables=tables,
        rows=rows,
        large=large,
        claimed=claimed,
        documented=documented,
        differences=live.compare(connection.vendor, claimed, tables),
        conversions=live.compare(connection.vendor, wanted, tables),
        migrations=outlook(connection, graph, claim.revisions),
        findings=sorted(findings, key=lambda finding: not finding.blocking),
        unknown_tables=sorted(tables.keys() - wanted.keys()),
        sessions=postgresql.sessions(connection) if connection.vendor == "postgresql" else [],
    )


def old_tables(connection: BaseDatabaseWrapper) -> dict[str, Table]:
    """Return the tables that are there, without those that frameworks keep for themselves."""
    ours = {"django_migrations", OLD_VERSIONS, KEPT_VERSIONS}
    whole = transaction.atomic(using=connection.alias) if connection.vendor == "postgresql" else nullcontext()
    with whole, exact_text(connection):  # defaults are text, too
        tables = live.read(connection)
    return {name: table for name, table in tables.items() if table.kind == "table" and name not in ours}


def refuse_unless_old(connection: BaseDatabaseWrapper) -> None:
    """Raise NothingToAdopt unless the old system owns this database."""
    versions = old_versions(connection)
    if versions == [FENCE]:
        raise NothingToAdopt("This database has been taken over already: see python manage.py db current")
    recorded = recorded_here(connection)
    if recorded:
        raise NothingToAdopt(
            f"Migrations are recorded here already ({'.'.join(min(recorded))} and others): this is no "
            "database of the old system, or somebody recorded them by hand. See python manage.py db current"
        )
    tables = table_names(connection)
    if not tables & OLD_TABLES and not versions:
        raise NothingToAdopt(
            "There is no table of the old system here. For a new database: python manage.py migrate"
        )
    if KEPT_VERSIONS in tables:
        raise NothingToAdopt(
            f"There is a table {KEPT_VERSIONS}: this database was taken over once, and then changed by hand. "
            "Restore a backup, or rename that table if it is known what was done"
        )


def _rows(connection: BaseDatabaseWrapper, tables: Mapping[str, Table]) -> dict[str, int]:
    counted = {}
    with connection.cursor() as cursor:
        for name in tables:
            cursor.execute(f"SELECT count(*) FROM {quoted(name)}")  # noqa: S608
            (counted[name],) = cursor.fetchone()
    return counted


def _large(connection: BaseDatabaseWrapper, tables: Mapping[str, Table], rows: Mapping[str, int]) -> set[str]:
    if connection.vendor == "postgresql":
        return postgresql.large_tables(connection, tables)
    return {name for name, count in rows.items() if count >= sqlite.LARGE} - {"users"}


# Doing ----------------------------------------------------------------------------------------


def take_over(
    connection: BaseDatabaseWrapper, *, override: str = "", directory: Path, say: Say = lambda text: None
) -> Done:
    """Take the database over. The caller holds the migration lock.

    Raises NothingToAdopt, CannotAdopt, ValuesChanged, and what backing up and claims raise; in all
    of these the database is as it was.
    """
    found = look(connection, override)
    if stopping := blocking(found.findings):
        raise CannotAdopt(
            "This stands in the way; nothing was changed:\n"
            + "\n".join(f"  {finding}" for finding in stopping)
        )
    for session in found.sessions:
        say(f"Connected meanwhile: {session}")
    done = Done(found, now())
    done.backup = backup(connection, directory, revision="before-adoption", progress=say)
    say(f"Backup: {done.backup.path}")
    conversion = _on_postgresql if connection.vendor == "postgresql" else _on_sqlite
    conversion(connection, found, done, say)
    done.committed_at = now()
    return done


def _on_postgresql(connection: BaseDatabaseWrapper, found: Found, done: Done, say: Say) -> None:
    large = {name: found.tables[name] for name in sorted(found.large)}
    for attempt in range(1, _TRIES + 1):
        if large:
            say("Reading the values of large tables; nobody waits for it.")
        snapshot = postgresql.fingerprint_large(connection, large.values(), say)

        try:
            with short_lock_waits(connection):
                when_free(
                    connection,
                    partial(_locked, connection, found, done, snapshot),
                    what="Adoption",
                    before="nothing was changed",
                )
            return
        except RowsChanged:
            if attempt == _TRIES:
                raise
            say("Rows were changed meanwhile: reading again.")


def _locked(connection: BaseDatabaseWrapper, found: Found, done: Done, snapshot: postgresql.Snapshot) -> None:
    """Convert in one transaction on PostgreSQL, after whose locks nothing of large tables is read twice."""
    large = [found.tables[name] for name in snapshot.fingerprints]
    since = None
    try:
        with whole_transaction(connection), exact_text(connection):
            apply_foreign(connection, found.graph, found.claim.revisions)
            since = time.monotonic()
            postgresql.lock(connection, _to_lock(connection, found))
            _refuse_another_schema(connection, found)
            before = {table.name: postgresql.still_that(connection, table, snapshot) for table in large}
            files = {table.name: postgresql.file_of(connection, table.name) for table in large}
            postgresql.drop_broken(connection, large)
            _convert(connection, found, done, before)
            for name, file in files.items():
                if postgresql.file_of(connection, name) != file:
                    raise ValuesChanged(f"{name} was rewritten. Everything was rolled back.")
    finally:
        if since is not None:
            done.locked_seconds += time.monotonic() - since


def _to_lock(connection: BaseDatabaseWrapper, found: Found) -> list[str]:
    return [*found.tables, *([OLD_VERSIONS] if found.claim.versions is not None else [])]


def _refuse_another_schema(connection: BaseDatabaseWrapper, found: Found) -> None:
    """Raise CannotAdopt if the old system changed its tables or its claim since they were looked at."""
    others = (config for config in apps.get_app_configs() if config.label not in settings.REVISION_APPS)
    made = {m._meta.db_table for config in others for m in config.get_models(include_auto_created=True)}
    tables = {n: t for n, t in old_tables(connection).items() if n in found.tables or n not in made}
    if tables != found.tables or old_versions(connection) != found.claim.versions:
        raise CannotAdopt(
            "The tables were changed while the adoption was prepared; nothing was changed by it. "
            "Stop the old system, then try again."
        )


def _on_sqlite(connection: BaseDatabaseWrapper, found: Found, done: Done, say: Say) -> None:
    large = {name: found.tables[name] for name in sorted(found.large)}
    for attempt in range(1, _TRIES + 1):
        if large:
            say("Reading the values of large tables; nobody waits for it.")
        version = sqlite.data_version(connection)
        before = {name: in_steps(connection, table, say) for name, table in large.items()}
        _refuse_orphans(orphans(connection, found.documented, found.tables, large))
        with sqlite.write_lock(connection) as touched:
            since = time.monotonic()
            if not large or sqlite.data_version(connection) == version:
                _refuse_another_schema(connection, found)
                apply_foreign(connection, found.graph, found.claim.revisions)
                _convert(connection, found, done, before, touched)
                break
        if attempt == _TRIES:
            raise RowsChanged(
                "The database was changed each time it was read. Nothing was changed by adoption. "
                "Stop the old system, then try again."
            )
        say("The database was changed meanwhile: reading again.")
    done.locked_seconds = time.monotonic() - since


def _refuse_orphans(found: list[Finding]) -> None:
    if found:
        raise CannotAdopt("Rows stand in the way; nothing was changed:\n" + "\n".join(map(str, found)))


def _convert(
    connection: BaseDatabaseWrapper,
    found: Found,
    done: Done,
    large: dict[str, Fingerprint],
    touched: Collection[str] = (),
) -> None:
    """Convert, record, verify and fence, inside the transaction and under the locks."""
    small = {name: table for name, table in found.tables.items() if name not in large}
    done.fingerprints = {**large, **{name: take(connection, table) for name, table in small.items()}}
    incomplete = [node for node, missing in found.migrations.items() if missing]
    now_of = partial(_now, connection, found)
    done.recorded = list(record(connection, found.graph, found.claim.revisions, incomplete, now_of))
    if connection.vendor == "postgresql":
        done.bridged = list(postgresql.bridge(connection, found.documented, found.large))
    else:
        rewritten = set(touched) & large.keys()  # by completing them
        done.bridged = list(declaring.bridge(connection, found.documented, found.large))
    done.hashes = _prefix_hashes(connection, found)
    now_there = live.read(connection)
    left = _errors_left(connection, found, now_there)
    if left:
        raise CannotAdopt(
            "This cannot be converted; everything was rolled back:\n"
            + "\n".join(f"  {difference} What to do: {difference.remedy}" for difference in left)
        )
    if connection.vendor == "postgresql":
        rewritten = set()
        connection.check_constraints()
    else:
        _refuse_orphans(orphans(connection, found.documented, now_there, now_there.keys() - large.keys()))
    for name in [*small, *rewritten]:
        before = done.fingerprints[name]
        after = take(connection, now_there[name], before.columns)
        if after != before:
            raise ValuesChanged(
                f"Values of {name} changed ({before.rows:,} rows before, {after.rows:,} after). "
                "Everything was rolled back."
            )
    _fence(connection, found, large.values())


def _now(connection: BaseDatabaseWrapper, found: Found, statement: str) -> str:
    """Return what of a statement is executed while everybody waits."""
    return postgresql.later(statement, found.large)[0] if connection.vendor == "postgresql" else statement


def _errors_left(connection: BaseDatabaseWrapper, found: Found, there: dict[str, Table]) -> list[Difference]:
    """Return what cannot be converted, of the claimed revisions and of what is there of later ones."""
    ahead = _columns(found.documented) - _columns(found.claimed)
    left = [
        difference
        for difference in live.compare(connection.vendor, found.claimed, there)
        if not any((difference.table, column) in ahead for column in difference.columns)
    ]
    left += live.compare(connection.vendor, within(found.documented, there), there)
    return [difference for difference in dict.fromkeys(left) if difference.level is Level.ERROR]


def _columns(tables: Mapping[str, Table]) -> set[tuple[str, str]]:
    return {(name, column) for name, table in tables.items() for column in table.columns}


def _prefix_hashes(connection: BaseDatabaseWrapper, found: Found) -> int:
    """Put "bcrypt$" before the hashes, without which Django cannot tell their algorithm."""
    if "hashed_password" not in found.tables.get("users", Table("users")).columns:
        return 0
    update = (
        f"UPDATE users SET hashed_password = '{PREFIX}' || hashed_password"  # noqa: S608
        f" WHERE {is_bcrypt(connection.vendor)}"
    )
    resting = (
        postgresql.resting_triggers(connection, "users")
        if connection.vendor == "postgresql"
        else nullcontext()
    )
    with resting, connection.cursor() as cursor:
        cursor.execute(update)
        return int(cursor.rowcount)


def _fence(connection: BaseDatabaseWrapper, found: Found, large: Iterable[Fingerprint]) -> None:
    """Keep what `alembic_version` said, and let it say what stops the old system.

    The fingerprints of large tables are kept until they have been confirmed.
    """
    kind = "timestamp with time zone" if connection.vendor == "postgresql" else "datetime"
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TABLE {KEPT_VERSIONS} (version_num varchar(255), adopted_at_utc {kind} NOT NULL,"
            f" to_confirm text NOT NULL, finished_at_utc {kind})"
        )
        versions: list[str | None] = [*(found.claim.versions or ())] or [None]
        for version in versions:
            cursor.execute(
                f"INSERT INTO {KEPT_VERSIONS} (version_num, adopted_at_utc, to_confirm)"  # noqa: S608
                " VALUES (%s, %s, %s)",
                [version, now(), json.dumps([asdict(fingerprint) for fingerprint in large])],
            )
        if found.claim.versions is None:
            cursor.execute(
                f"CREATE TABLE {OLD_VERSIONS} (version_num varchar(32) NOT NULL,"
                " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
            )
        cursor.execute(f"DELETE FROM {OLD_VERSIONS}")  # noqa: S608
        cursor.execute(f"INSERT INTO {OLD_VERSIONS} (version_num) VALUES (%s)", [FENCE])  # noqa: S608
