"""What is asked of each route so that it makes sense: bodies, queries, and what an allowed one answers.

A route or method without an entry is asked with an empty body and must answer 2xx.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cases.tests.api.cast import PASSWORD
from datamortem.tests.policy import CASE, EVIDENCE, FLAG, RUN, TEAM, USER
from datamortem.tests.world import CLOSED, INVITED, MAILED, QUIET, RESTRICTED, SECRETS

NEW_PASSWORD: Final = "a staple in a battery, correctly"


@dataclass(frozen=True)
class Ask:
    """One request. `{name}` in text stands for an id of the world; `ids` are other ones than usual."""

    body: Any = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    form: bool = False  # as a browser sends it
    file: bool = False  # with a file, as multipart
    ids: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    answers: tuple[int, ...] = ()  # instead of any 2xx: state or page decide
    reveals: tuple[str, ...] = ()  # what somebody comes to see by this very act


def _page(*answers: int, **body: Any) -> Ask:
    return Ask(body, form=True, answers=answers)


_QUIET: Final = {"case_id": QUIET}
ASKS: Final[dict[tuple[str, str], Ask]] = {
    # Signing in, and the own account
    ("POST", "api/v1/auth/login/"): Ask({"email": "lead@example.org", "password": PASSWORD}),
    ("POST", "api/v1/auth/login/verify/"): Ask({"challenge": "{admin_challenge}", "code": "{code}"}),
    ("POST", "api/v1/auth/refresh/"): Ask({"refresh": "{lead_refresh}"}),
    ("POST", "api/v1/auth/register/"): Ask(
        {"email": "new@example.org", "username": "somebody-new", "password": NEW_PASSWORD}
    ),
    ("POST", "api/v1/auth/email/verify/"): Ask({"token": MAILED}),
    ("POST", "api/v1/auth/email/resend/"): Ask({"email": "lead@example.org"}),
    ("POST", "api/v1/auth/password/reset/"): Ask({"email": "lead@example.org"}),
    ("POST", "api/v1/auth/password/reset/confirm/"): Ask({"token": MAILED, "new_password": NEW_PASSWORD}),
    ("POST", "api/v1/auth/password/change/"): Ask({"old_password": PASSWORD, "new_password": NEW_PASSWORD}),
    ("POST", "api/v1/auth/api-tokens/"): Ask({"name": "new", "scopes": ["read"]}),
    # 409: has one already, has none, or none was begun.
    ("POST", "api/v1/auth/otp/enrol/"): Ask(answers=(200, 409)),
    ("POST", "api/v1/auth/otp/confirm/"): Ask({"code": "{code}"}, answers=(200, 409)),
    ("POST", "api/v1/auth/otp/verify/"): Ask({"code": "{code}"}, answers=(204, 409)),
    ("POST", "api/v1/auth/otp/recovery-codes/"): Ask({"code": "{code}"}, answers=(200, 409)),
    # 403: those who have one here are admins, who may not be without.
    ("POST", "api/v1/auth/otp/disable/"): Ask({"password": PASSWORD, "code": "{code}"}, answers=(403, 409)),
    ("PATCH", "api/v1/me/"): Ask({"full_name": "Somebody Else", "locale": "fr"}),
    # Cases
    ("POST", "api/v1/cases/"): Ask({"case_id": "ir-new", "title": "New", "tags": ["new"]}),
    ("PATCH", CASE): Ask({"title": "New", "note": "New", "severity": "low", "tags": ["new"]}),
    ("DELETE", CASE): Ask(ids=_QUIET),
    ("POST", f"{CASE}close/"): Ask(ids=_QUIET),
    ("POST", f"{CASE}reopen/"): Ask(ids={"case_id": CLOSED}),
    ("POST", f"{CASE}members/"): Ask({"user": "newcomer", "role": "reader"}),
    ("PATCH", f"{CASE}members/<int:user_id>/"): Ask({"role": "analyst"}),
    ("POST", f"{CASE}teams/"): Ask({"team": "free", "role": "reader"}),
    ("PATCH", f"{CASE}teams/<int:team_id>/"): Ask({"role": "reader"}),
    ("POST", f"{CASE}owner/"): Ask({"user": "newcomer"}),
    ("POST", f"{CASE}unrestrict/"): Ask(answers=(409,)),  # it is open
    # 409: a case that is open needs no joining.
    ("POST", f"{CASE}join/"): Ask({"reason": "new"}, answers=(200, 409), reveals=(SECRETS[RESTRICTED],)),
    ("POST", f"{CASE}evidence/"): Ask({"description": "new"}, file=True),
    ("PATCH", EVIDENCE): Ask({"description": "new"}),
    ("POST", f"{EVIDENCE}runs/"): Ask({"module": "jsonl"}, ids={"evidence_uid": "{idle_evidence_uid}"}),
    ("POST", f"{RUN}retry/"): Ask(ids={"run_id": "{failed_run_id}"}),
    ("POST", f"{CASE}events/"): Ask({"message": "new", "timestamp": "2024-03-01T00:00:00Z"}),
    ("POST", f"{CASE}annotations/"): Ask({"event_id": "{event_id}", "tags": ["new"], "comment": "new"}),
    ("POST", f"{CASE}annotations/bulk/"): Ask({"q": "*", "tags": ["new"], "limit": 100}),
    ("PATCH", f"{CASE}annotations/<int:annotation_id>/"): Ask({"comment": "new"}),
    ("POST", f"{CASE}saved-searches/"): Ask({"name": "new", "q": "new", "columns": ["new"]}),
    ("PATCH", f"{CASE}saved-searches/<int:search_id>/"): Ask({"name": "new"}),
    ("GET", f"{CASE}events/terms/"): Ask(query={"field": "host"}),
    # The platform
    ("POST", "api/v1/users/"): Ask({"email": "new@example.org", "username": "new", "role": "viewer"}),
    ("PATCH", USER): Ask({"full_name": "New", "role": "viewer", "is_active": False}),
    ("PUT", f"{USER}quota/"): Ask({"storage": 1000, "running_jobs": 2}),
    ("PUT", FLAG): Ask({"enabled": False}),
    # Invitations; 400: whoever is signed in is not the one who was invited.
    ("POST", f"{CASE}invitations/"): Ask({"email": "new@example.org", "role": "reader"}),
    ("POST", "api/v1/users/invitations/"): Ask({"email": "new@example.org", "role": "analyst"}),
    ("DELETE", "api/v1/users/invitations/<int:invitation_id>/"): Ask(
        ids={"invitation_id": "{platform_invitation_id}"}
    ),
    ("POST", "api/v1/invitations/look/"): Ask({"token": INVITED}),
    ("POST", "api/v1/invitations/accept/"): Ask(
        {"token": INVITED, "username": "somebody-new", "password": NEW_PASSWORD}, answers=(201, 400)
    ),
    # Teams
    ("POST", "api/v1/teams/"): Ask({"name": "new", "description": "new"}),
    ("PATCH", TEAM): Ask({"description": "new"}),
    ("DELETE", TEAM): Ask(ids={"team_id": "{free_team_id}"}),
    ("POST", f"{TEAM}members/"): Ask({"user": "newcomer"}),
    ("DELETE", f"{TEAM}members/<int:user_id>/"): Ask(ids={"user_id": "{teammate_id}"}),
    # Pages; 302: what was to be done is done, or there is nothing to do here.
    ("GET", "login/"): _page(200, 302),
    ("POST", "login/"): _page(302, username="lead@example.org", password=PASSWORD),
    ("GET", "login/code/"): _page(302),
    ("POST", "login/code/"): _page(302, code="{code}"),
    ("POST", "account/"): _page(302, full_name="Somebody Else", locale="fr"),
    ("POST", "account/password/"): _page(302, old_password=PASSWORD, new_password=NEW_PASSWORD),
    ("POST", "account/sign-ins/end-others/"): _page(302),
    ("POST", "account/sign-ins/<uuid:session_id>/end/"): _page(302),
    ("GET", "account/second-factor/"): _page(200, 302),
    ("POST", "account/second-factor/"): _page(200, 302, do="begin"),
    ("GET", "account/second-factor/verify/"): _page(200, 302),
    ("POST", "account/second-factor/verify/"): _page(302, code="{code}"),
    ("POST", "account/second-factor/codes/"): _page(200, 409, code="{code}"),
    ("POST", "account/second-factor/disable/"): Ask(
        {"off-password": PASSWORD, "off-code": "{code}"}, form=True, answers=(403, 409)
    ),
    ("POST", "account/tokens/new/"): _page(200, name="new", scope="read", days="7"),
    ("POST", "account/tokens/<int:token_id>/revoke/"): _page(302),
    ("POST", "cases/<path:case_id>/events/<str:event_id>/annotate/"): _page(302, tags="new"),
    ("POST", "cases/<path:case_id>/events/<str:event_id>/star/"): _page(302),
    ("POST", "cases/<path:case_id>/events/<str:event_id>/said/<int:annotation_id>/remove/"): _page(302),
    ("POST", "cases/<path:case_id>/timeline/annotate/"): _page(302, tags="new"),
    ("POST", "cases/<path:case_id>/timeline/undo/<int:batch_id>/"): _page(302),
    ("POST", "cases/<path:case_id>/timeline/save/"): _page(302, name="new"),
    ("POST", "cases/<path:case_id>/timeline/saved/<int:search_id>/remove/"): _page(302),
    ("POST", "password/reset/"): _page(200, email="lead@example.org"),
    ("POST", "password/reset/confirm/"): _page(302, token=MAILED, new_password=NEW_PASSWORD),
    ("POST", "email/verify/"): _page(302, token=MAILED),
    ("POST", "email/resend/"): _page(200, email="lead@example.org"),
    ("POST", "register/"): _page(
        200, email="new@example.org", username="somebody-new", password=NEW_PASSWORD
    ),
    ("GET", "invitation/"): Ask(query={"token": INVITED}),
    # 403: whoever is signed in is not the one who was invited.
    ("POST", "invitation/"): _page(302, 403, token=INVITED, username="somebody-new", password=NEW_PASSWORD),
}


_PERSON: Final = {"email": "new@example.org", "username": "new", "full_name": "New", "role": "viewer"}
#: Forms of the admin; the rest of it is asked without any, and shows what is missing.
ADMIN_FORMS: Final[dict[str, dict[str, Any]]] = {
    "admin/accounts/user/add/": {**_PERSON, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD},
    "admin/accounts/user/<path:object_id>/change/": {**_PERSON, "is_active": "on"},
    "admin/accounts/user/<id>/password/": {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD},
    "admin/accounts/team/add/": {"name": "new", "description": "new"},
    "admin/cases/case/<path:object_id>/change/": {"title": "New", "note": "New", "tag_list": "new"},
    "admin/accounts/user/": {"action": "end_sessions", "_selected_action": "{accounts/user}"},
    "admin/cases/case/": {"action": "close", "_selected_action": "{cases/case}"},
    "admin/cases/case/<path:object_id>/act/": {"do": "check"},
}


def ask_of(method: str, route: str) -> Ask:
    """Return what to ask of a route."""
    if route.startswith("admin/"):
        return Ask(ADMIN_FORMS.get(route, {}), form=True, answers=(200, 302))
    return ASKS.get((method, route), Ask())
