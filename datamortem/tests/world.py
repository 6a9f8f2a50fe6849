"""The world that permissions are tested in: cases with something of everything, and who asks about them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from django.test import Client
from django.utils import timezone
from django_otp.oath import TOTP

from accounts import api_tokens, flags, sealing, sessions, tokens
from accounts.access import FRESH
from accounts.models import (
    ApiToken,
    AuditEntry,
    AuthSession,
    Invitation,
    PasswordReset,
    RecoveryDevice,
    Role,
    Team,
    TeamMember,
    TotpDevice,
    User,
)
from cases import search, services
from cases.engines import engine
from cases.index.document import Origin, make_document
from cases.models import (
    Case,
    CaseInvitation,
    CaseMember,
    CaseRole,
    CaseTeam,
    CustodyEntry,
    Event,
    Evidence,
    RejectedRecord,
    RunStatus,
    TaskRun,
)
from cases.tests.api.cast import person, record
from cases.tests.cast import receive
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
#: An address that was invited to the platform, and the token of that invitation.
INVITED: Final = "invited@example.org"
#: The token of every mail that went out.
MAILED: Final = "a-token-that-was-mailed"
TOTP_KEY: Final = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

_INSIDERS: Final = ("viewer", "reader", "analyst", "teammate", "lead", "browser", "read_token", "write_token")
_ALL_CASES: Final = ("stale", "admin", "superadmin", "outside")
_LEADS: Final = ("lead", "browser", "read_token", "bound_token", "write_token")
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


@dataclass(frozen=True)
class Keys:
    """What an actor shows: a program its bearer, a browser its cookie."""

    bearer: str = ""
    cookie: str = ""


@dataclass
class World:
    """Ids of what is the actors' own and of what is not, and what each actor shows."""

    ids: dict[str, str]
    foreign: dict[str, str]
    restricted: dict[str, str]
    keys: dict[str, Keys] = field(default_factory=dict)
    own: dict[str, dict[str, str]] = field(default_factory=dict)

    def ids_of(self, actor: str) -> Mapping[str, str]:
        """Return what the actor asks about: the case, and things of the own account."""
        case = self.restricted if actor == "outside" else {}
        code = f"{TOTP(base64.b32decode(TOTP_KEY)).token():06}"
        return {**self.ids, **case, **self.own[actor], "code": code}


def make_world(actors: Iterable[str] = ACTORS) -> World:
    """Return a new world, in which these actors ask."""
    people = {name: person(name, role=_ADMINS.get(name, Role.ANALYST)) for name in (
        "lead", "stranger", "reader", "analyst", "teammate", "inactive", "ended", "expired", "outdated",
        "unverified", "not_shown", "newcomer", *_ADMINS,
    )}  # fmt: skip
    people["viewer"] = person("viewer", role=Role.VIEWER)
    lead, somebody, keeper = people["lead"], person("somebody"), person("keeper")
    members = [
        (people[name], CaseRole.LEAD) for name in ("viewer", "inactive", "ended", "expired", "outdated")
    ]
    members += [(people[name], CaseRole.ANALYST) for name in ("unverified", "not_shown", "analyst")]
    members.append((people["reader"], CaseRole.READER))
    team = _team(SECRETS[MAIN], [people["teammate"]])
    world = World(
        ids=_case(MAIN, lead, members, team),
        foreign=_case(FOREIGN, somebody, (), _team(SECRETS[FOREIGN], [somebody])),
        restricted=_case(RESTRICTED, keeper, (), _team("the keepers", [keeper])),
    )
    _case(OTHER, lead, (), _team(SECRETS[OTHER], [lead]))
    for case_id in (QUIET, CLOSED):
        case = services.open_case(by=lead, case_id=case_id, title=SECRETS[MAIN])
        _staff(case, members, team)
    Case.objects.filter(case_id=CLOSED).update(status="closed", closed_at=timezone.now(), closed_by=lead)
    Case.objects.filter(case_id=RESTRICTED).update(restricted=True)
    world.ids |= {
        "key": "registration",
        "accounts/featureflag": str(flags.rows()[0].pk),
        "cases/analysismodule": str(services.modules()[0].pk),
        "superadmin_id": str(people["superadmin"].pk),
        "newcomer_id": str(people["newcomer"].pk),
        "teammate_id": str(people["teammate"].pk),
        "free_team_id": str(Team.objects.create(name="free").pk),
        "platform_invitation_id": str(_invitation(INVITED, people["superadmin"]).pk),
        "admin_challenge": tokens.challenge_for(people["admin"]),
        "lead_refresh": tokens.issue(lead).refresh,
    }
    world.foreign |= _account(somebody, ACCOUNT)
    _prove(people)
    for actor in actors:
        user = people.get(actor, people["admin"] if actor == "outside" else lead)
        world.own[actor] = _account(user, f"spare of {actor}")
        world.keys[actor] = _keys(actor, user)
    _end(people)
    return world


def _case(case_id: str, owner: User, members: Iterable[tuple[User, str]], team: Team) -> dict[str, str]:
    """Make a case with something of everything, its secret wherever text may stand."""
    secret = SECRETS[case_id]
    case = services.open_case(by=owner, case_id=case_id, title=secret, note=secret, tags=[secret])
    evidence, run = _read_evidence(case, secret, 3)
    reject = RejectedRecord.objects.create(run=run, position="line 2", reason=secret, raw=secret.encode())
    idle, failed = _read_evidence(case, secret, 1)
    TaskRun.objects.filter(pk=failed.pk).update(status=RunStatus.FAILED, error_message=secret)
    services.post_events(case=case, by=owner, events=[{"message": secret}])
    # Admins see all people and teams, also those of a restricted case.
    other = person(f"other-of-{case_id}", full_name="" if case_id == RESTRICTED else secret)
    services.add_member(case=case, user=other, role=CaseRole.READER, by=owner)
    _staff(case, members, team)
    question = search.frame(cases=Case.objects.filter(pk=case.pk), evidence=[evidence.evidence_uid])
    found = search.search_events(question, limit=1)
    event = found.documents[0]["event_id"]
    said = services.Said(tags=(secret,), comment=secret)
    annotation = services.annotate(
        case=case, by=owner, event_id=event, evidence_uid=evidence.evidence_uid, **said.facts()
    )
    batch = services.annotate_all(
        case=case, by=owner, asked={"q": secret}, events=[("0" * 64, idle.evidence_uid)], said=said
    ).batch
    assert batch is not None
    kept = services.save_search(
        case=case, by=owner, name=secret, q=secret, start="", end="", columns=[secret]
    )
    return {
        "case_id": case_id,
        "evidence_uid": evidence.evidence_uid,
        "idle_evidence_uid": idle.evidence_uid,
        "run_id": str(run.pk),
        "failed_run_id": str(failed.pk),
        "user_id": str(other.pk),
        "event_id": str(event),
        "annotation_id": str(annotation.pk),
        "batch_id": str(batch.pk),
        "search_id": str(kept.pk),
        "team_id": str(team.pk),
        "invitation_id": str(_invitation(f"{secret}@example.org", owner, case).pk),
        "cursor": found.next_cursor or "",
        # Pages of the admin are about rows.
        "cases/case": str(case.pk),
        "cases/evidence": str(evidence.pk),
        "cases/taskrun": str(run.pk),
        "cases/rejectedrecord": str(reject.pk),
        "cases/annotation": str(annotation.pk),
        "cases/annotationbatch": str(batch.pk),
        "cases/savedsearch": str(kept.pk),
        "cases/event": str(Event.objects.get(case=case).pk),
        "cases/custodyentry": str(CustodyEntry.objects.filter(case_id=case_id).latest("pk").pk),
        "accounts/auditentry": str(AuditEntry.objects.filter(case_id=case_id).latest("pk").pk),
        "accounts/team": str(team.pk),
        "accounts/user": str(other.pk),
        "id": str(other.pk),
    }


def _read_evidence(case: Case, secret: str, lines: int) -> tuple[Evidence, TaskRun]:
    """Take a file in and put its events into the index, as its run would; return it and its run."""
    number = Evidence.objects.count()
    texts = [json.dumps({"message": secret, "host": secret, secret: secret, "n": number})] * lines
    received = receive(case, "\n".join(texts).encode(), f"{secret}.jsonl", description=secret, host=secret)
    evidence, run = received.evidence, received.run
    assert run is not None
    origin = Origin(
        case_id=case.case_id,
        evidence_uid=evidence.evidence_uid,
        evidence_sha256=evidence.sha256 or "",
        parser="jsonl",
    )
    records = [record(n, secret, host=secret, attributes={secret: secret}) for n in range(lines)]
    shard, name = evidence.evidence_uid, f"{run.pk}-1"
    with engine().writer(case_id=case.case_id, shard=shard, run=name) as writer:
        writer.add([make_document(each, origin) for each in records])
        writer.seal()
        engine().publish(case_id=case.case_id, shard=shard, run=name)
    return evidence, run


def _staff(case: Case, members: Iterable[tuple[User, str]], team: Team) -> None:
    for user, role in members:  # rows, because no service makes a viewer a lead any more
        CaseMember.objects.create(case_ref=case, user=user, role=role)
    CaseTeam.objects.create(case_ref=case, team=team, role=CaseRole.ANALYST)


def _team(name: str, people: Iterable[User]) -> Team:
    team = Team.objects.create(name=name, description=name)
    TeamMember.objects.bulk_create(TeamMember(team=team, user=user) for user in people)
    return team


def _invitation(email: str, by: User, case: Case | None = None) -> Invitation:
    invitation = Invitation.objects.create(
        email=email,
        role=Role.ANALYST,
        invited_by=by,
        digest=sealing.digest(email),
        expires_at=timezone.now() + timedelta(days=7),
    )
    if case is not None:
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
    }


def _prove(people: Mapping[str, User]) -> None:
    """Give their second factors to those who have one."""
    for name in ("not_shown", "stale", "admin", "superadmin"):
        user = people[name]
        user.otp_enabled, user.otp_secret = True, sealing.seal(TOTP_KEY)
        user.save(update_fields=["otp_enabled", "otp_secret"])
        TotpDevice.objects.create(user=user, name="app", confirmed=True)
        RecoveryDevice.objects.create(user=user, name="sheet", confirmed=True)
    people["no_factor"].otp_secret = sealing.seal(TOTP_KEY)  # enrolment was begun
    people["no_factor"].save(update_fields=["otp_secret"])
    TotpDevice.objects.create(user=people["no_factor"], name="app", confirmed=False)
    now, digest = timezone.now(), sealing.digest(MAILED)
    User.objects.filter(username="unverified").update(
        email_verification_sent_at=now, email_verification_token=digest
    )
    ends = now + timedelta(hours=1)
    PasswordReset.objects.create(user=people["newcomer"], digest=digest, expires_at=ends)


def _keys(actor: str, user: User) -> Keys:
    match actor:
        case "anonymous":
            return Keys()
        case "garbage":
            return Keys("garbage", "garbage")
        case "read_token" | "bound_token" | "write_token" | "expired_token" | "revoked_token":
            return Keys(bearer=_api_token(actor, user))
        case "browser":
            return Keys(cookie=_browser(user, second_factor=False))
    shown = actor in ("stale", "admin", "superadmin", "outside")
    return Keys(tokens.issue(user, second_factor=shown).access, _browser(user, second_factor=shown))


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


def _browser(user: User, *, second_factor: bool) -> str:
    """Return the cookie of a browser in which the user is signed in."""
    client = Client()
    client.force_login(user)
    session = client.session
    row = sessions.begin(user, method=AuthSession.Method.BROWSER, second_factor=second_factor)
    session[sessions.KEY] = str(row.pk)
    session.save()
    return str(session.session_key)


def _end(people: Mapping[str, User]) -> None:
    """Let time pass, and end what is to have ended."""
    long_ago = timezone.now() - 2 * FRESH
    AuthSession.objects.filter(user=people["stale"], otp_time__isnull=False).update(otp_time=long_ago)
    AuthSession.objects.filter(user=people["ended"]).update(revoked_at=timezone.now())
    AuthSession.objects.filter(user=people["expired"]).update(expires_at=timezone.now())
    User.objects.filter(username="outdated").update(token_epoch=7)
    User.objects.filter(username="inactive").update(is_active=False)
