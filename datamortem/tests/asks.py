"""What is asked of each route so that it makes sense: bodies, queries, and what an allowed one answers.

A route or method without an entry is asked with an empty body and must answer 2xx.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cases.tests.api.cast import PASSWORD
from datamortem.tests.policy import CASE, EVIDENCE, RUN
from datamortem.tests.world import CLOSED, QUIET

NEW_PASSWORD: Final = "a staple in a battery, correctly"


@dataclass(frozen=True)
class Ask:
    """One request. `{name}` in text stands for an id of the world; `ids` are other ones than usual."""

    body: Any = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    form: bool = False  # as a browser sends it
    file: bool = False  # with a file, as multipart
    ids: Mapping[str, str] = field(default_factory=dict)
    answers: tuple[int, ...] = ()  # instead of any 2xx


ASKS: Final[dict[tuple[str, str], Ask]] = {
    ("POST", "api/v1/auth/login/"): Ask({"email": "lead@example.org", "password": PASSWORD}),
    ("POST", "api/v1/auth/refresh/"): Ask({"refresh": "{refresh}"}),
    ("PATCH", "api/v1/me/"): Ask({"full_name": "Somebody Else", "locale": "fr"}),
    ("POST", "api/v1/cases/"): Ask({"case_id": "ir-new", "title": "New", "tags": ["new"]}),
    ("PATCH", CASE): Ask({"title": "New", "note": "New", "severity": "low", "tags": ["new"]}),
    ("DELETE", CASE): Ask(ids={"case_id": QUIET}),
    ("POST", f"{CASE}close/"): Ask(ids={"case_id": QUIET}),
    ("POST", f"{CASE}reopen/"): Ask(ids={"case_id": CLOSED}),
    ("POST", f"{CASE}members/"): Ask({"user": "newcomer", "role": "reader"}),
    ("PATCH", f"{CASE}members/<int:user_id>/"): Ask({"role": "analyst"}),
    ("POST", f"{CASE}evidence/"): Ask({"description": "new"}, file=True),
    ("PATCH", EVIDENCE): Ask({"description": "new"}),
    ("POST", f"{EVIDENCE}runs/"): Ask({"module": "jsonl"}),
    ("POST", f"{RUN}retry/"): Ask(ids={"run_id": "{failed_run_id}"}),
    ("POST", f"{CASE}events/"): Ask({"message": "new", "timestamp": "2024-03-01T00:00:00Z"}),
    ("GET", f"{CASE}events/terms/"): Ask(query={"field": "host"}),
    ("POST", "login/"): Ask(
        {"username": "lead@example.org", "password": PASSWORD}, form=True, answers=(302,)
    ),
}


def ask_of(method: str, route: str) -> Ask:
    """Return what to ask of a route."""
    return ASKS.get((method, route), Ask())
