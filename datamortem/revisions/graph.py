"""The documented history, read from Django's migration graph.

A *revision* is the set of migrations, possibly in several apps, that carry the same `revision`
id. Migrations of our apps without an id are either `baseline` (tables that the old system made
outside its history; no revision) or get an id derived from their name, so that whatever
`makemigrations` writes can be named too. Nothing of this is stored: the chain is the dependencies,
and what is applied is what `django_migrations` says.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Any, Final

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.loader import MigrationLoader

from datamortem.revisions.errors import Interleaved, NoSuchStep, SeveralHeads, UnknownRevision

#: (app label, name) of a migration.
Node = tuple[str, str]
#: Migrations in the order of their execution, and whether they are undone: as Django's executor takes it.
Plan = list[tuple[Migration, bool]]

_RELATIVE: Final = re.compile(r"(?P<start>.*?)(?P<steps>[+-]\d+)")


@dataclass(eq=False, slots=True)
class Revision:
    """One step of the history."""

    id: str
    title: str
    #: In the order of their execution.
    nodes: list[Node] = field(default_factory=list)
    #: Direct predecessors and successors, by id.
    parents: set[str] = field(default_factory=set)
    children: set[str] = field(default_factory=set)
    #: Position in the one order that everything which prints or walks uses, from 0.
    order: int = 0

    @property
    def is_branch_point(self) -> bool:
        """Whether the history forks here."""
        return len(self.children) > 1

    @property
    def is_merge(self) -> bool:
        """Whether forks join here."""
        return len(self.parents) > 1


@dataclass(frozen=True, slots=True)
class Status:
    """What a database says is applied."""

    applied: frozenset[str]
    #: Revisions of which only some migrations are applied: id -> (applied, all).
    partial: dict[str, tuple[int, int]]
    #: Recorded migrations of our apps that this version of the code has no file for.
    unknown: tuple[Node, ...]

    @property
    def touched(self) -> frozenset[str]:
        """Revisions of which anything is applied."""
        return self.applied | self.partial.keys()


class RevisionGraph:
    """The history as the files tell it and, with a connection, what is applied there.

    With a connection the recorder's table is read once, now; make another graph after a change,
    and make it under the migration lock if something is to be decided by it.
    """

    def __init__(
        self, connection: BaseDatabaseWrapper | None = None, loader: MigrationLoader | None = None
    ) -> None:
        self.loader = loader or MigrationLoader(connection)
        self.apps: Final[frozenset[str]] = frozenset(settings.REVISION_APPS)
        self.migrations: Final = self.loader.graph
        #: Every migration of every app in one order that respects all dependencies.
        self.nodes: Final[list[Node]] = in_order(self.migrations)
        self._position = {node: number for number, node in enumerate(self.nodes)}
        self.revisions: Final[dict[str, Revision]] = {}
        self.of_node: Final[dict[Node, str]] = {}
        self._collect()
        #: id -> ids of all revisions before it.
        self.ancestors: Final[dict[str, frozenset[str]]] = {
            revision.id: frozenset(self._before(revision)) for revision in self.revisions.values()
        }
        self._link()
        self.order: Final[list[Revision]] = self._sorted()

    # How it is read ---------------------------------------------------------------------------

    def _collect(self) -> None:
        for node in self.nodes:
            migration = self.migrations.nodes[node]
            if node[0] not in self.apps or getattr(migration, "baseline", False):
                continue
            name = getattr(migration, "revision", None) or _derived_id(node)
            title = getattr(migration, "title", "") or migration.name
            revision = self.revisions.setdefault(name, Revision(name, title))
            revision.nodes.append(node)
            self.of_node[node] = name

    def _before(self, revision: Revision) -> Iterator[str]:
        for node in revision.nodes:
            for earlier in self.migrations.forwards_plan(node):
                name = self.of_node.get(earlier)
                if name and name != revision.id:
                    yield name

    def _link(self) -> None:
        for name, before in self.ancestors.items():
            for other in before:
                if name in self.ancestors[other]:
                    raise Interleaved(
                        f"The migrations of {name} and {other} depend on each other both ways. Give the "
                        "later ones a revision id of their own."
                    )
        for name, before in self.ancestors.items():
            further = set().union(*(self.ancestors[other] for other in before))
            self.revisions[name].parents = set(before) - further
            for parent in self.revisions[name].parents:
                self.revisions[parent].children.add(name)

    def _sorted(self) -> list[Revision]:
        done: list[Revision] = []
        waiting = dict(self.revisions)
        names: set[str] = set()
        while waiting:
            ready = [r for r in waiting.values() if self.ancestors[r.id] <= names]
            following = min(ready, key=lambda r: self._position[r.nodes[0]])
            following.order = len(done)
            done.append(following)
            names.add(following.id)
            del waiting[following.id]
        return done

    # What it answers --------------------------------------------------------------------------

    @property
    def heads(self) -> list[Revision]:
        """Revisions that nothing comes after, oldest first."""
        return [revision for revision in self.order if not revision.children]

    def head(self) -> Revision | None:
        """Return the newest revision, or None in an empty history. Raises SeveralHeads."""
        self.refuse_several_heads()
        return self.heads[0] if self.heads else None

    def refuse_several_heads(self) -> None:
        """Raise SeveralHeads if there is no single newest revision, or an app has two last migrations."""
        conflicts = self.loader.detect_conflicts()
        forked = {app: names for app, names in conflicts.items() if app in self.apps}
        if len(self.heads) <= 1 and not forked:
            return
        what = [f"{r.id} ({', '.join('.'.join(node) for node in r.nodes)})" for r in self.heads]
        if len(what) < 2:
            what = [f"{app}.{name}" for app, names in sorted(forked.items()) for name in sorted(names)]
        raise SeveralHeads(
            f"The history has several heads: {', '.join(what)}. Join them with: "
            'python manage.py db merge -m "Merge heads"'
        )

    def closure(self, names: Iterable[str]) -> frozenset[str]:
        """Return these revisions and all before them."""
        return frozenset().union(*(self.ancestors[name] | {name} for name in names))

    def tips(self, names: Iterable[str]) -> list[Revision]:
        """Return those of a set of revisions that none of the others comes after, oldest first."""
        wanted = set(names)
        return [r for r in self.order if r.id in wanted and not r.children & wanted]

    def find(self, name: str) -> Revision:
        """Return the revision that goes by an id, a unique beginning of one, or a migration's name.

        A migration is `app.name`, `app.0002` (a unique beginning of the name) or its full name.
        Raises UnknownRevision, with candidates.
        """
        if name in ("head", "heads") and (head := self.head()):
            return head
        candidates = [r for r in self.order if r.id == name] or [
            r for r in self.order if name and r.id.startswith(name)
        ]
        if not candidates:
            candidates = self._by_migration(name)
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            listed = "; ".join(f"{r.id} {r.title}" for r in candidates)
            raise UnknownRevision(
                f"More than one revision is called {name!r}: {listed}. Give more of the id."
            )
        known = "; ".join(f"{r.id} {r.title}" for r in reversed(self.order))
        raise UnknownRevision(f"There is no revision {name!r}. There are: {known}.")

    def _by_migration(self, name: str) -> list[Revision]:
        app, dot, rest = name.partition(".")
        matching = [
            node
            for node in self.nodes
            if node[0] in self.apps
            and ((node[0] == app and rest and node[1].startswith(rest)) if dot else node[1] == name)
        ]
        exact = [node for node in matching if node[1] in (rest, name)] or matching
        baseline = [node for node in exact if node not in self.of_node]
        if baseline and len(baseline) == len(exact):
            raise UnknownRevision(
                f"{'.'.join(baseline[0])} belongs to no revision: it makes tables that the old system made "
                "outside its history. Name a revision: python manage.py db history"
            )
        return [self.revisions[i] for i in dict.fromkeys(self.of_node[n] for n in exact if n in self.of_node)]

    def resolve(self, name: str) -> frozenset[str]:
        """Return the revisions that are applied when a database stands at `name`.

        `base`, `head`, `heads`, what `find` takes, and any of them with `+N` or `-N`: counted in
        the order of `db history`, so never ambiguous. Raises UnknownRevision, NoSuchStep,
        SeveralHeads.
        """
        if name == "base":
            return frozenset()
        if name == "heads":
            return frozenset(self.revisions)
        relative = _RELATIVE.fullmatch(name)
        if relative and relative["start"]:
            return self.moved(self.resolve(relative["start"]), int(relative["steps"]))
        return self.closure([self.find(name).id])

    def moved(self, names: frozenset[str], steps: int) -> frozenset[str]:
        """Return the set `steps` revisions further (or back, if negative). Raises NoSuchStep."""
        moved = set(names)
        for taken in range(abs(steps)):
            if steps > 0:
                following = [r for r in self.order if r.id not in moved and r.parents <= moved]
                if following:
                    moved.add(following[0].id)
                    continue
            elif moved:
                moved.discard(self.tips(moved)[-1].id)
                continue
            where = "after" if steps > 0 else "before"
            raise NoSuchStep(f"Only {taken} revisions come {where} it: {abs(steps)} steps are too many.")
        return frozenset(moved)

    # What is applied --------------------------------------------------------------------------

    def status(self) -> Status:
        """Return what the database of the loader has applied."""
        recorded = self.loader.applied_migrations or {}
        applied, partial = set(), {}
        for revision in self.order:
            count = sum(node in recorded for node in revision.nodes)
            if count == len(revision.nodes):
                applied.add(revision.id)
            elif count:
                partial[revision.id] = (count, len(revision.nodes))
        unknown = sorted(n for n in recorded if n[0] in self.apps and n not in self.loader.disk_migrations)
        return Status(frozenset(applied), partial, tuple(unknown))

    def current(self) -> list[Revision]:
        """Return the newest applied revisions, oldest first: several while branches are open."""
        return self.tips(self.status().touched)

    def last_applied(self, steps: int) -> list[Revision]:
        """Return the last applied revisions, newest first. Raises NoSuchStep.

        Among the applied ones that no applied one comes after, the one recorded last is undone
        first; then again. So a step back through a merge is never ambiguous.
        """
        recorded: dict[Node, Any] = dict(self.loader.applied_migrations or {})  # values: rows of the recorder
        left = set(self.status().touched)
        chosen: list[Revision] = []
        while len(chosen) < steps:
            if not left:
                raise NoSuchStep(
                    f"Only {len(chosen)} revisions are applied: cannot go {steps} back. Nothing was changed."
                )
            last = max(
                self.tips(left),
                key=lambda r: (max(recorded[n].pk or 0 for n in r.nodes if n in recorded), r.order),
            )
            chosen.append(last)
            left.discard(last.id)
        return chosen

    # Plans ------------------------------------------------------------------------------------

    def upgrade_plan(self, names: Iterable[str], *, everything: bool = False) -> Plan:
        """Return what is to be applied for these revisions; with `everything`, for all apps."""
        recorded = self.loader.applied_migrations or {}
        needed = set(self.nodes) if everything else self.nodes_for(names)
        return [(self.migrations.nodes[n], False) for n in self.nodes if n in needed and n not in recorded]

    def downgrade_plan(self, names: Iterable[str]) -> tuple[Plan, list[Node]]:
        """Return what undoes these revisions, newest first, and what goes with them although it is
        part of none of them (other apps, and baseline migrations, that depend on them)."""
        recorded = self.loader.applied_migrations or {}
        own = {node for name in names for node in self.revisions[name].nodes}
        undone = {
            later for node in own for later in self.migrations.backwards_plan(node) if later in recorded
        }
        plan: Plan = [(self.migrations.nodes[n], True) for n in reversed(self.nodes) if n in undone]
        return plan, [node for node in self.nodes if node in undone - own]

    def nodes_for(self, names: Iterable[str]) -> set[Node]:
        """Return the migrations of these revisions and all that they depend on, of any app."""
        return {
            earlier
            for name in names
            for node in self.revisions[name].nodes
            for earlier in self.migrations.forwards_plan(node)
        }


def in_order(graph: MigrationGraph) -> list[Node]:
    """Return all migrations, dependencies first, and by app and name where they leave a choice."""
    missing = {node.key: len(node.parents) for node in graph.node_map.values()}
    ready = [key for key, count in missing.items() if not count]
    heapify(ready)
    found: list[Node] = []
    while ready:
        key = heappop(ready)
        found.append(key)
        for child in graph.node_map[key].children:
            missing[child.key] -= 1
            if not missing[child.key]:
                heappush(ready, child.key)
    return found


def _derived_id(node: Node) -> str:
    return hashlib.sha1(".".join(node).encode(), usedforsecurity=False).hexdigest()[:12]
