"""Pieces of SQL for statements that mend a schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

#: What SQLite cannot alter in place.
REMAKE: Final = (
    "make the table anew in the wanted form and copy its rows"
    " (https://sqlite.org/lang_altertable.html#otheralter), after python manage.py db backup"
)


def quoted(name: str) -> str:
    """Return a name as PostgreSQL and SQLite take it whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str]) -> str:
    """Return names, quoted, with commas between."""
    return ", ".join(quoted(name) for name in names)


def literal(text: str) -> str:
    """Return a string constant of standard SQL."""
    return "'" + text.replace("'", "''") + "'"


def remedy(statements: Sequence[str]) -> str:
    """Return statements as a person types them; several belong into one transaction."""
    if len(statements) < 2:
        return "".join(f"{statement};" for statement in statements)
    return " ".join(f"{statement};" for statement in ("BEGIN", *statements, "COMMIT"))
