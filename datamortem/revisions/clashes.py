"""Branches of the history that change the same thing, so that joining them would have no meaning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final, NamedTuple

from django.db import migrations
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.fields import FieldOperation
from django.db.migrations.operations.models import ModelOperation

from datamortem.revisions.errors import RevisionError
from datamortem.revisions.graph import Node, RevisionGraph

#: Of no consequence for tables: whichever comes last holds.
_HARMLESS: Final = (migrations.AlterModelOptions, migrations.AlterModelManagers)


class Clash(RevisionError):
    """Two branches change the same field, model, index or constraint."""


class _Thing(NamedTuple):
    app: str
    model: str
    #: Of a field, index or constraint; empty for the model as a whole.
    part: str = ""


def refuse_clashes(graph: RevisionGraph, ends: Sequence[Node]) -> None:
    """Raise Clash, with names, if two of these ends have changed the same thing since they parted."""
    found: list[str] = []
    for one, other in combinations(dict.fromkeys(ends), 2):
        behind = [set(graph.migrations.forwards_plan(end)) for end in (one, other)]
        touched = [_touched(graph, own) for own in (behind[0] - behind[1], behind[1] - behind[0])]
        for thing, node in sorted(touched[0].items()):
            for second, by in sorted(touched[1].items()):
                if _same(thing, second):
                    name = ".".join(thing if thing.part else second).rstrip(".")
                    found.append(f"{name} (by {'.'.join(node)} and {'.'.join(by)})")
    if found:
        raise Clash(
            f"The branches change the same: {'; '.join(dict.fromkeys(found))}. Decide which "
            "of the two holds: change one of the migrations, or let one depend on the other. "
            "Nothing was written."
        )


def _same(one: _Thing, other: _Thing) -> bool:
    return one[:2] == other[:2] and (one.part == other.part or not one.part or not other.part)


def _touched(graph: RevisionGraph, nodes: set[Node]) -> dict[_Thing, Node]:
    return {
        thing: node
        for node in graph.nodes
        if node in nodes
        for operation in graph.migrations.nodes[node].operations
        for thing in _things(node[0], operation)
    }


def _things(app: str, operation: Operation) -> Iterator[_Thing]:
    if isinstance(operation, migrations.SeparateDatabaseAndState):
        for inner in (*operation.database_operations, *operation.state_operations):
            yield from _things(app, inner)
    elif isinstance(operation, migrations.RenameField):
        yield _Thing(app, operation.model_name_lower, operation.old_name_lower)
        yield _Thing(app, operation.model_name_lower, operation.new_name_lower)
    elif isinstance(operation, FieldOperation):
        yield _Thing(app, operation.model_name_lower, operation.name_lower)
    elif isinstance(operation, migrations.RenameModel):
        yield _Thing(app, operation.old_name_lower)
        yield _Thing(app, operation.new_name_lower)
    elif isinstance(operation, migrations.CreateModel | migrations.DeleteModel):
        yield _Thing(app, operation.name_lower)
    elif isinstance(operation, migrations.AddIndex | migrations.AddConstraint):
        named = operation.index if isinstance(operation, migrations.AddIndex) else operation.constraint
        yield _Thing(app, operation.model_name_lower, f"{named.name}")
    elif isinstance(operation, migrations.RemoveIndex | migrations.RemoveConstraint):
        yield _Thing(app, operation.model_name_lower, operation.name)
    elif isinstance(operation, ModelOperation) and not isinstance(operation, _HARMLESS):
        yield _Thing(app, operation.name_lower, type(operation).__name__)
