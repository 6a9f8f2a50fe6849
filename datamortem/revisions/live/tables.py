"""What a table is made of, as read from a database, and how two of them may differ.

Names of columns are as the catalogue has them, unquoted. Types, defaults and expressions are the
text of the database itself, so only what came from the same kind of database compares.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Level(StrEnum):
    """How much a difference matters."""

    #: Django would misbehave, or what the schema promises does not hold.
    ERROR = "error"
    #: Works, but is not what Django would have built.
    BRIDGE = "bridge"
    #: Unknown to Django, and harmless.
    EXTRA = "extra"


class Part(StrEnum):
    """What a difference is about."""

    TABLE = "table"
    COLUMN = "column"
    TYPE = "type"
    NULL = "null"
    DEFAULT = "default"
    NUMBERING = "numbering"
    PRIMARY_KEY = "primary key"
    UNIQUE = "unique"
    FOREIGN_KEY = "foreign key"
    INDEX = "index"
    CHECK = "check"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. SQLite: `type` as declared, in lower case."""

    name: str
    type: str
    nullable: bool
    #: The database's default, without those that number rows (`identity`, `sequence`).
    default: str | None = None
    #: PostgreSQL: GENERATED … AS IDENTITY. SQLite: INTEGER PRIMARY KEY AUTOINCREMENT.
    identity: bool = False
    #: PostgreSQL: the sequence that a default calls nextval() on, as regclass prints it.
    sequence: str | None = None
    #: The sequence goes when the column goes.
    owns_sequence: bool = False
    #: Computed from other columns.
    generated: bool = False
    #: Other columns draw numbers from the sequence, too.
    shares_sequence: bool = False


@dataclass(frozen=True, slots=True)
class Unique:
    """A unique constraint or unique index, other than the primary key."""

    #: Names of columns, or expressions.
    columns: tuple[str, ...]
    name: str
    is_constraint: bool
    condition: str | None = None
    nulls_distinct: bool = True
    deferrable: bool = False
    valid: bool = True


@dataclass(frozen=True, slots=True)
class Index:
    """An index that is neither unique nor the primary key's."""

    #: Names of columns, or expressions.
    columns: tuple[str, ...]
    name: str
    #: Per column what is not usual: operator class, DESC …; empty strings otherwise.
    details: tuple[str, ...] = ()
    condition: str | None = None
    method: str = "btree"
    #: PostgreSQL: false after a CREATE INDEX CONCURRENTLY that did not end well.
    valid: bool = True

    @property
    def pattern(self) -> bool:
        """Whether it serves LIKE 'prefix%' (varchar_pattern_ops and its kin)."""
        return any("_pattern_ops" in detail for detail in self.details)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key; `table` has its schema in front if that is another one."""

    columns: tuple[str, ...]
    table: str
    ref_columns: tuple[str, ...]
    #: Empty on SQLite.
    name: str = ""
    #: DEFERRABLE INITIALLY DEFERRED.
    deferred: bool = True
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"
    #: PostgreSQL: false for NOT VALID, which holds for new rows only.
    validated: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """A check constraint, or one that excludes."""

    name: str
    #: As the database prints it; blanks and quotes around names made equal on SQLite.
    expression: str
    validated: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A table, or a view of that name (`kind`)."""

    name: str
    kind: str = "table"
    columns: dict[str, Column] = field(default_factory=dict)
    primary_key: tuple[str, ...] = ()
    uniques: tuple[Unique, ...] = ()
    indexes: tuple[Index, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    #: SQLite: the CREATE TABLE statement; PostgreSQL: empty.
    sql: str = ""
    #: PostgreSQL: what the primary key and its index are called.
    primary_key_name: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something about a table that is not as the migrations would have made it."""

    level: Level
    table: str
    #: What is there and what should be, in one line.
    what: str
    #: A command or a statement to type.
    remedy: str
    columns: tuple[str, ...] = ()
    #: Statements that mend it where that is safe, in this order; SQLite: of indexes only.
    statements: tuple[str, ...] = ()
    part: Part = Part.TABLE
    #: The part is not there at all, so that adding it mends the difference.
    absent: bool = False

    def __str__(self) -> str:
        return f"[{self.level}] {self.table}: {self.what}"
