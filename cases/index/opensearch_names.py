"""What an installation calls its indices on a search server: hexadecimal digits, never a user's text.

    dm-IIIIIIIICCCCCCCCCCCCCCCCCCCCCCCC         the alias that a case is read through
    dm-IIIIIIIICCCCCCCCCCCCCCCCCCCCCCCC-000001  one generation of its index
    …-w000001                                    the alias that this generation is written through
    …-v000007                                    the alias that marks the state the seventh change left

I tells the installation, C the case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

_NAME: Final = re.compile(r"dm-[0-9a-f]{32}(?:-[wv]?[0-9]{6,12})?", re.ASCII)
_NUMBER: Final = re.compile(r".*-[wv]?([0-9]+)", re.ASCII)


class Names:
    """The names of one installation. Raises ValueError without a namespace."""

    def __init__(self, namespace: str) -> None:
        if not namespace:
            raise ValueError("An installation has no name on the search server.")
        self._namespace = namespace

    def alias(self, case_id: str) -> str:
        """Return the alias that a case is read through."""
        return f"{_stem(self._namespace)}{_hex(self._namespace, case_id)[:24]}"

    def scratch(self) -> str:
        """Return a name that no case has, for the engine's own trials."""
        return f"{_stem(self._namespace)}{_hex(self._namespace, '', 'scratch')[:24]}"


def pattern(namespace: str) -> str:
    """Return the pattern of all that an installation has on the server, for who clears it away."""
    return f"{_stem(namespace)}*"


def index(alias: str, generation: int) -> str:
    """Return the name of a generation of the index of a case."""
    return f"{alias}-{generation:06d}"


def writing(alias: str, generation: int) -> str:
    """Return the alias that a generation is written through: without its index it is nothing."""
    return f"{alias}-w{generation:06d}"


def marker(alias: str, version: int) -> str:
    """Return the alias that marks a state of the case."""
    return f"{alias}-v{version:06d}"


def is_marker(name: str) -> bool:
    """Say whether an alias marks a state."""
    return "-v" in name


def number_of(name: str) -> int:
    """Return the generation or the version that a name ends with."""
    match = _NUMBER.fullmatch(name)
    return int(match[1]) if match else 0


def checked(names: str | Iterable[str]) -> str:
    """Return names as a request carries them. Raises ValueError for any other, and for none.

    The one wall between our requests and what belongs to others: no pattern, no list in a name,
    no empty name (which a server takes for everything).
    """
    given = [names] if isinstance(names, str) else list(names)
    if not given or not all(_NAME.fullmatch(name) for name in given):
        raise ValueError("This is no name of an index of ours.")
    return ",".join(given)


def _stem(namespace: str) -> str:
    return f"dm-{_hex(namespace)[:8]}"


def _hex(*parts: str) -> str:
    return sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
