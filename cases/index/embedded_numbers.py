"""Ranges of integers as expressions over their keys in the index; see `embedded_terms.integer_key`."""

from __future__ import annotations

import math

from cases.index.embedded_terms import integer_key


def first_integer(bound: float, *, included: bool) -> int:
    """Return the least integer at or above (beyond, unless included) a bound, kept within 64 bits."""
    bound = min(max(bound, -1e18), 1e18)
    whole = math.ceil(bound)
    return whole + 1 if not included and whole == bound else whole


def digit_ranges(lower: int, upper: int) -> list[str]:
    """Return expressions that together cover the keys of the integers in a range."""
    found = []
    while lower <= upper:
        digits = str(lower)
        top = min(upper, 10 ** len(digits) - 1)
        # The largest block of the form "prefix, then any digits" that begins at `lower`.
        free = 0
        while (
            free + 1 < len(digits) and lower % 10 ** (free + 1) == 0 and lower + 10 ** (free + 1) - 1 <= top
        ):
            free += 1
        block = 10**free
        if 1 < len(digits) == free + 1 and lower == 10**free and top == 10 ** len(digits) - 1:
            found.append(f"{integer_key(digits)[0]}[0-9]{{{len(digits)}}}")
            lower = top + 1
            continue
        found.append(integer_key(digits)[: len(digits) + 1 - free] + "[0-9]" * free)
        lower += block
    return found
