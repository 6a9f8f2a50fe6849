"""Who may use which route by which method: one line each, and none without a line.

`test_permissions` walks the URLconf and holds every route against this table.
"""

from __future__ import annotations

from typing import Final

#: What a line may say, and what each actor gets for it (see ANSWERS).
PUBLIC: Final = "public"
SIGNED_IN: Final = "signed in"
OPENS: Final = "opens cases"
READS: Final = "reads the case"
WRITES: Final = "writes to the case"
MANAGES: Final = "manages the case"
PAGE: Final = "page"
CASE_PAGE: Final = "page of the case"
LEAVES: Final = "leaves for the login"
NOWHERE: Final = "nowhere"
STAFF: Final = "staff"

ACTORS: Final = (
    "anonymous",
    "garbage",
    "inactive",
    "stranger",
    "viewer",
    "reader",
    "analyst",
    "lead",
    "admin",
)
#: "ok" is anything but 401, 403, 404 and 5xx: the request may still make no sense.
_OK: Final = "ok"
_NOBODY: Final = {"anonymous": 401, "garbage": 401, "inactive": 401}
_LOGIN: Final = {"anonymous": 302, "garbage": 302, "inactive": 302}


def _answers(given: dict[str, int], **others: int) -> dict[str, int | str]:
    return {actor: {**given, **others}.get(actor, _OK) for actor in ACTORS}


ANSWERS: Final[dict[str, dict[str, int | str]]] = {
    PUBLIC: _answers({}),
    SIGNED_IN: _answers(_NOBODY),
    OPENS: _answers(_NOBODY, viewer=403),
    READS: _answers(_NOBODY, stranger=404),
    WRITES: _answers(_NOBODY, stranger=404, viewer=403, reader=403),
    MANAGES: _answers(_NOBODY, stranger=404, viewer=403, reader=403, analyst=403),
    PAGE: _answers(_LOGIN),
    CASE_PAGE: _answers(_LOGIN, stranger=404),
    LEAVES: dict.fromkeys(ACTORS, 302),
    NOWHERE: dict.fromkeys(ACTORS, 404),
}

#: The admin as a whole: who is not staff is sent to the login or refused, whatever the route.
PREFIXES: Final = {"admin/": STAFF}

_CASE: Final = "api/v1/cases/<path:case_id>/"
_EVIDENCE: Final = f"{_CASE}evidence/<str:evidence_uid>/"
_RUN: Final = f"{_CASE}runs/<int:run_id>/"
_EVENT: Final = f"{_CASE}events/<str:event_id>/"

POLICY: Final[dict[str, dict[str, str]]] = {
    "healthz": {"GET": PUBLIC},
    "readyz": {"GET": PUBLIC},
    "api/v1/schema/": {"GET": PUBLIC},
    "api/v1/docs/": {"GET": PUBLIC},
    "api/v1/auth/login/": {"POST": PUBLIC},
    "api/v1/auth/refresh/": {"POST": PUBLIC},
    "api/v1/me/": {"GET": SIGNED_IN, "PATCH": SIGNED_IN},
    "api/v1/modules/": {"GET": SIGNED_IN},
    "api/v1/events/": {"GET": SIGNED_IN},
    "api/v1/cases/": {"GET": SIGNED_IN, "POST": OPENS},
    _CASE: {"GET": READS, "PATCH": WRITES, "DELETE": MANAGES},
    f"{_CASE}close/": {"POST": MANAGES},
    f"{_CASE}reopen/": {"POST": MANAGES},
    f"{_CASE}members/": {"GET": READS, "POST": MANAGES},
    f"{_CASE}members/<int:user_id>/": {"GET": READS, "PATCH": MANAGES, "DELETE": MANAGES},
    f"{_CASE}custody/": {"GET": READS},
    f"{_CASE}evidence/": {"GET": READS, "POST": WRITES},
    _EVIDENCE: {"GET": READS, "PATCH": WRITES, "DELETE": WRITES},
    f"{_EVIDENCE}download/": {"GET": READS},
    f"{_EVIDENCE}runs/": {"POST": WRITES},
    f"{_CASE}runs/": {"GET": READS},
    _RUN: {"GET": READS},
    f"{_RUN}cancel/": {"POST": WRITES},
    f"{_RUN}retry/": {"POST": WRITES},
    f"{_RUN}rejected/": {"GET": READS},
    f"{_CASE}events/": {"GET": READS, "POST": WRITES},
    f"{_CASE}events/count/": {"GET": READS},
    f"{_CASE}events/histogram/": {"GET": READS},
    f"{_CASE}events/terms/": {"GET": READS},
    f"{_CASE}events/fields/": {"GET": READS},
    f"{_CASE}events/export/": {"GET": READS},
    _EVENT: {"GET": READS},
    f"{_EVENT}source/": {"GET": READS},
    "^api/": dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), NOWHERE),
    "": {"GET": PAGE},
    "login/": dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), PUBLIC),
    "logout/": {"POST": LEAVES},
    "cases/<path:case_id>/timeline/": {"GET": CASE_PAGE},
    "cases/<path:case_id>/events/<str:event_id>/": {"GET": CASE_PAGE},
    "cases/<path:case_id>/events/<str:event_id>/source/": {"GET": CASE_PAGE},
}
