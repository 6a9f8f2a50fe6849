"""How text, numbers and bags of attributes are read, for queries and documents alike.

One meaning for every engine: what is stored in an index and what is asked of it pass through
the same functions.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import orjson
import regex

_WORD: Final = regex.compile(r"[\p{Alphabetic}\p{N}]+")
_NUMBER: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?", re.ASCII)


def _simple_fold(char: str) -> str:
    """Unicode simple case folding of one character (CaseFolding.txt, statuses C and S)."""
    folded = char.casefold()
    if len(folded) == 1:
        return folded
    lowered = char.lower()  # where full folding grows, S is the lower case letter, if it is one
    return lowered if len(lowered) == 1 else char


#: Characters that `str.casefold` does not fold one for one, and the lone surrogates.
_IRREGULAR: Final = {
    char: _simple_fold(char)
    for char in map(chr, range(0x80, 0x20000))  # no letter with case lies beyond the first planes
    if len(char.casefold()) > 1
} | {chr(code): "\ufffd" for code in range(0xD800, 0xE000)}
_SPLIT: Final = re.compile(f"([{''.join(_IRREGULAR)}])")

#: Runs of marks, long enough to matter, that normalization has to put in order; beside those
#: with a combining class, the three starters that decompose into such marks.
_MARKS: Final = re.compile(
    f"[{''.join(char for char in map(chr, range(0x300, 0x20000)) if unicodedata.combining(char))}"
    "\u0f73\u0f75\u0f81]{32,}"
)


def _in_order(marks: re.Match[str]) -> str:
    decomposed = "".join(unicodedata.normalize("NFD", mark) for mark in marks[0])
    return "".join(sorted(decomposed, key=unicodedata.combining))


def normalize(text: str) -> str:
    """Return the text in NFC, in linear time.

    The standard library orders a run of n marks in n * n steps, half an hour for a megabyte
    that somebody prepared; in order before, it takes n.
    """
    if unicodedata.is_normalized("NFC", text):
        return text
    return unicodedata.normalize("NFC", _MARKS.sub(_in_order, text))


def fold(text: str) -> str:
    """Return the text as it is compared: NFC, simple case folding, one character for one.

    A lone surrogate, which no index can hold, is compared as U+FFFD.
    """
    if text.isascii():
        return text.lower()
    pieces = _SPLIT.split(normalize(text))
    pieces[::2] = [piece.casefold() for piece in pieces[::2]]
    pieces[1::2] = [_IRREGULAR[piece] for piece in pieces[1::2]]
    return normalize("".join(pieces))  # a long s with a dot below composes once it is an s


def split(folded: str) -> list[str]:
    """Return the words of a folded text: runs of characters Alphabetic or of category N."""
    found: list[str] = _WORD.findall(folded)
    return found


def words(text: str) -> list[str]:
    """Return the folded words of a text."""
    return split(fold(text))


def number(text: str) -> str | None:
    """Return the canonical decimal of a text that reads as a number, else None.

    An optional minus, ASCII digits, at most one decimal part: "007" and "7.0" are "7",
    "7e0" is no number. Exact at any size.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, whole, fraction = match.groups()
    whole = whole.lstrip("0") or "0"
    fraction = (fraction or "").rstrip("0")
    digits = f"{whole}.{fraction}" if fraction else whole
    return digits if digits == "0" else sign + digits


def value_text(value: Any) -> str:
    """Return a scalar as text: a text itself, a number or boolean in its JSON form."""
    if isinstance(value, str):
        return value
    return dump(value).decode().lstrip()


def value_number(value: Any) -> str | None:
    """Return the canonical decimal of a JSON number or of a text that reads as one.

    1e22 is 10000000000000000000000 when it came as a number, and text when it came as text.
    """
    if isinstance(value, str):
        return number(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    plain = repr(value)
    return number(plain) or number(format(Decimal(plain), "f"))


def flatten(attributes: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, scalar) of every value in the bag, lists flattened, null left out."""
    for name, value in attributes.items():
        if isinstance(value, dict | list):
            yield from _flatten(name, value)
        elif value is not None:
            yield name, value


def _flatten(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    waiting = [(name, value)]  # a stack of ours: JSON nests deeper than calls may
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{name}.{inner}", held) for inner, held in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(name, element) for element in reversed(value)]
        elif value is not None:
            yield name, value


def dump(value: Any) -> bytes:
    """Return JSON in UTF-8 that `load` reads back unchanged.

    What orjson cannot carry (lone surrogates, integers beyond 64 bits) is written by the
    standard library in ASCII escapes, behind a space that tells `load`.
    Raises TypeError for what JSON cannot hold.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return b" " + json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def load(data: bytes) -> Any:
    """Return the value of JSON written by `dump`."""
    return json.loads(data) if data[:1] == b" " else orjson.loads(data)
