"""What is the embedded engine's own: its files, crashes, damage, and what is left on the disk."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cases.index import embedded_write
from cases.index.embedded import EmbeddedEngine
from cases.index.embedded_literals import Fragment, fragments
from cases.index.embedded_store import CaseDirectory
from cases.index.embedded_terms import escape, place_of, spelling, term_tail, unescape
from cases.index.embedded_write import EmbeddedWriter
from cases.index.engine import POSTED, IndexUnavailable
from cases.index.query import parse
from cases.index.tree import Field, Pattern, Regex
from cases.tests.index.engines import ALL, event, fill, found
from cases.tests.index.odd import START, documents

WRITER = """
import sys, time
from pathlib import Path
from cases.index.embedded import EmbeddedEngine
from cases.tests.index.engines import event
engine = EmbeddedEngine(Path(sys.argv[1]))
with engine.writer(case_id="case", shard="ev-1", run=sys.argv[2]) as writer:
    for start in range(0, 6000, 500):
        writer.add([event(n, run=sys.argv[2]) for n in range(start, start + 500)])
    if sys.argv[3] == "sealed":
        writer.seal()
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def engine(root: Path) -> EmbeddedEngine:
    return EmbeddedEngine(root)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_write, "PART", 1000)


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def killed_while_writing(root: Path, run: str, state: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), run, state], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)


class TestCrash:
    @pytest.mark.parametrize("state", ["writing", "sealed"])
    def test_a_killed_writer_leaves_what_was_published_and_the_rerun_succeeds(
        self, engine: EmbeddedEngine, root: Path, state: str
    ) -> None:
        fill(engine, [event(1)])
        killed_while_writing(root, "2", state)
        assert found(EmbeddedEngine(root)) == ["message 1"]
        fill(engine, [event(n) for n in range(600)], run="3")
        assert engine.count(case_ids=["case"], query=ALL) == 600
        runs = {
            path.relative_to(root).parts[2] for path in files(root) if len(path.relative_to(root).parts) > 3
        }
        assert len(runs) == 1

    def test_sweeping_removes_what_a_killed_writer_left(self, engine: EmbeddedEngine, root: Path) -> None:
        fill(engine, [event(1)])
        before = files(root)
        killed_while_writing(root, "2", "sealed")
        assert len(files(root)) > len(before)
        assert len(engine.sweep(case_id="case", keep=["ev-1"])) == 1
        assert files(root) == before
        assert found(engine) == ["message 1"]

    def test_an_unfinished_manifest_is_ignored_and_swept(self, engine: EmbeddedEngine, root: Path) -> None:
        fill(engine, [event(1)])
        manifest = next(root.glob("*/*.json"))
        manifest.with_suffix(".fresh").write_text('{"layo')
        assert found(EmbeddedEngine(root)) == ["message 1"]
        engine.sweep(case_id="case", keep=["ev-1"])
        assert not list(root.rglob("*.fresh"))


class TestDisk:
    @pytest.mark.parametrize("how", ["delete", "drop", "sweep", "replace"])
    def test_no_text_of_a_deleted_shard_is_left_on_the_disk(
        self, engine: EmbeddedEngine, root: Path, how: str
    ) -> None:
        secrets = (b"zanzibar", b"Zanzibar", b"kilimanjaro")
        fill(
            engine,
            [event(n, message="zanzibar", attributes={"Zanzibar": f"kilimanjaro {n}"}) for n in range(50)],
        )
        assert any(secret in path.read_bytes() for path in files(root) for secret in secrets)
        ways: dict[str, Callable[[], object]] = {
            "delete": lambda: engine.delete(case_id="case", shard="ev-1"),
            "drop": lambda: engine.drop(case_id="case"),
            "sweep": lambda: engine.sweep(case_id="case", keep=[]),
            "replace": lambda: fill(engine, [event(1)], run="2"),
        }
        ways[how]()
        assert not [path for path in files(root) for secret in secrets if secret in path.read_bytes()]

    @pytest.mark.parametrize("how", ["delete", "drop"])
    def test_a_deletion_that_was_killed_half_way_is_finished_by_erase(
        self, engine: EmbeddedEngine, root: Path, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def die(place: Path, **facts: object) -> None:
            raise KeyboardInterrupt

        fill(engine, [event(1, message="s3cret")])
        fill(engine, [event(2)], shard="ev-2")
        ways: dict[str, Callable[[], None]] = {
            "delete": lambda: engine.delete(case_id="case", shard="ev-1"),
            "drop": lambda: engine.drop(case_id="case"),
        }
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", die)
            with pytest.raises(KeyboardInterrupt):
                ways[how]()
        assert [path for path in files(root) if path.name == "facts.json"]
        assert engine.erase(case_id="case", shard="ev-1" if how == "delete" else "")
        left = set(found(EmbeddedEngine(root)))
        assert left == ({"message 2"} if how == "delete" else set())
        assert len([path for path in files(root) if path.name == "facts.json"]) == len(left)

    def test_erasing_leaves_what_is_there_and_what_is_being_written(
        self, engine: EmbeddedEngine, root: Path
    ) -> None:
        fill(engine, [event(1)])
        with engine.writer(case_id="case", shard="ev-2", run="1") as writer:
            writer.add([event(2)])
            assert engine.erase(case_id="case")
            assert engine.erase(case_id="case", shard="ev-2")
            writer.seal()
            engine.publish(case_id="case", shard="ev-2", run="1")
        assert sorted(found(EmbeddedEngine(root))) == ["message 1", "message 2"]

    def test_no_name_of_a_user_becomes_a_path(self, engine: EmbeddedEngine, root: Path) -> None:
        for case in ("../../outside", "/etc", "case\x00nul", "<script>", "x" * 5000, "lone \ud800"):
            fill(engine, [event(1, case_id=case)], case=case, shard="../" + case)
            assert found(engine, case=case) == ["message 1"]
            assert engine.shards(case_id=case) == {"../" + case: 1}
        names = [part for path in root.parent.rglob("*") for part in path.relative_to(root.parent).parts]
        assert all(len(name) < 60 and name.isascii() and ".." not in name for name in names)
        assert {path.name for path in root.parent.iterdir()} == {root.name}

    def test_a_long_run_is_written_in_parts_and_found_as_one(
        self, engine: EmbeddedEngine, root: Path, small_parts: None
    ) -> None:
        held = documents(7, 50, case_id="case") + [event(n, START + n) for n in range(3500)]
        with engine.writer(case_id="case", shard="ev-1", run="1") as writer:
            for start in range(0, len(held), 400):
                writer.add(held[start : start + 400])
            writer.add(held[:100])
            assert (writer.written.indexed, writer.written.duplicate) == (3550, 100)
            writer.seal()
            engine.publish(case_id="case", shard="ev-1", run="1")
        assert len(list(root.rglob("meta.json"))) == 4
        assert engine.count(case_ids=["case"], query=ALL) == 3550
        page = engine.search(case_ids=["case"], query=parse("message"), limit=5, descending=False)
        assert [document["message"] for document in page.documents] == [f"message {n}" for n in range(5)]

    def test_one_event_of_many_megabytes_is_kept_and_found(self, engine: EmbeddedEngine) -> None:
        long = "f" * 90_000
        message = f"start {'a b' * 200_000} needle {long} {'f' * 100}{'g' * 3_000_000} end"
        fill(engine, [event(1, message=message), event(2)])
        for query in ("needle", '"start a"', "*eedl*", "*fffffffg*", long, "message:end"):
            assert [len(text) for text in found(engine, parse(query))] == [len(message)], query[:20]


class TestFolding:
    def test_a_hundred_appends_leave_few_parts_and_lose_nothing(
        self, engine: EmbeddedEngine, root: Path
    ) -> None:
        most = 0
        for number in range(100):
            posted = [event(number), event(number + 1), event(5000 + number, None)]
            fill(engine, posted, shard=POSTED, run=str(number), append=True)
            most = max(most, len(list(root.rglob("meta.json"))))
        assert most <= 3 * 7
        assert engine.shards(case_id="case") == {POSTED: 201}
        expected = [*range(101), *range(5000, 5100)]
        for asked in (engine, EmbeddedEngine(root)):
            assert sorted(found(asked)) == sorted(f"message {number}" for number in expected)
            assert asked.get(case_ids=["case"], event_id=event(0)["event_id"]) == event(0)
        histogram = engine.histogram(case_ids=["case"], query=ALL, interval="day")
        assert (sum(count for _, count in histogram.buckets), histogram.undated) == (101, 100)

    def test_what_was_open_before_a_fold_stays_readable(self, engine: EmbeddedEngine) -> None:
        for number in range(7):
            fill(engine, [event(number)], shard=POSTED, run=str(number), append=True)
        stream = engine.stream(case_ids=["case"], query=ALL)
        fill(engine, [event(7)], shard=POSTED, run="7", append=True)
        assert sorted(document["message"] for document in stream) == [f"message {n}" for n in range(7)]
        assert len(found(engine)) == 8

    def test_a_fold_that_is_not_published_changes_nothing(self, engine: EmbeddedEngine, root: Path) -> None:
        for number in range(7):
            fill(engine, [event(number)], shard=POSTED, run=str(number), append=True)
        before = files(root)
        with engine.writer(case_id="case", shard=POSTED, run="7", append=True) as writer:
            writer.add([event(7)])
            writer.seal()
            assert len(files(root)) > len(before)
        assert files(root) == before
        assert len(found(EmbeddedEngine(root))) == 7

    def test_a_fold_of_parts_that_another_took_up_meanwhile_is_refused(self, engine: EmbeddedEngine) -> None:
        for number in range(7):
            fill(engine, [event(number)], shard=POSTED, run=str(number), append=True)
        held = engine._pictures.of_shard("case", POSTED)
        fill(engine, [event(7)], shard=POSTED, run="7", append=True)
        case = CaseDirectory(engine._root, "case")
        with EmbeddedWriter(case, shard=POSTED, run="8", held=held) as late:
            late.add([event(8)])
            late.seal()
            with pytest.raises(IndexUnavailable, match="changed"):
                engine.publish(case_id="case", shard=POSTED, run="8", append=True)
        assert len(found(engine)) == 8

    def test_a_run_of_several_parts_loses_only_those_that_were_folded(
        self, engine: EmbeddedEngine, root: Path, small_parts: None
    ) -> None:
        fill(engine, [event(n) for n in range(1004)], shard=POSTED, run="long", append=True)
        for number in range(2000, 2007):
            fill(engine, [event(number)], shard=POSTED, run=str(number), append=True)
        assert len(list(root.rglob("meta.json"))) == 2
        assert engine.count(case_ids=["case"], query=ALL) == len(found(engine)) == 1011


class TestDamage:
    @pytest.fixture(autouse=True)
    def _filled(self, engine: EmbeddedEngine) -> None:
        fill(engine, [event(n) for n in range(300)])

    def assert_refused(self, root: Path, reason: str) -> None:
        with pytest.raises(IndexUnavailable, match=reason):
            EmbeddedEngine(root).search(case_ids=["case"], query=ALL, limit=10)

    @pytest.mark.parametrize(
        "kind", ["*.store", "*.idx", "*.term", "*.pos", "*.fast", "meta.json", "facts.json"]
    )
    def test_a_flipped_bit_is_noticed(self, root: Path, kind: str) -> None:
        path = next(root.rglob(kind))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
        self.assert_refused(root, "not as it was written.*reindex")

    @pytest.mark.parametrize("kind", ["*.store", "*.idx", "meta.json"])
    def test_a_truncated_or_missing_file_is_noticed(self, root: Path, kind: str) -> None:
        path = next(root.rglob(kind))
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        self.assert_refused(root, "changed in size.*reindex")
        path.unlink()
        self.assert_refused(root, "cannot be read.*reindex")

    def test_a_copy_restored_with_other_times_is_accepted(self, root: Path) -> None:
        for path in files(root):
            path.write_bytes(path.read_bytes())
        assert EmbeddedEngine(root).count(case_ids=["case"], query=ALL) == 300

    @pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"layout": 1}', "\x00" * 100])
    def test_a_damaged_manifest_is_noticed(self, root: Path, content: str) -> None:
        next(root.glob("*/*.json")).write_text(content)
        self.assert_refused(root, "index")

    def test_an_index_of_another_version_asks_for_a_rebuild_and_takes_it(
        self, engine: EmbeddedEngine, root: Path
    ) -> None:
        manifest = next(root.glob("*/*.json"))
        said = json.loads(manifest.read_text())
        manifest.write_text(json.dumps(said | {"layout": "0.9"}))
        self.assert_refused(root, "another version.*reindex")
        fill(engine, [event(1)], run="2")
        assert found(EmbeddedEngine(root)) == ["message 1"]

    def test_the_manifest_of_another_case_is_refused(self, engine: EmbeddedEngine, root: Path) -> None:
        fill(engine, [event(1, case_id="other")], case="other")
        mine, theirs = sorted(root.glob("*/*.json"))
        mine.write_bytes(theirs.read_bytes())
        with pytest.raises(IndexUnavailable, match="another one's"):
            EmbeddedEngine(root).count(case_ids=["case", "other"], query=ALL)

    def test_a_running_engine_notices_damage_once_it_opens_the_part_again(
        self, engine: EmbeddedEngine, root: Path
    ) -> None:
        assert engine.count(case_ids=["case"], query=ALL) == 300
        path = next(root.rglob("*.store"))
        path.rename(path.with_suffix(".gone"))
        assert engine.count(case_ids=["case"], query=ALL) == 300  # it holds the picture it opened
        self.assert_refused(root, "reindex")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
    def test_a_directory_without_permission_is_unavailable(self, root: Path) -> None:
        root.chmod(0)
        try:
            self.assert_refused(root, "cannot be read")
            assert not EmbeddedEngine(root).health().ok
        finally:
            root.chmod(0o700)


def test_an_index_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    engine = EmbeddedEngine(tmp_path / "file")
    with pytest.raises(IndexUnavailable, match="cannot be"):
        fill(engine, [event(1)])
    assert not engine.health().ok


def test_opened_parts_are_bounded(tmp_path: Path) -> None:
    engine = EmbeddedEngine(tmp_path)
    engine._pictures._open.limit = 5
    for number in range(12):
        fill(engine, [event(number)], shard=f"ev-{number}")
    assert engine.count(case_ids=["case"], query=ALL) == 12
    assert len(engine._pictures._open._parts) == 5
    engine.delete(case_id="case", shard="ev-0")
    assert engine.count(case_ids=["case"], query=ALL) == 11


def test_an_opened_part_holds_no_file_and_its_thread_ends_with_it(engine: EmbeddedEngine) -> None:
    def threads() -> int:
        return int(Path("/proc/self/status").read_text().split("Threads:")[1].split()[0])

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    for number in range(8):
        fill(engine, [event(number)], shard=f"ev-{number}")
    engine.count(case_ids=["case"], query=ALL)
    before = descriptors()
    again = EmbeddedEngine(engine._root)
    again.count(case_ids=["case"], query=ALL)
    assert descriptors() == before
    opened = threads()
    del again
    gc.collect()
    deadline = time.monotonic() + 20
    while threads() > opened - 8 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threads() <= opened - 8


@pytest.mark.parametrize(
    "value", ["plain", "Mixed", "nul\x00\x01", "\ud800", "é", "007", "7.50", 7, -1, 1.5, True, ""]
)
def test_terms_give_back_the_spelling(value: object) -> None:
    shown = spelling(term_tail(value))
    assert shown == (value if isinstance(value, str) else json.dumps(value))


@pytest.mark.parametrize("text", ["", "a\x00b", "\x01", "\x010000", "\ud800\udfff", "tab\t"])
def test_escaping_is_reversible(text: str) -> None:
    assert unescape(escape(text)) == text
    assert not set(escape(text)) & set("\x00\x1f\ud800")


def test_places_of_different_fields_never_begin_alike() -> None:
    names = ["a", "a.b", "a\x1f", "a\x00", "", "A", "n" * 200, "n" * 201]
    places = {place_of(Field(name, attribute)) + "\x1f" for name in names for attribute in (True, False)}
    assert len(places) == 2 * len(names)
    assert not [one for one in places for two in places if one != two and two.startswith(one)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (r"*\\Temp\\*.exe", [("temp", False, False), ("exe", False, True)]),
        ("*backdoorx_se*", [("backdoorx", True, False), ("se", False, True)]),
        ("pow*", [("pow", True, True)]),
        ("/evil\\.exe/", [("evil", True, False), ("exe", False, True)]),
        ("/ab?c+d*e/", [("a", True, True), ("c", True, True), ("e", True, True)]),
        ("/a(bc)+[de]f{2}g\\d/", [("a", True, True), ("g", True, True)]),
        ("/a|b/", []),
        ("/ab(c|d) ef/", [("ab", True, True), ("ef", False, True)]),
        ("/ab(c|[)|]\\)) ef|g/", []),
        ("/ab[|]c\\|d/", [("ab", True, True), ("c", True, False), ("d", False, True)]),
        ("/ab\\x41c\\pLd\\b/", [("ab", True, True), ("c", True, True), ("d", True, True)]),
    ],
)
def test_literals_are_what_every_match_needs(query: str, expected: list[tuple[str, bool, bool]]) -> None:
    node = parse(query)
    assert isinstance(node, Pattern | Regex)
    assert list(fragments(node, covers=False)) == [Fragment(*piece) for piece in expected]
