"""Which password hashes of the old system can be checked here: those that the bcrypt library takes."""

from __future__ import annotations

from typing import Final

#: What Django wants before a hash, to know its algorithm.
PREFIX: Final = "bcrypt$"
_LETTERS: Final = "[./A-Za-z0-9]"


def is_bcrypt(vendor: str, column: str = "hashed_password") -> str:
    """Return an SQL condition: a raw bcrypt hash of 4 to 31 rounds, with a salt of whole bytes.

    The library raises for any other, so those must not look as if they could be checked.
    """
    if vendor == "postgresql":
        pattern = rf"^\$2[abxy]\$(0[4-9]|[12][0-9]|3[01])\${_LETTERS}{{21}}[.Oeu]{_LETTERS}{{31}}$"
        return f"{column} ~ '{pattern}'"
    pattern = f"$2[abxy]$[0-3][0-9]${_LETTERS * 21}[.Oeu]{_LETTERS * 31}"
    return f"({column} GLOB '{pattern}' AND substr({column}, 5, 2) BETWEEN '04' AND '31')"
