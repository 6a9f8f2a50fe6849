"""Events that come without a file: durable rows first, then the index."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from cases import custody, runs, staging
from cases.index import text
from cases.models import Case, Evidence, TaskRun
from cases.models.evidence import POSTED
from cases.services import quota
from cases.services.case import locked, locked_open
from cases.services.posted_event import check, event_id, shape
from datamortem.common.errors import TooLarge, TooMany

#: How many events one call may bring.
LIMIT: Final = 10_000
#: Seconds after which somebody who came too early may come again.
_RETRY_AFTER: Final = 10
_INT32: Final = 2**31


class IndexBehind(TooMany):
    """More posted events wait for the index than may."""

    code = "index_behind"


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of posted events; `run` indexes those that were accepted.

    `rejected` names each refused event by its index in the call, with the reasons.
    """

    run: TaskRun | None
    accepted: int
    duplicate: int
    rejected: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Kept:
    """An event on its way into the table."""

    event: dict[str, Any]
    raw: str


def post_events(*, case: Case, by: User | None, events: Sequence[Any]) -> Posted:
    """Keep events durably and queue their way into the index.

    The same event twice in a case is one: its id is made of its content. A bad event is refused
    on its own, with reasons; the others are kept. Raises TooLarge past LIMIT, CaseClosed,
    QuotaExceeded and FeatureOff.
    """
    if len(events) > LIMIT:
        raise TooLarge(f"{len(events)} events at once; up to {LIMIT} are accepted. Send them in parts.")
    shaped: dict[str, _Kept] = {}
    rejected = []
    for index, event in enumerate(events):
        checked = check(event)
        if checked.faults:
            rejected.append({"index": index, "errors": checked.faults})
            continue
        kept = shape(event)
        name = event_id(case.case_id, kept, floats=checked.floats)
        if name not in shaped:
            shaped[name] = _Kept(kept, text.dump(kept).decode())
    with transaction.atomic():
        case = locked_open(case)
        for name in staging.known(case.case_id, list(shaped)):
            del shaped[name]
        duplicate = len(events) - len(rejected) - len(shaped)
        run = _keep(case, shaped, by=by) if shaped else None
    return Posted(run=run, accepted=len(shaped), duplicate=duplicate, rejected=rejected)


def check_backlog(*, case: Case) -> None:
    """Refuse further events while too many wait for the index. Raises IndexBehind.

    To be asked outside a transaction: if nothing is on its way that would index them (their runs
    have failed), a run is queued that does, whatever is answered.
    """
    bound, in_all = settings.POSTED_WAITING, settings.POSTED_WAITING_ALL
    if case.is_closed:
        return  # which is said next
    backlog = staging.backlog(case, limit=bound)
    if backlog.case > bound:
        if not backlog.has_run:
            _queue_for_the_rest(case)
        raise IndexBehind(
            f"{backlog.case} posted events of this case wait for the index, and up to {bound} may "
            f"(POSTED_WAITING). Send these again later: none of them was kept.",
            retry_after=_RETRY_AFTER,
        )
    if backlog.all > in_all:
        raise IndexBehind(
            f"{backlog.all} posted events wait for the index, and up to {in_all} may "
            f"(POSTED_WAITING_ALL). Send these again later: none of them was kept.",
            retry_after=_RETRY_AFTER,
        )


@transaction.atomic
def _queue_for_the_rest(case: Case) -> None:
    case = locked(case)
    evidence = Evidence.objects.filter(case=case, kind=POSTED).first()
    if evidence is not None and not evidence.task_runs.unfinished().exists():
        _queue(case, evidence, by=None)


def _keep(case: Case, fresh: dict[str, _Kept], *, by: User | None) -> TaskRun:
    evidence = _evidence_of_posted(case, by=by)
    size = sum(len(kept.raw) for kept in fresh.values())
    run = staging.waiting_run(evidence, rows=len(fresh), size=size)
    if run is None:
        quota.take_run(by)
        run = _queue(case, evidence, by=by)
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    staging.insert([_row(run, case, name, kept, now) for name, kept in fresh.items()])
    staging.enlarge(run, rows=len(fresh), size=size)
    custody.record(
        case_id=case.case_id,
        by=by,
        action="events.posted",
        evidence_uid=evidence.evidence_uid,
        details={"events": len(fresh), "run": run.pk},
    )
    return run


def _queue(case: Case, evidence: Evidence, *, by: User | None) -> TaskRun:
    return runs.queue(evidence, task_name=runs.INDEX_POSTED, options=staging.first_options(case), by=by)


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


def _row(run: TaskRun, case: Case, name: str, kept: _Kept, now: Any) -> tuple[Any, ...]:
    """Return the values of `staging.COLUMNS`."""
    event, plain = kept.event, custody.storable
    score = event["score"]
    return (
        event["timestamp"] or "",
        plain(event["source"] or POSTED),
        plain(event["message"]),
        plain(event["host"]) if event["host"] else None,
        plain(event["user"]) if event["user"] else None,
        plain(json.dumps(event["tags"])) if event["tags"] else None,
        int(score) if score is not None and -_INT32 <= score < _INT32 else None,
        kept.raw,
        name,
        case.case_id,
        run.evidence_id,
        now,
        run.pk,
    )
