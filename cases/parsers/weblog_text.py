"""What the fields of access logs have in common: quoted text, requests, numbers."""

from __future__ import annotations

import re
from typing import Any, Final

#: A quoted text in which a backslash protects what follows it; linear.
QUOTED: Final = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN: Final = re.compile(rf"({QUOTED})(?= |$)|(\[[^\]\s]*\])|(\S+)", re.DOTALL)
_PROTOCOL: Final = re.compile(r"[A-Z]{2,8}/[0-9](?:\.[0-9])?")
_METHOD: Final = re.compile(r"[A-Za-z_-]{1,32}")
#: A number that JSON readers everywhere keep exactly.
_LARGEST: Final = 18


def tokens(text: str) -> list[str]:
    """Split at spaces, but not within quotes; the quotes are dropped."""
    return [quoted[1:-1] if quoted else bracketed or bare for quoted, bracketed, bare in _TOKEN.findall(text)]


def number(text: str) -> int | None:
    """Return a whole number as written, else None."""
    digits = text.removeprefix("-")
    if digits.isdecimal() and digits.isascii() and len(digits) <= _LARGEST:
        return int(text)
    return None


def is_given(text: str | None) -> bool:
    """Say whether a field holds something; a dash stands for nothing."""
    return text not in (None, "", "-")


def split_request(request: str, attributes: dict[str, Any]) -> str:
    """Add method, path, query and protocol of a request line; return it for people.

    What is no request line (scans of other protocols, binary) stays whole as `request`.
    """
    method, space, rest = request.partition(" ")
    target, _, protocol = rest.rpartition(" ")
    if not target or not _PROTOCOL.fullmatch(protocol):
        target, protocol = rest, ""
    if not space or not _METHOD.fullmatch(method) or not target:
        if is_given(request):
            attributes["request"] = request
        return request
    attributes["method"] = method
    split_target(target, attributes)
    if protocol:
        attributes["protocol"] = protocol
    return f"{method} {target}"


def split_target(target: str, attributes: dict[str, Any]) -> None:
    """Add path and query of what was asked for."""
    path, mark, query = target.partition("?")
    attributes["path"] = path
    if mark:
        attributes["query"] = query


def summary(*parts: Any) -> str:
    """Return the parts that are there as one line for people."""
    return " ".join(str(part) for part in parts if part is not None and is_given(str(part)))
