"""Who may use which route by which method: one line each, and none without a line.

`test_permissions` walks the URLconf and holds every route against this table; `docs/authentication.md`
tells how a new route gets its line.
"""

from __future__ import annotations

from typing import Final

# Who asks ---------------------------------------------------------------------------------------

#: Whom nobody knows, or no longer.
NOBODY: Final = (
    "anonymous",
    "garbage",  # a token and a cookie that mean nothing
    "inactive",  # was a lead; the account is switched off
    "ended",  # a lead, by a sign-in that was ended
    "expired",  # a lead, by a sign-in past its time
    "outdated",  # a lead, by a sign-in from before the token epoch was raised
    "expired_token",  # the lead, by an API token past its time
    "revoked_token",  # the lead, by an API token that was revoked
)
#: Members of the case who have not proved enough.
UNPROVEN: Final = (
    "unverified",  # never confirmed the address
    "no_factor",  # an admin without a second factor
    "not_shown",  # has a second factor, and has not shown it
)
TOKENS: Final = ("read_token", "bound_token", "write_token")  # of the lead; "bound" to another case
ACTORS: Final = (
    *NOBODY,
    *UNPROVEN,
    "stranger",  # an analyst in no case
    "viewer",  # by platform role; the case says lead
    "reader",
    "analyst",
    "teammate",  # a member of a team that analyses
    "lead",
    "browser",  # the lead, asking the API by the cookie of the pages
    *TOKENS,
    "stale",  # an admin who showed the second factor ten minutes ago
    "admin",
    "superadmin",
    "outside",  # the admin, in a restricted case
)

# What an answer is ------------------------------------------------------------------------------

OK: Final = "ok"  # what `asks` says the route answers, else 2xx
LOGIN: Final = "sent to the log-in page"
PROVE: Final = "sent to the page of the second factor"
AWAY: Final = "sent somewhere"
OUT: Final = "sent somewhere, refused, or told that there is nothing"
# The rest are codes of a 403: it must be refused for the right reason.
OTP: Final = "otp_required"
STALE: Final = "otp_stale"
ADDRESS: Final = "email_unverified"
NO_TOKENS: Final = "token_not_enough"
SCOPE: Final = "token_scope"
ROLE: Final = "permission_denied"

Answer = int | str
Answers = dict[str, Answer]
_OUTSIDE: Final[Answers] = dict.fromkeys(("stranger", "bound_token", "outside"), 404)
_KNOWN: Final[Answers] = dict.fromkeys(NOBODY, 401)
_PROVEN: Final[Answers] = {**_KNOWN, "unverified": ADDRESS, "no_factor": OTP, "not_shown": OTP}
_INSIDE: Final[Answers] = {**_PROVEN, **_OUTSIDE}
_WRITERS: Final[Answers] = {**_INSIDE, "viewer": ROLE, "reader": ROLE}
_LEADS: Final[Answers] = {**_WRITERS, "analyst": ROLE, "teammate": ROLE}
_PERSON: Final[Answers] = dict.fromkeys(TOKENS, NO_TOKENS)
_FRESH: Final[Answers] = {**_PERSON, "stale": STALE}
_ORDINARY: Final[Answers] = dict.fromkeys(
    ("stranger", "viewer", "reader", "analyst", "teammate", "lead", "browser"), ROLE
)
_ADMINS: Final[Answers] = {**_ORDINARY, **dict.fromkeys(TOKENS, ROLE)}
_AT_LOGIN: Final[Answers] = dict.fromkeys((*NOBODY, *TOKENS, "unverified"), LOGIN)
_ON_PAGES: Final[Answers] = {**_AT_LOGIN, "no_factor": PROVE, "not_shown": PROVE}
_TO_STAFF: Final = ("stale", "admin", "superadmin")
_STAFF: Final[Answers] = {**_ON_PAGES, **dict.fromkeys(_ORDINARY, LOGIN), "outside": OUT}

# What a line may say ----------------------------------------------------------------------------

PUBLIC: Final = "public"
HALFWAY: Final = "signed in, the second factor may still be due"
HALFWAY_PERSON: Final = "signed in by a person, the second factor may still be due"
SIGNED_IN: Final = "signed in"
PERSON: Final = "signed in by a person"
DANGEROUS: Final = "signed in by a person, the second factor shown just now"
OPENS: Final = "opens cases"
READS: Final = "reads the case"
WRITES: Final = "writes to the case"
MANAGES: Final = "manages the case"
INVITES: Final = "manages the case, which includes seeing whom it invited"
MANAGES_FRESH: Final = "manages the case, the second factor shown just now"
GUARDS: Final = "is one of the case's own leads, the second factor shown just now"
JOINS: Final = "an admin who may join the case, the second factor shown just now"
IN_TEAM: Final = "in the team, or an admin"
ADMINS: Final = "admins"
ADMINS_PERSON: Final = "admins, by no API token"
ADMINS_FRESH: Final = "admins, the second factor shown just now"
SUPERADMINS: Final = "superadmins"
SUPERADMINS_FRESH: Final = "superadmins, the second factor shown just now"
INVITED: Final = "who got the mail of an invitation, signed in or not"
NOWHERE: Final = "nowhere"
OPEN_PAGE: Final = "page for everybody, but a second factor that is due comes first"
HALFWAY_PAGE: Final = "page, the second factor may still be due"
PAGE: Final = "page"
FRESH_PAGE: Final = "page, the second factor shown just now"
CASE_PAGE: Final = "page of the case"
WRITE_PAGE: Final = "form on a page of the case, for who writes to it"
MANAGE_PAGE: Final = "form on a page of the case, for who manages it"
LEAVES: Final = "leaves for the log-in page"
STAFF: Final = "staff"
STAFF_FRESH: Final = "staff, the second factor shown just now"
STAFF_NEVER: Final = "not even staff, though asked for the second factor first"
STAFF_REFUSED: Final = "not even staff"
STAFF_NOWHERE: Final = "nowhere, which only staff are told"
TOP: Final = "superadmins in the admin"
TOP_FRESH: Final = "superadmins in the admin, the second factor shown just now"
DOOR: Final = "door of the admin"
WAY_OUT: Final = "way out of the admin"

_LEVELS: Final[dict[str, Answers]] = {
    PUBLIC: {},
    HALFWAY: {**_KNOWN, "unverified": ADDRESS},
    HALFWAY_PERSON: {**_KNOWN, "unverified": ADDRESS, **_PERSON},
    SIGNED_IN: {**_PROVEN},
    PERSON: {**_PROVEN, **_PERSON},
    DANGEROUS: {**_PROVEN, **_FRESH},
    OPENS: {**_PROVEN, "viewer": ROLE, "bound_token": ROLE},
    READS: {**_INSIDE},
    WRITES: {**_WRITERS},
    MANAGES: {**_LEADS},
    INVITES: {**_LEADS, "read_token": ROLE},
    MANAGES_FRESH: {**_LEADS, **_FRESH},
    GUARDS: {**_LEADS, **_FRESH, "admin": ROLE, "superadmin": ROLE},
    JOINS: {**_PROVEN, **_ORDINARY, **_FRESH, "stranger": 404},
    IN_TEAM: {
        **_PROVEN,
        **dict.fromkeys(("stranger", "viewer", "reader", "analyst", "lead", "browser", *TOKENS), 404),
    },
    ADMINS: {**_PROVEN, **_ADMINS},
    ADMINS_PERSON: {**_PROVEN, **_ADMINS, **_PERSON},
    ADMINS_FRESH: {**_PROVEN, **_ADMINS, **_FRESH},
    SUPERADMINS: {**_PROVEN, **_ADMINS, "stale": ROLE, "admin": ROLE},
    SUPERADMINS_FRESH: {**_PROVEN, **_ADMINS, **_FRESH, "admin": ROLE},
    INVITED: {**_PROVEN, **_PERSON, "anonymous": OK},
    NOWHERE: dict.fromkeys(ACTORS, 404),
    OPEN_PAGE: {"no_factor": PROVE, "not_shown": PROVE},
    HALFWAY_PAGE: {**_AT_LOGIN},
    PAGE: {**_ON_PAGES},
    FRESH_PAGE: {**_ON_PAGES, "stale": PROVE},
    CASE_PAGE: {**_ON_PAGES, "stranger": 404, "outside": 404},
    WRITE_PAGE: {**_ON_PAGES, "stranger": 404, "outside": 404, "viewer": 403, "reader": 403},
    MANAGE_PAGE: {
        **_ON_PAGES,
        "stranger": 404,
        "outside": 404,
        **dict.fromkeys(("viewer", "reader", "analyst", "teammate"), 403),
    },
    LEAVES: dict.fromkeys(ACTORS, LOGIN),
    STAFF: {**_STAFF},
    STAFF_FRESH: {**_STAFF, "stale": PROVE},
    STAFF_NEVER: {**_STAFF, "stale": PROVE, "admin": 403, "superadmin": 403},
    STAFF_REFUSED: {**_STAFF, "stale": 403, "admin": 403, "superadmin": 403},
    STAFF_NOWHERE: {**_STAFF, "stale": 404, "admin": 404, "superadmin": 404},
    TOP: {**_STAFF, "stale": 403, "admin": 403},
    TOP_FRESH: {**_STAFF, "stale": PROVE, "admin": 403},
    DOOR: {**_AT_LOGIN, **dict.fromkeys((*_ORDINARY, *_TO_STAFF, "not_shown"), 403), "no_factor": PROVE},
    WAY_OUT: {**dict.fromkeys((*_AT_LOGIN, *_ORDINARY), AWAY), "no_factor": AWAY, "not_shown": AWAY},
}
SAFE: Final = ("GET", "HEAD", "OPTIONS")
#: Where API tokens get as far as their scopes.
_OF_API_TOKENS: Final = (
    HALFWAY,
    SIGNED_IN,
    OPENS,
    READS,
    WRITES,
    MANAGES,
    INVITES,
    IN_TEAM,
    ADMINS,
    SUPERADMINS,
)


def answer_for(actor: str, level: str, method: str) -> Answer:
    """Return what the actor gets on a line of this level."""
    answer = _LEVELS[level].get(actor, OK)
    needs_write = level in _OF_API_TOKENS and method not in SAFE
    return SCOPE if actor == "read_token" and answer in (OK, ROLE, 404) and needs_write else answer


# The lines --------------------------------------------------------------------------------------

CASE: Final = "api/v1/cases/<path:case_id>/"
EVIDENCE: Final = f"{CASE}evidence/<str:evidence_uid>/"
RUN: Final = f"{CASE}runs/<int:run_id>/"
EVENT: Final = f"{CASE}events/<str:event_id>/"
USER: Final = "api/v1/users/<int:user_id>/"
FLAG: Final = "api/v1/feature-flags/<str:key>/"
TEAM: Final = "api/v1/teams/<int:team_id>/"

POLICY: Final[dict[str, dict[str, str]]] = {
    "healthz": {"GET": PUBLIC},
    "readyz": {"GET": PUBLIC},
    "metrics": {"GET": PUBLIC},  # to this machine, or with a token of its own: test_metrics
    "api/v1/schema/": {"GET": PUBLIC},
    "api/v1/docs/": {"GET": PUBLIC},
    "^api/": dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), NOWHERE),
    # Signing in, and the own account
    "api/v1/auth/login/": {"POST": PUBLIC},
    "api/v1/auth/login/verify/": {"POST": PUBLIC},
    "api/v1/auth/refresh/": {"POST": PUBLIC},
    "api/v1/auth/register/": {"POST": PUBLIC},
    "api/v1/auth/email/verify/": {"POST": PUBLIC},
    "api/v1/auth/email/resend/": {"POST": PUBLIC},
    "api/v1/auth/password/reset/": {"POST": PUBLIC},
    "api/v1/auth/password/reset/confirm/": {"POST": PUBLIC},
    "api/v1/auth/password/change/": {"POST": DANGEROUS},
    "api/v1/auth/logout/": {"POST": HALFWAY_PERSON},
    "api/v1/auth/logout-all/": {"POST": HALFWAY_PERSON},
    "api/v1/auth/sessions/": {"GET": PERSON},
    "api/v1/auth/sessions/<uuid:session_id>/": {"GET": PERSON, "DELETE": PERSON},
    "api/v1/auth/api-tokens/": {"GET": PERSON, "POST": DANGEROUS},
    "api/v1/auth/api-tokens/<int:token_id>/": {"GET": PERSON, "DELETE": PERSON},
    "api/v1/auth/otp/enrol/": {"POST": HALFWAY_PERSON},
    "api/v1/auth/otp/confirm/": {"POST": HALFWAY_PERSON},
    "api/v1/auth/otp/verify/": {"POST": HALFWAY_PERSON},
    "api/v1/auth/otp/recovery-codes/": {"POST": PERSON},
    "api/v1/auth/otp/disable/": {"POST": PERSON},
    "api/v1/me/": {"GET": HALFWAY, "PATCH": HALFWAY},
    "api/v1/me/quota/": {"GET": SIGNED_IN},
    # Accounts, and parts of the platform
    "api/v1/users/": {"GET": ADMINS, "POST": ADMINS_FRESH},
    USER: {"GET": ADMINS, "PATCH": ADMINS_FRESH},
    f"{USER}quota/": {"GET": ADMINS, "PUT": ADMINS_FRESH},
    f"{USER}second-factor/": {"DELETE": ADMINS_FRESH},
    f"{USER}sessions/": {"DELETE": ADMINS_FRESH},
    "api/v1/feature-flags/": {"GET": SUPERADMINS},
    FLAG: {"GET": SUPERADMINS, "PUT": SUPERADMINS_FRESH},
    "api/v1/feature-flags/public/<str:key>/": {"GET": PUBLIC},
    # Cases
    "api/v1/modules/": {"GET": SIGNED_IN},
    "api/v1/events/": {"GET": SIGNED_IN},
    "api/v1/cases/": {"GET": SIGNED_IN, "POST": OPENS},
    CASE: {"GET": READS, "PATCH": WRITES, "DELETE": MANAGES},
    f"{CASE}close/": {"POST": MANAGES},
    f"{CASE}reopen/": {"POST": MANAGES},
    f"{CASE}members/": {"GET": READS, "POST": MANAGES},
    f"{CASE}members/<int:user_id>/": {"GET": READS, "PATCH": MANAGES, "DELETE": MANAGES},
    f"{CASE}teams/": {"GET": READS, "POST": MANAGES},
    f"{CASE}teams/<int:team_id>/": {"GET": READS, "PATCH": MANAGES, "DELETE": MANAGES},
    f"{CASE}owner/": {"POST": MANAGES},
    f"{CASE}restrict/": {"POST": GUARDS},
    f"{CASE}unrestrict/": {"POST": GUARDS},
    f"{CASE}join/": {"POST": JOINS},
    f"{CASE}invitations/": {"GET": INVITES, "POST": INVITES},
    f"{CASE}invitations/<int:invitation_id>/": {"DELETE": INVITES},
    f"{CASE}custody/": {"GET": READS},
    f"{CASE}evidence/": {"GET": READS, "POST": WRITES},
    EVIDENCE: {"GET": READS, "PATCH": WRITES, "DELETE": WRITES},
    f"{EVIDENCE}download/": {"GET": READS},
    f"{EVIDENCE}runs/": {"POST": WRITES},
    f"{CASE}runs/": {"GET": READS},
    RUN: {"GET": READS},
    f"{RUN}cancel/": {"POST": WRITES},
    f"{RUN}retry/": {"POST": WRITES},
    f"{RUN}rejected/": {"GET": READS},
    f"{CASE}events/": {"GET": READS, "POST": WRITES},
    f"{CASE}events/count/": {"GET": READS},
    f"{CASE}events/histogram/": {"GET": READS},
    f"{CASE}events/terms/": {"GET": READS},
    f"{CASE}events/fields/": {"GET": READS},
    f"{CASE}events/export/": {"GET": READS},
    EVENT: {"GET": READS},
    f"{CASE}annotations/": {"GET": READS, "POST": WRITES},
    f"{CASE}annotations/bulk/": {"POST": WRITES},
    f"{CASE}annotations/batches/": {"GET": READS},
    # Here the lead said it, and so may change it; what analysts said, they may change themselves.
    f"{CASE}annotations/batches/<int:batch_id>/undo/": {"POST": MANAGES},
    f"{CASE}annotations/<int:annotation_id>/": {"GET": READS, "PATCH": MANAGES, "DELETE": MANAGES},
    f"{CASE}saved-searches/": {"GET": READS, "POST": WRITES},
    f"{CASE}saved-searches/<int:search_id>/": {"GET": READS, "PATCH": MANAGES, "DELETE": MANAGES},
    f"{EVENT}source/": {"GET": READS},
    "api/v1/restricted-cases/": {"GET": ADMINS_PERSON},
    # Invitations to the platform, and of whoever got one
    "api/v1/users/invitations/": {"GET": ADMINS, "POST": ADMINS_FRESH},
    "api/v1/users/invitations/<int:invitation_id>/": {"DELETE": ADMINS_FRESH},
    "api/v1/invitations/look/": {"POST": PUBLIC},
    "api/v1/invitations/accept/": {"POST": INVITED},
    # Teams
    "api/v1/teams/": {"GET": SIGNED_IN, "POST": ADMINS},
    TEAM: {"GET": IN_TEAM, "PATCH": ADMINS, "DELETE": ADMINS},
    f"{TEAM}members/": {"GET": IN_TEAM, "POST": ADMINS},
    f"{TEAM}members/<int:user_id>/": {"DELETE": ADMINS},
    # Pages
    "": {"GET": PAGE},
    "login/": {"GET": PUBLIC, "POST": PUBLIC},
    "login/code/": {"GET": PUBLIC, "POST": PUBLIC},
    "logout/": {"POST": LEAVES},
    "account/": {"GET": PAGE, "POST": PAGE},
    "account/password/": {"GET": FRESH_PAGE, "POST": FRESH_PAGE},
    "account/sign-ins/": {"GET": PAGE},
    "account/sign-ins/end-others/": {"POST": PAGE},
    "account/sign-ins/<uuid:session_id>/end/": {"POST": PAGE},
    "account/second-factor/": {"GET": HALFWAY_PAGE, "POST": HALFWAY_PAGE},
    "account/second-factor/verify/": {"GET": HALFWAY_PAGE, "POST": HALFWAY_PAGE},
    "account/second-factor/codes/": {"POST": PAGE},
    "account/second-factor/disable/": {"POST": PAGE},
    "account/tokens/": {"GET": PAGE},
    "account/tokens/new/": {"GET": FRESH_PAGE, "POST": FRESH_PAGE},
    "account/tokens/<int:token_id>/revoke/": {"POST": PAGE},
    "password/reset/": {"GET": PUBLIC, "POST": PUBLIC},
    "password/reset/confirm/": {"GET": PUBLIC, "POST": PUBLIC},
    "email/verify/": {"GET": PUBLIC, "POST": PUBLIC},
    "email/resend/": {"GET": PUBLIC, "POST": PUBLIC},
    "register/": {"GET": PUBLIC, "POST": PUBLIC},
    "invitation/": {"GET": OPEN_PAGE, "POST": OPEN_PAGE},
    "cases/<path:case_id>/timeline/": {"GET": CASE_PAGE},
    "cases/<path:case_id>/events/<str:event_id>/": {"GET": CASE_PAGE},
    "cases/<path:case_id>/events/<str:event_id>/source/": {"GET": CASE_PAGE},
    "cases/<path:case_id>/events/<str:event_id>/annotate/": {"POST": WRITE_PAGE},
    "cases/<path:case_id>/events/<str:event_id>/star/": {"POST": WRITE_PAGE},
    "cases/<path:case_id>/events/<str:event_id>/said/<int:annotation_id>/remove/": {"POST": MANAGE_PAGE},
    "cases/<path:case_id>/timeline/annotate/": {"POST": WRITE_PAGE},
    "cases/<path:case_id>/timeline/undo/<int:batch_id>/": {"POST": MANAGE_PAGE},
    "cases/<path:case_id>/timeline/save/": {"POST": WRITE_PAGE},
    "cases/<path:case_id>/timeline/saved/<int:search_id>/remove/": {"POST": MANAGE_PAGE},
}

#: The admin, by pattern, the first that fits: the methods that do something there. It takes any
#: other for a GET; `test_permissions` shows that none of those changes anything.
_READ_ONLY: Final = r"admin/(accounts/auditentry|cases/(?!case/|analysismodule/)\w+|scripts_marketplace/\w+)/"
ADMIN: Final[dict[str, dict[str, str]]] = {
    r"admin/": {"GET": STAFF},
    r"admin/(search|jsi18n)/": {"GET": STAFF},
    r"admin/\^.*": {"GET": STAFF},  # one app's models
    r"admin/login/": {"GET": DOOR, "POST": DOOR},
    r"admin/logout/": {"POST": WAY_OUT},
    r"admin/password_change/(done/)?": {"GET": STAFF},
    r"admin/autocomplete/": {"GET": STAFF_REFUSED},  # no form here completes
    r"admin/r/.*": {"GET": STAFF_NOWHERE},
    r"admin/\(.*": {"GET": STAFF_NOWHERE},  # what no route has
    r"admin/cases/case/restricted/": {"GET": STAFF, "POST": STAFF_FRESH},
    r"admin/cases/case/<path:object_id>/act/": {"POST": STAFF},
    r"admin/cases/case/<path:object_id>/change/": {"GET": STAFF, "POST": STAFF},
    r"admin/accounts/user/<id>/password/": {"GET": STAFF_FRESH, "POST": STAFF_FRESH},
    r"admin/accounts/(user|team)/add/": {"GET": STAFF_FRESH, "POST": STAFF_FRESH},
    r"admin/accounts/team/<path:object_id>/delete/": {"GET": STAFF_FRESH, "POST": STAFF_FRESH},
    r"admin/(cases/case|accounts/user)/": {"GET": STAFF, "POST": STAFF_FRESH},  # acts on many at once
    r"admin/accounts/featureflag/": {"GET": TOP, "POST": TOP},
    r"admin/accounts/featureflag/<path:object_id>/change/": {"GET": TOP, "POST": TOP_FRESH},
    r"admin/accounts/featureflag/<path:object_id>/history/": {"GET": TOP},
    r"admin/\w+/\w+/(add|<path:object_id>/delete)/": {"GET": STAFF_NEVER, "POST": STAFF_NEVER},
    _READ_ONLY + r"<path:object_id>/change/": {"GET": STAFF, "POST": STAFF_NEVER},
    r"admin/\w+/\w+/<path:object_id>/change/": {"GET": STAFF, "POST": STAFF_FRESH},
    r"admin/\w+/\w+/": {"GET": STAFF, "POST": STAFF},
    r"admin/\w+/\w+/<path:object_id>/(history/)?": {"GET": STAFF},
}
