"""The world that permissions are tested in: cases with something of everything, and who asks about them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from django.utils import timezone
from django_otp.oath import TOTP
from rest_framework.test import APIClient

from accounts import api_tokens, sealing, sessions, tokens
from accounts.access import FRESH
from accounts.models import (
    ApiToken,
    AuthSession,
    Invitation,
    RecoveryDevice,
    Role,
    Team,
    TeamMember,
    TotpDevice,
    User,
)
from cases import runs, search, services
from cases.models import (
    Case,
    CaseInvitation,
    CaseMember,
    CaseRole,
    CaseTeam,
    Evidence,
    RejectedRecord,
    RunStatus,
    TaskRun,
)
from cases.tests.api.cast import events, person, record
from datamortem.tests.policy import ACTORS

MAIN, FOREIGN, RESTRICTED, OTHER = "ir-secret", "ir-foreign", "ir-restricted", "ir-other"
#: Cases of the same people as the main one: without unfinished runs, and closed.
QUIET, CLOSED = "ir-quiet", "ir-closed"
#: How every secret begins; nobody may come by the rest of one that is not theirs.
MARK: Final = "Quokka72"
#: What stands in each case wherever text may stand.
SECRETS: Final = {
    MAIN: f"{MARK}61Main",
    FOREIGN: f"{MARK}62Foreign",
    RESTRICTED: f"{MARK}63Restricted",
    OTHER: f"{MARK}64Other",
}
#: What stands in the account of somebody else: names of API tokens, agents of sign-ins.
ACCOUNT: Final = f"{MARK}65Account"
TOTP_KEY: Final = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

_INSIDERS: Final = ("viewer", "reader", "analyst", "teammate", "lead", "read_token", "write_token")
_ALL_CASES: Final = ("stale", "admin", "superadmin", "outside")
_LEADS: Final = ("lead", "read_token", "bound_token", "write_token")
_ADMINS: Final = {
    "no_factor": Role.ADMIN,
    "stale": Role.ADMIN,
    "admin": Role.ADMIN,
    "superadmin": Role.SUPERADMIN,
}


def may_see(actor: str) -> set[str]:
    """Return the secrets that may show in an answer to an actor."""
    seen = {SECRETS[OTHER]} if actor in _LEADS else set()
    if actor in _INSIDERS:
        seen.add(SECRETS[MAIN])
    if actor in _ALL_CASES:
        seen |= {SECRETS[MAIN], SECRETS[FOREIGN], SECRETS[OTHER], ACCOUNT}
    return seen


def hidden_from(actor: str) -> set[str]:
    """Return the secrets that may never show to an actor."""
    return {*SECRETS.values(), ACCOUNT} - may_see(actor)


@dataclass
class World:
    """Ids of what is the actors' own and of what is not, and a client for each actor."""

    ids: dict[str, str]
    foreign: dict[str, str]
    restricted: dict[str, str]
    clients: dict[str, APIClient] = field(default_factory=dict)
    own: dict[str, dict[str, str]] = field(default_factory=dict)

    def ids_of(self, actor: str) -> Mapping[str, str]:
        """Return what the actor asks about: the case, and things of the own account."""
        case = self.restricted if actor == "outside" else {}
        code = f"{TOTP(base64.b32decode(TOTP_KEY)).token():06}"
        return {**self.ids, **case, **self.own[actor], "code": code}


def make_world() -> World:
    """Return a new world."""
    people = {name: person(name, role=_ADMINS.get(name, Role.ANALYST)) for name in (
        "lead", "stranger", "reader", "analyst", "teammate", "inactive", "ended", "outdated",
        "unverified", "not_shown", "newcomer", *_ADMINS,
    )}  # fmt: skip
    people["viewer"] = person("viewer", role=Role.VIEWER)
    lead, somebody, keeper = people["lead"], person("somebody"), person("keeper")
    members = [(people[name], CaseRole.LEAD) for name in ("viewer", "inactive", "ended", "outdated")]
    members += [(people[name], CaseRole.ANALYST) for name in ("unverified", "not_shown", "analyst")]
    members.append((people["reader"], CaseRole.READER))
    team = _team(SECRETS[MAIN], [people["teammate"]])
    world = World(
        ids=_case(MAIN, lead, members, team),
        foreign=_case(FOREIGN, somebody, (), _team(SECRETS[FOREIGN], [somebody])),
        restricted=_case(RESTRICTED, keeper, (), _team(SECRETS[RESTRICTED], [keeper])),
    )
    _case(OTHER, lead, (), _team(SECRETS[OTHER], [lead]))
    for case_id in (QUIET, CLOSED):
        case = services.open_case(by=lead, case_id=case_id, title=SECRETS[MAIN])
        _staff(case, members, team)
    Case.objects.filter(case_id=CLOSED).update(status="closed", closed_at=timezone.now(), closed_by=lead)
    Case.objects.filter(case_id=RESTRICTED).update(restricted=True)
    world.ids |= {
        "newcomer_id": str(people["newcomer"].pk),
        "free_team_id": str(Team.objects.create(name="free").pk),
    }
    world.foreign |= _account(somebody, ACCOUNT)
    _prove(people)
    for actor in ACTORS:
        user = people.get(actor, people["admin"] if actor == "outside" else lead)
        world.own[actor] = _account(user, f"spare of {actor}")
        world.clients[actor] = _client(actor, user)
    _end(people)
    return world


def _case(case_id: str, owner: User, members: Iterable[tuple[User, str]], team: Team) -> dict[str, str]:
    """Make a case with something of everything, its secret wherever text may stand."""
    secret = SECRETS[case_id]
    case = services.open_case(by=owner, case_id=case_id, title=secret, note=secret, tags=[secret])
    attributes = {secret: secret}
    evidence = events(case, [record(n, secret, host=secret, attributes=attributes) for n in range(3)])
    Evidence.objects.filter(pk=evidence.pk).update(
        original_name=f"{secret}.log", description=secret, host=secret
    )
    run = TaskRun.objects.get(evidence=evidence)
    failed = runs.queue(evidence, task_name=runs.READ)
    TaskRun.objects.filter(pk=failed.pk).update(status=RunStatus.FAILED, error_message=secret)
    RejectedRecord.objects.create(run=run, position="line 2", reason=secret, raw=secret.encode())
    posted = services.post_events(case=case, by=owner, events=[{"message": secret}])
    assert posted.run is not None
    other = person(f"other-of-{case_id}", full_name=secret)
    services.add_member(case=case, user=other, role=CaseRole.READER, by=owner)
    _staff(case, members, team)
    found = search.search_events(search.frame(cases=Case.objects.filter(pk=case.pk)), limit=1)
    return {
        "case_id": case_id,
        "evidence_uid": evidence.evidence_uid,
        "run_id": str(run.pk),
        "failed_run_id": str(failed.pk),
        "user_id": str(other.pk),
        "event_id": str(found.documents[0]["event_id"]),
        "team_id": str(team.pk),
        "invitation_id": str(_invitation(case, owner, secret).pk),
        "cursor": found.next_cursor or "",
    }


def _staff(case: Case, members: Iterable[tuple[User, str]], team: Team) -> None:
    for user, role in members:  # rows, because no service makes a viewer a lead any more
        CaseMember.objects.create(case_ref=case, user=user, role=role)
    CaseTeam.objects.create(case_ref=case, team=team, role=CaseRole.ANALYST)


def _team(name: str, people: Iterable[User]) -> Team:
    team = Team.objects.create(name=name, description=name)
    TeamMember.objects.bulk_create(TeamMember(team=team, user=user) for user in people)
    return team


def _invitation(case: Case, by: User, secret: str) -> Invitation:
    invitation = Invitation.objects.create(
        email=f"{secret}@example.org",
        role=Role.ANALYST,
        invited_by=by,
        digest=sealing.digest(secret),
        expires_at=timezone.now() + timedelta(days=7),
    )
    CaseInvitation.objects.create(invitation=invitation, case_ref=case, role=CaseRole.READER)
    return invitation


def _account(user: User, name: str) -> dict[str, str]:
    """Give a user a sign-in and an API token beside those in use, and return their ids."""
    refresh = tokens.issue(user).refresh
    session = AuthSession.objects.filter(user=user).latest("created_at")
    AuthSession.objects.filter(pk=session.pk).update(agent=name)
    token = api_tokens.create(user, name=name).token
    return {
        "session_id": str(session.pk),
        "token_id": str(token.pk),
        "own_id": str(user.pk),
        "refresh": refresh,
        "challenge": tokens.challenge_for(user),
    }


def _prove(people: Mapping[str, User]) -> None:
    """Give their second factors to those who have one."""
    for name in ("not_shown", "stale", "admin", "superadmin"):
        user = people[name]
        user.otp_enabled, user.otp_secret = True, sealing.seal(TOTP_KEY)
        user.save(update_fields=["otp_enabled", "otp_secret"])
        TotpDevice.objects.create(user=user, name="app", confirmed=True)
        RecoveryDevice.objects.create(user=user, name="sheet", confirmed=True)
    User.objects.filter(username="unverified").update(email_verification_sent_at=timezone.now())


def _client(actor: str, user: User) -> APIClient:
    """Return a client that asks as the actor, by a bearer and, where there is one, as a browser."""
    client = APIClient(raise_request_exception=False)
    match actor:
        case "anonymous":
            return client
        case "garbage":
            client.cookies["sessionid"] = "garbage"
            bearer = "garbage"
        case "read_token" | "bound_token" | "write_token" | "expired_token" | "revoked_token":
            bearer = _api_token(actor, user)
        case _:
            shown = actor in ("stale", "admin", "superadmin", "outside")
            bearer = tokens.issue(user, second_factor=shown).access
            _sign_in_browser(client, user, second_factor=shown)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {bearer}")
    return client


def _api_token(actor: str, user: User) -> str:
    scopes = ["read"] if actor == "read_token" else ["read", "write"]
    made = api_tokens.create(
        user, name=actor, scopes=scopes, cases=[OTHER] if actor == "bound_token" else None
    )
    past, token = timezone.now() - timedelta(minutes=1), ApiToken.objects.filter(pk=made.token.pk)
    if actor == "expired_token":
        token.update(expires_at=past)
    if actor == "revoked_token":
        token.update(revoked_at=past)
    return made.text


def _sign_in_browser(client: APIClient, user: User, *, second_factor: bool) -> None:
    client.force_login(user)
    session = client.session
    row = sessions.begin(user, method=AuthSession.Method.BROWSER, second_factor=second_factor)
    session[sessions.KEY] = str(row.pk)
    session.save()


def _end(people: Mapping[str, User]) -> None:
    """Let time pass, and end what is to have ended."""
    long_ago = timezone.now() - 2 * FRESH
    AuthSession.objects.filter(user=people["stale"], otp_time__isnull=False).update(otp_time=long_ago)
    AuthSession.objects.filter(user=people["ended"]).update(revoked_at=timezone.now())
    User.objects.filter(username="outdated").update(token_epoch=7)
    User.objects.filter(username="inactive").update(is_active=False)
