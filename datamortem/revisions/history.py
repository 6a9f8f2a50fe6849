"""The history to read: as lines, as a drawing, and for programs. Newest first, the same in every locale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from datamortem.revisions.graph import Revision, RevisionGraph, Status


class _Strokes(NamedTuple):
    applied: str
    open: str
    lane: str
    fork: str
    join: str


_ASCII: Final = _Strokes("*", "o", "|", "|\\", "|/")
_LINES: Final = _Strokes("●", "○", "│", "├─╮", "├─╯")


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
    lanes: list[str] = []  # the revision that each lane leads to
    for revision in reversed(graph.order):
        if revision.id not in lanes:
            lanes.append(revision.id)
        own, *others = (number for number, target in enumerate(lanes) if target == revision.id)
        for other in reversed(others):
            del lanes[other]
            yield _lanes(strokes, other - 1) + strokes.join
        mark = strokes.open if status and revision.id not in status.touched else strokes.applied
        applied = f"  [{applied_word(status, revision)}]" if status else ""
        row = [mark if number == own else strokes.lane for number in range(len(lanes))]
        yield f"{' '.join(row)}  {name(revision)}  {revision.title}{applied}"
        below = _parents(graph, revision)
        lanes[own : own + 1] = below
        for number in range(1, len(below)):
            yield _lanes(strokes, own + number - 1) + strokes.fork
        if verbose:
            yield from (f"{_lanes(strokes, len(lanes))}  {'.'.join(node)}" for node in revision.nodes)


def _lanes(strokes: _Strokes, count: int) -> str:
    return f"{strokes.lane} " * count


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
