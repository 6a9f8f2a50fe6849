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
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def _simple_fold(char: str) -> str:
    """Unicode simple case folding of one character (CaseFolding.txt, statuses C and S)."""
    folded = char.casefold()
    if len(folded) == 1:
        return folded
    lowered = char.lower()  # where full folding grows, S is the lower case letter, if it is one
    return lowered if len(lowered) == 1 else char


_FOLDING: Final = {
    code: folded
    for code in range(0x20000)  # no letter with case lies beyond the first two planes
    if (char := chr(code)) != (folded := _simple_fold(char))
}


def fold(text: str) -> str:
    """Return the text as it is compared: NFC, simple case folding, one character for one.

    A lone surrogate, which no index can hold, is compared as U+FFFD.
    """
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFC", text)
    return _SURROGATES.sub("\ufffd", text).translate(_FOLDING)


def words(text: str) -> list[str]:
    """Return the folded words: runs of characters that are Alphabetic or of category N."""
    found: list[str] = _WORD.findall(fold(text))
    return found


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
        yield from _flatten(name, value)


def _flatten(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for inner, held in value.items():
            yield from _flatten(f"{name}.{inner}", held)
    elif isinstance(value, list):
        for element in value:
            yield from _flatten(name, element)
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
