"""pg_dump out, and pg_restore through psql in: one snapshot, and one transaction.

The dump holds the schemas of the search path, so what others keep in the same database is never
touched. A restore drops everything in them and loads the dump in a transaction that only this
process commits: a failure, or a kill of any process, leaves the old state.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.backup.clients import Clients, clients_for
from datamortem.revisions.backup.contents import RECORDED, Contents, names, refuse_moved_schema
from datamortem.revisions.backup.errors import BackupDamaged, BackupFailed

#: How long pg_dump waits for a table that somebody is altering, in milliseconds.
_LOCK_WAIT: Final = 60_000
_SQLSTATE: Final = re.compile(r"[A-Z]+: +([0-9A-Z]{5}): ")

SCHEMAS: Final = "SELECT unnest(current_schemas(false))"
_TABLES: Final = """
    SELECT n.nspname, c.relname, format('%%I.%%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                      AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 3
"""
_OWNERS: Final = """
    SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class WHERE relnamespace = ANY(%s::regnamespace[])
"""
_GRANTEES: Final = """
    SELECT DISTINCT pg_get_userbyid(a.grantee)::text FROM pg_class c, aclexplode(c.relacl) a
    WHERE c.relnamespace = ANY(%s::regnamespace[]) AND a.grantee <> 0
"""
_HOLDERS: Final = """
    SELECT a.pid, coalesce(nullif(a.application_name, ''), 'a session'), a.usename,
           coalesce(host(a.client_addr), 'local'), a.state, min(a.xact_start)
    FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
    WHERE l.granted AND c.relnamespace = ANY(%s::regnamespace[]) AND l.mode LIKE %s
      AND a.pid <> pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    GROUP BY 1, 2, 3, 4, 5 ORDER BY 6 LIMIT 5
"""


def dump(connection: BaseDatabaseWrapper, part: Path, file: BinaryIO, say: Callable[[str], None]) -> Contents:
    """Dump the database into the empty file, read it back, and return what it holds.

    The rows are counted in the snapshot that pg_dump reads.
    """
    clients = clients_for(connection)
    schemas = schemas_of(connection)
    before = _recorded(connection)
    with closing(connection.copy(alias=f"{connection.alias}-backup")) as own, own.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute("SELECT pg_export_snapshot(), pg_database_size(current_database())")
        snapshot, size = cursor.fetchone()
        cursor.execute("SHOW server_version")
        (server_version,) = cursor.fetchone()
        say(f"Dumping {connection.settings_dict['NAME']} ({size} bytes on the server) …")
        if (free := shutil.disk_usage(part.parent).free) < size:
            say(f"Only {free} bytes are free in {part.parent}: enough only if the dump is that much smaller.")
        _pg_dump(connection, clients, snapshot, schemas, file)
        recorded = _recorded(own)
        refuse_moved_schema(before, recorded)
        tables = _tables(cursor, schemas)
        rows = {quoted: _count(cursor, quoted) for _, _, quoted in tables}
        owners, grantees = (_roles(cursor, query, schemas) for query in (_OWNERS, _GRANTEES))
        cursor.execute("ROLLBACK")
    say("Reading it back …")
    _refuse_incomplete(clients, part, tables)
    return Contents(
        server_version=server_version,
        written_by=f"pg_dump {clients.version}",
        rows=rows,
        recorded=recorded,
        schemas=schemas,
        owners=owners,
        grantees=grantees,
    )


def _pg_dump(
    connection: BaseDatabaseWrapper, clients: Clients, snapshot: str, schemas: list[str], file: BinaryIO
) -> None:
    command = clients.command(
        "pg_dump",
        "--format=custom",
        "--compress=1",
        "--no-password",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={_LOCK_WAIT}",
        *(f"--schema={pattern_of(schema)}" for schema in schemas),
        *([f"--role={clients.role}"] if clients.role else []),
    )
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(  # noqa: S603
            command, env=clients.environment, stdin=subprocess.DEVNULL, stdout=file, stderr=said, check=False
        )
        if not done.returncode:
            return
        if blocking := holders(connection, schemas, mode="AccessExclusiveLock"):
            raise BackupFailed(
                f"pg_dump waited {_LOCK_WAIT / 1000:g} s for tables that others are changing: {told(said)}. "
                f"Nothing was changed. Wait for these sessions, or end them: {blocking}"
            )
        raise OSError(f"pg_dump ended with {done.returncode}: {told(said) or 'no word'}")


def _refuse_incomplete(clients: Clients, part: Path, tables: list[tuple[str, str, str]]) -> None:
    """Read the whole file with pg_restore, and look for every table in its list."""
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(  # noqa: S603
            clients.command("pg_restore", "-f", "-", str(part)),
            env=clients.environment,
            stdout=subprocess.DEVNULL,
            stderr=said,
            check=False,
        )
        if done.returncode:
            raise BackupFailed(f"pg_restore cannot read the backup: {told(said)}. It was removed.")
    listed = contents_list(clients, part)
    missing = [quoted for schema, table, quoted in tables if not _in_list(listed, schema, table)]
    if missing:
        raise BackupFailed(f"The backup lacks tables: {', '.join(missing)}. It was removed.")


def contents_list(clients: Clients, path: Path) -> list[str]:
    """Return pg_restore's list of what a dump holds. Raises BackupDamaged."""
    done = subprocess.run(  # noqa: S603
        clients.command("pg_restore", "--list", str(path)),
        env=clients.environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise BackupDamaged(
            f"pg_restore {clients.version} cannot read {path}: {done.stderr.strip()}. Nothing was changed."
        )
    return done.stdout.splitlines()


def _in_list(listed: list[str], schema: str, table: str) -> bool:
    entry = re.sub(r"[\r\n]", " ", f" TABLE {schema} {table} ")
    return any(entry in line for line in listed)


def schemas_of(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the schemas of the search path that are there. Raises BackupFailed if none is."""
    with connection.cursor() as cursor:
        cursor.execute(SCHEMAS)
        schemas = [str(row[0]) for row in cursor.fetchall()]
    if not schemas:
        raise BackupFailed(
            "No schema of the search path exists in this database. Make one: CREATE SCHEMA public"
        )
    return schemas


def pattern_of(schema: str) -> str:
    """Return a schema as a pattern of pg_dump that matches only it."""
    return '"' + schema.replace('"', '""') + '"'


def holders(connection: BaseDatabaseWrapper, schemas: list[str], *, mode: str = "%") -> str:
    """Return who holds locks (of a mode) on the tables, and how to end them; empty if nobody does."""
    with connection.cursor() as cursor:
        cursor.execute(_HOLDERS, [[pattern_of(schema) for schema in schemas], mode])
        return "; ".join(
            f"{name} of {user} from {host}, {state}{f' since {since:%Y-%m-%d %H:%M:%S%z}' if since else ''}: "
            f"SELECT pg_terminate_backend({pid})"
            for pid, name, user, host, state, since in cursor.fetchall()
        )


def told(said: Any) -> str:
    """Return what a program wrote to its stderr, at most the first 2,000 characters."""
    said.seek(0)
    text: str = said.read(2000).decode("utf-8", "replace")
    return " ".join(text.split())


def sqlstate(text: str) -> str | None:
    """Return the first SQLSTATE of a verbose message of psql."""
    match = _SQLSTATE.search(text)
    return match[1] if match else None


def _recorded(connection: BaseDatabaseWrapper) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('django_migrations')")
        if cursor.fetchone()[0] is None:
            return []
        cursor.execute(RECORDED)
        return names(cursor.fetchall())


def _tables(cursor: Any, schemas: list[str]) -> list[tuple[str, str, str]]:
    cursor.execute(_TABLES, [schemas])
    return [(str(a), str(b), str(c)) for a, b, c in cursor.fetchall()]


def _count(cursor: Any, quoted: str) -> int:
    cursor.execute(f"SELECT count(*) FROM {quoted}")  # noqa: S608
    return int(cursor.fetchone()[0])


def _roles(cursor: Any, query: str, schemas: list[str]) -> list[str]:
    cursor.execute(query, [[pattern_of(schema) for schema in schemas]])
    return sorted(str(row[0]) for row in cursor.fetchall())
