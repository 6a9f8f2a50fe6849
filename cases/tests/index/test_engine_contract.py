"""What every engine promises about writing, scope and life; see also paging, counts and parity."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from cases.index.engine import POSTED, Engine, IndexUnavailable
from cases.index.query import parse
from cases.index.tree import Annotated, Words
from cases.tests.index.engines import ALL, ENGINES, an_engine, connect_like, event, fill, found
from cases.tests.index.odd import START


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    return an_engine(request.param, tmp_path / "index")


class TestWriting:
    def test_nothing_is_visible_before_publishing(self, engine: Engine) -> None:
        with engine.writer(case_id="case", shard="ev-1", run="1") as writer:
            writer.add([event(1)])
            assert engine.count(case_ids=["case"], query=ALL) == 0
            writer.seal()
            writer.seal()
            assert engine.count(case_ids=["case"], query=ALL) == 0
            engine.publish(case_id="case", shard="ev-1", run="1")
            assert engine.count(case_ids=["case"], query=ALL) == 1

    def test_leaving_without_publishing_discards(self, engine: Engine) -> None:
        with engine.writer(case_id="case", shard="ev-1", run="1") as writer:
            writer.add([event(1)])
        assert engine.count(case_ids=["case"], query=ALL) == 0
        assert engine.shards(case_id="case") == {}

    def test_an_error_on_the_way_discards_and_the_next_attempt_succeeds(self, engine: Engine) -> None:
        def fail() -> None:
            with engine.writer(case_id="case", shard="ev-1", run="1") as writer:
                writer.add([event(1)])
                raise RuntimeError("parser")

        with pytest.raises(RuntimeError, match="parser"):
            fail()
        fill(engine, [event(2)], run="2")
        assert found(engine) == ["message 2"]

    def test_a_rerun_replaces_what_was_there(self, engine: Engine) -> None:
        fill(engine, [event(1), event(2)])
        fill(engine, [event(2), event(3)], run="2")
        assert found(engine) == sorted(["message 2", "message 3"], key=found(engine).index)
        assert engine.shards(case_id="case") == {"ev-1": 2}

    def test_a_rerun_that_fails_leaves_what_was_there(self, engine: Engine) -> None:
        fill(engine, [event(1)])
        with engine.writer(case_id="case", shard="ev-1", run="2") as writer:
            writer.add([event(2)])
        assert found(engine) == ["message 1"]

    def test_a_rerun_with_nothing_empties_the_shard(self, engine: Engine) -> None:
        fill(engine, [event(1)])
        fill(engine, [], run="2")
        assert found(engine) == []
        assert engine.shards(case_id="case") == {"ev-1": 0}

    def test_an_id_added_twice_counts_as_duplicate(self, engine: Engine) -> None:
        with engine.writer(case_id="case", shard="ev-1", run="1") as writer:
            writer.add([event(1), event(1, message="another"), event(2)])
            writer.add([event(2)])
            writer.seal()
            assert (writer.written.indexed, writer.written.duplicate) == (2, 2)
            engine.publish(case_id="case", shard="ev-1", run="1")
        assert sorted(found(engine)) == ["message 1", "message 2"]

    def test_appending_keeps_what_is_there_and_knows_its_ids(self, engine: Engine) -> None:
        fill(engine, [event(1), event(2)], shard=POSTED)
        with engine.writer(case_id="case", shard=POSTED, run="2", append=True) as writer:
            writer.add([event(2), event(3), event(3)])
            writer.seal()
            assert (writer.written.indexed, writer.written.duplicate) == (1, 2)
            engine.publish(case_id="case", shard=POSTED, run="2", append=True)
        assert sorted(found(engine)) == ["message 1", "message 2", "message 3"]
        assert engine.shards(case_id="case") == {POSTED: 3}

    def test_appending_many_times_loses_nothing(self, engine: Engine) -> None:
        for number in range(12):
            fill(engine, [event(number), event(number + 1)], shard=POSTED, run=str(number), append=True)
        assert sorted(found(engine)) == sorted(f"message {number}" for number in range(13))

    def test_the_parts_of_a_run_become_visible_together_whoever_publishes(self, engine: Engine) -> None:
        fill(engine, [event(n) for n in range(3)])
        with ExitStack() as stack:
            for part in range(3):
                writer = stack.enter_context(engine.writer(case_id="case", shard="ev-1", run="2", part=part))
                writer.add([event(10 * part + number) for number in range(1, 4)])
                writer.seal()
                assert len(found(engine)) == 3
            connect_like(engine).publish(case_id="case", shard="ev-1", run="2")
            assert len(found(engine)) == 9
        assert sorted(found(engine)) == sorted(
            f"message {10 * part + n}" for part in range(3) for n in (1, 2, 3)
        )
        assert engine.shards(case_id="case") == {"ev-1": 9}

    @pytest.mark.parametrize("append", [False, True])
    def test_publishing_again_changes_nothing(self, engine: Engine, append: bool) -> None:
        fill(engine, [event(1)], shard=POSTED)
        with engine.writer(case_id="case", shard=POSTED, run="2", append=append) as writer:
            writer.add([event(2)])
            writer.seal()
            engine.publish(case_id="case", shard=POSTED, run="2", append=append)
            engine.publish(case_id="case", shard=POSTED, run="2", append=append)
        engine.publish(case_id="case", shard=POSTED, run="2", append=append)
        assert engine.shards(case_id="case") == {POSTED: 2 if append else 1}
        assert sorted(found(engine)) == (["message 1"] if append else []) + ["message 2"]

    def test_what_was_never_sealed_is_not_published(self, engine: Engine) -> None:
        fill(engine, [event(1)])
        with (
            engine.writer(case_id="case", shard="ev-1", run="2") as whole,
            engine.writer(case_id="case", shard="ev-1", run="2", part=1) as torn,
        ):
            whole.add([event(2)])
            torn.add([event(3)])
            whole.seal()
            engine.publish(case_id="case", shard="ev-1", run="2")
            assert found(engine) == ["message 2"]
        assert found(engine) == ["message 2"]

    def test_a_run_that_nobody_wrote_cannot_be_published(self, engine: Engine) -> None:
        fill(engine, [event(1)])
        with pytest.raises(IndexUnavailable):
            engine.publish(case_id="case", shard="ev-1", run="never")
        assert found(engine) == ["message 1"]

    def test_a_document_of_another_case_is_refused(self, engine: Engine) -> None:
        with (
            engine.writer(case_id="case", shard="ev-1", run="1") as writer,
            pytest.raises(ValueError, match="case"),
        ):
            writer.add([event(1, case_id="other")])

    def test_an_attempt_that_was_overtaken_cannot_publish(self, engine: Engine) -> None:
        with engine.writer(case_id="case", shard="ev-1", run="1") as slow:
            slow.add([event(1)])
            slow.seal()
            fill(engine, [event(2)], run="2")
            with pytest.raises(Exception, match="later attempt"):
                engine.publish(case_id="case", shard="ev-1", run="1")
        assert found(engine) == ["message 2"]

    def test_documents_come_back_unchanged(self, engine: Engine) -> None:
        odd = {
            "mixed": [1, "1", 1.5, True, None, {"deep": []}],
            "huge": 2**200,
            "nul\x00": "a\x00b",
            "lone \ud800": "\udfff",
            "": "",
            "long": "v" * 40_000,
        }
        given = event(1, None, message="Grüße \ud800 \x00 🔥 e\u0301", attributes=odd, tags=["a", "a"])
        fill(engine, [given])
        assert list(engine.stream(case_ids=["case"], query=ALL)) == [given]
        assert engine.get(case_ids=["case"], event_id=given["event_id"]) == given


class TestScope:
    @pytest.fixture(autouse=True)
    def _two_cases(self, engine: Engine) -> None:
        fill(engine, [event(1)])
        fill(engine, [event(2, case_id="other", host="secret")], case="other")

    def test_no_cases_means_no_events(self, engine: Engine) -> None:
        assert engine.search(case_ids=[], query=ALL, limit=10).documents == []
        assert engine.search(case_ids=[], query=ALL, limit=10).total == 0
        assert engine.count(case_ids=[], query=ALL) == 0
        assert engine.histogram(case_ids=[], query=ALL).buckets == []
        assert engine.terms(case_ids=[], query=ALL, field="host", size=5).buckets == []
        assert engine.fields(case_ids=[]) == []
        assert engine.get(case_ids=[], event_id=event(1)["event_id"]) is None
        assert list(engine.stream(case_ids=[], query=ALL)) == []

    def test_another_case_is_never_seen(self, engine: Engine) -> None:
        for query in ("*", "NOT absent", "message", "case_id:other OR case_id:case", "*essag*"):
            assert found(engine, parse(query)) == ["message 1"]
        assert engine.terms(case_ids=["case"], query=ALL, field="host", size=5).buckets == []
        assert engine.get(case_ids=["case"], event_id=event(2)["event_id"]) is None
        assert "host" not in {info.name for info in engine.fields(case_ids=["case"])}

    def test_several_cases_are_merged_and_one_named_twice_counts_once(self, engine: Engine) -> None:
        asked = ["case", "other", "case"]
        assert engine.count(case_ids=asked, query=ALL) == 2
        page = engine.search(case_ids=asked, query=ALL, limit=10)
        assert sorted(document["message"] for document in page.documents) == ["message 1", "message 2"]
        assert engine.terms(case_ids=asked, query=ALL, field="case_id", size=5).buckets == [
            ("case", 1),
            ("other", 1),
        ]

    @pytest.mark.parametrize("case", ["*", "", "..", "case*", "case,other", "CASE", "ca?e"])
    def test_odd_case_ids_name_no_other_case(self, engine: Engine, case: str) -> None:
        assert engine.count(case_ids=[case], query=ALL) == 0
        engine.drop(case_id=case)
        engine.delete(case_id=case, shard="*")
        assert engine.sweep(case_id=case, keep=[]) == []
        assert engine.count(case_ids=["case", "other"], query=ALL) == 2


class TestLife:
    def test_a_deleted_shard_is_gone_and_deleting_twice_is_fine(self, engine: Engine) -> None:
        fill(engine, [event(1)])
        fill(engine, [event(2)], shard="ev-2")
        engine.delete(case_id="case", shard="ev-1")
        engine.delete(case_id="case", shard="ev-1")
        assert found(engine) == ["message 2"]
        assert engine.shards(case_id="case") == {"ev-2": 1}
        assert engine.get(case_ids=["case"], event_id=event(1)["event_id"]) is None

    def test_a_dropped_case_is_gone(self, engine: Engine) -> None:
        fill(engine, [event(1)])
        engine.drop(case_id="case")
        engine.drop(case_id="case")
        assert found(engine) == []
        assert engine.shards(case_id="case") == {}
        fill(engine, [event(2)])
        assert found(engine) == ["message 2"]

    def test_sweeping_removes_shards_nobody_owns(self, engine: Engine) -> None:
        for shard in ("ev-1", "ev-2", POSTED):
            fill(engine, [event(1, evidence_uid=shard)], shard=shard)
        assert engine.sweep(case_id="case", keep=["ev-1", POSTED, "ev-9"]) == ["ev-2"]
        assert engine.shards(case_id="case") == {"ev-1": 1, POSTED: 1}
        assert engine.sweep(case_id="case", keep=["ev-1", POSTED]) == []

    def test_sweeping_leaves_a_writer_at_work_alone(self, engine: Engine) -> None:
        with engine.writer(case_id="case", shard="ev-1", run="1") as writer:
            writer.add([event(1)])
            writer.seal()
            assert engine.sweep(case_id="case", keep=["ev-1"]) == []
            engine.publish(case_id="case", shard="ev-1", run="1")
        assert found(engine) == ["message 1"]

    def test_a_stream_keeps_its_picture_while_the_shard_is_replaced_and_deleted(self, engine: Engine) -> None:
        fill(engine, [event(n, START + n) for n in range(20_000)])
        stream = engine.stream(case_ids=["case"], query=ALL)
        read = [next(stream)["message"]]
        fill(engine, [event(1)], run="2")
        engine.delete(case_id="case", shard="ev-1")
        read += [document["message"] for document in stream]
        assert read == [f"message {n}" for n in range(20_000)]
        assert found(engine) == []

    def test_readers_see_whole_runs_while_one_is_replaced_again_and_again(self, engine: Engine) -> None:
        fill(engine, [event(n) for n in range(500)])
        reader = connect_like(engine)

        def read() -> list[int]:
            return [reader.count(case_ids=["case"], query=Words("message")) for _ in range(40)]

        with ThreadPoolExecutor(2) as pool:
            readings = [pool.submit(read) for _ in range(2)]
            for run in range(8):
                fill(engine, [event(n) for n in range(500)], run=f"again {run}")
            assert {count for reading in readings for count in reading.result()} == {500}

    def test_an_engine_sees_what_another_one_published(self, engine: Engine) -> None:
        reader = connect_like(engine)
        assert found(reader) == []
        for number in range(3):
            fill(engine, [event(number)], shard=f"ev-{number}")
            assert len(found(reader)) == number + 1
        engine.delete(case_id="case", shard="ev-0")
        assert len(found(reader)) == 2

    def test_health_says_what_it_is(self, engine: Engine) -> None:
        health = engine.health()
        assert health.ok
        assert health.facts["engine"]

    def test_people_s_annotations_are_not_the_engine_s_business(self, engine: Engine) -> None:
        fill(engine, [event(1)])
        with pytest.raises(TypeError):
            engine.count(case_ids=["case"], query=Annotated("tag", ALL))
