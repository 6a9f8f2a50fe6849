"""The checked query: a tree that every engine compiles and that `matching` evaluates.

Built by `query.parse`; nothing in it is engine syntax. Texts are kept as the user typed them
(escapes resolved); folding, word splitting and number reading belong to `text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

#: Exact fields of every document; any other name in a query is an attribute's.
KEYWORD_FIELDS: Final = (
    "host",
    "user",
    "source",
    "category",
    "type",
    "tags",
    "timestamp_desc",
    "time_precision",
    "evidence_uid",
    "case_id",
    "position",
    "event_id",
)
#: Fields whose words a bare word is looked for in, beside the message and all attribute values.
WORD_FIELDS: Final = ("host", "user", "type", "tags")


@dataclass(frozen=True, slots=True)
class Field:
    """A named place in a document: a core field, or the attribute of that (dotted) name."""

    name: str
    attribute: bool = False


MESSAGE: Final = Field("message")
TIMESTAMP: Final = Field("timestamp")
SCORE: Final = Field("score")
TAGS: Final = Field("tags")
#: What people wrote about an event; in Annotated alone, never in a document.
COMMENT: Final = Field("comment")
#: Texts of many words: a pattern or expression is looked for anywhere in them.
RUNNING_TEXTS: Final = (MESSAGE, COMMENT)


@dataclass(frozen=True, slots=True)
class Everything:
    """Every event."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """No event."""


@dataclass(frozen=True, slots=True)
class And:
    """All of the children."""

    children: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of the children."""

    children: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Every event the child does not match."""

    child: Node


@dataclass(frozen=True, slots=True)
class Words:
    """These words in this order, at most `slop` others in between, inside one text.

    `field` is MESSAGE, or None for the message, WORD_FIELDS and every attribute value.
    `text` holds at least one word; a single word is a phrase of one.
    """

    text: str
    field: Field | None = None
    slop: int = 0


@dataclass(frozen=True, slots=True)
class Fuzzy:
    """A word of the message within `edits` (1 or 2) edits; a swap of neighbours is one edit."""

    word: str
    edits: int = 2


@dataclass(frozen=True, slots=True)
class Equals:
    """The whole value of an exact field, or one element of its list, is this one.

    Numbers compare as numbers (`text.number`), everything else as folded text.
    """

    field: Field
    value: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """A wildcard pattern: found anywhere in the message or a comment, or covering an exact field's value.

    `parts` alternates literal texts with the wildcards ANY ("*": any run of code points, also
    none) and ONE ("?": exactly one code point).
    """

    field: Field
    parts: tuple[str | Wildcard, ...]


@dataclass(frozen=True, slots=True)
class Wildcard:
    """One of the two wildcards of a pattern."""

    sign: str


ANY: Final = Wildcard("*")
ONE: Final = Wildcard("?")


@dataclass(frozen=True, slots=True)
class Regex:
    """An RE2 expression: searched in the message or a comment, or covering an exact field's value."""

    field: Field
    source: str


@dataclass(frozen=True, slots=True)
class NumberRange:
    """A number of an attribute, or the score, between two bounds; None is open.

    Compares as IEEE 754 doubles, so exactly up to 2**53.
    """

    field: Field
    lower: Decimal | None
    upper: Decimal | None
    include_lower: bool = True
    include_upper: bool = True


@dataclass(frozen=True, slots=True)
class TimeRange:
    """The timestamp between two instants in microseconds since 1970 UTC, both included.

    None is open. An undated event never matches.
    """

    lower: int | None
    upper: int | None


@dataclass(frozen=True, slots=True)
class Exists:
    """The field has a value; an empty text is one, null and an empty list or object are not."""

    field: Field


@dataclass(frozen=True, slots=True)
class Ids:
    """One of these event ids (64 hexadecimal characters each).

    `by_evidence`, where it is known, holds the same ids by the evidence that they lie in: a hint for
    engines that keep the events of evidence apart.
    """

    ids: frozenset[str]
    by_evidence: Mapping[str, frozenset[str]] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Annotated:
    """What people added: kind is "tag", "starred" or "comment".

    `child` is what it asks: a leaf over TAGS, Everything for "starred", a leaf over COMMENT.
    `search` replaces it (a tag: by tags of the parser, which is `child` itself, or Ids) before an
    engine sees the tree.
    """

    kind: str
    child: Node


Node = (
    Everything
    | Nothing
    | And
    | Or
    | Not
    | Words
    | Fuzzy
    | Equals
    | Pattern
    | Regex
    | NumberRange
    | TimeRange
    | Exists
    | Ids
    | Annotated
)


def all_of(*nodes: Node) -> Node:
    """Return the conjunction, without the parts that every event meets."""
    kept = tuple(node for node in nodes if not isinstance(node, Everything))
    return kept[0] if len(kept) == 1 else And(kept) if kept else Everything()


def any_of(nodes: Iterable[Node]) -> Node:
    """Return the disjunction; of nothing it is Nothing."""
    kept = tuple(node for node in nodes if not isinstance(node, Nothing))
    return kept[0] if len(kept) == 1 else Or(kept) if kept else Nothing()
