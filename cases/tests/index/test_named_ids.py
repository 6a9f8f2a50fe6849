"""Events by id, many of them: what annotations become (`tree.Ids`)."""

from __future__ import annotations

import random

import pytest

from cases.index.engine import Engine
from cases.index.matching import compile_test
from cases.index.tree import And, Field, Ids, Node, Not, Or, Words
from cases.tests.index.engines import ENGINES, an_engine, event, fill

#: Two ids that share their first half of what an index keeps of them; somebody would have to make these.
TWINS = ("ab" * 8 + "1" * 48, "ab" * 8 + "2" * 48)
DOCUMENTS = [
    *(
        event(n, message=f"message {n} {'odd' if n % 2 else 'even'}", evidence_uid=f"ev-{n % 3}")
        for n in range(300)
    ),
    event(300, event_id=TWINS[0], evidence_uid="ev-0"),
    event(301, event_id=TWINS[1], evidence_uid="ev-0"),
]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    filled = an_engine(request.param, tmp_path_factory.mktemp("index"))
    for shard in ("ev-0", "ev-1", "ev-2"):
        documents = [document for document in DOCUMENTS if document["evidence_uid"] == shard]
        fill(filled, documents, shard=shard, run=shard)
    return filled


def by_evidence(ids: frozenset[str]) -> dict[str, frozenset[str]]:
    """Where the ids lie, as whoever annotated them knows."""
    found: dict[str, set[str]] = {}
    for document in DOCUMENTS:
        if document["event_id"] in ids:
            found.setdefault(document["evidence_uid"], set()).add(document["event_id"])
    return {evidence: frozenset(held) for evidence, held in found.items()}


def check(engine: Engine, query: Node) -> None:
    """Compare an engine with what the tree means, twice: what was looked up once is remembered."""
    meant = {document["event_id"] for document in filter(compile_test(query), DOCUMENTS)}
    for _ in range(2):
        found = [document["event_id"] for document in engine.stream(case_ids=["case"], query=query)]
        assert (len(found), set(found)) == (len(meant), meant)
        page = engine.search(case_ids=["case"], query=query, limit=1000)
        assert {document["event_id"] for document in page.documents} == meant
        assert page.total == engine.count(case_ids=["case"], query=query) == len(meant)


@pytest.mark.parametrize("hint", [False, True])
def test_ids_find_what_they_name_in_every_combination(engine: Engine, hint: bool) -> None:
    chance = random.Random(7)
    every = [document["event_id"] for document in DOCUMENTS]
    odd = Words("odd", Field("message"))
    for size in (1, 5, 150, len(every)):
        ids = frozenset(chance.sample(every, size))
        named = Ids(ids, by_evidence(ids) if hint else None)
        few = Ids(frozenset(chance.sample(every, 3)))
        for query in (
            named,
            Not(named),
            And((named, odd)),
            Or((odd, named)),
            And((Not(few), named)),
            Or((few, named)),
        ):
            check(engine, query)


@pytest.mark.parametrize("hint", [False, True])
@pytest.mark.parametrize("ids", [TWINS[:1], TWINS[1:], TWINS])
def test_events_whose_ids_begin_alike_are_told_apart(
    engine: Engine, ids: tuple[str, ...], hint: bool
) -> None:
    named = Ids(frozenset(ids), by_evidence(frozenset(ids)) if hint else None)
    for query in (named, Not(named), And((named, Words("300", Field("message"))))):
        check(engine, query)


def test_ids_of_nothing_find_nothing(engine: Engine) -> None:
    for ids in ((), ("0" * 64,), ("*",), ("\x00",), ("Z" * 64,), ("é" * 64,), (TWINS[0].upper(),)):
        check(engine, Ids(frozenset(ids)))
        check(engine, Not(Ids(frozenset(ids), {})))
