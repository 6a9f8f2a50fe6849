"""The owner of a case: a lead without a row among its members, who can be followed by another."""

from __future__ import annotations

from django.db import transaction

from accounts.models import User
from cases import custody
from cases.models import Case, CaseMember, CaseRole
from cases.services.case import LastLead, check_role, locked_open


@transaction.atomic
def change_owner(*, case: Case, role: str, by: User | None) -> User | None:
    """Give the owner another role in the case; the lead of longest standing becomes its owner.

    Returns who had the case before. Raises LastLead when there is no other lead.
    """
    check_role(role)
    if role == CaseRole.LEAD:
        return locked_open(case).owner
    before = _hand_over(case, by=by)
    CaseMember.objects.create(case_ref=case, user=before, role=role, added_by=by)
    details = {"member": before.username, "before": CaseRole.LEAD, "after": role}
    custody.record(case_id=case.case_id, by=by, action="member.changed", details=details)
    return before


@transaction.atomic
def remove_owner(*, case: Case, by: User | None) -> None:
    """End the owner's work on the case; the lead of longest standing becomes its owner.

    Raises LastLead when there is no other lead.
    """
    before = _hand_over(case, by=by)
    details = {"member": before.username, "role": CaseRole.LEAD}
    custody.record(case_id=case.case_id, by=by, action="member.removed", details=details)


def _hand_over(case: Case, *, by: User | None) -> User:
    """Make another lead the owner; return who it was before."""
    before = locked_open(case).owner
    heir = CaseMember.objects.filter(case_ref=case, role=CaseRole.LEAD).exclude(user=before).first()
    if before is None or heir is None:
        raise LastLead(f"The owner is the last lead of case {case.case_id}.", field="role")
    case.owner = heir.user
    case.save(update_fields=["owner"])
    heir.delete()
    details = {"before": {"owner": before.username}, "after": {"owner": heir.user.username}}
    custody.record(case_id=case.case_id, by=by, action="case.changed", details=details)
    return before
