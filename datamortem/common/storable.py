"""Text and JSON as every database keeps them: read back, they are what was written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def storable(text: str) -> str:
    """Return the text as every database can keep it, with nothing dropped.

    NUL becomes its Unicode picture and a lone surrogate (a file name that is not UTF-8) its
    escape: PostgreSQL stores neither.
    """
    return text.replace("\x00", "\u2400").encode("utf-8", "backslashreplace").decode()


def plain(value: Any) -> Any:
    """Return JSON that reads back from any database exactly as it was written.

    PostgreSQL rewrites floats (1e22 comes back as an integer), so they are kept as text.
    """
    match value:
        case dict():
            return {storable(str(name)): plain(held) for name, held in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(held) for held in value]
        case str():
            return storable(value)
        case float():
            return repr(value)
        case datetime():
            return value.astimezone(UTC).isoformat()
        case bool() | int() | None:
            return value
        case _:
            return storable(str(value))
