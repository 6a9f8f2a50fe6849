"""What a query means, in plain Python: a tree as a test of one document.

Slow and plain on purpose: engines are compared with it, and verify with it what their indexes
only narrow down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Final

from cases.index.document import Document
from cases.index.patterns import Test, pattern_test, regex_test
from cases.index.text import flatten, fold, number, split, value_number, value_text, words
from cases.index.tree import (
    MESSAGE,
    RUNNING_TEXTS,
    WORD_FIELDS,
    And,
    Equals,
    Everything,
    Exists,
    Field,
    Fuzzy,
    Ids,
    Node,
    Not,
    Nothing,
    NumberRange,
    Or,
    Pattern,
    Regex,
    TimeRange,
    Words,
)


def compile_test(node: Node) -> Callable[[Document], bool]:
    """Return the test that a document meets the query.

    Raises TypeError for Annotated, which only `search` can answer.
    """
    test = _compile(node)
    return lambda document: test(Texts(document))


def text_test(node: Words | Fuzzy | Pattern | Regex) -> Test:
    """Return the test of one folded text (`text.fold`) that the node puts to each text of its field.

    Raises BadExpression for what RE2 refuses; `query.parse` lets none through.
    """
    whole = node.field not in RUNNING_TEXTS if isinstance(node, Pattern | Regex) else False
    match node:
        case Words(text=text, slop=slop):
            return phrase_test(words(text), slop)
        case Fuzzy(word=word, edits=edits):
            return _fuzzy_test(fold(word), edits)
        case Pattern(parts=parts):
            return pattern_test(parts, whole=whole)
        case Regex(source=source):
            return regex_test(source, whole=whole)


def value_test(node: Equals | NumberRange) -> Callable[[Any], bool]:
    """Return the test of one scalar that the node puts to each value of its field."""
    if isinstance(node, NumberRange):
        return _range_test(node)
    wanted = number(node.value)
    if wanted is not None:  # equal texts would read as equal numbers
        return lambda value: value_number(value) == wanted
    folded = fold(node.value)
    return lambda value: fold(value_text(value)) == folded


def field_values(document: Document, field: Field) -> Iterator[Any]:
    """Yield the scalars a document has in a field; a list gives each of its elements."""
    if field.attribute:
        yield from _attribute_values(document["attributes"], field.name)
        return
    value = document[field.name]
    if isinstance(value, list):
        yield from value
    elif value is not None:
        yield value


def _attribute_values(attributes: dict[str, Any], name: str) -> Iterator[Any]:
    """The values that `flatten` gives this name, without flattening what cannot have it."""
    for key, value in attributes.items():
        if not isinstance(value, dict | list):
            if key == name and value is not None:
                yield value
        elif name.startswith(key):
            yield from (held for dotted, held in flatten({key: value}) if dotted == name)


def field_texts(document: Document, field: Field) -> list[str]:
    """Return the folded texts of a field's values."""
    return [fold(value_text(value)) for value in field_values(document, field)]


class Texts:
    """The folded texts of one document, made when first asked for."""

    def __init__(self, document: Document) -> None:
        self.document = document

    @cached_property
    def message(self) -> str:
        """The message."""
        return fold(self.document["message"])

    @cached_property
    def anywhere(self) -> list[str]:
        """Every text that a bare word is looked for in."""
        found = [self.message]
        for name in WORD_FIELDS:
            found += field_texts(self.document, Field(name))
        found += (fold(value_text(value)) for _, value in flatten(self.document["attributes"]))
        return found

    def of(self, field: Field | None) -> list[str]:
        """The texts of a field; of no field, those of a bare word."""
        if field is None:
            return self.anywhere
        return [self.message] if field == MESSAGE else field_texts(self.document, field)


_Compiled = Callable[[Texts], bool]


def _compile(node: Node) -> _Compiled:
    match node:
        case Everything():
            return lambda _: True
        case Nothing():
            return lambda _: False
        case And(children=children):
            tests = [_compile(child) for child in children]
            return lambda texts: all(test(texts) for test in tests)
        case Or(children=children):
            tests = [_compile(child) for child in children]
            return lambda texts: any(test(texts) for test in tests)
        case Not(child=child):
            test = _compile(child)
            return lambda texts: not test(texts)
        case _:
            return _compile_leaf(node)


def _compile_leaf(node: Node) -> _Compiled:
    match node:
        case Words() | Pattern() | Regex() | Fuzzy():
            field = MESSAGE if isinstance(node, Fuzzy) else node.field
            of_text = text_test(node)
            return lambda texts: any(map(of_text, texts.of(field)))
        case Equals() | NumberRange():
            of_value, exact = value_test(node), node.field
            return lambda texts: any(map(of_value, field_values(texts.document, exact)))
        case TimeRange():
            return _time_test(node)
        case Exists(field=wanted):
            return lambda texts: any(True for _ in field_values(texts.document, wanted))
        case Ids(ids=ids):
            return lambda texts: texts.document["event_id"] in ids
        case _:
            raise TypeError(f"{type(node).__name__} has no meaning without the annotations of a case.")


def _time_test(node: TimeRange) -> _Compiled:
    def test(texts: Texts) -> bool:
        moment = texts.document["timestamp"]
        return (
            moment is not None
            and (node.lower is None or moment >= node.lower)
            and (node.upper is None or moment <= node.upper)
        )

    return test


def _range_test(node: NumberRange) -> Callable[[Any], bool]:
    lower = None if node.lower is None else float(node.lower)
    upper = None if node.upper is None else float(node.upper)

    def test(value: Any) -> bool:
        plain = value_number(value)
        if plain is None:
            return False
        held = float(plain)
        if lower is not None and (held < lower or (held == lower and not node.include_lower)):
            return False
        return not (upper is not None and (held > upper or (held == upper and not node.include_upper)))

    return test


#: Between two words of a joined text; no word holds it.
_GAP: Final = " "


def phrase_test(wanted: Sequence[str], slop: int = 0) -> Test:
    """Return the test that a folded text holds these folded words in this order.

    At most `slop` others stand in between, all gaps taken together.
    """
    rarest = max(wanted, key=len)  # a substring search rules most texts out before they are split
    if len(wanted) == 1:
        return lambda text: rarest in text and rarest in split(text)
    if slop == 0:
        phrase = f"{_GAP}{_GAP.join(wanted)}{_GAP}"
        return lambda text: rarest in text and phrase in f"{_GAP}{_GAP.join(split(text))}{_GAP}"
    return lambda text: rarest in text and _loosely(split(text), wanted, slop)


def _loosely(held: Sequence[str], wanted: Sequence[str], slop: int) -> bool:
    """For each beginning of the phrase, the latest start that leads to it is all that counts."""
    places: dict[str, list[int]] = {}
    for place, word in enumerate(wanted):
        places.setdefault(word, []).insert(0, place)
    starts: list[int | None] = [None] * len(wanted)
    for at, word in enumerate(held):
        for place in places.get(word, ()):
            start = at if place == 0 else starts[place - 1]
            starts[place] = start
            if place == len(wanted) - 1 and start is not None and at - start - place <= slop:
                return True
    return False


def _fuzzy_test(word: str, edits: int) -> Test:
    return lambda text: any(within_edits(word, held, edits) for held in split(text))


def within_edits(left: str, right: str, edits: int) -> bool:
    """Say whether at most so many edits make one word the other.

    An edit inserts, drops or changes a character, or swaps two neighbours, none touched twice
    (optimal string alignment).
    """
    if abs(len(left) - len(right)) > edits:
        return False
    before: list[int] = []
    above = list(range(len(right) + 1))
    for i, char in enumerate(left, 1):
        row = [i, *[edits + 1] * len(right)]
        for j in range(max(1, i - edits), min(len(right), i + edits) + 1):
            row[j] = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (char != right[j - 1]))
            if i > 1 and j > 1 and char == right[j - 2] and left[i - 2] == right[j - 1]:
                row[j] = min(row[j], before[j - 2] + 1)
        if min(row) > edits:
            return False
        before, above = above, row
    return above[-1] <= edits
