"""Events on their way to a search server: any event, and any failure, each exactly once."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cases.index.connect import Address
from cases.index.document import Document
from cases.index.engine import POSTED, IndexUnavailable
from cases.index.opensearch import OpenSearchEngine
from cases.index.opensearch_client import ServerError
from cases.index.opensearch_fold import KIND, LARGE, foldable
from cases.index.opensearch_write import OpenSearchWriter
from cases.index.query import parse
from cases.records import FIRST_INSTANT, LAST_INSTANT
from cases.tests.index.engines import ALL, SERVER, event, fill, found
from cases.tests.index.odd import documents
from cases.tests.index.proxy import Fate, Proxy, proxy_to

pytestmark = pytest.mark.skipif(not SERVER, reason="TEST_SEARCH_URL names no search server")


def an_engine(url: str = SERVER, **facts: Any) -> OpenSearchEngine:
    return OpenSearchEngine(Address(url, namespace=uuid.uuid4().hex, **facts), tried=True)


@pytest.fixture
def engine() -> Iterator[OpenSearchEngine]:
    engine = an_engine()
    yield engine
    engine.drop(case_id="case")


def count(engine: OpenSearchEngine, query: str) -> int:
    return engine.count(case_ids=["case"], query=parse(query))


class TestAnyEvent:
    def test_no_field_conflicts_and_none_is_one_too_many(self, engine: OpenSearchEngine) -> None:
        held = [event(number, attributes={f"field {number}": number}) for number in range(5000)]
        held += [
            event(10_000 + n, attributes={"one": one})
            for n, one in enumerate([1, "two", True, {"a": 3}, [4, "b"]])
        ]
        fill(engine, held)
        assert engine.shards(case_id="case") == {"ev-1": 5005}
        assert count(engine, 'attributes."field 4999":4999') == 1
        assert [count(engine, query) for query in ("one:1", "one:two", "one:true", "one.a:3", "one:b")] == [
            1
        ] * 5

    def test_long_odd_and_empty_things_are_taken_and_found(self, engine: OpenSearchEngine) -> None:
        token = "x" * 3_000_000
        odd = {
            "long": "v" * 40_000 + "end",
            "a.b": "dotted",
            "": "nameless",
            "n" * 60_000: 1,
            "\ud800": "\udfff",
        }
        nested: Any = "deep"
        for _ in range(400):
            nested = [nested]
        held = [
            event(1, message=f"{token} tail"),
            event(2, attributes=odd),
            event(3, attributes={"huge": 2**70, "nested": nested, "many": list(range(3000))}),
            event(4, FIRST_INSTANT),
            event(5, LAST_INSTANT),
            event(6, None, message=""),
        ]
        fill(engine, held)
        queries = (
            "tail",
            "*xxx tail*",
            "long:*vend",
            "a.b:dotted",
            "huge:1180591620717411303424",
            "nested:deep",
        )
        assert [count(engine, query) for query in queries] == [1] * len(queries)
        assert count(engine, "many:2999") == 1
        assert count(engine, "timestamp:[* TO 1601-01-01T00:00:00.000000Z]") == 1
        assert count(engine, "timestamp:[9999-12-31T23:59:59.999999Z TO *]") == 1
        assert list(engine.stream(case_ids=["case"], query=ALL)) == sorted(held, key=in_order)

    def test_times_differ_by_a_microsecond(self, engine: OpenSearchEngine) -> None:
        fill(engine, [event(n, instant) for n, instant in enumerate([LAST_INSTANT - 1, LAST_INSTANT, 0, 1])])
        assert count(engine, "timestamp:[9999-12-31T23:59:59.999999Z TO *]") == 1
        assert count(engine, "timestamp:[* TO 1970-01-01T00:00:00.000000Z]") == 1


def in_order(document: Document) -> tuple[bool, int, str]:
    return document["timestamp"] is None, document["timestamp"] or 0, document["event_id"]


class TestLedger:
    def test_what_is_given_twice_counts_once_and_as_a_duplicate(self, engine: OpenSearchEngine) -> None:
        with engine.writer(case_id="case", shard="ev-1", run="1") as writer:
            writer.add([event(number) for number in range(50)])
            writer.add([event(number) for number in range(40, 60)])
            writer.seal()
            assert (writer.written.indexed, writer.written.duplicate) == (60, 10)

    def test_processes_of_one_run_count_what_each_of_them_brought(self, engine: OpenSearchEngine) -> None:
        with (
            engine.writer(case_id="case", shard="ev-1", run="1") as first,
            engine.writer(case_id="case", shard="ev-1", run="1", part=1) as second,
        ):
            first.add([event(number) for number in range(30)])
            first.seal()
            second.add([event(number) for number in range(25, 70)])
            second.seal()
            engine.publish(case_id="case", shard="ev-1", run="1")
            assert (first.written.indexed, first.written.duplicate) == (30, 0)
            assert (second.written.indexed, second.written.duplicate) == (40, 5)
        assert engine.shards(case_id="case") == {"ev-1": 70}

    def test_an_append_knows_what_the_shard_shows_already(self, engine: OpenSearchEngine) -> None:
        fill(engine, [event(number) for number in range(20)], shard=POSTED, append=True)
        with engine.writer(case_id="case", shard=POSTED, run="2", append=True) as writer:
            writer.add([event(number) for number in range(10, 25)])
            writer.seal()
            assert (writer.written.indexed, writer.written.duplicate) == (5, 10)
            engine.publish(case_id="case", shard=POSTED, run="2", append=True)
        assert engine.shards(case_id="case") == {POSTED: 25}

    def test_appending_again_and_again_keeps_the_list_of_parts_short(
        self, engine: OpenSearchEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cases.index.opensearch_fold.KIND", 4)
        monkeypatch.setattr("cases.index.opensearch_fold._BITS", 2)
        for number in range(7):
            fill(engine, [event(number)], shard=POSTED, run=str(number), append=True)
        state = engine.home.states.read(engine.names.alias("case"))
        assert len(state.published) == 4
        assert sorted(found(engine)) == [f"message {number}" for number in range(7)]


@pytest.mark.parametrize("size", [1, 500, 5000])
def test_parts_stay_few_and_no_event_is_written_often(size: int) -> None:
    parts: dict[str, int] = {}
    rewritten = 0
    for number in range(3000):
        folded = foldable(parts, size)
        moved = sum(parts.pop(part) for part in folded)
        rewritten += moved
        parts[f"posted/{number}"] = size + moved
    assert len(parts) <= 3 * KIND + 3000 * size / LARGE
    assert rewritten <= 3 * 3000 * size
    assert sum(parts.values()) == 3000 * size


class TestFailures:
    @pytest.fixture
    def proxy(self) -> Iterator[Proxy]:
        with proxy_to(SERVER) as proxy:
            yield proxy

    @pytest.fixture
    def through(self, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenSearchEngine]:
        monkeypatch.setattr("cases.index.opensearch_write._PAUSE", 0.01)
        monkeypatch.setattr("cases.index.opensearch_write._EVENTS", 40)
        engine = an_engine(proxy.url)
        yield engine
        proxy.decide = lambda method, path, body: ""
        engine.drop(case_id="case")

    @pytest.mark.parametrize("fate", ["before", "inside", "after", 429, 503, 403])
    def test_whatever_fails_on_the_way_every_event_is_there_once(
        self, proxy: Proxy, through: OpenSearchEngine, fate: Fate
    ) -> None:
        turns = iter(range(10_000))
        proxy.decide = lambda method, path, body: fate if "_bulk" in path and next(turns) % 3 == 0 else ""
        held = documents(3, 400)
        with through.writer(case_id="case", shard="ev-1", run="1") as writer:
            for start in range(0, 400, 80):
                writer.add(held[start : start + 80])
            writer.seal()
            through.publish(case_id="case", shard="ev-1", run="1")
            assert (writer.written.indexed, writer.written.duplicate) == (400, 0)
            assert writer.retries > 0
        assert through.shards(case_id="case") == {"ev-1": 400}
        assert Counter(through_ids(through)) == Counter(document["event_id"] for document in held)

    def test_large_requests_are_divided_and_too_large_an_event_is_refused(
        self, proxy: Proxy, through: OpenSearchEngine
    ) -> None:
        proxy.decide = lambda method, path, body: 413 if len(body) > 20_000 else ""
        huge = event(1000, message="a word " * 10_000)
        with through.writer(case_id="case", shard="ev-1", run="1") as writer:
            writer.add([*(event(number) for number in range(100)), huge])
            writer.seal()
            assert writer.written.indexed == 100
            assert writer.written.duplicate == 0
            assert [refused.document for refused in writer.written.refused] == [huge]
            assert "larger" in writer.written.refused[0].reason

    def test_an_event_that_the_server_does_not_take_is_refused_and_the_others_go_in(
        self, engine: OpenSearchEngine
    ) -> None:
        with engine.writer(case_id="case", shard="ev-1", run="1") as writer:
            writer.add([event(1), event(2, timestamp=2**63), event(3)])
            writer.seal()
            assert (writer.written.indexed, writer.written.duplicate) == (2, 0)
            assert [refused.document["message"] for refused in writer.written.refused] == ["message 2"]

    def test_patience_ends_and_says_why(self, proxy: Proxy, through: OpenSearchEngine) -> None:
        proxy.decide = lambda method, path, body: 403 if "_bulk" in path else ""
        with pytest.raises(IndexUnavailable, match=r"Nothing could be written for 1 seconds.*made up"):
            write_one(through)
        assert through.shards(case_id="case") == {}

    def test_a_read_only_index_is_waited_for(self, engine: OpenSearchEngine) -> None:
        name = f"{engine.names.alias('case')}-000001"
        with engine.writer(case_id="case", shard="ev-1", run="1") as writer, ThreadPoolExecutor(1) as pool:
            block(engine, name, read_only=True)
            writer.add([event(number) for number in range(10)])
            sealing = pool.submit(writer.seal)
            while not writer.retries:
                assert not sealing.done()
            block(engine, name, read_only=False)
            sealing.result()
            assert writer.written.indexed == 10

    def test_an_index_that_vanishes_is_not_made_anew_by_guessing(self, engine: OpenSearchEngine) -> None:
        name = f"{engine.names.alias('case')}-000001"
        with pytest.raises(IndexUnavailable, match="vanished"):
            write_one(engine, before=lambda: engine.drop(case_id="case"))
        with pytest.raises(ServerError) as missing:
            engine.client.ask("GET", "_mapping", names=name)
        assert missing.value.missing

    def test_refusals_of_our_login_end_the_run_at_once(self, proxy: Proxy, through: OpenSearchEngine) -> None:
        proxy.decide = lambda method, path, body: 401 if "_bulk" in path else ""
        with pytest.raises(IndexUnavailable, match="login"):
            write_one(through)


def write_one(engine: OpenSearchEngine, before: Callable[[], None] = lambda: None) -> None:
    with engine.writer(case_id="case", shard="ev-1", run="1") as writer:
        writer.patience = 1.0
        before()
        writer.add([event(1)])
        writer.seal()


def through_ids(engine: OpenSearchEngine) -> Iterator[str]:
    return (document["event_id"] for document in engine.stream(case_ids=["case"], query=ALL))


def block(engine: OpenSearchEngine, name: str, *, read_only: bool) -> None:
    """Do to an index what a full disk does."""
    engine.client.ask(
        "PUT", "_settings", {"index.blocks.read_only_allow_delete": read_only or None}, names=name
    )


def test_a_writer_keeps_few_requests_under_way(engine: OpenSearchEngine) -> None:
    with engine.writer(case_id="case", shard="ev-1", run="1") as writer:
        assert isinstance(writer, OpenSearchWriter)
        for start in range(0, 6000, 500):
            writer.add([event(number) for number in range(start, start + 500)])
            assert len(writer._sending) <= 3
        writer.seal()
        assert writer.written.indexed == 6000
