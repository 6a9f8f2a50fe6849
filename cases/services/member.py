"""Who works on a case, and as what. The owner is a lead without a row among the members."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.models import Role, User
from cases import custody
from cases.models import Case, CaseMember, CaseRole
from cases.services.case import locked_open
from datamortem.common.errors import Conflict, Invalid, Missing


class AlreadyMember(Conflict):
    """The user or team works on the case already."""

    code = "already_member"


class LastLead(Conflict):
    """A case keeps at least one lead who can act."""

    code = "last_lead"


def can_lead(user: User) -> bool:
    """Whether a lead of this name could act: active, and no viewer of the platform."""
    return user.is_active and user.role != Role.VIEWER


def leads(case: Case) -> QuerySet[User]:
    """Return the leads of a case who can act (see `can_lead`)."""
    members = CaseMember.objects.filter(case_ref=case, role=CaseRole.LEAD).values("user")
    is_lead = Q(pk__in=members) | Q(pk=case.owner_id)
    return User.objects.filter(is_lead, is_active=True).exclude(role=Role.VIEWER)


def check_member_role(role: str, *, user: User | None = None) -> None:
    """Raise Invalid for what is no role in a case, or none that this user can have in any."""
    if role not in CaseRole.values:
        raise Invalid(f"A role in a case is one of {', '.join(CaseRole.values)}.", field="role")
    if user is not None and user.role == Role.VIEWER and role != CaseRole.READER:
        raise Invalid(f"{user.username} is a viewer on this platform: they can only read.", field="role")


@transaction.atomic
def add_member(
    *, case: Case, user: User, role: str, by: User | None, invited_by: User | None = None
) -> CaseMember:
    """Let a user work on the case; who accepts an invitation does it themselves. Raises AlreadyMember."""
    case = locked_open(case)
    check_member_role(role, user=user)
    if not user.is_active:
        raise Invalid(f"The account of {user.username} is not active.", field="user")
    if case.owner_id == user.pk or CaseMember.objects.filter(case_ref=case, user=user).exists():
        raise AlreadyMember(f"{user.username} is a member of case {case.case_id} already.", field="user")
    member = CaseMember.objects.create(case_ref=case, user=user, role=role, added_by=invited_by or by)
    details = {"member": user.username, "role": role}
    if invited_by is not None:
        details["invited_by"] = invited_by.username
    custody.record(case_id=case.case_id, by=by, action="member.added", details=details)
    return member


@transaction.atomic
def change_member(*, case: Case, user: User, role: str, by: User | None) -> None:
    """Give somebody who works on the case another role there.

    An owner who is to be no lead is followed by the lead of longest standing. Raises LastLead when
    none would remain, and Missing when the user does not work on the case (any more).
    """
    case = locked_open(case)
    check_member_role(role, user=user)
    before = _role_of(user, case)
    if role == before:
        return
    _check_lead_remains(case, without=user)
    if case.owner_id == user.pk:
        _hand_over(case, by=by)
    CaseMember.objects.update_or_create(
        case_ref=case, user=user, defaults={"role": role}, create_defaults={"role": role, "added_by": by}
    )
    details = {"member": user.username, "before": before, "after": role}
    custody.record(case_id=case.case_id, by=by, action="member.changed", details=details)


@transaction.atomic
def remove_member(*, case: Case, user: User, by: User | None) -> None:
    """End a user's work on the case. An owner is followed as by `change_member`, which raises the same."""
    case = locked_open(case)
    role = _role_of(user, case)
    _check_lead_remains(case, without=user)
    if case.owner_id == user.pk:
        _hand_over(case, by=by)
    CaseMember.objects.filter(case_ref=case, user=user).delete()
    details = {"member": user.username, "role": role}
    custody.record(case_id=case.case_id, by=by, action="member.removed", details=details)


def make_owner(case: Case, user: User, *, by: User | None) -> None:
    """Write down another owner, who is no member beside that. The case is held by the caller."""
    before = case.owner
    CaseMember.objects.filter(case_ref=case, user=user).delete()
    case.owner = user
    case.save(update_fields=["owner"])
    details = {"before": before.username if before else None, "after": user.username}
    custody.record(case_id=case.case_id, by=by, action="case.owner", details=details)


def _hand_over(case: Case, *, by: User | None) -> None:
    """Make the lead of longest standing the owner. Raises LastLead."""
    heirs = CaseMember.objects.filter(case_ref=case, role=CaseRole.LEAD, user__in=leads(case))
    heir = heirs.exclude(user=case.owner_id).order_by("pk").first()
    if heir is None:
        raise LastLead(f"Pass case {case.case_id} on first: nobody else leads it.", field="role")
    make_owner(case, heir.user, by=by)


def _role_of(user: User, case: Case) -> str:
    """Return the role as it is now that the case is held. Raises Missing."""
    if case.owner_id == user.pk:
        return CaseRole.LEAD.value
    member = CaseMember.objects.filter(case_ref=case, user=user).first()
    if member is None:
        raise Missing(f"{user.username} does not work on case {case.case_id}.")
    return member.role


def _check_lead_remains(case: Case, *, without: User) -> None:
    able = set(leads(case).values_list("pk", flat=True))
    if able == {without.pk}:
        raise LastLead(f"{without.username} is the last lead of case {case.case_id}.", field="role")
