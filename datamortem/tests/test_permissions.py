"""Every route of the site, by every method, as everybody: nothing is open that no line opens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.urls import URLPattern, URLResolver, get_resolver, path
from rest_framework.test import APIClient

from accounts import tokens
from accounts.models import Role, User
from cases import search, services
from cases.models import Case, Evidence, RejectedRecord, TaskRun
from cases.tests.api.cast import events, person, record
from datamortem.tests.policy import ACTORS, ANSWERS, POLICY, PREFIXES

pytestmark = pytest.mark.django_db

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
#: What only members of the case and admins may ever read.
SECRET = "TopSecretOfTheCase7261"
_INSIDERS = ("viewer", "reader", "analyst", "lead", "admin")


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield every route of a URLconf, written as it was declared, and its view."""
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, route)
        elif isinstance(pattern, URLPattern):
            yield route, pattern.callback


def methods_of(view: Callable[..., Any]) -> set[str]:
    """Return the methods a view declares; of a plain function nothing is known."""
    if actions := getattr(view, "actions", None):
        return {method.upper() for method in actions} & set(METHODS)
    declaring = getattr(view, "cls", None) or getattr(view, "view_class", None)
    allowed = getattr(declaring, "http_method_names", ())
    return {m for m in METHODS if m.lower() in allowed and hasattr(declaring, m.lower())}


def without_a_line(resolver: URLResolver) -> list[str]:
    """Return every route, and every declared method of one, that the policy does not name."""
    missing = []
    for route, view in routes(resolver):
        if any(route.startswith(prefix) for prefix in PREFIXES):
            continue
        if route not in POLICY:
            missing.append(route)
        else:
            missing += [f"{method} {route}" for method in methods_of(view) - set(POLICY[route])]
    return missing


@dataclass
class World:
    """A case with something of everything, and a second one that is nobody's business."""

    ids: dict[str, str]
    foreign: dict[str, str]
    clients: dict[str, Any]

    def address(self, route: str, ids: dict[str, str] | None = None) -> str:
        """Return the address of a route with the ids of the case filled in."""
        known = self.ids if ids is None else ids
        filled = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: known.get(match[1], "1"), route)
        filled = re.sub(
            r"\(\?P<\w+>([a-z_]+)\|[^)]*\)|\(\?P<\w+>[^)]*\)", lambda match: match[1] or "x", filled
        )
        return "/" + filled.replace("^", "").replace("$", "")

    def ask(self, actor: str, method: str, address: str) -> Any:
        """Return the answer; what the request did to the database is undone."""
        with transaction.atomic():
            body = b"{}" if method != "GET" else b""
            cookies = {name: held.value for name, held in self.clients[actor].cookies.items()}
            query = "?field=host" if address.endswith("/terms/") else ""
            answer = self.clients[actor].generic(
                method, address + query, body, content_type="application/json" if body else ""
            )
            # Read before the database is turned back.
            answer.shown = _text(answer)
            transaction.set_rollback(True)
        self.clients[actor].cookies.clear()
        self.clients[actor].cookies.load(cookies)
        return answer


def _text(answer: Any) -> str:
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return f"{answer.headers}\n{content.decode('utf-8', 'replace')}"


def _case_with_everything(case_id: str, owner: User) -> dict[str, str]:
    case = services.open_case(by=owner, case_id=case_id, title=SECRET, note=SECRET, tags=[SECRET])
    evidence = events(case, [record(0, SECRET, host=SECRET, attributes={SECRET: SECRET})])
    Evidence.objects.update(original_name=f"{SECRET}.log", description=SECRET)
    run = TaskRun.objects.get(evidence=evidence)
    RejectedRecord.objects.create(run=run, position="line 2", reason=SECRET, raw=SECRET.encode())
    services.add_member(case=case, user=person(f"other-of-{case_id}"), role="reader", by=owner)
    found = search.search_events(search.frame(cases=Case.objects.filter(pk=case.pk)), limit=1)
    return {
        "case_id": case_id,
        "evidence_uid": evidence.evidence_uid,
        "run_id": str(run.pk),
        "user_id": str(person(f"other-of-{case_id}").pk),
        "event_id": str(found.documents[0]["event_id"]),
    }


def _client(user: User) -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.force_login(user)  # for pages
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.issue(user).access}")
    return client


@pytest.fixture
def world() -> World:
    lead = person("lead")
    ids = _case_with_everything("ir-secret", lead)
    foreign = _case_with_everything("ir-foreign", person("somebody"))
    case = Case.objects.get(case_id="ir-secret")
    people = {
        "stranger": person("stranger"),
        "viewer": person("viewer", role=Role.VIEWER),
        "reader": person("reader"),
        "analyst": person("analyst"),
        "lead": lead,
        "admin": person("admin", role=Role.ADMIN),
        "inactive": person("inactive"),
    }
    for name, role in (
        ("viewer", "lead"),
        ("reader", "reader"),
        ("analyst", "analyst"),
        ("inactive", "lead"),
    ):
        services.add_member(case=case, user=people[name], role=role, by=lead)
    clients: dict[str, Any] = {name: _client(user) for name, user in people.items()}
    User.objects.filter(username="inactive").update(is_active=False)
    clients["anonymous"] = APIClient(raise_request_exception=False)
    clients["garbage"] = APIClient(raise_request_exception=False)
    clients["garbage"].credentials(HTTP_AUTHORIZATION="Bearer garbage")
    clients["garbage"].cookies["sessionid"] = "garbage"
    return World(ids, foreign, clients)


def _fits(answer: Any, expected: int | str) -> bool:
    if isinstance(expected, int):
        return bool(answer.status_code == expected)
    to_login = answer.status_code == 302 and "login" in answer.headers["Location"]
    return answer.status_code < 500 and answer.status_code not in (401, 403, 404) and not to_login


def test_every_route_and_method_has_a_line() -> None:
    assert without_a_line(get_resolver()) == []


def test_every_line_has_a_route() -> None:
    assert set(POLICY) <= {route for route, _ in routes(get_resolver())}


def test_a_route_without_a_line_is_seen() -> None:
    class Unlisted(URLResolver):
        url_patterns = [
            *get_resolver().url_patterns,
            path("api/v1/leak/", lambda request: HttpResponse("everything")),
        ]

    assert without_a_line(Unlisted(get_resolver().pattern, "unlisted")) == ["api/v1/leak/"]


def test_a_method_without_a_line_is_seen() -> None:
    cases = next(view for route, view in routes(get_resolver()) if route == "api/v1/cases/")
    more = cases.cls.as_view({"get": "list", "delete": "list"})  # type: ignore[attr-defined]

    class Unlisted(URLResolver):
        url_patterns = [path("api/v1/cases/", more)]

    assert without_a_line(Unlisted(get_resolver().pattern, "unlisted")) == ["DELETE api/v1/cases/"]


def test_everybody_gets_what_the_line_says_and_no_secret_shows(world: World) -> None:
    wrong = []
    lines = [(route, method, level) for route, methods in POLICY.items() for method, level in methods.items()]
    # What ends things in the index, which no transaction undoes, comes last.
    for route, method, level in sorted(lines, key=lambda line: line[1] == "DELETE"):
        address = world.address(route)
        for actor in ACTORS:
            answer = world.ask(actor, method, address)
            expected = ANSWERS[level][actor]
            if not _fits(answer, expected):
                wrong.append(f"{method} {address} as {actor}: {answer.status_code} instead of {expected}")
            if actor not in _INSIDERS and SECRET in answer.shown:
                wrong.append(f"{method} {address} tells {actor} the secret")
    assert wrong == []


def test_a_method_that_no_line_names_is_refused_even_to_admins(world: World) -> None:
    wrong = []
    for route, methods in POLICY.items():
        for method in set(METHODS) - set(methods):
            answer = world.ask("admin", method, world.address(route))
            if answer.status_code != 405:
                wrong.append(f"{method} {route}: {answer.status_code}")
    assert wrong == []


def test_strangers_get_the_answer_that_nothing_gets(world: World) -> None:
    nothing = {
        **dict.fromkeys(world.ids, "0" * 64),
        "case_id": "ir-nothing",
        "run_id": "999999999",
        "user_id": "9",
    }
    for route, methods in POLICY.items():
        if route.startswith("api/v1/cases/<"):
            for method in methods:
                theirs = world.ask("stranger", method, world.address(route))
                none = world.ask("stranger", method, world.address(route, nothing))
                assert (theirs.status_code, theirs.content if not theirs.streaming else "") == (
                    404,
                    none.content,
                ), route


def test_what_belongs_to_another_case_is_not_reached_through_ones_own(world: World) -> None:
    crossed = {**world.foreign, "case_id": world.ids["case_id"]}
    for route, methods in POLICY.items():
        if any(f":{name}>" in route for name in ("evidence_uid", "run_id", "user_id", "event_id")):
            for method in methods:
                answer = world.ask("lead", method, world.address(route, crossed))
                assert answer.status_code == 404, f"{method} {route}"


def test_the_admin_opens_to_staff_alone(world: World) -> None:
    wrong = []
    admin_routes = [route for route, _ in routes(get_resolver()) if route.startswith("admin/")]
    assert len(admin_routes) > 20
    for route in admin_routes:
        address = world.address(route)
        for actor in ("anonymous", "garbage", "inactive", "stranger", "viewer", "reader", "analyst", "lead"):
            for method in ("GET", "POST"):
                answer = world.ask(actor, method, address)
                open_to_all = "/login/" in address or "/logout/" in address or "/jsi18n/" in address
                if answer.status_code not in (302, 403, 404) and not open_to_all:
                    wrong.append(f"{method} {address} as {actor}: {answer.status_code}")
                if SECRET in answer.shown:
                    wrong.append(f"{method} {address} tells {actor} the secret")
    assert wrong == []
    assert world.ask("admin", "GET", "/admin/cases/case/").status_code == 200
