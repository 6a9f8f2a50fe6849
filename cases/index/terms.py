"""What one term asks of one field: the node it becomes, or the refusal that says what to write.

The semantic half of `query`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from cases.index.patterns import BadExpression, pattern_test, regex_test
from cases.index.text import fold, number, words
from cases.index.times import read_time
from cases.index.tokens import SPECIAL, Bound, Expression, Mixed, QueryError, Quoted, Range, Term, Text, shown
from cases.index.tree import (
    ANY,
    COMMENT,
    KEYWORD_FIELDS,
    MESSAGE,
    RUNNING_TEXTS,
    SCORE,
    TAGS,
    TIMESTAMP,
    Annotated,
    Equals,
    Everything,
    Exists,
    Field,
    Fuzzy,
    Node,
    Not,
    NumberRange,
    Pattern,
    Regex,
    TimeRange,
    Words,
)

#: Turns a term that stands in some field, or in none, into a node.
Place = Callable[[Term], Node]

MAX_PHRASE: Final = 1_000
MAX_FUZZY: Final = 256

#: Signs of other languages, and what this one writes.
_OPERATORS: Final = {"&": "write AND or &&", "=": "write name:value", "==": "write name:value"}


def place(name: str, at: int) -> Place:
    """Return what terms mean in the field of this name. Raises QueryError at `at`."""
    special = {
        "_exists_": _exists,
        "message": lambda term: in_words(term, MESSAGE),
        "timestamp": _in_time,
        "tag": lambda term: Annotated("tag", _in_exact(term, TAGS)),
        "comment": lambda term: Annotated("comment", in_words(term, COMMENT)),
        "starred": _starred,
    }
    if name in special:
        return special[name]
    field = _field(name, at)
    return lambda term: _in_exact(term, field)


def _field(name: str, at: int) -> Field:
    """A core field, or the attribute of that name."""
    if name in KEYWORD_FIELDS or name == SCORE.name:
        return Field(name)
    if name == "attributes":
        raise QueryError('name the attribute: attributes.EventID:4624, attributes."Logon Type":3.', at)
    return Field(name.removeprefix("attributes."), attribute=True)


def in_words(term: Term, field: Field | None) -> Node:
    """Return what a term asks of a text of many words: of the message, or anywhere without a field."""
    match term:
        case Text(edits=int(edits)):
            return _fuzzy(term, edits, field)
        case Text(literal=None):
            if term.parts == (ANY,):
                return Exists(field) if field else Everything()
            return _pattern(term, field or MESSAGE)
        case Text(literal=str(text)):
            return _words(text, term.at, field, 0)
        case Quoted():
            return _words(term.literal, term.at, field, term.slop or 0)
        case Expression():
            return _regex(term, field or MESSAGE)
        case Range():
            raise QueryError("a range needs the field of its numbers or times: EventID:[1 TO 5].", term.at)
        case _:
            raise _not_a_name(term.at)


def _words(text: str, at: int, field: Field | None, slop: int) -> Words:
    found = words(text)
    if not found:
        if text in _OPERATORS:
            raise QueryError(f"{text} is no operator here: {_OPERATORS[text]}.", at)
        if not text:
            raise QueryError("there is nothing between these quotes.", at)
        signs = "".join(f"\\{sign}" if sign in SPECIAL or sign == " " else sign for sign in shown(text))
        raise QueryError(
            f"there is no letter or digit to look for; look for other signs with a pattern: *{signs}*", at
        )
    if len(found) > MAX_PHRASE:
        raise QueryError(f"a phrase has at most {MAX_PHRASE} words.", at)
    return Words(text, field, slop)


def _fuzzy(term: Text, edits: int, field: Field | None) -> Fuzzy:
    if field not in (None, MESSAGE):
        raise QueryError("~ looks for words of the message alone: message:mimikatz~1.", term.at)
    word = term.literal
    if word is None or words(word) != [fold(word)] or len(word) > MAX_FUZZY:
        raise QueryError(
            f"~ follows one word of letters and digits, at most {MAX_FUZZY}, without wildcards.", term.at
        )
    return Fuzzy(word, edits)


def _pattern(term: Text, field: Field) -> Pattern:
    try:
        pattern_test(term.parts, whole=field not in RUNNING_TEXTS)
    except BadExpression:
        raise QueryError("this pattern has too many wildcards.", term.at) from None
    return Pattern(field, term.parts)


def _regex(term: Expression, field: Field) -> Regex:
    if not term.source:
        raise QueryError("there is nothing between the slashes of this regular expression.", term.at)
    try:
        regex_test(term.source, whole=field not in RUNNING_TEXTS)
    except BadExpression as error:
        at = term.at + 1 + _typed(term.raw, error.offset)
        raise QueryError(f"not a regular expression (RE2): {shown(str(error))}.", at) from None
    return Regex(field, term.source)


def _typed(raw: str, offset: int) -> int:
    """The offset in an expression as typed of an offset behind the resolved `\\/`."""
    at = 0
    for _ in range(offset):
        at += 2 if raw.startswith("\\/", at) else 1
    return min(at, len(raw))


def _in_exact(term: Term, field: Field) -> Node:
    match term:
        case Text(edits=int()):
            raise QueryError("~ looks for words of the message alone: message:mimikatz~1.", term.at)
        case Text(literal=None):
            return Exists(field) if term.parts == (ANY,) else _pattern(term, field)
        case Text(literal=str(value)):
            return Equals(field, value)
        case Quoted(slop=int()):
            raise QueryError(
                "~ allows words in between in a message, and this field is compared whole.", term.at
            )
        case Quoted():
            return Equals(field, term.literal)
        case Expression():
            return _regex(term, field)
        case Range():
            return _number_range(term, field)
        case _:
            raise _not_a_name(term.at)


def _number_range(term: Range, field: Field) -> NumberRange:
    if not field.attribute and field != SCORE:
        raise QueryError(
            f"{field.name} holds text; ranges are of numbers (an attribute, score) or times (timestamp).",
            term.at,
        )
    lower, upper = (_number(bound) for bound in (term.lower, term.upper))
    return NumberRange(field, lower, upper, term.include_lower, term.include_upper)


def _number(bound: Bound) -> Decimal | None:
    if bound.text is None:
        return None
    plain = number(bound.text)
    if plain is None:
        raise QueryError(
            f"{shown(bound.text)} is no number; a bound is written bare, like 5 or -0.5, or * for none."
            " Times are compared in timestamp alone.",
            bound.at,
        )
    return Decimal(plain)


def _in_time(term: Term) -> Node:
    match term:
        case Text(parts=(one,), edits=None) if one is ANY:
            return Exists(TIMESTAMP)
        case Text(literal=str(text), edits=None) | Quoted(literal=text, slop=None):
            return TimeRange(*_time(text, term.at))
        case Range():
            return TimeRange(_earliest(term), _latest(term))
        case _:
            raise QueryError(
                "timestamp is compared with times: timestamp:2024-03-01,"
                " timestamp:[2024-03-01 TO 2024-03-02}, timestamp:>=2024-03-01T08:15:30Z.",
                term.at,
            )


def _time(text: str, at: int) -> tuple[int, int]:
    try:
        return read_time(text)
    except ValueError as error:
        raise QueryError(str(error), at) from None


def _earliest(term: Range) -> int | None:
    if term.lower.text is None:
        return None
    first, _ = _time(term.lower.text, term.lower.at)
    return first if term.include_lower else first + 1


def _latest(term: Range) -> int | None:
    if term.upper.text is None:
        return None
    first, last = _time(term.upper.text, term.upper.at)
    return last if term.include_upper else first - 1


def _exists(term: Term) -> Node:
    if not isinstance(term, Text | Quoted | Mixed) or term.literal is None or _has_suffix(term):
        raise QueryError("_exists_ is followed by the name of one field: _exists_:user.", term.at)
    name = term.literal
    if name == "starred":
        raise QueryError("write starred:true.", term.at)
    if name == "tag":
        return Annotated("tag", Exists(TAGS))
    if name == "comment":
        return Annotated("comment", Exists(COMMENT))
    return Exists(Field(name) if name in {"message", "timestamp"} else _field(name, term.at))


def _has_suffix(term: Text | Quoted | Mixed) -> bool:
    return (isinstance(term, Text) and term.edits is not None) or (
        isinstance(term, Quoted) and term.slop is not None
    )


def _starred(term: Term) -> Node:
    value = term.literal if isinstance(term, Text | Quoted) and not _has_suffix(term) else None
    starred = Annotated("starred", Everything())
    match fold(value or ""):
        case "true":
            return starred
        case "false":
            return Not(starred)
        case _:
            raise QueryError("starred is true or false.", term.at)


def _not_a_name(at: int) -> QueryError:
    return QueryError(
        "a name in quotes is followed by a colon; any other text stands in quotes as a whole.", at
    )
