"""Compare tables as they are with tables as they should be."""

from __future__ import annotations

from collections.abc import Mapping

from datamortem.revisions.live.tables import Difference, Table


def compare(vendor: str, expected: Mapping[str, Table], actual: Mapping[str, Table]) -> list[Difference]:
    """Return the differences of the tables in `expected`, table by table; the worst do not come first.

    The order of columns is no difference, nor are the names of indexes and constraints.
    """
    raise NotImplementedError
