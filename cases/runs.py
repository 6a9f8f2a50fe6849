"""The life of a run: queued, claimed under a lease, read in a child process, ended once.

What a run found and "succeeded" land in one transaction, within which the index publishes:
whatever dies at whatever moment, the run is read again and replaces the same ids.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, transaction
from django.utils import timezone

from accounts.models import User
from cases import carrier, custody, leases, places, staging, store
from cases.crew import Crew, Failed, Killed
from cases.engines import engine
from cases.exchange import Job, read_rejects
from cases.index.engine import IndexUnavailable
from cases.jobs import make_job, sweep_directories, work_directory
from cases.leases import (
    INDEX_POSTED,
    NOTHING_VISIBLE,
    READ,
    Claim,
    LeaseLost,
    beat,
    claim,
    hand_back,
    let_go,
    waiting,
)
from cases.models import AnalysisModule, Case, Evidence, RejectedRecord, RunStatus, TaskRun
from cases.staging import Taken
from datamortem.common import logs
from datamortem.common.errors import DomainError

__all__ = [
    "INDEX_POSTED",
    "READ",
    "Claim",
    "cancel",
    "claim",
    "perform",
    "queue",
    "sweep",
    "waiting",
]

logger = logging.getLogger(__name__)

_COUNTS: Final = ("read", "indexed", "duplicate", "rejected", "undated")
_REJECTS_AT_ONCE: Final = 500
_TICK: Final = 0.25


class NotPublished(Exception):
    """The index could not make the events visible, or did not say whether it has."""


class Cancelled(Exception):
    """Somebody asked for the end of the run."""


class Stopping(Exception):
    """The worker is asked to stop; the run goes back to the queue."""


def queue(
    evidence: Evidence,
    *,
    task_name: str,
    module: AnalysisModule | None = None,
    options: dict[str, Any] | None = None,
    by: User | None = None,
) -> TaskRun:
    """Return a new run that waits for a worker, which hears of it on commit; `by` is who asked for it."""
    run = TaskRun.objects.create(
        task_name=task_name, evidence=evidence, module=module, options=options or {}, requested_by=by
    )
    transaction.on_commit(partial(carrier.announce, [run.pk]))
    return run


def cancel(run: TaskRun) -> bool:
    """End a run that waits, ask for the end of one that works; False if it has ended already."""
    now = timezone.now()
    row = TaskRun.objects.filter(pk=run.pk)
    ended = row.filter(status=RunStatus.QUEUED).update(
        status=RunStatus.CANCELLED, ended_at_utc=now, progress_message="Cancelled", cancel_requested=True
    )
    asked = ended or row.filter(status=RunStatus.RUNNING).update(cancel_requested=True)
    run.refresh_from_db()
    return bool(asked)


def perform(held: Claim, *, stop: threading.Event | None = None) -> None:
    """Do a claimed run to its end; its state says how it ended. `stop` hands it back instead.

    Only what nobody foresaw is raised, after the run has been marked as failed.
    """
    token = logs.context.set({"run_id": held.run_id, "attempt": held.attempt, "worker": held.worker})
    try:
        with custody.acting_as(f"worker {held.worker}"):
            _perform(held, stop or threading.Event())
    except LeaseLost:
        logger.warning("Another worker has this run, or it is gone; nothing was written.")
    except (OperationalError, InterfaceError):
        logger.warning("The database does not answer; the run is read again when its lease has ended.")
        close_old_connections()
    except Exception as error:
        logger.exception("The run ended in a way nobody foresaw.")
        _fail(held, Failed(f"Something went wrong inside the platform: {type(error).__name__}."))
        raise
    finally:
        logs.context.reset(token)


def _perform(held: Claim, stop: threading.Event) -> None:
    try:
        _read(held, stop)
    except Failed as failure:
        if failure.places:
            logger.error("The reading process failed at:\n%s", failure.places)
        _fail(held, failure)
    except (DomainError, IndexUnavailable) as refusal:
        _fail(held, Failed(str(refusal)))
    except Cancelled:
        _end_as_cancelled(held)
    except Stopping:
        hand_back(held)
    except Killed as death:
        logger.warning("%s", death)
        if not let_go(held):
            _fail(held, Failed(f"{death} It was so in each of {leases.MAX_ATTEMPTS} attempts."))
    except NotPublished as error:
        logger.warning("The run is done again: %s", error)
        if not let_go(held):
            _fail(held, Failed(f"The events could not be made visible: {error}"))


def _read(held: Claim, stop: threading.Event) -> None:
    run = held.row().select_related("evidence", "module").first()
    if run is None:
        raise LeaseLost
    try:
        with work_directory(held) as work:
            job, taken = make_job(run, held, work, beat=lambda: _stay(held, stop))
            with Crew(job, places.of_this_machine()) as crew:
                reading = _watch(held, crew, stop)
                _check_balance(reading["counts"])
                _keep_rejects(held, work, reading["counts"])
                _close(held, crew.job, reading, taken)  # the children hold their locks until then
    except LeaseLost:
        if not Evidence.objects.filter(pk=run.evidence.pk).exists():
            # Deleted while it was read: what the child wrote since then goes, too.
            engine().delete(case_id=run.evidence.case_id, shard=run.evidence_id)
        raise


def _watch(held: Claim, crew: Crew, stop: threading.Event) -> dict[str, Any]:
    """Keep the lease while the children read; return what they found once that is durable."""
    started = last_beat = time.monotonic()
    interval = min(settings.RUN_LEASE / 3, 1.0)
    while True:
        if (reading := crew.attend(_TICK)) is not None:
            return reading
        counts = crew.counts()
        now = time.monotonic()
        if stop.is_set():
            raise Stopping
        if now - started > settings.RUN_SECONDS:
            raise Failed(f"The reading took longer than {settings.RUN_SECONDS} seconds (RUN_SECONDS).")
        if now - last_beat >= interval and _beat(held, counts, now - started, now - last_beat):
            last_beat = now


def _beat(held: Claim, counts: dict[str, Any], seconds: float, silent: float) -> bool:
    """Say that the run is alive and how far it is; False if the database did not answer."""
    try:
        _check_cancelled(beat(held, **_progress(counts, seconds)))
    except (OperationalError, InterfaceError):
        if silent > settings.RUN_LEASE:
            raise LeaseLost from None
        logger.warning("The database does not answer; the run goes on until its lease ends.")
        close_old_connections()  # a connection that broke is made anew
        return False
    return True


def _stay(held: Claim, stop: threading.Event) -> None:
    """Keep the lease while the job is made, which may take as long as fetching the evidence."""
    if stop.is_set():
        raise Stopping
    _check_cancelled(beat(held))


def _check_cancelled(asked: bool) -> None:
    if asked:
        raise Cancelled


def _progress(counts: dict[str, Any], seconds: float) -> dict[str, Any]:
    if not counts.get("read"):
        return {}
    rate = counts["read"] / max(seconds, 0.001)
    return {
        "records_read": counts["read"],
        "indexed": counts["indexed"],
        "duplicate": counts["duplicate"],
        "rejected": counts["rejected"],
        "undated": counts["undated"],
        "progress": min(counts["progress"], 0.99),
        "progress_message": f"{counts['read']:,} events, {rate:,.0f}/s",
    }


def _check_balance(counts: dict[str, int]) -> None:
    if counts["read"] != counts["indexed"] + counts["duplicate"] + counts["rejected"]:
        raise _unbalanced(counts)


def _unbalanced(counts: dict[str, int]) -> Failed:
    ledger = ", ".join(f"{name} {counts[name]}" for name in _COUNTS)
    return Failed(f"The counts do not balance, so nothing was made visible: {ledger}")


def _keep_rejects(held: Claim, work: Path, counts: dict[str, int]) -> None:
    """Store what was rejected, in place of what an earlier attempt stored, batch by batch."""
    RejectedRecord.objects.filter(run_id=held.run_id).delete()
    batch: list[RejectedRecord] = []
    kept = 0
    for entry in read_rejects(work):
        kept += 1
        position, reason = custody.storable(entry["position"])[:255], custody.storable(entry["reason"])
        batch.append(RejectedRecord(run_id=held.run_id, position=position, reason=reason, raw=entry["raw"]))
        if len(batch) >= _REJECTS_AT_ONCE:
            _insert_rejects(held, batch)
            batch = []
    _insert_rejects(held, batch)
    if kept != counts["rejected"]:
        raise _unbalanced(counts)


def _insert_rejects(held: Claim, batch: list[RejectedRecord]) -> None:
    with transaction.atomic():
        _check_cancelled(beat(held))  # the row of the run is ours until the commit
        RejectedRecord.objects.bulk_create(batch)


def _close(held: Claim, job: Job, reading: dict[str, Any], taken: Taken | None) -> None:
    """Make everything visible at once: counts, state, custody entry and, within, the index."""
    counts = reading["counts"]
    with transaction.atomic():
        run = _locked(held)
        if run.cancel_requested:
            raise Cancelled
        module = AnalysisModule.objects.filter(name=reading["parser"]).first() if reading["parser"] else None
        held.row().update(
            status=RunStatus.SUCCEEDED,
            ended_at_utc=timezone.now(),
            lease_until=None,
            progress=1,
            progress_message=f"{counts['indexed']:,} events",
            error_message=custody.storable(reading["notice"]) or None,
            records_read=counts["read"],
            **{name: counts[name] for name in _COUNTS[1:]},
            index_retries=counts["retries"],
            parser=reading["parser"],
            parser_version=reading["version"],
            module=module or run.module,
        )
        if reading["parser"]:
            Evidence.objects.filter(evidence_uid=run.evidence_id).update(kind=reading["parser"])
        if taken:
            staging.adopt(run, taken)
            if taken.more and not staging.queued(run.evidence):
                queue(run.evidence, task_name=INDEX_POSTED)
        facts = {name: counts[name] for name in _COUNTS}
        facts |= {"run": run.pk, "parser": reading["parser"], "version": reading["version"]}
        _record(run, "run.succeeded", facts)
        _publish(job)


def _publish(job: Job) -> None:
    try:
        engine().publish(case_id=job.case_id, shard=job.evidence_uid, run=job.run, append=job.append)
    except IndexUnavailable as error:
        raise NotPublished(str(error)) from error


def _locked(held: Claim) -> TaskRun:
    """Return the run with its case and itself held, in this order. Raises LeaseLost."""
    case_id = held.row().values_list("evidence__case_id", flat=True).first()
    Case.objects.select_for_update(no_key=True).filter(case_id=case_id).first()
    run = held.row().select_for_update(no_key=True).first()
    if run is None:
        raise LeaseLost
    return run


def _record(run: TaskRun, action: str, details: dict[str, Any]) -> None:
    custody.record(
        case_id=run.evidence.case_id,
        by=None,
        action=action,
        evidence_uid=run.evidence_id,
        details=details,
    )


@transaction.atomic
def _fail(held: Claim, failure: Failed, *, if_lapsed: bool = False) -> None:
    """Mark the run as failed with the reason; a claim that is lost changes nothing.

    `if_lapsed` spares a run whose worker has spoken again meanwhile.
    """
    try:
        run = _locked(held)
    except LeaseLost:
        return
    if if_lapsed and run.lease_until and run.lease_until >= timezone.now():
        return
    message = custody.storable(str(failure)) or "No reason was given."
    _end(held, run, status=RunStatus.FAILED, error_message=message)
    _record(run, "run.failed", {"run": run.pk, "reason": message})
    if failure.mismatch:
        Evidence.objects.filter(evidence_uid=run.evidence_id).update(sealed_at=None)
        _record(run, "evidence.mismatch", {"run": run.pk, "reason": message})


@transaction.atomic
def _end_as_cancelled(held: Claim) -> None:
    try:
        run = _locked(held)
    except LeaseLost:
        return
    _end(held, run, status=RunStatus.CANCELLED, progress_message="Cancelled")


def _end(held: Claim, run: TaskRun, **facts: Any) -> None:
    """End a run of which nothing may stay: no rejected records, and no events."""
    RejectedRecord.objects.filter(run_id=held.run_id).delete()
    held.row().update(ended_at_utc=timezone.now(), lease_until=None, **NOTHING_VISIBLE, **facts)
    others = run.evidence.task_runs.filter(status__in=[RunStatus.SUCCEEDED, RunStatus.RUNNING])
    if others.exists():
        return
    try:
        # An earlier attempt may have died between publishing and saying so.
        engine().delete(case_id=run.evidence.case_id, shard=run.evidence_id)
    except IndexUnavailable as error:
        logger.error("What an earlier attempt may have published could not be removed: %s", error)


def sweep() -> None:
    """End what lost workers left: runs given up after MAX_ATTEMPTS or cancelled, files, uploads."""
    lapsed = TaskRun.objects.filter(status=RunStatus.RUNNING, lease_until__lt=timezone.now())
    for run in lapsed.filter(cancel_requested=True):
        _end_as_cancelled(Claim(run.pk, run.fence, run.worker))
    for run in lapsed.filter(cancel_requested=False, attempt__gte=leases.MAX_ATTEMPTS):
        _give_up(run)
    sweep_directories(lambda run_id, fence: Claim(run_id, fence, "").row().exists())
    store.sweep()


def _give_up(run: TaskRun) -> None:
    message = (
        f"{run.attempt} workers died while reading it, the last one was {run.worker}. "
        "Look at their logs, then retry the run."
    )
    _fail(Claim(run.pk, run.fence, run.worker), Failed(message), if_lapsed=True)
