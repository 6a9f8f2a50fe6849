"""What a search server is asked at its limits: many ids, many cases, too much, too slow, several shards."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from cases.index.connect import Address, connect
from cases.index.document import Document
from cases.index.engine import Engine, IndexUnavailable, TooBroad
from cases.index.opensearch import OpenSearchEngine
from cases.index.opensearch_answers import whole
from cases.index.opensearch_compile import MAX_LEAVES, leaves, plan
from cases.index.query import parse
from cases.index.tree import MESSAGE, Ids, Regex, Words, any_of
from cases.tests.index.engines import ALL, SERVER, event, fill, found

pytestmark = pytest.mark.skipif(not SERVER, reason="TEST_SEARCH_URL names no search server")

HELD = 3000


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return [
        event(n, message=f"message {n} of word{n % 7} and file{n}.exe", attributes={"v": f"value {n % 1500}"})
        for n in range(HELD)
    ]


@pytest.fixture(scope="module")
def engine(documents: list[Document]) -> Iterator[OpenSearchEngine]:
    """Three shards of the server, each with its own idea of what is frequent."""
    made = connect(Address(SERVER, namespace=uuid.uuid4().hex, shards=3))
    assert isinstance(made, OpenSearchEngine)
    fill(made, documents)
    yield made
    made.drop(case_id="case")


def pictures(engine: OpenSearchEngine) -> int:
    stats: dict[str, Any] = engine.client.ask("GET", "_stats/search", names=engine.names.alias("case"))
    open_ones: int = stats["_all"]["total"]["search"]["point_in_time_current"]
    return open_ones


class TestMuch:
    def test_very_many_ids_are_found_among_others(self, engine: Engine, documents: list[Document]) -> None:
        others = {hashlib.sha256(f"other {n}".encode()).hexdigest() for n in range(100_000)}
        marked = Ids(frozenset(others | {document["event_id"] for document in documents[::3]}))
        assert engine.count(case_ids=["case"], query=marked) == HELD / 3

    def test_ids_are_compared_by_both_halves(self, engine: Engine, documents: list[Document]) -> None:
        one, two = documents[0]["event_id"], documents[1]["event_id"]
        for nobody in (one[:16] + "0" * 48, "0" * 16 + one[16:], two[:16] + one[16:]):
            assert engine.count(case_ids=["case"], query=Ids(frozenset({nobody}))) == 0
        assert engine.count(case_ids=["case"], query=Ids(frozenset({one[:16] + "0" * 48, two}))) == 1

    def test_two_thousand_words_and_a_thousand_phrases_fit_a_request(self, engine: Engine) -> None:
        words = any_of(Words(f"word{n}") for n in range(2, 2002))
        assert leaves(plan(words, ["case"]).bounds.upper) == 2
        phrases = any_of(Words(f"file{n}.exe") for n in range(0, 2000, 2))
        asked = plan(phrases, ["case"])
        assert leaves(asked.bounds.upper) <= MAX_LEAVES
        assert engine.count(case_ids=["case"], query=words) == sum(n % 7 > 1 for n in range(HELD))
        assert engine.count(case_ids=["case"], query=phrases) == 1000

    def test_two_thousand_cases_are_asked_at_once(self, engine: Engine) -> None:
        asked = [f"nobody {n}" for n in range(2000)]
        assert engine.count(case_ids=asked, query=ALL) == 0
        assert engine.count(case_ids=[*asked, "case"], query=ALL) == HELD
        assert len(list(engine.stream(case_ids=[*asked, "case"], query=parse("word3")))) == len(
            [n for n in range(HELD) if n % 7 == 3]
        )

    def test_shards_that_disagree_about_the_frequent_are_walked_through(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cases.index.opensearch_counts._FIRST", 10)
        values = engine.terms(case_ids=["case"], query=ALL, field="attributes.v", size=4)
        assert values.buckets == [(value, 2) for value in sorted(f"value {n}" for n in range(1500))[:4]]
        assert (values.other, values.missing) == (HELD - 8, 0)
        monkeypatch.setattr("cases.index.opensearch_counts._MOST", 20)
        monkeypatch.setattr("cases.index.opensearch_counts._STEP", 500)
        assert engine.terms(case_ids=["case"], query=ALL, field="attributes.v", size=4) == values


class TestRefusals:
    #: Nothing of it can be looked up: a boundary that depends on what stands before it.
    OPAQUE = Regex(MESSAGE, r".\b.")

    def test_too_many_candidates_are_refused_and_fewer_are_counted(
        self, engine: OpenSearchEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert not plan(self.OPAQUE, ["case"]).exact
        assert engine.count(case_ids=["case"], query=self.OPAQUE) == HELD
        monkeypatch.setattr(engine.reader, "candidates", 100)
        with pytest.raises(TooBroad, match="100 events"):
            engine.count(case_ids=["case"], query=self.OPAQUE)
        narrow = plan(parse(r"/.\b./ AND word3 AND file3.exe"), ["case"])
        assert not narrow.exact
        query = parse(r"/.\b./ AND word3 AND file3.exe")
        assert found(engine, query) == ["message 3 of word3 and file3.exe"]
        assert engine.count(case_ids=["case"], query=query) == 1

    def test_a_server_that_is_not_there_is_said_to_be_out_of_reach(self) -> None:
        nobody = connect(Address("http://127.0.0.1:9", namespace="nobody"))
        with pytest.raises(IndexUnavailable, match="reached"):
            nobody.count(case_ids=["case"], query=ALL)

    @pytest.mark.parametrize(
        ("flaw", "said"),
        [
            ({"timed_out": True}, "narrow the query"),
            ({"terminated_early": True}, "did not answer"),
            ({"_shards": {"total": 2, "successful": 2, "failed": 1}}, "did not answer"),
            ({"_shards": {"total": 2, "successful": 1, "failed": 0}}, "did not answer"),
            (
                {"error": {"type": "circuit_breaking_exception", "reason": "x"}, "status": 429},
                "too much to do",
            ),
            ({"error": {"type": "search_context_missing_exception"}, "status": 404}, "lost the picture"),
            ({"error": {"type": "unheard of"}, "status": 500}, "unheard of"),
        ],
    )
    def test_an_answer_that_is_not_whole_is_none(self, flaw: dict[str, Any], said: str) -> None:
        sound = {"timed_out": False, "_shards": {"total": 2, "successful": 2, "failed": 0}}
        assert whole(sound, 20) is sound
        with pytest.raises(IndexUnavailable, match=said):
            whole({**sound, **flaw}, 20)


class TestPictures:
    def test_a_stream_lets_its_picture_go_at_its_end_and_when_its_reader_leaves(
        self, engine: OpenSearchEngine
    ) -> None:
        assert sum(1 for _ in engine.stream(case_ids=["case"], query=ALL)) == HELD
        assert pictures(engine) == 0
        stream = engine.stream(case_ids=["case"], query=ALL)
        next(stream)
        assert pictures(engine) == 3
        stream.close()  # type: ignore[attr-defined]
        assert pictures(engine) == 0

    def test_a_lost_picture_ends_a_stream_with_an_error(
        self, engine: OpenSearchEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cases.index.opensearch_read._SLICE", 100)
        stream = engine.stream(case_ids=["case"], query=ALL)
        next(stream)
        engine.client.ask("DELETE", "_search/point_in_time/_all")
        with pytest.raises(IndexUnavailable, match="lost the picture"):
            list(stream)
