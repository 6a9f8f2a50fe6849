"""Evidence: how it comes in, what may be said about it later, and how it goes."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from cases import custody, discards, runs, store
from cases.engines import IndexDown, engine
from cases.index.engine import IndexUnavailable
from cases.models import AnalysisModule, Annotation, Case, Event, Evidence, RunStatus, TaskRun
from cases.models.evidence import POSTED
from cases.services import quota
from cases.services.case import locked, locked_open
from cases.services.erasure import expect_erasure
from cases.services.module import module_called, modules
from datamortem.common.errors import Invalid

#: What may be changed, and whether the events read so far change with it.
_CHANGEABLE: Final = {"description": False, "host": True, "time_zone": True, "clock_offset_seconds": True}
_NAME_LIMIT: Final = 1024
_CENTURY: Final = 100 * 366 * 86_400


@dataclass(frozen=True, slots=True)
class Received:
    """What became of bytes that came in; `run` reads them, or read them if they were there before."""

    evidence: Evidence
    run: TaskRun | None
    duplicate: bool


def receive_evidence(
    *,
    case: Case,
    by: User | None,
    content: store.Readable | Iterable[bytes],
    name: str,
    size: int | None = None,
    host: str = "",
    time_zone: str = "UTC",
    clock_offset_seconds: float = 0.0,
    description: str = "",
    modified_at: datetime | None = None,
    module: str | None = None,
    options: dict[str, str] | None = None,
    bounded: bool = True,
    room: int = 0,
    at_end: Callable[[store.Stored], Mapping[str, Any]] | None = None,
    then: Callable[[Received], None] | None = None,
) -> Received:
    """Take bytes into the store, seal them and queue their reading.

    `size` is what was announced, `room` about how much space it will need. `bounded` keeps to
    UPLOAD_LIMIT. `at_end` is asked when the bytes have arrived: it may say more about them, or
    refuse. `then` joins the transaction that registers them, as its last act. The same bytes in
    the same case give the evidence that is there, and no second run.
    Raises what `store.admit` raises, CaseClosed, Invalid, QuotaExceeded, FeatureOff; then nothing
    of it remains.
    """
    locked_open_now(case)
    described = _checked(
        {
            "host": host,
            "time_zone": time_zone,
            "clock_offset_seconds": clock_offset_seconds,
            "description": description,
        }
    )
    modules()  # have their rows, so that the run can name the one that read it
    chosen = module_called(module) if module else None
    limit = settings.UPLOAD_LIMIT if bounded else None
    arrival = store.admit(content, expected_size=size, limit=limit, room=room, is_held=discards.is_held)
    with arrival as stored, transaction.atomic():
        if at_end:
            described |= _checked(dict(at_end(stored)))
        case = locked_open(case)
        if known := Evidence.objects.filter(case=case, sha256=stored.sha256).first():
            received = _offered_again(known, by=by, name=name)
        else:
            described |= {"modified_at": modified_at}
            quota.take_storage(by, size=stored.size)
            quota.take_run(by)
            store.hold(stored)
            evidence = _registered(stored, case=case, by=by, name=name, described=described)
            run = runs.queue(evidence, task_name=runs.READ, module=chosen, options=options, by=by)
            received = Received(evidence, run, duplicate=False)
        if then:
            then(received)
    return received


def _registered(
    stored: store.Stored, *, case: Case, by: User | None, name: str, described: dict[str, Any]
) -> Evidence:
    evidence = Evidence.objects.create(
        evidence_uid=f"ev-{secrets.token_hex(8)}",
        case=case,
        local_path=stored.key,
        sha256=stored.sha256,
        size=stored.size,
        original_name=custody.storable(name)[:_NAME_LIMIT],
        sealed_at=timezone.now(),
        added_by=by,
        **described,
    )
    _record_arrival(evidence, by=by, name=name)
    return evidence


@transaction.atomic
def locked_open_now(case: Case) -> None:
    """Raise CaseClosed before the first byte is read, if the case is closed."""
    locked_open(case)


def _record_arrival(evidence: Evidence, *, by: User | None, name: str) -> None:
    details: dict[str, Any] = {
        "name": evidence.original_name,
        "sha256": evidence.sha256,
        "size": evidence.size,
        "host": evidence.host,
        "time_zone": evidence.time_zone,
        "clock_offset_seconds": evidence.clock_offset_seconds,
        "modified_at": evidence.modified_at,
    }
    if len(custody.storable(name)) > _NAME_LIMIT:
        details["name_cut_from"] = len(name)
    custody.record(
        case_id=evidence.case_id,
        by=by,
        action="evidence.received",
        evidence_uid=evidence.evidence_uid,
        details=details,
    )


def _offered_again(known: Evidence, *, by: User | None, name: str) -> Received:
    custody.record(
        case_id=known.case_id,
        by=by,
        action="evidence.offered_again",
        evidence_uid=known.evidence_uid,
        details={"name": name[:_NAME_LIMIT], "sha256": known.sha256},
    )
    done = known.task_runs.filter(status=RunStatus.SUCCEEDED).first()
    return Received(known, done or known.task_runs.first(), duplicate=True)


@transaction.atomic
def update_evidence(*, evidence: Evidence, by: User | None, **changes: Any) -> Evidence:
    """Change description, host, time zone or clock offset.

    Its events are read again when they depend on the change.
    """
    case = locked_open(evidence.case)
    evidence = Evidence.objects.select_for_update(no_key=True).get(pk=evidence.pk)
    if unknown := set(changes) - set(_CHANGEABLE):
        raise Invalid(f"This cannot be changed: {', '.join(sorted(unknown))}.", field=min(unknown))
    facts = {name: value for name, value in _checked(changes).items() if getattr(evidence, name) != value}
    if not facts:
        return evidence
    before = {name: getattr(evidence, name) for name in facts}
    for name, value in facts.items():
        setattr(evidence, name, value)
    evidence.save(update_fields=list(facts))
    custody.record(
        case_id=case.case_id,
        by=by,
        action="evidence.changed",
        evidence_uid=evidence.evidence_uid,
        details={"before": before, "after": facts},
    )
    if any(_CHANGEABLE[name] for name in facts) and evidence.kind != POSTED:
        _read_again(evidence, by=by)
    return evidence


def _read_again(evidence: Evidence, *, by: User | None) -> None:
    if evidence.sha256 and not evidence.task_runs.filter(status=RunStatus.QUEUED).exists():
        last = evidence.task_runs.first()
        module: AnalysisModule | None = last.module if last else None
        quota.take_run(by)
        options = last.options if last else None
        runs.queue(evidence, task_name=runs.READ, module=module, options=options, by=by)


@transaction.atomic
def delete_evidence(*, evidence: Evidence, by: User | None) -> None:
    """Remove evidence with its runs and events; the custody record stays.

    The bytes go when no evidence of any case holds them any more.
    """
    case = locked_open(evidence.case)
    evidence = Evidence.objects.select_for_update(no_key=True).get(pk=evidence.pk)
    uid, sha256 = evidence.evidence_uid, evidence.sha256 if evidence.local_path else None
    details = {
        "name": evidence.original_name,
        "sha256": evidence.sha256,
        "size": evidence.size,
        "annotations": Annotation.objects.filter(case_ref=case, evidence_uid=uid).erase(),
    }
    custody.record(
        case_id=case.case_id,
        by=by,
        action="evidence.deleted",
        evidence_uid=evidence.evidence_uid,
        details=details,
    )
    if evidence.kind == POSTED:
        Event.objects.filter(case=case).delete()
    evidence.delete()
    try:
        engine().delete(case_id=case.case_id, shard=uid)  # before the commit: never found again
    except IndexUnavailable as error:
        raise IndexDown(f"Nothing was deleted, because the index cannot be reached: {error}") from error
    expect_erasure(case_id=case.case_id, evidence_uid=uid)
    if sha256:
        transaction.on_commit(partial(discards.discard, sha256))


def check_evidence(*, evidence: Evidence) -> bool:
    """Read stored bytes and say whether they are those that came in.

    The first time they are not, and when they are again, the record says so; `sealed_at` is
    empty in between.
    """
    intact = store.matches(evidence.local_path, evidence.sha256)
    if intact == (evidence.sealed_at is not None):
        return intact
    with transaction.atomic():
        case = locked(evidence.case)
        evidence.sealed_at = timezone.now() if intact else None
        evidence.save(update_fields=["sealed_at"])
        custody.record(
            case_id=case.case_id,
            by=None,
            action="evidence.restored" if intact else "evidence.mismatch",
            evidence_uid=evidence.evidence_uid,
            details={"sha256": evidence.sha256},
        )
    return intact


def _checked(facts: dict[str, Any]) -> dict[str, Any]:
    """Return what is said about evidence as it is stored. Raises Invalid."""
    found = dict(facts)
    for name in {"host", "description"} & set(found):
        found[name] = custody.storable(found[name] or "")
    if len(found.get("host", "")) > 255:
        raise Invalid("A host name has up to 255 characters.", field="host")
    if "time_zone" in found and not _is_time_zone(found["time_zone"]):
        raise Invalid(
            f"{found['time_zone']!r} is no time zone; expected a name like Europe/Berlin.", field="time_zone"
        )
    offset = found.get("clock_offset_seconds", 0.0)
    if not math.isfinite(offset) or abs(offset) > _CENTURY:
        raise Invalid("A clock offset is a number of seconds within a century.", field="clock_offset_seconds")
    return found


def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, outside the database, a directory of it
        return False
    return True
