"""Which stretches of a message a query was looking for, so that a page can mark them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import regex

from cases.index.text import fold, words
from cases.index.tree import MESSAGE, And, Node, Or, Pattern, Words

_WORD: Final = regex.compile(r"[\p{Alphabetic}\p{N}]+")
#: Literals of a wildcard pattern shorter than this would be marked all over the place.
_SHORTEST: Final = 2


@dataclass(frozen=True, slots=True)
class Sought:
    """What a query wants in a message: runs of folded words, and folded texts."""

    phrases: frozenset[tuple[str, ...]]
    literals: frozenset[str]


def sought(query: Node) -> Sought:
    """Return what a checked query looks for; what it excludes is no part of it."""
    phrases: set[tuple[str, ...]] = set()
    literals: set[str] = set()
    for node in _wanted(query):
        if isinstance(node, Words):
            found = tuple(words(node.text))
            phrases.update([(word,) for word in found] if node.slop else [found])
        elif isinstance(node, Pattern) and node.field == MESSAGE:
            texts = [fold(part) for part in node.parts if isinstance(part, str)]
            literals.update(text for text in texts if len(text) >= _SHORTEST)
    return Sought(frozenset(phrases), frozenset(literals))


def stretches(text: str, wanted: Sought) -> Iterator[tuple[str, bool]]:
    """Yield the text in pieces, each with whether it was sought; together they are the text."""
    at = 0
    for start, end in _merged(sorted([*_phrases(text, wanted), *_literals(text, wanted)])):
        if at < start:
            yield text[at:start], False
        yield text[start:end], True
        at = end
    if at < len(text):
        yield text[at:], False


def _wanted(query: Node) -> Iterator[Node]:
    waiting = [query]
    while waiting:
        node = waiting.pop()
        if isinstance(node, And | Or):
            waiting.extend(node.children)
        else:
            yield node


def _phrases(text: str, wanted: Sought) -> Iterator[tuple[int, int]]:
    if not wanted.phrases:
        return
    spans = [match.span() for match in _WORD.finditer(text)]
    read = [fold(text[start:end]) for start, end in spans]
    lengths = sorted({len(phrase) for phrase in wanted.phrases})
    for first in range(len(read)):
        for length in lengths:
            phrase = tuple(read[first : first + length])
            if phrase in wanted.phrases:
                yield spans[first][0], spans[first + len(phrase) - 1][1]


def _literals(text: str, wanted: Sought) -> Iterator[tuple[int, int]]:
    folded = fold(text)
    if len(folded) != len(text):
        return  # composed on folding, so places in one are not places in the other
    for literal in wanted.literals:
        at = folded.find(literal)
        while at >= 0:
            yield at, at + len(literal)
            at = folded.find(literal, at + len(literal))


def _merged(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    open_start, open_end = -1, -1
    for start, end in spans:
        if start > open_end:
            if open_end >= 0:
                yield open_start, open_end
            open_start, open_end = start, end
        else:
            open_end = max(open_end, end)
    if open_end >= 0:
        yield open_start, open_end
