"""JSON objects from hostile bytes, with nothing lost: numbers of any size, names that stand twice.

The standard library reads; RFC 8259 leaves open what it does not say here.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from json.scanner import make_scanner
from typing import Any, Final

#: Objects and lists one inside another; no index and no reader needs more.
DEPTH_LIMIT: Final = 100
#: Digits of an integer that the standard library reads (sys.set_int_max_str_digits).
_DIGITS: Final = 4300
_TOKENS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.DOTALL)
_SPACE: Final = " \t\r\n"
_ERRORS: Final = "datamortem.json"


def _escape_again(error: UnicodeError) -> tuple[str, int]:
    """Keep bytes that are no UTF-8 as \\xNN, which inside JSON needs its backslash twice."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(f"\\\\x{byte:02x}" for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_ERRORS, _escape_again)


class ObjectReader:
    """Reads one JSON object after another; `repeated` holds the names that stood twice in the last.

    What a float cannot hold (NaN, Infinity, 1e999, digits beyond its precision) is kept as the text
    that was written. A second value under one name is kept under "name (2)".
    """

    def __init__(self) -> None:
        self.repeated: list[str] = []
        self._scan = self._scanner(None)
        self._scan_long = self._scanner(_long_integer)

    def _scanner(self, parse_int: Any) -> Callable[[str, int], tuple[Any, int]]:
        decoder = json.JSONDecoder(
            object_pairs_hook=self._pairs,
            parse_float=_float,
            parse_int=parse_int,
            parse_constant=str,
            strict=False,  # control characters stand in texts as they are: many programs write so
        )
        scan: Callable[[str, int], tuple[Any, int]] = make_scanner(decoder)  # type: ignore[arg-type]
        return scan

    def read(self, raw: bytes) -> dict[str, Any]:
        """Return the object. Raises ValueError with a reason that holds nothing of the content."""
        self.repeated.clear()
        if raw.count(b"{") + raw.count(b"[") > DEPTH_LIMIT and _depth_exceeds(raw, DEPTH_LIMIT):
            raise ValueError(f"JSON nested deeper than {DEPTH_LIMIT} levels.")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw.decode("utf-8", _ERRORS)
        try:
            value = self._value(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"No JSON: {error.msg} at character {error.pos + 1}.") from error
        if not isinstance(value, dict):
            raise ValueError(f"JSON, but no object: {_KINDS.get(type(value), 'a number')}.")
        return value

    def _value(self, text: str) -> Any:
        text = text.strip(_SPACE)
        try:
            value, end = self._scan(text, 0)
        except StopIteration as stop:
            raise json.JSONDecodeError("Expecting value", text, stop.value) from None
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer of more than 4,300 digits
            self.repeated.clear()
            value, end = self._scan_long(text, 0)
        if end != len(text):
            raise json.JSONDecodeError("Extra data", text, end)
        return value

    def _pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        return found if len(found) == len(pairs) else self._keep_all(pairs)

    def _keep_all(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        counts: dict[str, int] = {}
        names = {name for name, _ in pairs}
        for name, value in pairs:
            free = name
            if name in found:
                self.repeated.append(name)
                number = counts.get(name, 1)
                while free in names or free in found:
                    number += 1
                    free = f"{name} ({number})"
                counts[name] = number
            found[free] = value
        return found


_KINDS: Final = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}


def _float(text: str) -> float | str:
    value = float(text)
    if math.isinf(value):
        return text
    if len(text) > 17:
        try:
            if Decimal(text) != Decimal(repr(value)):
                return text
        except InvalidOperation:
            return text
    return value


def _long_integer(text: str) -> int | str:
    return int(text) if len(text) <= _DIGITS else text


def _depth_exceeds(raw: bytes, limit: int) -> bool:
    depth = 0
    for match in _TOKENS.finditer(raw):
        first = match[0][:1]
        if first in b"{[":
            depth += 1
            if depth > limit:
                return True
        elif first in b"}]":
            depth -= 1
    return False
