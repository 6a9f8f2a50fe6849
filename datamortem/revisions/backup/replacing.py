"""Replace everything in a PostgreSQL database by a dump, in one transaction."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from datamortem.revisions.backup.clients import Clients, clients_for
from datamortem.revisions.backup.errors import BackupForeign, RestoreFailed
from datamortem.revisions.backup.postgresql import contents_list, holders, schemas_of, sqlstate, told
from datamortem.revisions.backup.sidecar import Sidecar
from datamortem.revisions.lock import TRANSACTION_KEY

#: How long a restore waits for each table that others use, in milliseconds.
LOCK_WAIT: Final = 10_000

#: What psql answers once it has committed: an end of its input without an error proves nothing.
_DONE: Final = b"restored by datamortem"
_PUBLISHED: Final = """
    SELECT string_agg(DISTINCT p.pubname || ' (' || c.relname || ')', ', ')
    FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid JOIN pg_class c ON c.oid = r.prrelid
    WHERE c.relnamespace = ANY(%s::regnamespace[])
"""
_LOCK_NOT_AVAILABLE: Final = "55P03"
_DEADLOCK: Final = "40P01"
#: Not part of a restore: the schemas are there, and what the administrator set for them stays.
_LEFT_OUT: Final = re.compile(r"^\d+; \d+ \d+ (SCHEMA|COMMENT - SCHEMA|ACL - SCHEMA|DEFAULT ACL) ")
_HEADER: Final = re.compile(rb"(--.*|\\restrict .*|SET .*|SELECT pg_catalog\.set_config\(.*|)\r?\n?")
_SET: Final = re.compile(rb"SET (\w+) = ")

#: Drops all objects of the schemas that no extension owns, whatever their kind: what depends on
#: others goes first, found by trying. Nothing cascades, so what lies in other schemas and depends
#: on ours stops it.
_DROP: Final = """
DO $drop$
DECLARE
    statements text[];
    statement text;
    remaining integer;
    before integer := -1;
    why text;
BEGIN
    LOOP
        remaining := 0;
        WITH objects AS (
                SELECT i.type, i.identity FROM pg_depend d,
                       LATERAL pg_identify_object(d.classid, d.objid, 0) i
                WHERE d.refclassid = 'pg_namespace'::regclass
                  AND d.refobjid = ANY({schemas}::regnamespace[]) AND d.deptype = 'n'
                  AND d.classid <> 'pg_default_acl'::regclass AND d.classid <> 'pg_extension'::regclass
                  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classid
                                  AND e.objid = d.objid AND e.deptype = 'e')
            )
            SELECT array_agg(s) INTO statements FROM (
                SELECT 'DROP TABLE ' || string_agg(identity, ', ') AS s
                FROM objects WHERE type = 'table' HAVING count(*) > 0
                UNION ALL
                SELECT format('DROP %s %s', replace(type, 'statistics object', 'statistics'), identity)
                FROM objects WHERE type <> 'table'
            ) AS all_of_them;
        FOREACH statement IN ARRAY coalesce(statements, '{}') LOOP
            BEGIN
                EXECUTE statement;
            EXCEPTION
                WHEN dependent_objects_still_exist THEN
                    IF remaining = 0 THEN  -- tables come first, and name who depends on them
                        GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
                    END IF;
                    remaining := remaining + 1;
                WHEN undefined_object OR undefined_table OR undefined_function THEN
                    NULL;  -- it went with another one, in this round
            END;
        END LOOP;
        EXIT WHEN remaining = 0;
        IF remaining = before THEN
            RAISE dependent_objects_still_exist
                USING MESSAGE = 'objects outside of the schemas depend on objects in them: ' || why;
        END IF;
        before := remaining;
    END LOOP;
END
$drop$;
"""

#: Compares the rows of every table with those that the sidecar lists.
_COMPARE: Final = """
DO $compare$
DECLARE
    expected CONSTANT jsonb := {rows};
    item record;
    found bigint;
    tables integer := 0;
BEGIN
    FOR item IN
        SELECT format('%I.%I', n.nspname, c.relname) AS name
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.oid = ANY({schemas}::pg_catalog.regnamespace[]) AND c.relkind IN ('r', 'p')
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e'
                          AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass)
    LOOP
        EXECUTE 'SELECT count(*) FROM ' || item.name INTO found;
        IF found IS DISTINCT FROM (expected ->> item.name)::bigint THEN
            RAISE data_corrupted USING MESSAGE =
                format('%s has %s rows, the sidecar says %s', item.name, found, expected ->> item.name);
        END IF;
        tables := tables + 1;
    END LOOP;
    IF tables <> (SELECT count(*) FROM jsonb_object_keys(expected)) THEN
        RAISE data_corrupted USING MESSAGE = format('%s tables are not those of the sidecar', tables);
    END IF;
END
$compare$;
"""


def check(connection: BaseDatabaseWrapper, path: Path, sidecar: Sidecar) -> Clients:
    """Return the programs that can put the dump back here.

    Raises BackupForeign, BackupDamaged and BackupFailed.
    """
    schemas = schemas_of(connection)
    if schemas != sidecar.schemas:
        raise BackupForeign(
            f"{path} holds the schemas {', '.join(sidecar.schemas)}, the search path here has "
            f"{', '.join(schemas)}. Nothing was changed. Make them the same, on the server or in OPTIONS."
        )
    clients = clients_for(connection)
    written = re.fullmatch(r"pg_dump (\d+).*", sidecar.written_by)
    if written and int(written[1]) > clients.major:
        raise BackupForeign(
            f"{path} was written by {sidecar.written_by}, pg_restore here is {clients.version}: older ones "
            f"cannot read it. Nothing was changed. Install: apt install postgresql-client-{written[1]}"
        )
    contents_list(clients, path)
    return clients


def replace(
    connection: BaseDatabaseWrapper,
    path: Path,
    sidecar: Sidecar,
    clients: Clients,
    say: Callable[[str], None],
) -> None:
    """Drop what is there and load the dump, in one transaction. Raises RestoreFailed."""
    options = _ownership(connection, sidecar, say)
    known = _known_settings(connection)
    _tell_publications(connection, sidecar, say)
    connection.close()  # it may remember tables that are gone
    with tempfile.TemporaryDirectory() as room, tempfile.TemporaryFile() as said:
        chosen = Path(room) / "list"
        kept = [line for line in contents_list(clients, path) if not _LEFT_OUT.match(line)]
        chosen.write_text("\n".join(kept) + "\n", encoding="utf-8")
        command = clients.command("pg_restore", "-f", "-", f"--use-list={chosen}", *options, str(path))
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": said}
        with (
            (Path(room) / "answers").open("w+b") as answers,
            _psql(clients, answers, said) as psql,
            _running(command, clients, **streams) as source,
        ):
            asked = _feed(psql, source, sidecar, clients, known, say)
            psql.wait()
            answers.seek(0)
            done = answers.read().splitlines()[-1:] == [_DONE]
        if not done:
            raise RestoreFailed(
                _why(connection, path, sidecar, told(said), unsure=asked and psql.returncode == 2)
            )


def _feed(
    psql: subprocess.Popen[bytes],
    source: subprocess.Popen[bytes],
    sidecar: Sidecar,
    clients: Clients,
    known: frozenset[bytes],
    say: Callable[[str], None],
) -> bool:
    """Give psql all it has to do; return whether it was asked to commit, as only a whole dump is."""
    assert psql.stdin is not None  # noqa: S101 -- both are pipes
    assert source.stdout is not None  # noqa: S101
    asked = False
    try:
        say("Dropping what is there …")
        psql.stdin.write(_begin(sidecar, clients).encode())
        psql.stdin.flush()
        say("Loading the backup …")
        _load(source.stdout, psql.stdin, known)
        if source.wait() == 0:
            say("Comparing rows …")
            asked = True
            psql.stdin.write(_commit(sidecar).encode())
        psql.stdin.close()
    except BrokenPipeError:  # psql gave up; it says why
        with suppress(BrokenPipeError):
            psql.stdin.close()
    return asked


def _begin(sidecar: Sidecar, clients: Clients) -> str:
    role = sql.SQL("SET ROLE {};\n").format(sql.Identifier(clients.role)).as_string() if clients.role else ""
    return (
        f"BEGIN;\n{role}SET LOCAL lock_timeout = {LOCK_WAIT};\nSET LOCAL statement_timeout = 0;\n"
        f"DO $$ BEGIN PERFORM pg_advisory_xact_lock({TRANSACTION_KEY}); END $$;\n"
        + _filled(_DROP, schemas=_regnamespaces(sidecar))
    )


def _commit(sidecar: Sidecar) -> str:
    rows = json.dumps(sidecar.rows)
    return (
        _filled(_COMPARE, schemas=_regnamespaces(sidecar), rows=rows)
        + f"COMMIT;\nSELECT '{_DONE.decode()}';\n"
    )


def _regnamespaces(sidecar: Sidecar) -> list[str]:
    return [sql.Identifier(schema).as_string() for schema in sidecar.schemas]


def _filled(statement: str, **values: Any) -> str:
    literals = {name: sql.Literal(value).as_string() for name, value in values.items()}
    for name, literal in literals.items():
        if "$drop$" in literal or "$compare$" in literal:
            raise RestoreFailed(f"A name in the sidecar cannot be used: {literal}. Nothing was changed.")
        statement = statement.replace("{" + name + "}", literal)
    return statement


def _load(source: IO[bytes], target: IO[bytes], known: frozenset[bytes]) -> None:
    """Pass the dump on, without settings in its head that this server does not know (a newer pg_restore)."""
    for line in source:
        setting = _SET.match(line)
        if not setting or setting[1] in known:
            target.write(line)
        if not _HEADER.fullmatch(line):
            break
    shutil.copyfileobj(source, target, 1024**2)


def _known_settings(connection: BaseDatabaseWrapper) -> frozenset[bytes]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_settings")
        return frozenset(str(row[0]).encode() for row in cursor.fetchall())


def _ownership(connection: BaseDatabaseWrapper, sidecar: Sidecar, say: Callable[[str], None]) -> list[str]:
    """Return whether owners and grants can be put back: their roles must be here, and ours to give to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolname, pg_has_role(oid, 'MEMBER') FROM pg_roles")
        ours = {str(name): bool(member) for name, member in cursor.fetchall()}
    options = []
    if not all(ours.get(owner) for owner in sidecar.owners):
        say(f"Owners ({', '.join(sidecar.owners)}) cannot be set here: all will belong to who restores.")
        options.append("--no-owner")
    if options or not all(grantee in ours for grantee in sidecar.grantees):
        if sidecar.grantees:
            say(f"Privileges of {', '.join(sidecar.grantees)} are not restored: grant them again.")
        options.append("--no-privileges")
    return options


def _tell_publications(connection: BaseDatabaseWrapper, sidecar: Sidecar, say: Callable[[str], None]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_PUBLISHED, [_regnamespaces(sidecar)])
        (published,) = cursor.fetchone()
    if published:
        say(f"The tables leave these publications, add them again: {published}")


def _why(connection: BaseDatabaseWrapper, path: Path, sidecar: Sidecar, text: str, *, unsure: bool) -> str:
    if unsure:
        return (
            f"The connection broke while {path} was being committed ({text}): all of it is restored, or "
            "nothing. Look with: python manage.py db current"
        )
    if sqlstate(text) in (_LOCK_NOT_AVAILABLE, _DEADLOCK):
        found = holders(connection, sidecar.schemas)
        return (
            f"{path} was not restored: others use the tables. Waited {LOCK_WAIT / 1000:g} s; "
            "nothing was changed. Stop the server and the workers, or end these sessions: "
            f"{found or 'they are gone by now'}. Then restore again."
        )
    return f"{path} was not restored, nothing was changed: {text or 'a program ended early'}."


@contextmanager
def _psql(clients: Clients, answers: IO[bytes], said: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    command = clients.command(
        "psql",
        "-X",
        "-q",
        "-A",
        "-t",
        "--no-password",
        "-v",
        "ON_ERROR_STOP=1",
        "-v",
        "VERBOSITY=verbose",
        "-f",
        "-",
    )
    with _running(command, clients, stdin=subprocess.PIPE, stdout=answers, stderr=said) as psql:
        yield psql


@contextmanager
def _running(command: list[str], clients: Clients, **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program beside this one; it ends when this is left."""
    environment = {**clients.environment, "PGAPPNAME": "datamortem restore"}
    with subprocess.Popen(command, env=environment, **streams) as process:  # noqa: S603
        try:
            yield process
        finally:
            process.kill()
