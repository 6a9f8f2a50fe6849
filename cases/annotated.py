"""What people added to events, as questions that engines understand: `tag:`, `starred:`, `comment:`.

An annotation lives in the database and names its event by id. Here the part of a query that asks for
annotations becomes the set of those ids, so that no engine knows of people.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery

from cases.index.matching import text_test, value_test
from cases.index.text import fold, number, words
from cases.index.tree import (
    And,
    Annotated,
    Equals,
    Field,
    Fuzzy,
    Ids,
    Node,
    Not,
    Nothing,
    Or,
    Pattern,
    Regex,
    Words,
    all_of,
    any_of,
)
from cases.index.tree import Exists as HasValue
from cases.models import Annotation, AnnotationTag, Case, CustodyEntry, Evidence
from datamortem.common.errors import Invalid

#: Acts that change which events are annotated, as the custody record names them; see `_Scope`.
ACTS: Final = (
    "annotation.added",
    "annotation.changed",
    "annotation.removed",
    "annotations.added",
    "annotations.undone",
    "evidence.deleted",
    "case.deleted",
)
#: Annotated events that one term may stand for.
LIMIT: Final = 500_000
#: Ids that this process remembers, over all terms and cases; one takes about 150 bytes.
_REMEMBERED: Final = 1_000_000
#: So many tags are asked for by name; of more, all are read.
_NAMED_TAGS: Final = 500
#: How much of a word SQL looks for; SQLite refuses patterns of 50,000 bytes.
_PREFIX: Final = 1000

#: (evidence, event) of annotations.
_Pairs = Iterable[tuple[str, str]]


def resolve(node: Node, cases: QuerySet[Case], *, several: bool) -> Node:
    """Return the tree as engines take it, over these cases; `several` says whether they are more than one.

    An annotation counts for the event of its own case alone. Raises Invalid for "q" when a term stands
    for more than LIMIT events.
    """
    return _Resolver(cases, several=several).tree(node) if _asks(node) else node


def _asks(node: Node) -> bool:
    match node:
        case And(children) | Or(children):
            return any(map(_asks, children))
        case Not(child):
            return _asks(child)
        case _:
            return isinstance(node, Annotated)


@dataclass(frozen=True)
class _Scope:
    """The cases that have annotations, and how far these have come.

    Every change of annotations is written to the custody record of its case in the same transaction:
    the hash of the last such entry stands for all annotations of the case. None: nothing tells.
    """

    pks: tuple[int, ...]
    version: tuple[str | None, ...]

    @classmethod
    def of(cls, cases: QuerySet[Case]) -> _Scope:
        acts = CustodyEntry.objects.filter(case_id=OuterRef("case_id"), action__in=ACTS)
        last = acts.order_by("-sequence").values("hash")[:1]
        annotated = Exists(Annotation.objects.filter(case_ref=OuterRef("pk")))
        found = cases.filter(annotated).order_by("pk").values_list("pk", Subquery(last))
        rows = list(found)
        return cls(tuple(pk for pk, _ in rows), tuple(version for _, version in rows))


class _Events:
    """Annotated events, by the evidence they come from."""

    def __init__(self, pairs: _Pairs) -> None:
        found: dict[str, set[str]] = {}
        for evidence, event in pairs:
            found.setdefault(evidence, set()).add(event)
        self.of = {evidence: frozenset(events) for evidence, events in found.items()}

        self.size = sum(map(len, self.of.values()))

    @cached_property
    def all(self) -> Ids:
        """The query for all of them; the same object each time, so that engines recognise it."""
        return _ids(self.of)

    def apart(self, twins: set[str]) -> Node:
        """Return the query for them where events of some evidence have the ids of events elsewhere."""
        shared = [evidence for evidence in self.of if evidence in twins]
        alone = {evidence: events for evidence, events in self.of.items() if evidence not in twins}
        nodes: list[Node] = [_ids(alone)] if alone else []
        nodes += [all_of(Equals(Field("evidence_uid"), uid), _ids({uid: self.of[uid]})) for uid in shared]
        return any_of(nodes)


def _ids(by_evidence: dict[str, frozenset[str]]) -> Ids:
    sets = list(by_evidence.values())
    return Ids(sets[0] if len(sets) == 1 else frozenset().union(*sets), by_evidence)


class _Memory:
    """What terms stood for when they were last asked; forgotten when an annotation changes."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[tuple[int, ...], Annotated], tuple[object, _Events, int]]
        self._held = OrderedDict()
        self._lock = threading.Lock()

    def get(self, scope: _Scope, term: Annotated, read: Callable[[], _Events]) -> _Events:
        """Return the events, read again if anything has changed."""
        key = (scope.pks, term)
        with self._lock:
            held = self._held.get(key)
            if held is not None and held[0] == scope.version and None not in scope.version:
                self._held.move_to_end(key)
                return held[1]
        events = read()  # not older than the version, which was asked for before
        with self._lock:
            self._held[key] = scope.version, events, events.size + 100
            self._held.move_to_end(key)
            size = sum(size for _, _, size in self._held.values())
            while size > _REMEMBERED and len(self._held) > 1:
                size -= self._held.popitem(last=False)[1][2]
        return events


_memory: Final = _Memory()


class _Resolver:
    """Puts ids in the place of what asks for annotations; one question's picture of its cases."""

    def __init__(self, cases: QuerySet[Case], *, several: bool) -> None:
        self.cases, self.several = cases, several

    def tree(self, node: Node) -> Node:
        """Return the tree without Annotated."""
        match node:
            case And(children) | Or(children):
                return type(node)(tuple(self.tree(child) for child in children))
            case Not(child):
                return Not(self.tree(child))
            case Annotated("tag", child):
                return any_of([child, self._by_people(node)])
            case Annotated():
                return self._by_people(node)
            case _:
                return node

    @cached_property
    def scope(self) -> _Scope:
        """The annotated cases."""
        return _Scope.of(self.cases)

    @cached_property
    def twins(self) -> set[str]:
        """The evidence whose bytes another case holds too: their events have the same ids."""
        held = Evidence.objects.filter(case__in=self.cases.order_by().values("case_id"), sha256__gt="")
        again = held.order_by().values("sha256").annotate(times=Count("pk")).filter(times__gt=1)
        return set(held.filter(sha256__in=again.values("sha256")).values_list("evidence_uid", flat=True))

    def _by_people(self, term: Annotated) -> Node:
        if not self.scope.pks:
            return Nothing()
        events = _memory.get(self.scope, term, lambda: _Events(_pairs(term, self.scope.pks)))
        if not events.of:
            return Nothing()
        if events.size > LIMIT:
            raise Invalid(
                f"q: people have annotated {events.size:,} events so, and a term stands for at most "
                f"{LIMIT:,}: ask for a rarer tag, or case by case.",
                field="q",
            )
        return events.apart(self.twins) if self.several else events.all


def _pairs(term: Annotated, pks: tuple[int, ...]) -> _Pairs:
    annotations = Annotation.objects.filter(case_ref__in=pks).order_by()
    match term:
        case Annotated("starred"):
            return _of(annotations.filter(star=True))
        case Annotated("tag", Equals() | Pattern() | Regex() | HasValue() as leaf):
            return _tagged(leaf, annotations, pks)
        case Annotated("comment", Words() | Fuzzy() | Pattern() | Regex() | HasValue() as leaf):
            return _commented(leaf, annotations.exclude(comment=""))
        case _:
            raise TypeError(f"{term!r} asks nothing of annotations.")


def _of(annotations: QuerySet[Annotation]) -> _Pairs:
    return annotations.values_list("evidence_uid", "event_id")


def _tagged(
    leaf: Equals | Pattern | Regex | HasValue, annotations: QuerySet[Annotation], pks: tuple[int, ...]
) -> _Pairs:
    rows = AnnotationTag.objects.filter(annotation__case_ref__in=pks).order_by()
    if isinstance(leaf, HasValue):
        return _of(annotations.filter(Exists(AnnotationTag.objects.filter(annotation=OuterRef("pk")))))
    if isinstance(leaf, Equals) and number(leaf.value) is None:
        named = [fold(leaf.value)]
    else:
        test = _tag_test(leaf)
        named = [tag for tag in rows.values_list("folded", flat=True).distinct() if test(tag)]
    named = [tag for tag in named if "\x00" not in tag]  # no tag holds one, and PostgreSQL refuses it
    if len(named) <= _NAMED_TAGS:
        return _of(annotations.filter(tag_rows__folded__in=named)) if named else ()
    wanted = set(named)
    every = rows.values_list("folded", "annotation__evidence_uid", "annotation__event_id")
    return ((evidence, event) for tag, evidence, event in every if tag in wanted)


def _tag_test(leaf: Equals | Pattern | Regex) -> Callable[[str], bool]:
    return value_test(leaf) if isinstance(leaf, Equals) else text_test(leaf)


def _commented(leaf: Words | Fuzzy | Pattern | Regex | HasValue, annotations: QuerySet[Annotation]) -> _Pairs:
    if isinstance(leaf, HasValue):
        return _of(annotations)
    if isinstance(leaf, Words):  # the database rules most out
        for word in sorted(set(words(leaf.text)), key=len)[-3:]:
            annotations = annotations.filter(comment_folded__contains=word[:_PREFIX])
    return _passing(text_test(leaf), annotations)


def _passing(test: Callable[[str], bool], annotations: QuerySet[Annotation]) -> Iterator[tuple[str, str]]:
    verdicts: dict[str, bool] = {}  # many at once have the same comment
    rows: Iterable[Any] = annotations.values_list("evidence_uid", "event_id", "comment_folded")
    for evidence, event, comment in rows:
        passes = verdicts.get(comment)
        if passes is None:
            passes = verdicts[comment] = test(comment)
        if passes:
            yield evidence, event
