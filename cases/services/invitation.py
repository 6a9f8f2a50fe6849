"""Invitations by mail: to work on a case, or to have an account at all.

An invitation is as good as the one who sent it: if they may no longer let people in, or the case
is closed or gone, it opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from accounts import audit, invitations, policy
from accounts.models import Invitation, Role, User
from accounts.models.invitation import InvitationQuerySet
from cases import custody
from cases.models import Case, CaseInvitation, CaseMember
from cases.services.case import locked_open
from cases.services.member import AlreadyMember, add_member, check_member_role
from datamortem.common.errors import Conflict, Forbidden, Invalid


class HasAccount(Conflict):
    """The address has an account already."""

    code = "has_account"


class OtherAddress(Forbidden):
    """The invitation is for another address than the account's."""

    code = "other_address"


@dataclass(frozen=True, slots=True)
class Offer:
    """What an invitation offers; `role` is one in the case, or on the platform where there is none."""

    email: str
    case_id: str | None
    case_title: str | None
    role: str
    invited_by: str
    has_account: bool


def invitations_to(case: Case | None) -> InvitationQuerySet:
    """Return the invitations to a case; without one, those to the platform alone."""
    return Invitation.objects.filter(case_invitation__case_ref=case).select_related("case_invitation")


def invite(*, case: Case, email: str, role: str, by: User) -> Invitation:
    """Invite an address to work on a case; a newer invitation of an address replaces the older.

    An address without an account gets one as analyst of the platform, if an admin invites or
    REGISTRATION lets people in. Raises AlreadyMember, CaseClosed, Invalid, RegistrationOff, TooMany.
    """
    invitations.count(by)
    with transaction.atomic():
        case = locked_open(case)
        _check_invitee(case, invitations.account_of(email), role, by=by)
        older, title = invitations_to(case), case.title or case.case_id
        invitation = invitations.invite(email=email, role=Role.ANALYST, by=by, replaces=older, case=title)
        CaseInvitation.objects.create(invitation=invitation, case_ref=case, role=role)
        details = {"address": invitation.email, "role": role}
        custody.record(case_id=case.case_id, by=by, action="member.invited", details=details)
    return invitation


def invite_to_platform(*, email: str, role: str, by: User) -> Invitation:
    """Invite an address to have an account with a role. Raises HasAccount, Invalid, TooMany."""
    if not policy.may_give(by, role):
        raise Forbidden(f"You cannot make anybody {role}.", field="role")
    invitations.count(by)
    with transaction.atomic():
        if known := invitations.account_of(email):
            raise HasAccount(f"This address has an account already: {known.username}.", field="email")
        invitation = invitations.invite(email=email, role=role, by=by, replaces=invitations_to(None))
        audit.record("user.invited", by=by, target=invitation.email, details={"role": role})
    return invitation


@transaction.atomic
def revoke_invitation(*, invitation: Invitation, by: User) -> None:
    """End an invitation that is open; a second time changes nothing."""
    offered = CaseInvitation.objects.filter(invitation=invitation).select_related("case_ref").first()
    if offered is None and not policy.may_give(by, invitation.role):
        raise Forbidden(f"You cannot make anybody {invitation.role}, nor take that back.")
    if not invitations.revoke(Invitation.objects.filter(pk=invitation.pk)):
        return
    if offered is None:
        audit.record("user.uninvited", by=by, target=invitation.email)
        return
    details = {"address": invitation.email, "role": offered.role}
    case_id = offered.case_ref.case_id
    custody.record(case_id=case_id, by=by, action="member.uninvited", details=details)


def look_at_invitation(token: str) -> Offer:
    """Return what the invitation of a token offers. Raises NoInvitation."""
    invitation, offered = _standing(token)
    inviter = invitation.invited_by
    return Offer(
        email=invitation.email,
        case_id=offered.case_ref.case_id if offered else None,
        case_title=offered.case_ref.title if offered else None,
        role=offered.role if offered else invitation.role,
        invited_by=(inviter.full_name or inviter.username) if inviter else "",
        has_account=invitations.account_of(invitation.email) is not None,
    )


def accept_invitation(
    *, token: str, user: User | None = None, username: str = "", password: str = "", full_name: str = ""
) -> User:
    """Use an invitation up, once; return who came in.

    `user` is who is signed in; without one a new account is made, its address verified by the
    mail. Raises NoInvitation, OtherAddress, SignInFirst, RegistrationOff, Invalid.
    """
    invitation, offered = _standing(token)
    is_new = user is None
    if user is None:  # hashing takes its time, so it is done before anything is held
        user = invitations.draft_account(
            invitation, username=username, password=password, full_name=full_name
        )
    elif user.email.lower() != invitation.email:
        raise OtherAddress("This invitation is for another address than the one you are signed in with.")
    with transaction.atomic():
        case = _held(offered)
        invitation, offered = _standing(token)  # again, now that nothing can change it
        invitations.claim(invitation)
        if is_new:
            _let_in(invitation, user)
        Invitation.objects.filter(pk=invitation.pk).update(accepted_by=user)
        if case and offered and not _works_on(case, user):
            inviter = invitation.invited_by
            add_member(case=case, user=user, role=offered.role, by=user, invited_by=inviter)
        case_id = case.case_id if case else ""
        audit.record("invitation.accepted", by=user, target=invitation.email, case_id=case_id)
    return user


def _standing(token: str) -> tuple[Invitation, CaseInvitation | None]:
    """Return the open invitation of a token and the case it is to, if its sender still may send it."""
    invitation = invitations.find(token)
    offered = CaseInvitation.objects.filter(invitation=invitation).select_related("case_ref").first()
    by = invitation.invited_by
    if by is None:
        invitations.refuse()
    if offered is None:
        may = policy.may_give(by, invitation.role)
    else:
        case = offered.case_ref
        may = not case.is_closed and Case.objects.managed_by(by).filter(pk=case.pk).exists()
    return (invitation, offered) if may else invitations.refuse()


def _held(offered: CaseInvitation | None) -> Case | None:
    """Return the case, its row held to the end of the transaction, if it is still there."""
    cases = Case.objects.select_for_update(no_key=True)
    return cases.filter(pk=offered.case_ref_id).first() if offered else None


def _let_in(invitation: Invitation, user: User) -> None:
    """Store the new account of an invitation. Raises RegistrationOff."""
    if invitation.invited_by is not None:
        invitations.check_may_bring(invitation.invited_by)
    invitations.store_account(user)
    details = {"role": user.role, "invited_by": str(invitation.invited_by)}
    audit.record("user.created", by=user, target=user.email, details=details)


def _check_invitee(case: Case, known: User | None, role: str, *, by: User) -> None:
    check_member_role(role, user=known)
    if known is None:
        invitations.check_may_bring(by)
        return
    if not known.is_active:
        raise Invalid("The account of this address is not active.", field="email")
    if _works_on(case, known):
        raise AlreadyMember(f"{known.username} is a member of case {case.case_id} already.", field="email")


def _works_on(case: Case, user: User) -> bool:
    return case.owner_id == user.pk or CaseMember.objects.filter(case_ref=case, user=user).exists()
