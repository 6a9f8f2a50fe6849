"""What of cases is recorded where, when somebody looks or takes something with them.

Looks of platform admins into cases they do not work on: an audit entry for each request, and in
the custody record of the case one for each sign-in or API token. Exports and downloads, whoever
makes them: both records, every time (`custody.record` writes the audit entry). All of it is
committed before the answer is given; a database that cannot record makes it a refusal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import DatabaseError, transaction
from django.db.models import Exists, OuterRef

from accounts import audit
from accounts.models import User
from cases import custody
from cases.index.document import Document
from cases.models import Case, CustodyEntry, Evidence
from cases.models.case import CaseQuerySet
from datamortem.common import measures
from datamortem.common.errors import Unavailable

LOOKED: Final = "case.viewed_by_admin"
SEARCHED: Final = "events.searched_by_admin"
LISTED: Final = "records.listed_by_admin"
EXPORTED: Final = "events.exported"

_QUERY_LIMIT: Final = 1000
_TEXT: Final = 255


class NotRecorded(Unavailable):
    """What must be on record could not be recorded, so nothing is shown."""

    code = "not_recorded"


def marked(cases: CaseQuerySet, user: User) -> CaseQuerySet:
    """Return the cases with `is_foreign` where it may be true: for admins; others see only their own."""
    if not user.is_platform_admin:
        return cases
    return cases.annotate(is_foreign=Exists(Case.objects.foreign_to(user).filter(pk=OuterRef("pk"))))


def looked(case: Case, *, by: User, at: str) -> None:
    """Record a look into a case that came by `marked`, if its opening is on record at all.

    `at` says where: method and path. Raises NotRecorded.
    """
    if getattr(case, "is_foreign", False):
        _note_one(case.case_id, by=by, at=at)


def looked_at_rows(case_ids: Collection[str], *, by: User, at: str) -> None:
    """Record a look at rows of several cases, named by their cases. Raises NotRecorded."""
    if by.is_platform_admin and case_ids:
        match _foreign(Case.objects.filter(case_id__in=set(case_ids)), by):
            case []:
                pass
            case [case_id]:
                _note_one(case_id, by=by, at=at)
            case foreign:
                _note_several(LISTED, foreign, total=len(foreign), by=by, at=at)


def searched(
    cases: CaseQuerySet, *, named: Collection[str], found: Collection[str], by: User, at: str
) -> None:
    """Record a search over several cases: how many of them were foreign, in one audit entry.

    The custody records of those that were named, or that have events in the answer, say so.
    Raises NotRecorded.
    """
    if not by.is_platform_admin:
        return
    total = cases.foreign_to(by).count()
    if total:
        shown = _foreign(cases.filter(case_id__in={*named, *found}), by)
        _note_several(SEARCHED, shown, total=total, by=by, at=at)


def taken(
    action: str,
    *,
    case_id: str,
    by: User | None,
    evidence_uid: str = "",
    details: dict[str, Any] | None = None,
) -> None:
    """Record that something leaves: an export or a download. Raises NotRecorded."""
    with _on_record():
        custody.record(case_id=case_id, by=by, action=action, evidence_uid=evidence_uid, details=details)


def evidence_taken(evidence: Evidence, *, by: User, range: str) -> None:
    """Record that bytes of evidence leave; `range` is the part that was asked for."""
    details = {"name": evidence.original_name, "sha256": evidence.sha256, "size": evidence.size}
    if range:
        details["range"] = range[:_TEXT]
    taken(
        "evidence.downloaded",
        case_id=evidence.case_id,
        by=by,
        evidence_uid=evidence.evidence_uid,
        details=details,
    )


def source_taken(document: Document, *, by: User, size: int) -> None:
    """Record that the bytes of one record in the evidence leave, or are shown."""
    taken(
        "source.downloaded",
        case_id=document["case_id"],
        by=by,
        evidence_uid=document["evidence_uid"],
        details={"event": document["event_id"], "position": document["position"], "size": size},
    )


def question(**said: object) -> dict[str, Any]:
    """Return how an export was asked for, as details of its entry; what was not said is left out."""
    return {
        name: value[:_QUERY_LIMIT] if isinstance(value, str) else value
        for name, value in said.items()
        if value
    }


def _foreign(cases: CaseQuerySet, user: User) -> list[str]:
    return list(cases.foreign_to(user).order_by("case_id").values_list("case_id", flat=True))


def _note_one(case_id: str, *, by: User, at: str) -> None:
    with _on_record():
        audit.record(LOOKED, by=by, target=at, case_id=case_id)
        _note_in_custody([case_id], by=by)


def _note_several(action: str, case_ids: list[str], *, total: int, by: User, at: str) -> None:
    with _on_record():
        audit.record(action, by=by, target=at, details={"foreign_cases": total, "shown_of": len(case_ids)})
        _note_in_custody(case_ids, by=by)


def _note_in_custody(case_ids: list[str], *, by: User) -> None:
    """Add an entry to each record that does not have one of this sign-in or token yet."""
    proof = _proof(by)
    if unseen := _unseen(case_ids, by, proof):
        custody.hold(unseen)  # somebody may have added it while we waited
        custody.record_each(_unseen(unseen, by, proof), by=by, action=LOOKED, details=proof)


def _unseen(case_ids: Collection[str], by: User, proof: dict[str, Any]) -> set[str]:
    if not proof:
        return set(case_ids)
    seen = CustodyEntry.objects.filter(
        case_id__in=case_ids,
        action=LOOKED,
        user=by,
        **{f"details__{name}": held for name, held in proof.items()},
    )
    return set(case_ids) - set(seen.values_list("case_id", flat=True))


def _proof(user: User) -> dict[str, Any]:
    """Return by what a user is here, as custody details name it."""
    access = user.access
    if access and access.session:
        return {"session": str(access.session.pk)}
    return {"token": access.token.pk} if access and access.token else {}


@contextmanager
def _on_record() -> Iterator[None]:
    try:
        with transaction.atomic():
            yield
    except DatabaseError as error:
        measures.NOT_RECORDED.inc()
        raise NotRecorded("This is on record or not at all, and the database cannot record now.") from error
