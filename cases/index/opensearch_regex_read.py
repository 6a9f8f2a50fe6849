"""An RE2 expression as parts: characters, anchors, rows, choices and repetitions.

What a class of characters matches is asked of RE2 itself and written down in Lucene's syntax, so
that both read it alike.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import re2

from cases.index.text import fold

#: Open groups beyond which an expression is not translated.
_DEPTH: Final = 60
#: Ranges of one class beyond which an expression is not translated.
_RANGES: Final = 800

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_REPEAT: Final = re.compile(r"\{(\d+)(,(\d*))?\}", re.ASCII)
_CLASS: Final = re.compile(r"\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]", re.DOTALL)
_QUOTED: Final = re.compile(r"\\Q(.*?)(?:\\E|\Z)", re.DOTALL)
_GROUP: Final = re.compile(r"\((?:\?:|\?P?<\w+>)?")
_CODED: Final = re.compile(r"\\(?:x\{([0-9A-Fa-f]+)\}|x([0-9A-Fa-f]{2})|([0-7]{1,3}))")
_CATEGORY: Final = re.compile(r"\\(?:[pP]\{\^?\w+\}|[pP]\w|[dDsSwW])")
_SIGNS: Final = {"a": "\a", "f": "\f", "t": "\t", "n": "\n", "r": "\r", "v": "\v"}
_ANCHORS: Final = {"A": "begin", "z": "end", "b": "boundary", "B": "inside"}
_WORD: Final = "0-9A-Za-z_"
_SPECIAL: Final = re.compile(r"[!-/:-@\[-`{-~]")


class Untranslatable(ValueError):
    """Lucene cannot say this."""


@dataclass(frozen=True, slots=True)
class One:
    """One character out of a class, written in Lucene's syntax; `char` where it is a single one.

    `word` says whether all of its members are \\w (True), none is (False), or some are (None).
    """

    text: str
    char: str | None
    word: bool | None


@dataclass(frozen=True, slots=True)
class Anchor:
    """A place of no width: "begin", "end", "boundary" or "inside"."""

    kind: str


@dataclass(frozen=True, slots=True)
class Row:
    """One after the other."""

    items: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several."""

    branches: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """Again and again; `most` None is without end."""

    item: Part
    least: int
    most: int | None


Part = One | Anchor | Row | Choice | Repeat


def quote(text: str) -> str:
    """Return Lucene's expression for a text itself."""
    return _SPECIAL.sub(lambda sign: f"\\{sign[0]}", text)


@lru_cache(maxsize=256)
def read(source: str) -> Part:
    """Return the parts of an expression that RE2 has taken. Raises Untranslatable."""
    reader = _Reader(unicodedata.normalize("NFC", _SURROGATES.sub("\ufffd", source)))
    found = reader.choice(0)
    if reader.at < len(reader.source):
        raise Untranslatable("a bracket too many")
    return found


class _Reader:
    """Reads an expression that RE2 has taken, by recursive descent."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0

    def choice(self, depth: int) -> Part:
        if depth > _DEPTH:
            raise Untranslatable("too many groups")
        branches = [self._row(depth)]
        while self.source.startswith("|", self.at):
            self.at += 1
            branches.append(self._row(depth))
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def _row(self, depth: int) -> Part:
        items: list[Part] = []
        while self.at < len(self.source) and self.source[self.at] not in "|)":
            read = self._items(depth)
            if read:
                items += [*read[:-1], self._repeated(read[-1])]
        return items[0] if len(items) == 1 else Row(tuple(items))

    def _repeated(self, item: Part) -> Part:
        while self.at < len(self.source):
            sign = self.source[self.at]
            bounds = _REPEAT.match(self.source, self.at) if sign == "{" else None
            if bounds:
                least, most = int(bounds[1]), int(bounds[1])
                self.at = bounds.end()
                limit = most if bounds[2] is None else int(bounds[3]) if bounds[3] else None
                item = Repeat(item, least, limit)
            elif sign in "*+?":
                self.at += 1
                item = Repeat(item, int(sign == "+"), 1 if sign == "?" else None)
            else:
                break
            if self.source.startswith("?", self.at):  # reluctant: finds the same texts
                self.at += 1
        return item

    def _items(self, depth: int) -> list[Part]:
        """Read what one piece of syntax stands for; only a quoted run is several."""
        source, at = self.source, self.at
        sign = source[at]
        if sign == "\\":
            return self._escaped()
        if sign == "[":
            match = _CLASS.match(source, at)
            if match is None:
                raise Untranslatable("a class without end")
            self.at = match.end()
            return [_class(match[0])]
        if sign == "(":
            match = _GROUP.match(source, at)
            self.at = match.end() if match else at + 1
            inside = self.choice(depth + 1)
            self.at += 1
            return [inside]
        self.at += 1
        match sign:
            case ".":
                return [One("[^\n]", None, None)]
            case "^":
                return [Anchor("begin")]
            case "$":
                return [Anchor("end")]
            case _:
                return [_char(sign)]

    def _escaped(self) -> list[Part]:
        source, at = self.source, self.at
        if match := _QUOTED.match(source, at):
            self.at = match.end()
            return [_char(char) for char in match[1]]
        if match := _CODED.match(source, at):
            self.at = match.end()
            code = int(match[1] or match[2], 16) if match[1] or match[2] else int(match[3], 8)
            return [_char(chr(code))]
        if match := _CATEGORY.match(source, at):
            self.at = match.end()
            return [_class(match[0])]
        sign = source[at + 1 : at + 2]
        self.at += 2
        if sign in _ANCHORS:
            return [Anchor(_ANCHORS[sign])]
        if sign in _SIGNS:
            return [_char(_SIGNS[sign])]
        if not sign or sign.isalnum():
            raise Untranslatable("an unknown escape")
        return [_char(sign)]


def _char(char: str) -> One:
    if char.isascii():  # of its class, Kelvin sign and long s are never in a folded text
        return _single(char.lower())
    if "\ud800" <= char <= "\udfff":
        raise Untranslatable("no text holds this")
    found = _class(f"\\x{{{ord(char):x}}}")
    return _single(fold(char)) if found.char is None and len(fold(char)) == 1 else found


def _single(char: str) -> One:
    return One(quote(char), char, char.isascii() and (char.isalnum() or char == "_"))


@lru_cache(maxsize=512)
def _class(source: str) -> One:
    """Ask RE2 which characters a class matches, and write them down."""
    spans = _members(source)
    if not spans or len(spans) > _RANGES:
        raise Untranslatable("a class of no or very many characters")
    if len(spans) == 1 and spans[0][0] == spans[0][1]:
        return _single(chr(spans[0][0]))
    listed = "".join(_listed(low, high) for low, high in spans)
    words = sum(
        min(high, top) - max(low, bottom) + 1
        for low, high in spans
        for bottom, top in _WORD_SPANS
        if max(low, bottom) <= min(high, top)
    )
    size = sum(high - low + 1 for low, high in spans)
    return One(f"[{listed}]", None, True if words == size else False if words == 0 else None)


def _listed(low: int, high: int) -> str:
    """Write a range; a sign that needs a backslash may stand at none of its ends."""
    before = after = ""
    while low <= high and chr(low) in _SIGNS_OF_CLASS:
        before += f"\\{chr(low)}"
        low += 1
    while low <= high and chr(high) in _SIGNS_OF_CLASS:
        after += f"\\{chr(high)}"
        high -= 1
    if low > high:
        return before + after
    return before + (chr(low) if low == high else f"{chr(low)}-{chr(high)}") + after


_SIGNS_OF_CLASS: Final = frozenset('\\]["^-')
_WORD_SPANS: Final = ((48, 57), (65, 90), (95, 95), (97, 122))


@lru_cache(maxsize=1)
def _every_character() -> bytes:
    text = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000))))
    return text.encode()


def _members(source: str) -> list[tuple[int, int]]:
    """Return the ranges of the code points a class matches, as far as a folded text may have them."""
    encoded = _every_character()
    spans: list[tuple[int, int]] = []
    for match in _program(source).finditer(encoded):
        run = match.group(0).decode()
        low, high = ord(run[0]), ord(run[-1])
        if len(run) != high - low + 1:  # across the surrogates, which no text has
            spans += [(low, 0xD7FF), (0xE000, high)]
        else:
            spans.append((low, high))
    return _without_kelvin(spans)


def _without_kelvin(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Leave out the two signs that belong to k and s and are never in a folded text."""
    return [span for span in spans if span not in ((0x17F, 0x17F), (0x212A, 0x212A))] or spans


def _program(source: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    options.never_capture = True
    return re2.compile(f"(?:{source})+".encode(), options)
