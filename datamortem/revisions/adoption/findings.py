"""What there is to say about rows before a database is taken over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

#: How many rows are named.
SHOWN: Final = 10
#: What people know a row by.
LABELS: Final = {
    "users": "email",
    "cases": "case_id",
    "evidence": "evidence_uid",
    "task_run": "task_name",
    "custom_scripts": "name",
    "analysis_modules": "name",
}
_LONGEST: Final = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """Rows with one thing about them; `blocking` if they cannot be kept as they are."""

    table: str
    columns: tuple[str, ...]
    what: str
    count: int
    #: The first ten by primary key, each with a name people know it by.
    rows: tuple[str, ...]
    #: A statement to type or a decision to take, with its consequence.
    remedy: str
    blocking: bool = True

    def __str__(self) -> str:
        shown = "; ".join(self.rows)
        more = f" and {self.count - len(self.rows):,} more" if self.count > len(self.rows) else ""
        named = f" ({shown}{more})" if shown else ""
        rows = f"{self.count:,} row{'s' if self.count != 1 else ''}: " if self.count else ""
        return f"{self.table}: {rows}{self.what}{named}. {self.remedy}"


def blocking(findings: Iterable[Finding]) -> list[Finding]:
    """Return those that stop the adoption."""
    return [finding for finding in findings if finding.blocking]


def value_text(value: Any) -> str:
    """Return a value on one line and not too long: it comes from a database that is not ours."""
    shown = repr(value)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def quoted(name: str) -> str:
    """Return a name as PostgreSQL and SQLite take it whatever it holds."""
    return '"' + name.replace('"', '""') + '"'
