"""Evidence in a bucket of a real S3 server: what the folder promises, and what only a bucket can do wrong."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from cases import discards, jobs, runs, services, store, tasks
from cases.models import Case, Evidence, RunStatus, TaskRun
from cases.store import bucket, copies
from cases.store.content import key_of
from cases.store.keys import Keys
from cases.tests.api.cast import V1, a_file, client_of, staffed_case
from cases.tests.cast import a_case, actions, indexed, receive
from cases.tests.stores import (
    BUCKET,
    NEEDS_S3,
    SECRET_KEY,
    Behind,
    Unsteady,
    a_server,
    server,
    use_bucket,
)
from cases.tests.worker_process import start

pytestmark = [pytest.mark.django_db, NEEDS_S3]

LINES = b"".join(b'{"message": "line %d", "timestamp": "2024-03-01T00:00:00Z"}\n' % n for n in range(50_000))
MACHINE = """
import hashlib, io, sys
from cases import services, store
from cases.models import Case, Evidence
for round in range({rounds}):
    got = services.receive_evidence(
        case=Case.objects.get(case_id={case!r}), by=None, content=io.BytesIO(b"shared" * 20000), name="x"
    )
    assert store.matches(got.evidence.local_path, got.evidence.sha256), "lost"
    services.delete_evidence(evidence=got.evidence, by=None)
"""
ENDLESS = """
import io
from cases import services
from cases.models import Case
from cases.store import bucket
bucket.PART = 5 * 1024 * 1024
number = 0
while True:
    number += 1
    services.receive_evidence(
        case=Case.objects.get(), by=None, content=io.BytesIO(b"%d" % number * 9_000_000), name="x"
    )
"""


@pytest.fixture
def behind(settings) -> Behind:
    """Evidence in a bucket."""
    return Behind(settings, "bucket")


def _say(*arguments: str) -> tuple[str, str]:
    out = io.StringIO()
    try:
        call_command(*arguments, stdout=out)
    except CommandError as refusal:
        return out.getvalue(), str(refusal)
    return out.getvalue(), ""


def _held(case: Case) -> TaskRun:
    return case.evidences.get().task_runs.get()


def _asked_for(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return what is kept up to date with how many bytes each question to the bucket asks for."""
    sizes: list[int] = []
    read = bucket.Bucket._read

    def counted(self: Any, key: str, start: int, end: int, unchanged: dict[str, str]) -> Iterator[bytes]:
        sizes.append(end - start)
        return read(self, key, start, end, unchanged)

    monkeypatch.setattr(bucket.Bucket, "_read", counted)
    return sizes


@pytest.mark.django_db(transaction=True)
class TestReading:
    """Runs, downloads and looks at one event."""

    def test_a_run_reads_a_copy_that_it_fetched_and_removed(self, behind: Behind, settings) -> None:
        case = a_case()
        receive(case, LINES[:6000])
        assert tasks.work(once=True) == 1
        run = _held(case)
        assert (run.status, len(indexed(case))) == (RunStatus.SUCCEEDED, run.indexed)
        assert run.indexed > 90
        assert list((settings.WORK_ROOT / "runs").glob("*")) == []

    def test_the_reading_process_is_told_a_path_and_no_keys(self, behind: Behind, tmp_path: Path) -> None:
        receive(a_case(), b"evidence")
        run_id = TaskRun.objects.get().pk
        held = runs.claim(run_id, worker="test")
        assert held is not None
        beats: list[int] = []
        run = held.row().select_related("evidence", "module").get()
        job, _ = jobs.make_job(run, held, tmp_path, beat=lambda: beats.append(1))
        assert Path(job.path).read_bytes() == b"evidence"
        assert Path(job.path).is_relative_to(tmp_path)
        told = json.dumps(asdict(job))
        assert SECRET_KEY not in told
        assert server().url not in told

    def test_bytes_changed_in_the_bucket_are_never_read(self, behind: Behind) -> None:
        case = a_case()
        evidence = receive(case, LINES[:6000]).evidence
        assert evidence.sha256 is not None
        behind.change(evidence.sha256, LINES[:5999] + b"!")
        tasks.work(once=True)
        run = _held(case)
        assert run.status == RunStatus.FAILED
        assert "not those that came in" in (run.error_message or "")
        evidence.refresh_from_db()
        assert (evidence.sealed_at, indexed(case)) == (None, [])
        receive(case, LINES[:6000])  # the same, whole
        assert _say("verify_evidence") == ("checked=1 mismatches=0\n", "")
        assert actions(case)[-3:] == ["evidence.mismatch", "evidence.offered_again", "evidence.restored"]

    def test_bytes_missing_in_the_bucket_are_a_mismatch_too(self, behind: Behind) -> None:
        case = a_case()
        evidence = receive(case, b"evidence").evidence
        behind.remove(evidence.sha256 or "")
        tasks.work(once=True)
        assert _held(case).status == RunStatus.FAILED
        assert actions(case).count("evidence.mismatch") == 1

    def test_an_event_and_a_range_cost_what_they_need(self, behind: Behind, monkeypatch) -> None:
        case = staffed_case()
        evidence = receive(case, LINES, "a.jsonl").evidence
        tasks.work(once=True)
        found = client_of("bob").get(f"{V1}/cases/{case.case_id}/events/?q=message:49999").json()["results"]
        asked = _asked_for(monkeypatch)
        source = client_of("bob").get(f"{V1}/cases/{case.case_id}/events/{found[0]['event_id']}/source/")
        assert b'"line 49999"' in (source.content or b"".join(source.streaming_content))
        assert 0 < sum(asked) < 300_000 < len(LINES)
        asked.clear()
        path = f"{V1}/cases/{case.case_id}/evidence/{evidence.evidence_uid}/download/"
        part = client_of("bob").get(path, headers={"Range": "bytes=2000000-2000099"})
        assert (part.status_code, b"".join(part.streaming_content)) == (206, LINES[2_000_000:2_000_100])
        assert sum(asked) <= 70_000
        whole = client_of("bob").get(path)
        assert hashlib.sha256(b"".join(whole.streaming_content)).hexdigest() == evidence.sha256

    def test_a_copy_that_does_not_fit_is_refused_before_its_first_byte(
        self, behind: Behind, settings, tmp_path: Path, monkeypatch
    ) -> None:
        evidence = receive(a_case(), b"evidence").evidence
        asked = _asked_for(monkeypatch)
        settings.EVIDENCE_RESERVE = 2**60
        with pytest.raises(store.NoSpace, match="work directory"):
            store.fetch(evidence.local_path, tmp_path / "copy", beat=lambda: None)
        assert (asked, list(tmp_path.glob("copy"))) == ([], [])
        tasks.work(once=True)
        run = TaskRun.objects.get()
        assert (run.status, "make room" in (run.error_message or "")) == (RunStatus.FAILED, True)

    def test_a_worker_that_is_stopped_while_it_fetches_hands_the_run_back(self, behind: Behind) -> None:
        receive(a_case(), b"evidence")
        stop = threading.Event()
        stop.set()
        held = runs.claim(TaskRun.objects.get().pk, worker="test")
        assert held is not None
        runs.perform(held, stop=stop)
        assert TaskRun.objects.get().status == RunStatus.QUEUED


class TestParts:
    """Large content goes up in parts."""

    @pytest.fixture(autouse=True)
    def _small_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bucket, "PART", 5 * 1024 * 1024)

    def test_content_in_parts_comes_back_whole_and_once(self, behind: Behind) -> None:
        content = os.urandom(12_000_000)
        for _ in range(2):
            with store.admit([content]) as stored:
                pass
        head = server().client.head_object(Bucket=BUCKET, Key=f"{behind.prefix}/{stored.key}")
        assert (head["Metadata"]["sha256"], head["ContentLength"]) == (stored.sha256, len(content))
        assert behind.read(stored.sha256) == content
        assert behind.everything() == [stored.key]

    def test_a_part_that_fails_ends_the_upload(self, behind: Behind, monkeypatch) -> None:
        def fail(self: object, upload: object, number: int, chunk: Any) -> None:
            chunk.close()
            raise ZeroDivisionError

        monkeypatch.setattr(bucket.Bucket, "_put_part", fail)
        with pytest.raises(ZeroDivisionError), store.admit([os.urandom(6_000_000)]):
            pass
        assert behind.everything() == []

    def test_the_sweep_ends_old_uploads_of_ours_alone(self, behind: Behind, monkeypatch) -> None:
        client, key = server().client, key_of("a" * 64)
        ours = f"{behind.prefix}/{key}"
        others = [
            f"{behind.prefix}/notes",
            f"elsewhere-{behind.prefix}/{key}",
            f"{behind.prefix}/sha256/aa/x",
        ]
        for name in (ours, *others):
            client.create_multipart_upload(Bucket=BUCKET, Key=name)
        assert store.sweep() == 0  # it is young: somebody may be at it
        monkeypatch.setattr(bucket, "ABANDONED", timedelta(seconds=-5))
        assert store.sweep() == 0  # once an hour is enough
        monkeypatch.setattr(bucket, "_SWEEP_EVERY", 0)
        assert store.sweep() == 1
        left = [upload["Key"] for upload in client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]]
        assert ours not in left
        assert set(others) <= set(left)

    @pytest.mark.django_db(transaction=True)
    def test_an_intake_killed_at_any_moment_leaves_nothing_or_the_whole(
        self, behind: Behind, settings, monkeypatch
    ) -> None:
        case = a_case()
        for _ in range(int(os.environ.get("DATAMORTEM_KILLS", "2"))):
            process = start("shell", "-v0", "-c", ENDLESS)
            before = Evidence.objects.count()
            end = time.monotonic() + 20
            while Evidence.objects.count() == before and time.monotonic() < end:
                time.sleep(0.02)  # it has begun; then any moment will do
            time.sleep(random.uniform(0, 1.0))
            process.kill()
            process.communicate()
            for draft in (settings.EVIDENCE_ROOT / "incoming").iterdir():
                os.utime(draft, (time.time() - 3600,) * 2)
        assert case.evidences.exists()
        out, refusal = _say("verify_evidence")
        assert (out.splitlines()[-1], refusal) == (f"checked={Evidence.objects.count()} mismatches=0", "")
        assert all(store.matches(key, key.rpartition("/")[2]) for key in store.contents())
        monkeypatch.setattr(bucket, "ABANDONED", timedelta(seconds=-5))
        store.sweep()
        _say("verify_evidence", "--remove-unheld")
        held = {evidence.local_path or "" for evidence in Evidence.objects.all()}
        assert behind.everything() == sorted(held)


class TestSeveral:
    """Several machines at once."""

    @pytest.mark.django_db(transaction=True)
    def test_machines_that_receive_and_delete_the_same_bytes_lose_none(
        self, behind: Behind, settings, tmp_path: Path
    ) -> None:
        processes = []
        rounds = int(os.environ.get("DATAMORTEM_ROUNDS", "3"))
        for number in range(3):
            a_case(f"case-{number}")
            settings.EVIDENCE_ROOT = tmp_path / f"machine-{number}"
            settings.WORK_ROOT = tmp_path / f"work-{number}"
            code = MACHINE.format(case=f"case-{number}", rounds=rounds)
            processes.append(start("shell", "-v0", "-c", code))
        for process in processes:
            _, err = process.communicate(timeout=60 + rounds)
            assert process.returncode == 0, err
        assert Evidence.objects.count() == 0
        assert list(store.contents()) == []
        for number in range(3):
            assert actions(Case.objects.get(case_id=f"case-{number}")).count("evidence.deleted") == rounds
            assert [p for p in (tmp_path / f"machine-{number}").rglob("*") if p.is_file()] == []

    def test_what_is_there_is_not_overwritten(self, behind: Behind, tmp_path: Path) -> None:
        with store.admit([b"evidence"]) as stored:
            draft = tmp_path / "draft"
            draft.write_bytes(b"evidencE")
            hostile = store.Stored(stored.sha256, 8, stored.key)
            there: Any = store.place()
            assert there._put_if_none(draft, hostile) is False
        assert behind.read(stored.sha256) == b"evidence"

    def test_other_objects_in_the_bucket_are_none_of_ours(self, behind: Behind) -> None:
        foreign = ["notes.txt", "sha256/aa/x", f"sha256/bb/{'a' * 64}", "sha256/aa/..%2f..%2fx", "incoming/x"]
        for name in foreign:
            server().client.put_object(Bucket=BUCKET, Key=f"{behind.prefix}/{name}", Body=b"x")
        assert list(store.contents()) == []
        assert _say("verify_evidence", "--remove-unheld") == ("checked=0 mismatches=0\n", "")
        assert behind.everything() == sorted(foreign)


class TestDown:
    """A bucket that does not answer, or refuses us."""

    @pytest.mark.django_db(transaction=True)
    def test_everything_says_so_and_nothing_is_half_done(self, settings, monkeypatch) -> None:
        monkeypatch.setattr(copies, "PATIENCE", 0)
        monkeypatch.setattr(copies, "_PAUSES", (0.01,))
        with a_server() as own:
            use_bucket(settings, own)
            case = staffed_case()
            path = f"{V1}/cases/{case.case_id}/evidence/"
            kept, deleted = (
                receive(case, content, "a.jsonl").evidence
                for content in (LINES[: LINES.index(b'line 10"') - 13], b"b")
            )
            tasks.work(once=True)
            own.stop()
            dana = client_of("dana")
            upload = dana.post(path, {"file": a_file(b"new")})
            assert (upload.status_code, upload.headers["Retry-After"]) == (503, "10")
            assert upload.json()["errors"][0]["code"] == "store_unavailable"
            assert own.url.rpartition(":")[2] not in upload.content.decode()
            assert Evidence.objects.count() == 2
            assert list((settings.EVIDENCE_ROOT / "incoming").iterdir()) == []
            assert dana.get(f"{path}{kept.evidence_uid}/download/").status_code == 503
            assert dana.get(f"{V1}/cases/{case.case_id}/events/").json()["total"] == 10
            out, refusal = _say("verify_evidence")
            assert out.splitlines()[-1] == "checked=0 mismatches=0 unread=3"
            assert "mend the store" in refusal
            run = services.run_again(evidence=kept, by=None)
            tasks.work(once=True)
            run.refresh_from_db()
            assert (run.status, "does not answer" in (run.error_message or "")) == (RunStatus.FAILED, True)
            assert "evidence.mismatch" not in actions(case)
            services.delete_evidence(evidence=deleted, by=None)
            assert store.sweep() == 0
            own.start()
            assert store.matches(key_of(hashlib.sha256(b"b").hexdigest()), deleted.sha256)
            assert discards.finish() == 1
            assert discards.finish() == 0
            assert list(store.contents()) == [kept.local_path]
            kept.refresh_from_db()
            assert kept.sealed_at is not None

    def test_a_copy_waits_for_the_bucket_and_goes_on(self, settings, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(copies, "_PAUSES", (0.05,))
        with a_server() as own:
            use_bucket(settings, own)
            with store.admit([LINES]) as stored:
                pass
            own.stop()
            beats: list[int] = []
            with ThreadPoolExecutor(1) as pool:
                fetching = pool.submit(
                    store.fetch, stored.key, tmp_path / "copy", beat=lambda: beats.append(1)
                )
                time.sleep(1)
                own.start()
                assert fetching.result().read_bytes() == LINES
            assert beats

    def test_connections_that_break_are_made_again(self, behind: Behind, settings, tmp_path: Path) -> None:
        with store.admit([LINES]) as stored:
            pass
        proxy = Unsteady(server())
        settings.EVIDENCE_S3_ENDPOINT = proxy.url
        try:
            proxy.cuts = [100_000, 700_000, 0]
            assert store.matches(stored.key, stored.sha256)
            proxy.cuts = [50_000]
            copy = store.fetch(stored.key, tmp_path / "copy", beat=lambda: None)
            assert copy.read_bytes() == LINES
            proxy.cuts = [0, 30_000]
            with store.open_content(stored.key) as raw:
                raw.seek(1_000_000)
                assert io.BufferedReader(raw).read(200_000) == LINES[1_000_000:1_200_000]
            proxy.cuts = [0]
            with store.admit([LINES, b"more"]) as other:
                pass
            assert store.matches(other.key, other.sha256)
            proxy.cuts = [10] * 20
            with pytest.raises(store.StoreDown, match="does not answer"):
                store.matches(stored.key, stored.sha256)
        finally:
            proxy.close()

    @pytest.mark.parametrize(
        ("name", "value", "word"),
        [
            ("EVIDENCE_URL", "s3://no-such-bucket/x", "404"),
            ("EVIDENCE_S3_SECRET_KEY", "wrong-canary", "refuses us"),
            ("EVIDENCE_S3_ACCESS_KEY", "nobody", "refuses us"),
        ],
    )
    def test_a_bucket_that_is_gone_or_refuses_us_is_no_lost_evidence(
        self, behind: Behind, settings, name: str, value: str, word: str
    ) -> None:
        with store.admit([b"evidence"]) as stored:
            pass
        setattr(settings, name, value)
        for ask in (
            lambda: store.matches(stored.key, stored.sha256),
            lambda: store.open_content(stored.key),
            lambda: list(store.contents()),
            store.probe,
        ):
            with pytest.raises(store.StoreDown) as refusal:
                ask()
            assert "canary" not in str(refusal.value)
        assert word in str(refusal.value)

    def test_keys_are_in_no_log_line_and_no_picture_of_them(self, behind: Behind, caplog) -> None:
        with caplog.at_level(logging.DEBUG), store.admit([b"evidence"]) as stored:
            assert store.matches(stored.key, stored.sha256)
        assert SECRET_KEY not in caplog.text
        assert "Signature=" not in caplog.text
        assert "hidden" not in repr(Keys(access_key="hidden", secret_key="hidden"))


class TestMoving:
    """`move_evidence`: from a folder to a bucket, and back."""

    def test_evidence_goes_to_a_bucket_and_back_hash_by_hash(self, settings, tmp_path: Path) -> None:
        case = a_case()
        for content in (b"a", b"b", LINES):
            receive(case, content)
        use_bucket(settings)
        target, settings.EVIDENCE_URL = settings.EVIDENCE_URL, ""
        keys = list(store.contents())
        out, refusal = _say("move_evidence", "--to", target)
        assert (refusal, out.splitlines()[0]) == ("", "copied=3 there=0 changed=0 missing=0")
        assert "Nothing was removed" in out
        assert list(store.contents()) == keys
        settings.EVIDENCE_URL = target
        assert list(store.contents()) == keys
        assert _say("verify_evidence") == ("checked=3 mismatches=0\n", "")
        back = tmp_path / "back"
        assert _say("move_evidence", "--to", str(back))[0].startswith("copied=3 there=0")
        settings.EVIDENCE_URL, settings.EVIDENCE_ROOT = "", back
        assert list(store.contents()) == keys
        assert _say("verify_evidence") == ("checked=3 mismatches=0\n", "")
        assert actions(case).count("evidence.copied") == 2

    def test_what_was_copied_is_not_copied_again_and_what_rotted_is_named(self, settings) -> None:
        case = a_case()
        for content in (b"a", b"b", b"c"):
            receive(case, content)
        behind = Behind(settings, "bucket")
        target, settings.EVIDENCE_URL = settings.EVIDENCE_URL, ""
        a, b, c = (hashlib.sha256(content).hexdigest() for content in (b"a", b"b", b"c"))
        assert _say("move_evidence", "--to", target)[1] == ""
        folder = Behind(settings, "folder")
        folder.change(b, b"B")
        settings.EVIDENCE_URL = target
        behind.change(a, b"A")  # the new place may rot, too: that is mended
        behind.remove(b)
        settings.EVIDENCE_URL = ""
        out, refusal = _say("move_evidence", "--to", target)
        uid = Evidence.objects.get(sha256=b).evidence_uid
        assert f"not copied, its bytes are not those that came in: {key_of(b)}" in out
        assert f"not in the new place: {uid}" in out
        assert "copied=1 there=1 changed=1 missing=1" in out
        assert refusal.startswith("Not all evidence is in the new place")
        settings.EVIDENCE_URL = target
        assert (behind.read(a), behind.read(c)) == (b"a", b"c")

    def test_nonsense_and_the_place_it_lies_in_are_refused(self, settings, tmp_path: Path) -> None:
        assert _say("move_evidence", "--to", "ftp://x")[1].startswith("--to: expected")
        here = str(settings.EVIDENCE_ROOT)
        assert _say("move_evidence", "--to", here)[1] == f"{here} is where the evidence lies now."
        with a_server() as own:
            use_bucket(settings, own)
            target, settings.EVIDENCE_URL = settings.EVIDENCE_URL, ""
            own.stop()
            assert "run this again" in _say("move_evidence", "--to", target)[1]


@pytest.mark.django_db(transaction=True)
def test_an_ingest_takes_a_file_into_the_bucket(behind: Behind, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(LINES[:60_000])
    _, refusal = _say("ingest", "ir-1", str(file), "--create")
    assert refusal == ""
    assert [evidence.local_path for evidence in Evidence.objects.all()] == behind.everything()
    assert len(indexed(Case.objects.get())) > 900
