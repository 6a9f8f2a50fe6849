"""What the address of a timeline page asks for, and the addresses that ask something else.

The parameters are those of the API: `q, from, to, evidence, source, ordering, limit, cursor`.
What does not make sense is refused, never dropped: a filter that goes missing widens a search.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Self
from urllib.parse import urlencode

from django.http import QueryDict

from cases.search import PAGE_LIMIT
from datamortem.common.errors import Invalid

PAGE: Final = 50
_ONE: Final = ("q", "from", "to", "ordering", "limit", "cursor")
_MANY: Final = ("evidence", "source")
_ORDERINGS: Final = ("timestamp", "-timestamp")

#: What needs no quotes in a query.
_BARE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
_WORDS: Final = ("AND", "OR", "NOT", "TO")


@dataclass(frozen=True, slots=True)
class Asked:
    """A search as typed. `ordering` and `limit` have been checked, the rest is `search.frame`'s."""

    q: str = ""
    start: str = ""
    end: str = ""
    evidence: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    newest_first: bool = True
    limit: int = PAGE
    cursor: str = ""

    @classmethod
    def read(cls, given: QueryDict) -> tuple[Self, Invalid | None]:
        """Return what is asked, and what of it is refused, if anything."""
        asked = cls(
            q=given.get("q", ""),
            start=given.get("from", "").strip(),
            end=given.get("to", "").strip(),
            evidence=tuple(value for value in given.getlist("evidence") if value),
            source=tuple(value for value in given.getlist("source") if value),
            newest_first=given.get("ordering") != "timestamp",
            limit=_number(given.get("limit", "")),
            cursor=given.get("cursor", ""),
        )
        return asked, next(_refusals(given), None)

    def but(self, **changes: Any) -> Self:
        """Return the same search with something else, from its first page."""
        return replace(self, **{"cursor": "", **changes})

    def pairs(self) -> list[tuple[str, str]]:
        """Return the parameters of the search itself, as the API takes them too."""
        found = [("q", self.q), ("from", self.start), ("to", self.end)]
        found += [("evidence", value) for value in self.evidence]
        found += [("source", value) for value in self.source]
        return [(name, value) for name, value in found if value]

    def address(self) -> str:
        """Return the query string that asks this, with its question mark; "?" when it asks nothing."""
        pairs = self.pairs()
        if not self.newest_first:
            pairs.append(("ordering", "timestamp"))
        if self.limit != PAGE:
            pairs.append(("limit", str(self.limit)))
        if self.cursor:
            pairs.append(("cursor", self.cursor))
        # A lone surrogate has no place in an address; what it would name is shown, not linked.
        return "?" + urlencode(pairs, errors="replace")

    def export(self, form: str) -> str:
        """Return the query string for the API's export of everything that matches."""
        return "?" + urlencode([("format", form), *self.pairs()], errors="replace")

    def narrowed(self, term: str) -> Self:
        """Return the search that must also meet a term of the query language."""
        q = self.q.strip()
        if q in ("", "*"):
            return self.but(q=term)
        # AND binds tighter than OR; brackets around what may hold one change nothing else.
        kept = f"({q})" if "OR" in q or "||" in q else q
        return self.but(q=f"{kept} AND {term}")


def exact(name: str, value: str, *, attribute: bool = False) -> str:
    """Return the term that asks for exactly this value of a field."""
    field = f"attributes.{_quoted(name)}" if attribute else name
    return f"{field}:{_quoted(value)}"


def _quoted(text: str) -> str:
    if _BARE.fullmatch(text) and text not in _WORDS:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _number(text: str, *, otherwise: int = PAGE) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else otherwise


def _refusals(given: QueryDict) -> Iterator[Invalid]:
    for name, values in given.lists():
        if any("\x00" in value for value in values) and name != "q":
            yield Invalid(f"{name[:40]} holds a NUL.", field=name if name in _ONE else "")
        if name not in (*_ONE, *_MANY):
            yield Invalid(f"No filter is called {name[:40]!r}.", field="")
        elif name in _ONE and len(values) > 1:
            yield Invalid(f"{name} is given more than once.", field=name)
    if given.get("ordering", "") not in ("", *_ORDERINGS):
        yield Invalid("The order is timestamp or -timestamp.", field="ordering")
    limit = given.get("limit", "")
    if limit and not (
        limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= PAGE_LIMIT
    ):
        yield Invalid(f"A page holds 1 to {PAGE_LIMIT} events.", field="limit")
