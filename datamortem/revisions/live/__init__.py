"""What the database really is, what the migrations say it should be, and the differences.

The expected side is not guessed: the state of the migrations is built for real in a throw-away
place (PostgreSQL: a schema in a transaction that is rolled back; SQLite: a database in memory),
and both sides are read back by the same queries.
"""

from __future__ import annotations

from datamortem.revisions.live.check import drift, unknown_tables
from datamortem.revisions.live.differences import compare
from datamortem.revisions.live.expectation import expected, expected_table
from datamortem.revisions.live.reading import read
from datamortem.revisions.live.tables import (
    Check,
    Column,
    Difference,
    ForeignKey,
    Index,
    Level,
    Part,
    Table,
    Unique,
)

__all__ = [
    "Check",
    "Column",
    "Difference",
    "ForeignKey",
    "Index",
    "Level",
    "Part",
    "Table",
    "Unique",
    "compare",
    "drift",
    "expected",
    "expected_table",
    "read",
    "unknown_tables",
]
