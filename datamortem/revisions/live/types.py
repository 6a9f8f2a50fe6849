"""When is a column of one type as good as another?"""

from __future__ import annotations

import re
from typing import Final

from datamortem.revisions.live.tables import Level

NAIVE: Final = "timestamp without time zone"
AWARE: Final = "timestamp with time zone"
_TEXT: Final = re.compile(r"(text|character varying)(?:\((\d+)\))?")
_INTEGERS: Final = {"smallint": 2, "integer": 4, "bigint": 8}
# In this order (https://sqlite.org/datatype3.html#determination_of_column_affinity).
_AFFINITIES: Final = (
    ("INT", "INTEGER"),
    ("CHAR", "TEXT"),
    ("CLOB", "TEXT"),
    ("TEXT", "TEXT"),
    ("BLOB", "BLOB"),
    ("REAL", "REAL"),
    ("FLOA", "REAL"),
    ("DOUB", "REAL"),
)


def judge(vendor: str, wanted: str, found: str) -> tuple[Level, bool] | None:
    """Return how much it matters that a type is another, and whether it can be changed at no risk.

    None when the types are one. No risk: every value fits and is kept, and PostgreSQL has nothing to write.
    """
    if vendor == "sqlite":
        wanted, found = " ".join(wanted.lower().split()), " ".join(found.lower().split())
    if wanted == found:
        return None
    if vendor == "sqlite":
        # Django's converters go by the declared word (bool, datetime); the ORM does without them.
        return (Level.BRIDGE if affinity(wanted) == affinity(found) else Level.ERROR), False
    if (wanted, found) == (AWARE, NAIVE):
        return Level.BRIDGE, True
    if wanted in _INTEGERS and found in _INTEGERS:
        return (Level.BRIDGE if _INTEGERS[found] > _INTEGERS[wanted] else Level.ERROR), False
    texts = _TEXT.fullmatch(wanted), _TEXT.fullmatch(found)
    if not (texts[0] and texts[1]):
        return Level.ERROR, False
    longest, here = (int(match[2]) if match and match[2] else None for match in texts)
    if here is not None and (longest is None or here < longest):
        return Level.ERROR, True  # values that Django lets through would be refused
    return Level.BRIDGE, longest == here


def affinity(declared: str) -> str:
    """Return what SQLite makes of a declared type."""
    declared = declared.upper()
    if not declared:
        return "BLOB"
    return next((affinity for part, affinity in _AFFINITIES if part in declared), "NUMERIC")
