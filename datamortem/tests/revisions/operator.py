"""`manage.py db` and `migrate` on a scratch database, in this process, with what they say."""

from __future__ import annotations

import io
from typing import Any

from django.core.management import call_command

from datamortem.revisions.graph import RevisionGraph
from datamortem.tests.revisions.scratch import Scratch


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
