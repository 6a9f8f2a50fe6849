"""What a pattern or expression surely needs: pieces of words that rule most events out.

Nothing here decides; it only narrows down what `matching` then tests.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import regex

from cases.index.text import fold
from cases.index.tree import Pattern, Regex, Wildcard

_WORD: Final = regex.compile(r"[\p{Alphabetic}\p{N}]+")
_CLASS: Final = re.compile(r"\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]", re.DOTALL)
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Fragment:
    """A run of word characters; where it is not open, the word begins or ends with it."""

    text: str
    open_left: bool
    open_right: bool

    @property
    def whole(self) -> bool:
        """Whether it is a whole word."""
        return not (self.open_left or self.open_right)


@lru_cache(maxsize=1024)  # the same in every part
def fragments(node: Pattern | Regex, *, covers: bool) -> tuple[Fragment, ...]:
    """Return pieces of words that a text must have to meet the node.

    With `covers` the node covers the whole text, so that its ends are ends of words.
    """
    if isinstance(node, Regex):
        pieces = [(literal, True, True) for literal in _literals(node.source)]
    else:
        last = len(node.parts) - 1
        pieces = [
            (fold(part), not (covers and at == 0), not (covers and at == last))
            for at, part in enumerate(node.parts)
            if not isinstance(part, Wildcard)
        ]
    return tuple(
        fragment for literal, left, right in pieces for fragment in _split(literal, left=left, right=right)
    )


def _split(literal: str, *, left: bool, right: bool) -> Iterator[Fragment]:
    for match in _WORD.finditer(literal):
        yield Fragment(
            match[0],
            open_left=left and match.start() == 0,
            open_right=right and match.end() == len(literal),
        )


def _literals(source: str) -> list[str]:
    """Return folded literals that every match of an expression holds; when in doubt, fewer."""
    source = unicodedata.normalize("NFC", _SURROGATES.sub("\ufffd", source))
    if "\\Q" in source or "(?" in source:
        return []
    found: list[str] = []
    run: list[str] = []
    at = 0
    while at < len(source):
        if source[at] == "|":  # outside of any group: nothing is surely needed
            return []
        step, char = _next(source, at)
        after = source[at + step : at + step + 1]
        if char is not None and after not in ("?", "*", "{"):
            run.append(char)
            at += step
            if after != "+":
                continue
            at += 1
        else:
            at += step
        found.append("".join(run))  # a run ends at whatever may be something else
        run = []
    found.append("".join(run))
    return [fold(literal) for literal in found if literal]


def _next(source: str, at: int) -> tuple[int, str | None]:
    """Return how long the piece at a place is, and the character it stands for, if it is one."""
    char = source[at]
    if char == "\\":
        escaped = source[at + 1 : at + 2]
        return (2, escaped) if escaped and not escaped.isalnum() else (_escape_length(source, at), None)
    if char == "[":
        match = _CLASS.match(source, at)
        return (len(match[0]) if match else len(source) - at), None
    if char == "(":
        return _group_length(source, at), None
    if char == "{":
        end = source.find("}", at)
        return (end - at + 1 if end > 0 else 1), None
    return (1, None) if char in ".^$*+?)" else (1, char)


def _escape_length(source: str, at: int) -> int:
    match = re.compile(r"\\(?:x\{[^}]*\}|x..|[pP]\{[^}]*\}|[pP].|[0-7]{1,3}|.)", re.DOTALL).match(source, at)
    return len(match[0]) if match else 2


def _group_length(source: str, at: int) -> int:
    """The length of a group with all that is in it: whether it must occur is not looked into."""
    depth, end = 0, at
    while end < len(source):
        if source[end] == "\\":
            end += 1
        elif source[end] == "[":
            match = _CLASS.match(source, end)
            end += len(match[0]) - 1 if match else 0
        elif source[end] == "(":
            depth += 1
        elif source[end] == ")":
            depth -= 1
            if depth == 0:
                return end - at + 1
        end += 1
    return len(source) - at
