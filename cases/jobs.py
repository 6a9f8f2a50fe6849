"""What the child process is told about a run, and the directory it works in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings

from cases import staging, store
from cases.engines import address
from cases.exchange import Job
from cases.index import text
from cases.index.document import parse_time
from cases.leases import INDEX_POSTED, Claim
from cases.models import AnalysisModule, Evidence, TaskRun
from cases.models.evidence import POSTED
from cases.staging import Row, Taken

_BEAT_EVERY = 5000
#: A run is read by no more processes than have so much of its memory each.
_LEAST_MEMORY = 1024**3


@contextmanager
def work_directory(held: Claim) -> Iterator[Path]:
    """Yield a directory of this attempt alone, and remove it afterwards."""
    work: Path = settings.WORK_ROOT / "runs" / held.name
    for place in (settings.WORK_ROOT, work.parent, work):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def sweep_directories(is_running: Callable[[int, int], bool]) -> None:
    """Remove what attempts left behind whose worker died."""
    for work in (settings.WORK_ROOT / "runs").glob("*-*"):
        run_id, _, fence = work.name.partition("-")
        if run_id.isdecimal() and fence.isdecimal() and not is_running(int(run_id), int(fence)):
            shutil.rmtree(work, ignore_errors=True)


def job_for_evidence(run: TaskRun, held: Claim, work: Path, *, beat: Callable[[], None]) -> Job:
    """Return the job of reading a stored file, fetched first where it lies elsewhere.

    `beat` is called now and then. Raises NotSealed, NoSpace, StoreDown.
    """
    evidence = run.evidence
    path = store.fetch(evidence.local_path, work / "evidence", beat=beat)
    reference = evidence.modified_at or evidence.added_at_utc
    return Job(
        path=str(path),
        sha256=evidence.sha256 or "",
        name=evidence.original_name,
        module=run.module.name if run.module else "",
        disabled=list(AnalysisModule.objects.filter(enabled=False).values_list("name", flat=True)),
        time_zone=evidence.time_zone,
        reference=reference.isoformat(),
        host=evidence.host,
        clock_offset=round(evidence.clock_offset_seconds * 1_000_000),
        options={str(name): str(value) for name, value in run.options.items()},
        parts=(parts := max(1, min(settings.RUN_PARTS, settings.RUN_MEMORY // _LEAST_MEMORY))),
        cut=settings.RUN_PART if parts > 1 else 0,
        **_common(evidence, held, work),
    )


def job_for_posted(run: TaskRun, held: Claim, work: Path, *, beat: Callable[[], None]) -> tuple[Job, Taken]:
    """Return the job of indexing posted events, and which rows it has taken.

    All rows are indexed anew, in place of what the index has, where the run says "all"; else
    those that were never indexed are added. `beat` is called now and then.
    """
    taken, path, written = Taken(), work / "posted.jsonl", 0
    with path.open("xb") as lines:
        for rows in staging.take(run, taken):
            lines.writelines(text.dump(_document(row, run.evidence)) + b"\n" for row in rows)
            written += len(rows)
            if written >= _BEAT_EVERY:
                beat()
                written = 0
    job = Job(
        path=str(path),
        sha256="",
        name=run.evidence.original_name,
        append=staging.EVERYTHING not in run.options,
        documents=True,
        **_common(run.evidence, held, work),
    )
    return job, taken


def make_job(run: TaskRun, held: Claim, work: Path, *, beat: Callable[[], None]) -> tuple[Job, Taken | None]:
    """Return the job of a run, and which rows it has taken if it indexes posted events."""
    if run.task_name == INDEX_POSTED:
        return job_for_posted(run, held, work, beat=beat)
    return job_for_evidence(run, held, work, beat=beat), None


def _common(evidence: Evidence, held: Claim, work: Path) -> dict[str, Any]:
    return {
        "case_id": evidence.case_id,
        "evidence_uid": evidence.evidence_uid,
        "run": held.name,
        "index": asdict(address()),
        "work": str(work),
        # Not a setting of the environment: tests alone put hostile parsers here.
        "parsers": getattr(settings, "PARSERS_MODULE", "cases.parsers"),
        "memory": settings.RUN_MEMORY,
        "output": settings.RUN_OUTPUT,
        "cpu": settings.RUN_SECONDS * (os.cpu_count() or 1),
    }


def _document(row: Row, evidence: Evidence) -> dict[str, Any]:
    """Return a posted event as the index keeps it; its core was checked when it was posted."""
    number, event_id, message, raw, _, _ = row
    event = text.load(raw.encode()) if raw else {}
    timestamp = event.get("timestamp")
    return {
        **{name: event.get(name) for name in ("host", "user", "category", "type", "score")},
        "event_id": event_id,
        "timestamp": parse_time(timestamp.upper()) if timestamp else None,
        "timestamp_desc": event.get("timestamp_desc") or "",
        "time_precision": event.get("time_precision") or ("us" if timestamp else "none"),
        "message": event.get("message") or message,
        "source": event.get("source") or POSTED,
        "tags": event.get("tags") or [],
        "case_id": evidence.case_id,
        "evidence_uid": evidence.evidence_uid,
        "position": f"posted event {number}",
        "attributes": event.get("attributes") or {},
        "span": None,
    }
