"""Restricted cases: closed to the platform's administrators until they join, on record."""

from __future__ import annotations

from typing import Final

from django.db import transaction

from accounts import mail
from accounts.models import User
from cases import custody
from cases.models import Case, CaseMember, CaseRole
from cases.services.case import locked
from cases.services.member import AlreadyMember, check_member_role, leads
from datamortem.common.errors import Conflict, Invalid
from datamortem.common.storable import storable

#: Roles from least to most.
_RANK: Final[tuple[str, ...]] = tuple(reversed(CaseRole.values))
_LONGEST_REASON: Final = 1000


class NotRestricted(Conflict):
    """The case is open to administrators as it is."""

    code = "not_restricted"


class AlreadyRestricted(Conflict):
    """The case is restricted as it is."""

    code = "already_restricted"


@transaction.atomic
def restrict_case(*, case: Case, by: User | None) -> Case:
    """Let nobody see the case but its people: administrators too must join first."""
    case = locked(case)
    if case.restricted:
        raise AlreadyRestricted(f"Case {case.case_id} is restricted already.")
    _restrict(case, is_restricted=True)
    custody.record(case_id=case.case_id, by=by, action="case.restricted")
    return case


@transaction.atomic
def unrestrict_case(*, case: Case, by: User | None) -> Case:
    """Open the case to administrators again."""
    case = locked(case)
    if not case.restricted:
        raise NotRestricted(f"Case {case.case_id} is not restricted.")
    _restrict(case, is_restricted=False)
    custody.record(case_id=case.case_id, by=by, action="case.unrestricted")
    return case


@transaction.atomic
def join_case(*, case: Case, by: User, reason: str, role: str = CaseRole.READER) -> CaseMember:
    """Make an administrator one of the people of a restricted case; its leads are told by mail.

    An administrator who is among them with less joins again for more: a case whose leads have all
    gone has to be led by somebody. Closed cases are joined like open ones.
    """
    case = locked(case)
    reason = storable(reason).strip()
    if not 0 < len(reason) <= _LONGEST_REASON:
        raise Invalid(f"Say why, in up to {_LONGEST_REASON} characters.", field="reason")
    check_member_role(role, user=by)
    if not case.restricted:
        raise NotRestricted(f"Case {case.case_id} is not restricted: administrators see it as it is.")
    member = CaseMember.objects.filter(case_ref=case, user=by).first()
    if case.owner_id == by.pk or (member and _RANK.index(member.role) >= _RANK.index(role)):
        raise AlreadyMember(f"You are a member of case {case.case_id} already.")
    before = member.role if member else None
    told = list(leads(case).exclude(pk=by.pk).order_by("pk"))
    member, _ = CaseMember.objects.update_or_create(
        case_ref=case, user=by, defaults={"role": role}, create_defaults={"role": role, "added_by": by}
    )
    details = {"member": by.username, "before": before, "after": role, "reason": reason}
    custody.record(case_id=case.case_id, by=by, action="case.joined", details=details)
    for lead in told:
        mail.post("admin_joined", lead.email, lead.locale, case=case.case_id, admin=by.username)
    return member


def _restrict(case: Case, *, is_restricted: bool) -> None:
    case.restricted = is_restricted
    case.save(update_fields=["restricted"])
