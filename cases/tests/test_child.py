"""What hostile evidence can make a parser do, and what becomes of it: a failed or a balanced run."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cases import tasks
from cases.cage import Child
from cases.engines import engine
from cases.exchange import Job
from cases.index.engine import IndexUnavailable
from cases.index.tree import Everything
from cases.models import Case, RunStatus, TaskRun
from cases.store import hash_file
from cases.tests.cast import a_case, indexed, ledger, receive
from cases.tests.worker_process import ROOT, wait_until


def _read(content: bytes) -> tuple[Case, TaskRun]:
    case = a_case()
    run = receive(case, content).run
    assert run is not None
    tasks.work(once=True)
    run.refresh_from_db()
    return case, run


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("hostile_parsers")
class TestHostileParsers:
    """Whatever a parser does, the worker outlives it and the run says what happened."""

    def test_a_parser_that_prints_cannot_speak_for_its_process(self) -> None:
        case, run = _read(b"printing")
        assert run.status == RunStatus.SUCCEEDED
        assert ledger(run) == {"read": 1, "indexed": 1, "duplicate": 0, "rejected": 0, "undated": 0}
        assert len(indexed(case)) == 1

    def test_a_parser_that_takes_all_memory_fails_alone(self, settings) -> None:
        settings.RUN_MEMORY = 400 * 1024**2
        case, run = _read(b"memory")
        assert run.status == RunStatus.FAILED
        assert run.error_message == "The memory limit of one reading (0.4 GB, RUN_MEMORY) was reached."
        assert (run.attempt, indexed(case)) == (1, [])

    def test_an_endless_parser_is_ended(self, settings) -> None:
        settings.RUN_SECONDS = 1
        case, run = _read(b"endless")
        assert run.status == RunStatus.FAILED
        assert "RUN_SECONDS" in (run.error_message or "")
        assert indexed(case) == []

    def test_a_crash_of_native_code_is_named(self) -> None:
        case, run = _read(b"segfault")
        assert run.status == RunStatus.FAILED
        assert run.error_message == "The reading process ended: killed by signal SIGSEGV."
        assert indexed(case) == []

    def test_a_fault_in_a_parser_is_named_and_its_place_is_logged_without_evidence(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.ERROR, "cases.runs"):
            _, run = _read(b"buggy")
        assert run.status == RunStatus.FAILED
        assert run.error_message == "The parser stopped with an unexpected error: KeyError: 'offset'"
        (record,) = [record for record in caplog.records if record.name == "cases.runs"]
        assert 'hostile.py", line' in record.getMessage()
        assert record.getMessage().endswith("KeyError")
        assert "offset" not in record.getMessage()

    def test_times_that_no_event_may_carry_are_rejected(self) -> None:
        case, run = _read(b"wild")
        assert run.status == RunStatus.SUCCEEDED
        assert ledger(run) == {"read": 3, "indexed": 1, "duplicate": 0, "rejected": 2, "undated": 0}
        reasons = run.rejected_records.values_list("reason", flat=True)
        assert all("outside 1601 to 9999" in reason for reason in reasons)
        assert len(indexed(case)) == 1

    def test_counts_that_do_not_balance_fail_the_run(self) -> None:
        case, run = _read(b"cheating")
        assert run.status == RunStatus.FAILED
        assert run.error_message == (
            "The counts do not balance, so nothing was made visible: "
            "read 2, indexed 1, duplicate 0, rejected 0, undated 0"
        )
        assert indexed(case) == []

    def test_records_that_are_counted_as_rejected_and_not_kept_fail_the_run(self) -> None:
        case, run = _read(b"forgetful")
        assert run.status == RunStatus.FAILED
        assert "do not balance" in (run.error_message or "")
        assert (indexed(case), run.rejected_records.count()) == ([], 0)

    def test_a_parser_sees_no_secrets_and_no_django(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET_KEY", "do not tell")
        case, run = _read(b"curious")
        assert run.status == RunStatus.SUCCEEDED
        (event,) = engine().stream(case_ids=[case.case_id], query=Everything())
        assert set(event["attributes"]["environment"]) <= {"PATH", "LANG", "TZ", "TMPDIR", "LC_CTYPE"}
        assert event["attributes"].get("modules", []) == []

    def test_a_reading_that_writes_without_end_meets_its_limit(self, settings) -> None:
        settings.RUN_OUTPUT = 1024**2
        case, run = _read(b"flooding")
        assert run.status == RunStatus.FAILED
        assert run.error_message == "The output limit of one reading (RUN_OUTPUT) was reached."
        assert indexed(case) == []

    def test_a_parser_that_uses_up_its_processor_time_says_so(self, settings, tmp_path: Path) -> None:
        content = tmp_path / "content"
        content.write_bytes(b"endless")
        with Child(_job(tmp_path, content, cpu=1)) as child:
            while (message := child.hear(10)) is not None:
                assert "progress" in message
            assert child.obituary() == "The reading process ended: it used up its processor time."
            assert not child.was_killed()

    @pytest.mark.usefixtures("embedded")  # three seconds are short for a busy server
    def test_after_all_that_the_worker_reads_on(self, settings) -> None:
        settings.RUN_MEMORY = 400 * 1024**2
        settings.RUN_SECONDS = 3
        case = a_case()
        for content in (b"memory", b"endless", b"segfault", b"buggy", b"cheating", b"nobody", b""):
            receive(case, content)
        receive(case, b"good 30")
        assert tasks.work(once=True, concurrency=2) == 8
        states = TaskRun.objects.order_by("pk").values_list("status", flat=True)
        assert list(states) == [RunStatus.FAILED] * 7 + [RunStatus.SUCCEEDED]
        assert len(indexed(case)) == 30


def _job(work: Path, content: Path, **facts: object) -> Job:
    kept = {
        "case_id": "case",
        "evidence_uid": "ev-1",
        "run": "1-1",
        "path": str(content),
        "sha256": hash_file(content),
        "name": content.name,
        "index": {"url": "embedded:", "root": str(work / "index")},
        "work": str(work),
        "parsers": "cases.tests.hostile",
        "memory": 1024**3,
        "output": 1024**3,
        "cpu": 60,
        **facts,
    }
    return Job(**kept)  # type: ignore[arg-type]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A reading of ten events."""
    content = tmp_path / "content"
    content.write_bytes(b"good 10")
    return _job(tmp_path, content)


def _publish(job: Job) -> None:
    engine().publish(case_id=job.case_id, shard=job.evidence_uid, run=job.run)


def _until_sealed(child: Child) -> dict[str, object]:
    while message := child.hear(20):
        if "sealed" in message:
            sealed: dict[str, object] = message["sealed"]
            return sealed
    raise AssertionError(child.obituary())


@pytest.mark.usefixtures("embedded")
class TestCage:
    """The process around a parser."""

    def test_nothing_is_visible_before_it_is_published(self, job: Job, settings) -> None:
        settings.INDEX_ROOT = Path(job.index["root"])
        with Child(job) as child:
            counts = _until_sealed(child)["counts"]
            assert isinstance(counts, dict)
            assert (counts["read"], counts["indexed"], counts["progress"]) == (10, 10, 1.0)
            assert engine().shards(case_id="case") == {}
            _publish(job)
        assert engine().shards(case_id="case") == {"ev-1": 10}

    def test_leaving_without_publishing_leaves_nothing_visible(self, job: Job, settings) -> None:
        settings.INDEX_ROOT = Path(job.index["root"])
        with Child(job) as child:
            _until_sealed(child)
        assert engine().shards(case_id="case") == {}
        with pytest.raises(ProcessLookupError):
            os.kill(child.pid, 0)

    def test_what_a_child_sealed_can_be_published_after_its_death(self, job: Job, settings) -> None:
        settings.INDEX_ROOT = Path(job.index["root"])
        with Child(job) as child:
            _until_sealed(child)
            os.kill(child.pid, signal.SIGKILL)
            assert child.was_killed()
            _publish(job)
        assert engine().shards(case_id="case") == {"ev-1": 10}

    def test_a_sealed_child_guards_what_it_wrote_until_it_is_let_go(self, job: Job, settings) -> None:
        settings.INDEX_ROOT = Path(job.index["root"])
        with Child(job) as child:
            _until_sealed(child)
            assert engine().sweep(case_id="case", keep=["ev-1"]) == []
        assert len(engine().sweep(case_id="case", keep=["ev-1"])) == 1
        with pytest.raises(IndexUnavailable, match="removed"):
            _publish(job)

    def test_the_bounds_are_those_of_the_job(self, job: Job) -> None:
        with Child(job) as child:
            _until_sealed(child)
            limits = Path(f"/proc/{child.pid}/limits").read_text()
        found = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()}
        assert found["Max data size"] == [str(1024**3)] * 2
        assert found["Max file size"] == [str(1024**3)] * 2
        assert found["Max cpu time"] == ["60", "65"]
        assert found["Max core file size"] == ["0", "0"]

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_a_child_ends_with_its_parent(self, job: Job, tmp_path: Path, number: signal.Signals) -> None:
        (tmp_path / "content").write_bytes(b"slow 60000")
        facts = json.dumps({name: getattr(job, name) for name in job.__slots__} | {"sha256": ""})
        program = (
            "import json, sys, time\n"
            "from cases.cage import Child\nfrom cases.exchange import Job\n"
            "facts = json.loads(sys.argv[1])\n"
            "from cases.store import hash_file\nfrom pathlib import Path\n"
            "facts['sha256'] = hash_file(Path(facts['path']))\n"
            "child = Child(Job(**facts)).__enter__()\n"
            "print(child.pid, flush=True)\ntime.sleep(60)\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, facts],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "datamortem.settings"},
        ) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            time.sleep(0.3)
            os.kill(pid, 0)
            parent.send_signal(number)
        wait_until(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid), seconds=5)

    def test_many_at_once_do_not_disturb_each_other(self, job: Job, tmp_path: Path) -> None:
        found: list[object] = []

        def read(number: int) -> None:
            work = tmp_path / str(number)
            work.mkdir()
            one = _job(work, Path(job.path), evidence_uid=f"ev-{number}", index=job.index)
            with Child(one) as child:
                found.append(_until_sealed(child)["counts"])

        threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [counts["indexed"] for counts in found] == [10] * 4  # type: ignore[index]


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
