"""`manage.py db` and `migrate` on a scratch database, in this process, with what they say."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connections

from datamortem.revisions.graph import RevisionGraph
from datamortem.tests.revisions.scratch import Scratch, scratch_database


def db(scratch: Scratch, verb: str, *args: str) -> str:
    """Run a verb and return its output. Raises CommandError."""
    return _said("db", verb, *args, "--database", scratch.alias)


def migrate(scratch: Scratch, *args: str, **options: Any) -> str:
    """Run `migrate` and return its output. Raises CommandError."""
    return _said("migrate", *args, "--database", scratch.alias, **options)


def _said(*args: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(*args, stdout=out, **options)
    return out.getvalue()


def standing(scratch: Scratch) -> set[str]:
    """Return the newest applied revisions."""
    return {revision.id for revision in RevisionGraph(scratch.connection).current()}


def execute(scratch: Scratch, *statements: str) -> None:
    """Run SQL."""
    with scratch.connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def value(scratch: Scratch, query: str) -> Any:
    """Return the one value that a query finds."""
    with scratch.connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


@contextmanager
def at(revision: str) -> Iterator[Scratch]:
    """Make a database at a revision, of which `become` makes copies."""
    with scratch_database() as made:
        db(made, "upgrade", revision)
        made.connection.close()
        yield made


def become(scratch: Scratch, original: Scratch) -> None:
    """Turn an empty database that nobody uses into a copy of another."""
    scratch.connection.close()
    names = [str(each.connection.settings_dict["NAME"]) for each in (original, scratch)]
    if scratch.connection.vendor == "sqlite":
        Path(names[1]).write_bytes(Path(names[0]).read_bytes())
        return
    with connections["default"]._nodb_cursor() as cursor:
        cursor.execute(f'DROP DATABASE "{names[1]}" WITH (FORCE)')
        cursor.execute(f'CREATE DATABASE "{names[1]}" TEMPLATE "{names[0]}"')
