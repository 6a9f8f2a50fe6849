"""Generations, publishing by several at once, and text that leaves the disk of a search server."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cases.index.connect import Address
from cases.index.engine import IndexUnavailable
from cases.index.opensearch import OpenSearchEngine
from cases.index.opensearch_client import ServerError
from cases.index.opensearch_state import Overtaken, State, part_of, shard_of
from cases.tests.index.engines import ALL, SERVER, event, fill, found
from cases.tests.index.proxy import proxy_to

pytestmark = pytest.mark.skipif(not SERVER, reason="TEST_SEARCH_URL names no search server")
#: The data of the server's only node, for looking what text is in its files (half a minute).
DATA = os.environ.get("TEST_SEARCH_DATA", "")


def an_engine(url: str = SERVER, namespace: str = "") -> OpenSearchEngine:
    return OpenSearchEngine(Address(url, namespace=namespace or uuid.uuid4().hex), tried=True)


@pytest.fixture
def engine() -> Iterator[OpenSearchEngine]:
    engine = an_engine()
    yield engine
    engine.drop(case_id="case")


def state_of(engine: OpenSearchEngine) -> State:
    return engine.home.states.read(engine.names.alias("case"))


def sealed(engine: OpenSearchEngine, shard: str, run: str, *numbers: int) -> Any:
    """A writer that has sealed these events and stays open."""
    writer = engine.writer(case_id="case", shard=shard, run=run)
    writer.add([event(number, evidence_uid=shard) for number in numbers])
    writer.seal()
    return writer


class TestPublishing:
    def test_publishers_at_once_all_succeed(self, engine: OpenSearchEngine) -> None:
        writers = [sealed(engine, f"ev-{number}", "1", number) for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            for done in [
                pool.submit(engine.publish, case_id="case", shard=f"ev-{number}", run="1")
                for number in range(8)
            ]:
                done.result()
        for writer in writers:
            writer.__exit__(None, None, None)
        assert engine.shards(case_id="case") == {f"ev-{number}": 1 for number in range(8)}

    def test_a_change_made_from_an_old_state_does_not_undo_another(self, engine: OpenSearchEngine) -> None:
        fill(engine, [event(1)])
        old = state_of(engine)
        fill(engine, [event(2)], shard="ev-2")
        emptied = old.mapped(lambda each: replace(each, published=frozenset()))
        with pytest.raises(ServerError, match="404"):
            engine.home.states._swap(old, emptied)
        assert engine.shards(case_id="case") == {"ev-1": 1, "ev-2": 1}

    def test_publishing_again_after_a_lost_answer_changes_nothing(self, engine: OpenSearchEngine) -> None:
        with proxy_to(SERVER) as proxy:
            lost = iter(["after"])
            proxy.decide = lambda method, path, body: next(lost, "") if path == "/_aliases" else ""
            through = an_engine(proxy.url, engine._address.namespace)
            writer = sealed(engine, "ev-1", "1", 1)
            through.publish(case_id="case", shard="ev-1", run="1")
            through.publish(case_id="case", shard="ev-1", run="1")
            writer.__exit__(None, None, None)
        assert found(engine) == ["message 1"]

    def test_a_child_that_comes_late_cannot_publish_nor_disturb(self, engine: OpenSearchEngine) -> None:
        late = sealed(engine, "ev-1", "1", 1)
        current = sealed(engine, "ev-1", "2", 2)
        with pytest.raises(Overtaken, match="later attempt"):
            engine.publish(case_id="case", shard="ev-1", run="1")
        late.__exit__(None, None, None)
        engine.publish(case_id="case", shard="ev-1", run="2")
        current.__exit__(None, None, None)
        assert found(engine) == ["message 2"]

    def test_runs_and_shards_are_told_apart(self) -> None:
        assert shard_of(part_of("ev/1", "run-2")) == "ev/1"
        for odd in ("", "a/b", "a\nb"):
            with pytest.raises(ValueError, match="named"):
                part_of("ev-1", odd)


class TestGenerations:
    def test_a_rebuild_moves_shards_one_by_one_and_drops_the_old_index(
        self, engine: OpenSearchEngine
    ) -> None:
        for shard in ("ev-1", "ev-2"):
            fill(engine, [event(1, evidence_uid=shard)], shard=shard)
        engine.renew(case_id="case")
        assert [len(each.published) for each in state_of(engine).generations] == [2, 0]
        fill(engine, [event(1), event(2)], run="2")
        assert engine.shards(case_id="case") == {"ev-1": 2, "ev-2": 1}
        assert [len(each.published) for each in state_of(engine).generations] == [1, 1]
        fill(engine, [event(3, evidence_uid="ev-2")], shard="ev-2", run="2")
        assert [each.number for each in state_of(engine).generations] == [2]
        assert engine.shards(case_id="case") == {"ev-1": 2, "ev-2": 1}

    def test_an_old_index_that_somebody_reads_stays_until_it_is_read(self, engine: OpenSearchEngine) -> None:
        fill(engine, [event(number) for number in range(50)])
        stream = engine.stream(case_ids=["case"], query=ALL)
        next(stream)
        engine.renew(case_id="case")
        fill(engine, [event(1)], run="2")
        assert len(list(stream)) == 49
        engine.sweep(case_id="case", keep=["ev-1"])
        assert [each.number for each in state_of(engine).generations] == [2]

    def test_two_who_renew_at_once_make_one_generation(self, engine: OpenSearchEngine) -> None:
        fill(engine, [event(1)])
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(engine.renew, case_id="case") for _ in range(4)]:
                done.result()
        assert [each.number for each in state_of(engine).generations] == [1, 2]

    def test_an_index_of_another_version_is_not_written_nor_read(self, engine: OpenSearchEngine) -> None:
        fill(engine, [event(1)])
        name = state_of(engine).names[0]
        engine.client.ask("PUT", "_mapping", {"_meta": {"version": 0}}, names=name)
        other = an_engine(SERVER, engine._address.namespace)
        with pytest.raises(IndexUnavailable, match="reindex"):
            other.count(case_ids=["case"], query=ALL)
        health = other.health()
        assert not health.ok
        assert "reindex" in health.detail
        fill(other, [event(2)], run="2")
        assert found(an_engine(SERVER, engine._address.namespace)) == ["message 2"]
        assert [each.number for each in state_of(engine).generations] == [2]

    def test_sweeping_removes_events_that_belong_to_no_part(self, engine: OpenSearchEngine) -> None:
        lost = sealed(engine, "ev-1", "1", 1, 2, 3)  # its process dies: nobody leaves the context
        fill(engine, [event(4)], run="2")
        name = state_of(engine).names[0]
        lost._lines = []
        lost._sealed = False
        lost.add([event(5)])  # and its last request comes late
        lost._hand_over()
        lost._settle(below=1)
        engine.sweep(case_id="case", keep=["ev-1"])
        end = time.monotonic() + 20
        while set(engine.home._parts(name)) != {"ev-1/2"}:
            assert time.monotonic() < end
            time.sleep(0.1)
            engine.home.refresh(name)
        assert found(engine) == ["message 4"]


class TestErasing:
    def test_the_last_shard_goes_with_its_index(self, engine: OpenSearchEngine) -> None:
        fill(engine, [event(1)])
        engine.delete(case_id="case", shard="ev-1")
        assert found(engine) == []
        end = time.monotonic() + 20
        while not engine.erase(case_id="case", shard="ev-1"):
            assert time.monotonic() < end
        assert [each.number for each in state_of(engine).generations] == [2]

    def test_text_that_somebody_reads_has_not_left(self, engine: OpenSearchEngine) -> None:
        fill(engine, [event(number) for number in range(50)])
        stream = engine.stream(case_ids=["case"], query=ALL)
        next(stream)
        engine.delete(case_id="case", shard="ev-1")
        assert not engine.erase(case_id="case", shard="ev-1")
        assert len(list(stream)) == 49

    @pytest.mark.skipif(not DATA, reason="TEST_SEARCH_DATA names no directory of a search server")
    def test_erased_text_is_in_no_file_any_more(self, engine: OpenSearchEngine) -> None:
        secret = f"secret{uuid.uuid4().hex}"
        fill(engine, [event(number, message=secret, attributes={"a": secret}) for number in range(100)])
        fill(engine, [event(number, evidence_uid="ev-2") for number in range(100)], shard="ev-2")
        assert files_with(secret)
        engine.delete(case_id="case", shard="ev-1")
        end = time.monotonic() + 120
        while not engine.erase(case_id="case", shard="ev-1"):
            assert time.monotonic() < end
            time.sleep(1)
        assert files_with(secret) == []
        assert engine.shards(case_id="case") == {"ev-2": 100}

    @pytest.mark.skipif(not DATA, reason="TEST_SEARCH_DATA names no directory of a search server")
    def test_the_text_of_a_dropped_case_is_in_no_file_any_more(self, engine: OpenSearchEngine) -> None:
        secret = f"secret{uuid.uuid4().hex}"
        fill(engine, [event(number, message=secret) for number in range(100)])
        assert files_with(secret)
        engine.drop(case_id="case")
        assert engine.erase(case_id="case")
        assert files_with(secret) == []


def files_with(secret: str) -> list[Path]:
    """Files of the server that hold a text; stored fields and terms of few events are not compressed."""
    wanted = secret.encode()
    held = []
    for place in Path(DATA).rglob("*"):
        try:
            if place.is_file() and wanted in place.read_bytes():
                held.append(place)
        except FileNotFoundError:
            continue  # it went while we looked
    return held
