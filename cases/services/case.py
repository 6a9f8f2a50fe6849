"""The life of a case."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import invitations
from accounts.models import Invitation, User
from cases import custody, discards
from cases.engines import IndexDown, engine
from cases.index.engine import IndexUnavailable
from cases.models import Annotation, Case, CaseStatus, Event, Evidence, Severity, TaskRun
from cases.services.erasure import expect_erasure
from datamortem.common.errors import Conflict, Invalid, Missing

_CASE_ID: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", re.ASCII)
_CHANGEABLE: Final = ("title", "note", "severity", "tags")


class CaseIdTaken(Conflict):
    """Another case has this id."""

    code = "case_id_taken"


class CaseClosed(Conflict):
    """A closed case refuses evidence and writes."""

    code = "case_closed"


class CaseBusy(Conflict):
    """The case still has runs to finish."""

    code = "case_busy"


class CaseNotEmpty(Conflict):
    """The case holds evidence, and its deletion was not confirmed."""

    code = "case_not_empty"


def locked(case: Case) -> Case:
    """Return the case with its row held to the end of the transaction.

    Whoever locks more takes the case first, then evidence, then runs: nobody waits in a circle.
    Raises Missing when it was deleted meanwhile.
    """
    held = Case.objects.select_for_update(no_key=True).filter(pk=case.pk).first()
    if held is None:
        raise Missing(f"Case {case.case_id} is gone.")
    return held


def locked_open(case: Case) -> Case:
    """Return the case, held, if it accepts writes. Raises CaseClosed."""
    case = locked(case)
    if case.is_closed:
        raise CaseClosed(f"Case {case.case_id} is closed: reopen it to add or change anything.")
    return case


@transaction.atomic
def open_case(
    *,
    by: User | None,
    case_id: str | None = None,
    title: str = "",
    note: str = "",
    severity: str = "",
    tags: Sequence[str] = (),
) -> Case:
    """Return a new case that `by` leads. Without an id it gets one that nobody can guess."""
    if case_id is None:
        case_id = f"case-{timezone.now().year}-{secrets.token_hex(3)}"
    if not _CASE_ID.fullmatch(case_id):
        raise Invalid(
            "A case id has 1 to 64 letters (A-Z), digits, '.', '_' and '-', and does not begin with a dot.",
            field="case_id",
        )
    facts = _checked({"title": title, "note": note, "severity": severity, "tags": tags})
    case = Case(case_id=case_id, owner=by, **facts)
    try:
        with transaction.atomic():
            case.save(force_insert=True)
    except IntegrityError as error:
        raise CaseIdTaken(f"There is a case {case_id} already.", field="case_id") from error
    custody.record(case_id=case_id, by=by, action="case.opened", details=facts)
    return case


@transaction.atomic
def update_case(*, case: Case, by: User | None, **changes: Any) -> Case:
    """Change title, note, severity or tags; the record keeps what was there before."""
    case = locked_open(case)
    if unknown := set(changes) - set(_CHANGEABLE):
        raise Invalid(f"This cannot be changed: {', '.join(sorted(unknown))}.", field=min(unknown))
    facts = {name: value for name, value in _checked(changes).items() if getattr(case, name) != value}
    if facts:
        before = {name: getattr(case, name) for name in facts}
        _assign(case, facts)
        details = {"before": before, "after": facts}
        custody.record(case_id=case.case_id, by=by, action="case.changed", details=details)
    return case


@transaction.atomic
def close_case(*, case: Case, by: User | None) -> Case:
    """Refuse further evidence and writes. Raises CaseBusy while something is still being read."""
    case = locked_open(case)
    if TaskRun.objects.unfinished().filter(evidence__case=case).exists():
        raise CaseBusy(f"Case {case.case_id} is still reading evidence: wait for its runs or cancel them.")
    _assign(case, {"status": CaseStatus.CLOSED, "closed_at": timezone.now(), "closed_by": by})
    custody.record(case_id=case.case_id, by=by, action="case.closed")
    return case


@transaction.atomic
def reopen_case(*, case: Case, by: User | None) -> Case:
    """Accept evidence and writes again."""
    case = locked(case)
    if not case.is_closed:
        raise Conflict(f"Case {case.case_id} is open.")
    _assign(case, {"status": CaseStatus.OPEN, "closed_at": None, "closed_by": None})
    custody.record(case_id=case.case_id, by=by, action="case.reopened")
    return case


@transaction.atomic
def delete_case(*, case: Case, by: User | None, confirm: str | None = None) -> None:
    """Remove a case with its evidence and events; its custody record stays.

    A case that holds anything needs its id as confirmation. Bytes that another case holds too
    remain.
    """
    case = locked(case)
    held = list(Evidence.objects.select_for_update(no_key=True).filter(case=case).order_by("pk"))
    events = Event.objects.filter(case=case)  # the old system kept events without evidence
    if (held or events.exists()) and confirm != case.case_id:
        raise CaseNotEmpty(
            f"Case {case.case_id} holds {len(held)} pieces of evidence and {events.count()} stored events: "
            "confirm with its id to delete it.",
            field="confirm",
        )
    facts = {"evidence": [{"evidence_uid": e.evidence_uid, "sha256": e.sha256} for e in held]}
    custody.record(case_id=case.case_id, by=by, action="case.deleted", details=facts)
    case_id = case.case_id
    events.delete()
    Annotation.objects.filter(case_ref=case).erase()
    invitations.revoke(Invitation.objects.filter(case_invitation__case_ref=case))
    case.delete()
    try:
        engine().drop(case_id=case_id)  # before the commit: a deleted case is never found again
    except IndexUnavailable as error:
        raise IndexDown(f"Nothing was deleted, because the index cannot be reached: {error}") from error
    expect_erasure(case_id=case_id)
    for sha256 in {evidence.sha256 for evidence in held if evidence.sha256 and evidence.local_path}:
        transaction.on_commit(partial(discards.discard, sha256))


def _checked(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of a case as they are stored. Raises Invalid."""
    found = dict(facts)
    for name in {"title", "note"} & set(found):
        found[name] = custody.storable(found[name] or "")
    if len(found.get("title", "")) > 300:
        raise Invalid("A title has up to 300 characters.", field="title")
    if found.get("severity", "") not in ("", *Severity.values):
        raise Invalid(f"Severity is one of {', '.join(Severity.values)}, or empty.", field="severity")
    if "tags" in found:
        found["tags"] = [custody.storable(tag) for tag in found["tags"]]
    return found


def _assign(case: Case, facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        setattr(case, name, value)
    case.save(update_fields=list(facts))
