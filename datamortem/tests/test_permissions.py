"""Every route of the site, by every method, as everybody: nothing is open that no line opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import pytest
from django.http import HttpResponse
from django.urls import URLResolver, get_resolver, path
from pytest_django import Settings

from datamortem.tests.asks import ask_of
from datamortem.tests.matrix import (
    METHODS,
    Line,
    findings,
    leaks,
    lines,
    routes,
    rule_of,
    send,
    without_a_line,
)
from datamortem.tests.policy import ADMIN, NOWHERE, OK, POLICY, PUBLIC, answer_for
from datamortem.tests.stored import everything
from datamortem.tests.world import World, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(settings: Settings) -> World:
    settings.REGISTRATION = "open"
    return make_world()


def test_every_route_and_method_has_a_line() -> None:
    assert without_a_line(get_resolver()) == []


def test_every_line_has_a_route() -> None:
    assert set(POLICY) <= {route for route, _ in routes(get_resolver())}


def test_every_rule_of_the_admin_has_a_route() -> None:
    found = [rule_of(route) for route, _ in routes(get_resolver())]
    assert [pattern for pattern, levels in ADMIN.items() if levels not in found] == []


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
    assert findings(world, [line for line in lines() if not line.route.startswith("admin/")]) == []


def test_the_admin_opens_to_staff_alone(world: World) -> None:
    walked = lines(" admin/")
    assert len(walked) > 40
    assert findings(world, walked) == []


def test_a_method_that_no_line_names_is_refused_to_those_who_may_use_the_others(world: World) -> None:
    wrong = []
    for route, methods in POLICY.items():
        allowed = [name for name in ("lead", "superadmin", "anonymous") if _may_all(name, methods)]
        for unnamed in sorted(set(METHODS) - set(methods)):
            shown = send(world, (allowed or ["superadmin"])[0], Line(unnamed, route, ""))
            if shown.status != 405:
                wrong.append(f"{unnamed} {route}: {shown.status}")
    assert wrong == []


def _may_all(actor: str, methods: Mapping[str, str]) -> bool:
    return all(answer_for(actor, level, method) == OK for method, level in methods.items())


def test_head_and_options_tell_no_more_than_get(world: World) -> None:
    wrong = []
    for line in lines("GET api/v1/"):
        for actor in ("anonymous", "stranger", "bound_token", "no_factor"):
            got = send(world, actor, line).status
            for method in ("HEAD", "OPTIONS"):
                shown = send(world, actor, replace(line, method=method), ask_of("GET", line.route))
                guarded = got >= 400 and (actor == "anonymous" or "case_id" in line.parameters)
                if (guarded and shown.status != got) or leaks(shown, actor) or shown.status >= 500:
                    wrong.append(f"{method} {line.route} as {actor}: {shown.status}, and GET {got}")
    assert wrong == []


def test_admins_decide_neither_on_superadmins_nor_on_what_they_are_themselves(world: World) -> None:
    wrong = []
    ids = world.ids_of("admin")
    for line in lines("api/v1/users/<int:user_id>/"):
        for whom in ("superadmin_id", "own_id"):
            if line.method != "GET" and not line.route.endswith("sessions/"):
                shown = send(world, "admin", line, ids={"user_id": ids[whom]})
                if shown.status != 403:
                    wrong.append(f"{line} of {whom}: {shown.status}")
    assert wrong == []


def test_a_browser_without_the_token_of_its_form_changes_nothing(world: World) -> None:
    """Cross-site requests bring the cookie, and not this token."""
    wrong = []
    for line in lines():
        if line.method != "GET" and "browser" not in line.absent and line.level not in (PUBLIC, NOWHERE):
            shown = send(world, "browser", line, forged=True)
            if shown.status != 403:
                wrong.append(f"{line}: {shown.status}")
    assert wrong == []


def test_a_page_takes_no_form_without_its_token(world: World) -> None:
    wrong = []
    for line in lines():
        if line.method == "POST" and "api/" not in line.route:
            shown = send(world, "superadmin", line, forged=True)
            if shown.status != 403:
                wrong.append(f"{line}: {shown.status}")
    assert wrong == []


def test_the_admin_does_nothing_for_a_method_that_no_rule_names(world: World) -> None:
    before, wrong = everything(), []
    for route in sorted({line.route for line in lines(" admin/")}):
        after: list[object] = []
        shown = send(world, "superadmin", Line("DELETE", route, ""), then=partial(_keep, after))
        if shown.status >= 500 or after != [before]:
            wrong.append(f"{route}: {shown.status}")
    assert wrong == []


def _keep(after: list[object], _: object) -> None:
    after.append(everything())
