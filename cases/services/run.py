"""Runs as people ask for them: again, no longer, once more."""

from __future__ import annotations

from django.db import transaction

from accounts.models import User
from cases import custody, runs, staging
from cases.models import Case, Evidence, RunStatus, TaskRun
from cases.models.evidence import POSTED
from cases.services import quota
from cases.services.case import locked, locked_open
from cases.services.module import module_called
from cases.store import checked
from datamortem.common.errors import Conflict, Invalid


class RunUnfinished(Conflict):
    """The evidence is being read, or will be."""

    code = "run_unfinished"


class RunFinished(Conflict):
    """The run has ended."""

    code = "run_finished"


@transaction.atomic
def run_again(
    *, evidence: Evidence, by: User | None, module: str | None = None, options: dict[str, str] | None = None
) -> TaskRun:
    """Queue another reading; its events take the place of the ones before when it succeeds."""
    locked_open(evidence.case)
    evidence = Evidence.objects.select_for_update(no_key=True).get(pk=evidence.pk)
    if evidence.kind == POSTED:
        if module:
            raise Invalid("Posted events are read by no module.", field="module")
        return _queue_again(evidence, by=by, task_name=runs.INDEX_POSTED, options={staging.EVERYTHING: "yes"})
    checked(evidence.local_path)
    return _queue_again(evidence, by=by, task_name=runs.READ, module=module, options=options)


@transaction.atomic
def retry_run(*, run: TaskRun, by: User | None) -> TaskRun:
    """Queue a failed or cancelled run once more, as a new one: the old one stays as it ended."""
    evidence = Evidence.objects.select_related("case").get(evidence_uid=run.evidence_id)
    locked_open(evidence.case)
    run.refresh_from_db()
    if run.status not in (RunStatus.FAILED, RunStatus.CANCELLED):
        raise RunUnfinished(f"Only a failed or cancelled run can be retried; this one is {run.status}.")
    module = run.module.name if run.module else None
    options = run.options
    if run.task_name == runs.INDEX_POSTED:  # what else it says is about the rows that were its own
        options = {name: value for name, value in options.items() if name == staging.EVERYTHING}
    return _queue_again(evidence, by=by, task_name=run.task_name, module=module, options=options)


def _queue_again(
    evidence: Evidence,
    *,
    by: User | None,
    task_name: str,
    module: str | None = None,
    options: dict[str, str] | None = None,
) -> TaskRun:
    if evidence.task_runs.unfinished().exists():
        raise RunUnfinished(f"{evidence.evidence_uid} is being read, or will be: cancel that run first.")
    chosen = module_called(module) if module else None
    quota.take_run(by)
    run = runs.queue(evidence, task_name=task_name, module=chosen, options=options, by=by)
    custody.record(
        case_id=evidence.case_id,
        by=by,
        action="run.queued",
        evidence_uid=evidence.evidence_uid,
        details={"run": run.pk, "module": module or "", "options": options or {}},
    )
    return run


@transaction.atomic
def cancel_run(*, run: TaskRun, by: User | None) -> TaskRun:
    """End a run: at once if it waits, else within about a second. Nothing of it becomes visible."""
    evidence = Evidence.objects.select_related("case").get(evidence_uid=run.evidence_id)
    locked(evidence.case)
    if not runs.cancel(run):
        raise RunFinished(f"The run has ended already; it is {run.status}.")
    custody.record(
        case_id=evidence.case_id,
        by=by,
        action="run.cancelled",
        evidence_uid=evidence.evidence_uid,
        details={"run": run.pk},
    )
    return run


@transaction.atomic
def queue_rebuild(*, case: Case, by: User | None) -> list[TaskRun]:
    """Queue a new reading of everything that the index holds of a case; also of a closed one.

    Each evidence is read by the parser that read it last; the old events stay until then.
    """
    case = locked(case)
    queued = []
    for evidence in Evidence.objects.filter(case=case).order_by("pk"):
        last = evidence.task_runs.filter(status=RunStatus.SUCCEEDED).first()
        if last is None:
            continue  # nothing of it is in the index
        is_posted = evidence.kind == POSTED
        options = {staging.EVERYTHING: "yes"} if is_posted else last.options
        run = runs.queue(evidence, task_name=last.task_name, module=last.module, options=options, by=by)
        queued.append(run)
    custody.record(case_id=case.case_id, by=by, action="case.reindexed", details={"runs": len(queued)})
    return queued
