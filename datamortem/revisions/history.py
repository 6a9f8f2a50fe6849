"""The history to read: as lines, as a drawing, and for programs. Newest first, the same in every locale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from datamortem.revisions.graph import Revision, RevisionGraph, Status


class _Strokes(NamedTuple):
    applied: str
    partial: str
    open: str
    lane: str
    #: A lane that another one leaves or joins, on its right and on its left.
    side: tuple[str, str]
    #: The other one's corner where it leaves and where it joins, by the side it lies on.
    fork: tuple[str, str]
    join: tuple[str, str]
    across: str
    crossing: str


_ASCII: Final = _Strokes("*", "%", "o", "|", ("|", "|"), ("\\", "/"), ("/", "\\"), "-", "+")
_LINES: Final = _Strokes("●", "◐", "○", "│", ("├", "┤"), ("╮", "╭"), ("╯", "╰"), "─", "┼")
#: What a drawing is made of that some terminals cannot write.
CHARACTERS: Final = "●◐○│├┤╮╭╯╰─┼"


def lines(graph: RevisionGraph, status: Status | None, *, verbose: bool = False) -> Iterator[str]:
    """Yield "parents -> id (tags), title", as `alembic history` prints it; `status` None is not known."""
    current = {r.id for r in graph.tips(status.touched)} if status else set()
    for revision in reversed(graph.order):
        yield line(graph, revision, current=revision.id in current)
        if verbose:
            yield from (f"    {'.'.join(node)}" for node in revision.nodes)


def line(graph: RevisionGraph, revision: Revision, *, current: bool = False) -> str:
    """Return one revision as a line of the history."""
    return (
        f"{', '.join(_parents(graph, revision)) or '<base>'} -> {name(revision, current)}, {revision.title}"
    )


def name(revision: Revision, current: bool = False) -> str:
    """Return the id with its tags."""
    tags = {
        "head": not revision.children,
        "branchpoint": revision.is_branch_point,
        "mergepoint": revision.is_merge,
        "current": current,
    }
    return revision.id + "".join(f" ({tag})" for tag, holds in tags.items() if holds)


def _parents(graph: RevisionGraph, revision: Revision) -> list[str]:
    return sorted(revision.parents, key=lambda parent: -graph.revisions[parent].order)


def drawing(
    graph: RevisionGraph, status: Status | None, *, ascii_only: bool = False, verbose: bool = False
) -> Iterator[str]:
    """Yield the lines of a graph, one lane for each open branch; what is applied has a filled mark."""
    strokes = _ASCII if ascii_only else _LINES
    current = {r.id for r in graph.tips(status.touched)} if status else set()
    lanes: list[str | None] = []  # the revision that each lane leads to; None where it is free
    for revision in reversed(graph.order):
        own, *others = [number for number, target in enumerate(lanes) if target == revision.id] or [
            _place(lanes, revision.id)
        ]
        for other in others:
            yield _bridge(strokes, lanes, own, other, strokes.join)
            _free(lanes, other)
        row = [" " if lane is None else strokes.lane for lane in lanes]
        row[own] = _mark(strokes, status, revision)
        applied = f"  [{applied_word(status, revision)}]" if status else ""
        yield f"{' '.join(row)}  {name(revision, revision.id in current)}  {revision.title}{applied}"
        below = _parents(graph, revision)
        if below:
            lanes[own] = below[0]
        else:
            _free(lanes, own)
        for parent in below[1:]:
            other = _place(lanes, parent)
            yield _bridge(strokes, lanes, own, other, strokes.fork)
        if verbose:
            left = " ".join(" " if lane is None else strokes.lane for lane in lanes)
            yield from (f"{left}  {'.'.join(node)}" for node in revision.nodes)


def _free(lanes: list[str | None], number: int) -> None:
    lanes[number] = None
    while lanes and lanes[-1] is None:
        lanes.pop()


def _place(lanes: list[str | None], target: str) -> int:
    """Give a revision the first free lane, and return which."""
    if None not in lanes:
        lanes.append(None)
    number = lanes.index(None)
    lanes[number] = target
    return number


def _mark(strokes: _Strokes, status: Status | None, revision: Revision) -> str:
    if status is None or revision.id in status.applied:
        return strokes.applied
    return strokes.partial if revision.id in status.partial else strokes.open


def _bridge(strokes: _Strokes, lanes: list[str | None], own: int, other: int, corner: tuple[str, str]) -> str:
    """Return the line between two revisions where one lane leaves another, or joins it."""
    left, right = min(own, other), max(own, other)
    row = []
    for number, lane in enumerate(lanes):
        inside = left < number < right
        if number == own:
            stroke = strokes.side[own > other]
        elif number == other:
            stroke = corner[own > other]
        elif lane is None:
            stroke = strokes.across if inside else " "
        else:
            stroke = strokes.crossing if inside else strokes.lane
        row.append(stroke + (strokes.across if left <= number < right else " "))
    return "".join(row).rstrip()


def applied_word(status: Status, revision: Revision) -> str:
    """Return whether it is applied, in words."""
    if revision.id in status.partial:
        done, of = status.partial[revision.id]
        return f"PARTIAL: {done} of {of} migrations applied"
    return "applied" if revision.id in status.applied else "not applied"


def as_data(graph: RevisionGraph, status: Status | None) -> list[dict[str, Any]]:
    """Return the history for programs; `applied` is true, false, "partial", or null if not known."""
    return [
        {
            "id": revision.id,
            "title": revision.title,
            "parents": _parents(graph, revision),
            "children": sorted(revision.children, key=lambda child: graph.revisions[child].order),
            "migrations": [".".join(node) for node in revision.nodes],
            "head": not revision.children,
            "branch_point": revision.is_branch_point,
            "merge": revision.is_merge,
            "applied": _applied_data(status, revision),
        }
        for revision in reversed(graph.order)
    ]


def _applied_data(status: Status | None, revision: Revision) -> bool | str | None:
    if status is None:
        return None
    return "partial" if revision.id in status.partial else revision.id in status.applied
