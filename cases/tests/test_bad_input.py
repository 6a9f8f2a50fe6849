"""Bad input by the real path: each piece ends in a clear refusal or a balanced ledger, and work goes on."""

from __future__ import annotations

import gzip
import io
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from cases import services, store
from cases.demo import evtx_damage
from cases.demo.evtx_template import Template
from cases.demo.evtx_writer import CHUNK_SIZE, HEADER_SIZE, EvtxWriter
from cases.engines import engine
from cases.ingest import Described, Intake, Outcome, find
from cases.models import Evidence, RejectedRecord, TaskRun
from cases.tests.cast import a_case, actions, alice

pytestmark = pytest.mark.django_db(transaction=True)

MIB = 1024 * 1024
GOOD = b'{"timestamp": "2024-03-01T08:15:30Z", "message": "all is well"}\n'
AUTH = b"Mar  1 08:15:30 web-01 sshd[7]: Failed password for root from 10.0.0.7 port 22 ssh2\n"
_TEMPLATE = Template(
    "Vendor-Thing",
    "54849625-5478-4994-a5ba-3e3b0328c30d",
    "Vendor/Operational",
    4711,
    (("Colour", "string"),),
)


def _event_log(count: int = 700) -> bytes:
    file = io.BytesIO()
    with EvtxWriter(file) as writer:
        for number in range(count):
            instant = 133_536_825_301_234_567 + number * 10_000_000
            writer.write(_TEMPLATE, instant, (4, 8, None, None, "WS-01"), (f"shade {number:04}" * 8,))
    return file.getvalue()


def _in_every_chunk(damage: Callable[[bytes, int, int], bytes], record: int = 2) -> bytes:
    data = _event_log()
    for chunk in range((len(data) - HEADER_SIZE) // CHUNK_SIZE):
        data = damage(data, chunk, record)
    return data


def _bomb() -> bytes:
    """Return a kilobyte or two that unpack to a gigabyte of nothing, after a good beginning."""
    return gzip.compress(gzip.compress(GOOD) + gzip.compress(bytes(16 * MIB)) * 70)


def _take(folder: Path, files: dict[str, bytes]) -> dict[str, Outcome]:
    """Take files in and read them; check every account, and that a good file is read afterwards."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    case = a_case()
    intake = Intake(Described(case=case, by=alice()), jobs=2)
    outcomes = {Path(outcome.path).name: outcome for outcome in intake.ingest(find([folder]))}
    assert set(outcomes) == set(files)
    for name, outcome in outcomes.items():
        _check(name, outcome)
    (folder / "afterwards").write_bytes(GOOD)
    (after,) = intake.ingest(find([folder / "afterwards"]))
    assert after.counts["indexed"] == 1
    assert actions(case).count("run.succeeded") + actions(case).count("run.failed") == len(files) + 1
    return outcomes


def _check(name: str, outcome: Outcome) -> None:
    run = TaskRun.objects.get(evidence__evidence_uid=outcome.evidence_uid)
    shards = engine().shards(case_id=run.evidence.case_id)
    counts = outcome.counts
    assert run.attempt == 1, name
    assert run.rejected_records.count() == counts["rejected"], name
    assert shards.get(outcome.evidence_uid or "", 0) == counts["indexed"], name
    if outcome.succeeded:
        assert counts["read"] == counts["indexed"] + counts["duplicate"] + counts["rejected"], name
    else:
        assert outcome.status == "failed", name
        assert counts["indexed"] == 0, name
        assert outcome.error, name
        for unclear in ("unexpected", "platform", "reading process", "memory limit"):
            assert unclear not in outcome.error, (name, outcome.error)


@pytest.fixture
def folder(tmp_path: Path, settings) -> Path:
    """Where bad files lie; a reading may take a gigabyte and a half."""
    settings.RUN_MEMORY = 1536 * MIB
    return tmp_path / "in"


def test_texts_that_are_none(folder: Path) -> None:
    outcomes = _take(
        folder,
        {
            "empty": b"",
            "nul": bytes(MIB),
            "noise": random.Random(1).randbytes(MIB),
            "one-byte": b"\n",
            "not-utf8.jsonl": GOOD + GOOD.replace(b"well", b"\xff\xfe\xc3\x28") + b"\xff\n" + GOOD,
            "not-utf8.log": AUTH * 3 + AUTH.replace(b"root", b"r\xff\x00t") + AUTH,
            "nul-in-lines.jsonl": GOOD.replace(b"well", b"we\\u0000ll") + b"\x00\n" + GOOD,
            "deep.jsonl": GOOD + b"[" * 100_000 + b"\n" + b'{"a":' * 100_000 + b"\n" + GOOD,
            "lone-surrogate.jsonl": GOOD.replace(b"well", b"\\ud800"),
        },
    )
    assert outcomes["empty"].error == "The file is empty."
    assert outcomes["nul"].status == outcomes["noise"].status == "failed"
    assert outcomes["not-utf8.log"].counts["indexed"] == 5
    assert outcomes["not-utf8.jsonl"].counts["read"] == 4
    assert outcomes["not-utf8.jsonl"].counts["indexed"] >= 2
    assert outcomes["deep.jsonl"].counts == {
        "read": 4,
        "indexed": 2,
        "duplicate": 0,
        "rejected": 2,
        "undated": 0,
    }
    assert outcomes["lone-surrogate.jsonl"].counts["indexed"] == 1


def test_things_too_large(folder: Path) -> None:
    huge = GOOD.replace(b"all is well", b"x" * (100 * MIB))
    outcomes = _take(
        folder,
        {
            "record-of-100-mb.jsonl": GOOD + huge + GOOD,
            "line-without-end.log": AUTH * 5 + AUTH[:-1] + b"A" * (50 * MIB),
            "columns.csv": b"c," * 10_000_000 + b"c\n" + b"1," * 10_000_000 + b"1\n",
            "columns-in-a-row.csv": b"datetime,message\n2024-03-01T08:15:30Z,ok\n"
            + b"1," * 10_000_000
            + b"1\n",
            "quote-without-end.csv": b'datetime,message\n2024-03-01T08:15:30Z,ok\n2024-03-01,"'
            + b"x" * (9 * MIB),
        },
    )
    record = outcomes["record-of-100-mb.jsonl"]
    assert (record.counts["read"], record.counts["indexed"]) == (3, 2)
    rejected = RejectedRecord.objects.get(run__evidence__evidence_uid=record.evidence_uid)
    assert rejected.position == "line 2"
    assert len(rejected.raw) <= 4096
    assert outcomes["line-without-end.log"].counts["indexed"] >= 5
    assert outcomes["columns-in-a-row.csv"].counts["indexed"] == 1
    assert outcomes["columns-in-a-row.csv"].counts["rejected"] == 1


def test_packed_things(folder: Path) -> None:
    whole = gzip.compress(GOOD * 50_000)
    outcomes = _take(
        folder,
        {
            "bomb.gz": _bomb(),
            "cut.gz": whole[: len(whole) // 2],
            "spoiled.gz": whole[:200] + b"\xff" * 40 + whole[240:],
            "header-only.gz": b"\x1f\x8b\x08" + bytes(7),
            "magic-only.zst": b"\x28\xb5\x2f\xfd",
            "magic-only.xz": b"\xfd7zXZ\x00",
            "packed-nothing.gz": gzip.compress(b""),
        },
    )
    bomb = outcomes["bomb.gz"]
    reason = RejectedRecord.objects.filter(run__evidence__evidence_uid=bomb.evidence_uid).last()
    assert "bomb" in f"{bomb.error} {reason.reason if reason else ''}"
    cut = outcomes["cut.gz"]
    assert cut.succeeded
    assert cut.counts["indexed"] > 1000
    assert "damaged" in (cut.error or "")


def test_event_logs_damaged_in_every_chunk(folder: Path) -> None:
    files = {name: _in_every_chunk(damage) for name, damage in evtx_damage.KINDS.items() if name != "cut"}
    files["without-templates"] = _in_every_chunk(evtx_damage.overwrite_content, record=0)
    outcomes = _take(folder, {**files, "whole": _event_log()})
    whole = {"read": 700, "indexed": 700, "duplicate": 0, "rejected": 0, "undated": 0}
    assert outcomes["whole"].counts == whole
    for name in files:
        assert outcomes[name].counts["rejected"] or outcomes[name].error or name == "bad-checksum"
    chunks = (len(_event_log()) - HEADER_SIZE) // CHUNK_SIZE
    assert outcomes["overwritten-content"].counts["indexed"] == 700 - chunks
    assert outcomes["overwritten-content"].counts["rejected"] >= chunks


def test_event_logs_cut_anywhere(folder: Path) -> None:
    data = _event_log(300)
    chance = random.Random(7)
    places = [1, 7, HEADER_SIZE - 1, HEADER_SIZE, HEADER_SIZE + 513, len(data) - 1]
    places += [chance.randrange(len(data)) for _ in range(6)]
    outcomes = _take(folder, {f"{place:08}": data[:place] for place in sorted(set(places))})
    for outcome in outcomes.values():
        assert outcome.counts["indexed"] <= 300


class _Shrinking:
    """A file whose end is cut off after the first bytes were read."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file = file
        self.path = path

    def read(self, size: int, /) -> bytes:
        block = self.file.read(size)
        os.truncate(self.path, 2 * MIB)
        return block


def test_a_file_that_shrinks_while_it_comes_in_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(GOOD * 100_000)
    case, size = a_case(), path.stat().st_size
    with path.open("rb", buffering=0) as file:
        content = _Shrinking(file, path)
        with pytest.raises(store.Incomplete) as refusal:
            services.receive_evidence(case=case, by=alice(), content=content, name="log", size=size)
    assert str(refusal.value) == f"{size} bytes were announced, {2 * MIB} arrived."
    assert (Evidence.objects.count(), TaskRun.objects.count(), list(store.contents())) == (0, 0, [])
