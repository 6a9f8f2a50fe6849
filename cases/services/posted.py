"""Events that come without a file: durable rows first, then the index."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from cases import custody, runs
from cases.index import text
from cases.index.document import parse_time
from cases.models import Case, Event, Evidence, RunStatus, TaskRun
from cases.models.evidence import POSTED
from cases.records import FIRST_INSTANT, LAST_INSTANT, PRECISIONS
from cases.services import quota
from cases.services.case import locked_open
from datamortem.common.errors import TooLarge

#: How many events one call may bring.
LIMIT: Final = 10_000
#: What an event has beside its attributes; anything else that is posted becomes an attribute.
_TEXTS: Final = ("timestamp_desc", "host", "user", "source", "category", "type")
_CORE: Final = ("timestamp", "time_precision", "message", "tags", "score", "attributes", *_TEXTS)
_NAME_LIMIT: Final = 255
_DEPTH: Final = 32
_INT32: Final = 2**31
_SCORE_LIMIT: Final = 2**53
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of posted events; `run` indexes those that were accepted.

    `rejected` names each refused event by its index in the call, with the reasons.
    """

    run: TaskRun | None
    accepted: int
    duplicate: int
    rejected: list[dict[str, Any]] = field(default_factory=list)


def post_events(*, case: Case, by: User | None, events: Sequence[Any]) -> Posted:
    """Keep events durably and queue their way into the index.

    The same event twice in a case is one: its id is made of its content. A bad event is refused
    on its own, with reasons; the others are kept. Raises TooLarge past LIMIT, CaseClosed,
    QuotaExceeded and FeatureOff.
    """
    if len(events) > LIMIT:
        raise TooLarge(f"{len(events)} events at once; up to {LIMIT} are accepted. Send them in parts.")
    shaped: dict[str, dict[str, Any]] = {}
    rejected = []
    for index, event in enumerate(events):
        if errors := list(_faults(event)):
            rejected.append({"index": index, "errors": errors})
        else:
            kept = _shape(event)
            shaped.setdefault(_event_id(case.case_id, kept), kept)
    with transaction.atomic():
        case = locked_open(case)
        known = _known(case, list(shaped))
        fresh = {event_id: event for event_id, event in shaped.items() if event_id not in known}
        duplicate = len(events) - len(rejected) - len(fresh)
        run = _keep(case, fresh, by=by) if fresh else None
    return Posted(run=run, accepted=len(fresh), duplicate=duplicate, rejected=rejected)


def _keep(case: Case, fresh: dict[str, dict[str, Any]], *, by: User | None) -> TaskRun:
    evidence = _evidence_of_posted(case, by=by)
    run = _waiting_run(evidence, by=by)
    rows = [_row(case, evidence, event_id, event) for event_id, event in fresh.items()]
    Event.objects.bulk_create(rows, batch_size=1000)
    custody.record(
        case_id=case.case_id,
        by=by,
        action="events.posted",
        evidence_uid=evidence.evidence_uid,
        details={"events": len(rows), "run": run.pk},
    )
    return run


def _evidence_of_posted(case: Case, *, by: User | None) -> Evidence:
    """Return the one evidence of a case that stands for posted events; the case is held."""
    found = Evidence.objects.filter(case=case, kind=POSTED).first()
    return found or Evidence.objects.create(
        evidence_uid=f"ev-{secrets.token_hex(8)}",
        case=case,
        kind=POSTED,
        original_name="posted events",
        added_by=by,
        added_at_utc=timezone.now(),
    )


def _waiting_run(evidence: Evidence, *, by: User | None) -> TaskRun:
    """Return a run that will see what this transaction adds: one that waits, else a new one."""
    waiting = (
        TaskRun.objects.select_for_update(no_key=True)  # nobody claims it before we commit
        .filter(evidence=evidence, status=RunStatus.QUEUED, task_name=runs.INDEX_POSTED)
        .first()
    )
    if waiting is None:
        quota.take_run(by)
    return waiting or runs.queue(evidence, task_name=runs.INDEX_POSTED, by=by)


def _known(case: Case, ids: list[str]) -> set[str]:
    known: set[str] = set()
    for start in range(0, len(ids), 500):  # SQLite bounds the number of parameters
        part = ids[start : start + 500]
        found = Event.objects.filter(case=case, event_id__in=part).values_list("event_id", flat=True)
        known.update(event_id for event_id in found if event_id)
    return known


def _row(case: Case, evidence: Evidence, event_id: str, event: dict[str, Any]) -> Event:
    score = event["score"]
    plain = custody.storable
    return Event(
        case=case,
        evidence_uid=evidence.evidence_uid,
        event_id=event_id,
        ts=event["timestamp"] or "",
        source=plain(event["source"] or POSTED),
        message=plain(event["message"]),
        host=plain(event["host"]) if event["host"] else None,
        user=plain(event["user"]) if event["user"] else None,
        tags=plain(json.dumps(event["tags"])) if event["tags"] else None,
        score=int(score) if score is not None and -_INT32 <= score < _INT32 else None,
        raw=text.dump(event).decode(),
    )


def _event_id(case_id: str, event: dict[str, Any]) -> str:
    canonical = json.dumps(event, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{case_id}\x00{canonical}".encode()).hexdigest()


def _shape(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event with every core field, and what is none of them among its attributes."""
    kept: dict[str, Any] = {name: event.get(name) for name in _CORE}
    kept["tags"] = list(dict.fromkeys(kept["tags"] or []))
    others = {name: value for name, value in event.items() if name not in _CORE}
    kept["attributes"] = {**others, **(kept["attributes"] or {})}
    return kept


def _faults(event: Any) -> Iterator[str]:
    if not isinstance(event, dict):
        yield "An event is a JSON object."
        return
    if not isinstance(event.get("message"), str) or not event["message"]:
        yield "message: a text that is not empty is required."
    yield from _faults_of_time(event)
    for name in _TEXTS:
        value = event.get(name)
        if value is not None and not isinstance(value, str):
            yield f"{name}: expected a text or null."
        elif value and len(value) > _NAME_LIMIT:
            yield f"{name}: up to {_NAME_LIMIT} characters."
    tags = event.get("tags")
    if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        yield "tags: expected a list of texts."
    yield from _faults_of_score(event.get("score"))
    attributes = event.get("attributes")
    if attributes is not None and not isinstance(attributes, dict):
        yield "attributes: expected an object."
    elif twice := sorted((set(event) - set(_CORE)) & set(attributes or {})):
        yield f"{custody.storable(twice[0])}: given twice, beside the attributes and among them."
    if _depth(event) > _DEPTH:
        yield f"Objects and lists nest up to {_DEPTH} levels."


def _faults_of_time(event: dict[str, Any]) -> Iterator[str]:
    timestamp, precision = event.get("timestamp"), event.get("time_precision")
    if precision is not None and precision not in PRECISIONS:
        yield f"time_precision: one of {', '.join(PRECISIONS)}."
    if timestamp is None:
        return
    if not isinstance(timestamp, str) or not _is_instant(timestamp):
        yield "timestamp: expected RFC 3339 with a time zone between 1601 and 9999, or null."


def _is_instant(timestamp: str) -> bool:
    try:
        return (
            bool(_RFC3339.fullmatch(timestamp))
            and FIRST_INSTANT <= parse_time(timestamp.upper()) <= LAST_INSTANT
        )
    except (ValueError, OverflowError):
        return False


def _faults_of_score(score: Any) -> Iterator[str]:
    is_number = isinstance(score, int | float) and not isinstance(score, bool)
    if score is not None and not (is_number and abs(score) <= _SCORE_LIMIT):  # false for NaN, too
        yield "score: expected a number or null."


def _depth(value: Any) -> int:
    """Return how deep lists and objects nest, one past _DEPTH at most."""
    level, depth = [value], 0
    while level and depth <= _DEPTH:
        level = [
            inner
            for held in level
            if isinstance(held, dict | list)
            for inner in (held.values() if isinstance(held, dict) else held)
        ]
        depth += 1
    return depth
