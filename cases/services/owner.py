"""Passing a case on: it always has at most one owner, who leads it."""

from __future__ import annotations

from django.db import transaction

from accounts.models import User
from cases.models import Case, CaseMember, CaseRole
from cases.services.case import locked
from cases.services.member import can_lead, make_owner
from datamortem.common.errors import Conflict, Invalid


class AlreadyOwner(Conflict):
    """The user owns the case already."""

    code = "already_owner"


@transaction.atomic
def pass_on(*, case: Case, to: User, by: User | None) -> Case:
    """Make a user the owner; who was it before stays as a lead.

    A closed case is passed on too: somebody has to answer for it. Raises Invalid for whom cannot
    lead.
    """
    case = locked(case)
    if not can_lead(to):
        why = "is a viewer on this platform" if to.is_active else "has no active account"
        raise Invalid(f"{to.username} {why} and cannot lead a case.", field="user")
    if case.owner_id == to.pk:
        raise AlreadyOwner(f"{to.username} owns case {case.case_id} already.", field="user")
    before = case.owner
    make_owner(case, to, by=by)
    if before is not None:
        CaseMember.objects.update_or_create(
            case_ref=case,
            user=before,
            defaults={"role": CaseRole.LEAD},
            create_defaults={"role": CaseRole.LEAD, "added_by": by},
        )
    return case
