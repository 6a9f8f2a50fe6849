"""Walking the URLconf as everybody: what is asked, what comes back, and what is wrong with it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import quote, urlencode

from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.http import HttpResponseBase
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from datamortem.common.logs import JSONFormatter
from datamortem.tests.asks import Ask, ask_of
from datamortem.tests.policy import (
    ACTORS,
    ADMIN,
    AWAY,
    LOGIN,
    OK,
    OUT,
    POLICY,
    PROVE,
    TOKENS,
    Answer,
    answer_for,
)
from datamortem.tests.world import World, hidden_from

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
#: A page of the admin about something that belongs to a case.
_OBJECT_OF_CASE: Final = re.compile(r"admin/cases/(?!analysismodule/)\w+/<path:object_id>/")
_PARAMETER: Final = re.compile(r"(?<!\?P)<(?:\w+:)?(\w+)>")
#: The regular expressions of the admin: one of its apps, and anything.
_EXPRESSION: Final = re.compile(r"\(\?P<\w+>([a-z_]+)\|[^)]*\)|\(\?P<\w+>[^)]*\)")


#: Programs: on pages they are anonymous.
_WITHOUT_A_BROWSER: Final = (*TOKENS, "expired_token", "revoked_token")


@dataclass(frozen=True)
class Line:
    """One method of one route, and who may use it."""

    method: str
    route: str
    level: str

    def __str__(self) -> str:
        return f"{self.method} {self.route}"

    asks_who: bool = True

    @property
    def absent(self) -> set[str]:
        """Who would ask here exactly what another actor asks."""
        if not self.asks_who:  # whoever it is: a few of each kind are enough
            return set(ACTORS) - {"anonymous", "garbage", "no_factor", "lead", "browser", "superadmin"}
        of_case = "case_id" in self.parameters or _OBJECT_OF_CASE.match(self.route)
        as_admin = set() if of_case else {"outside"}
        return as_admin | (set() if self.route.startswith("api/") else {"browser", *_WITHOUT_A_BROWSER})

    @property
    def parameters(self) -> list[str]:
        """The names in the route that stand for ids."""
        return _PARAMETER.findall(self.route)


@dataclass(frozen=True)
class Shown:
    """What somebody saw: the answer as it went out, and what was written to the log meanwhile."""

    status: int
    head: str
    body: str
    log: str
    location: str

    @property
    def code(self) -> str:
        """The code of a refusal by the API."""
        try:
            return str(json.loads(self.body)["errors"][0]["code"])
        except (ValueError, KeyError, TypeError, IndexError):
            return ""

    @property
    def sent_to(self) -> str:
        """Which door a redirect leads to; nothing if it leads on."""
        path = self.location.partition("?")[0]
        doors = {"/login/": LOGIN, "/admin/login/": LOGIN, "/account/second-factor/": PROVE}
        return doors.get(path.replace("verify/", ""), "")

    def holds(self, secret: str) -> bool:
        """Whether the secret stands anywhere, in any case."""
        return secret.lower() in f"{self.head}\n{self.body}\n{self.log}".lower()


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


@cache
def openapi() -> Any:
    """Return the OpenAPI document."""
    return SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]


def rule_of(route: str) -> Mapping[str, str] | None:
    """Return the levels of a route by method: its line, or the rule of the admin that covers it."""
    if route in POLICY:
        return POLICY[route]
    return next((levels for pattern, levels in ADMIN.items() if re.fullmatch(pattern, route)), None)


def without_a_line(resolver: URLResolver) -> list[str]:
    """Return every route, and every declared method of one, that the policy does not name."""
    missing = []
    for route, view in routes(resolver):
        levels = rule_of(route)
        if levels is None:
            missing.append(route)
        elif not route.startswith("admin/"):  # Django's views there declare all methods
            missing += [f"{method} {route}" for method in methods_of(view) - set(levels)]
    return missing


def lines(only: str = "") -> list[Line]:
    """Return all lines whose text holds `only`; those that end things in the index come last."""
    return [line for line in _all_lines() if only in str(line)]


@cache
def _all_lines() -> tuple[Line, ...]:
    found = [
        Line(method, route, level, getattr(getattr(view, "cls", None), "authentication_classes", None) != ())
        for route, view in routes(get_resolver())
        for method, level in (rule_of(route) or {}).items()
    ]
    once = {str(line): line for line in found}
    return tuple(sorted(once.values(), key=lambda line: line.method == "DELETE"))


def address(route: str, ids: Mapping[str, str]) -> str:
    """Return the address of a route with ids filled in."""
    path = _EXPRESSION.sub(lambda match: match[1] or "x", route)
    path = _PARAMETER.sub(lambda match: quote(ids.get(match[1], "1"), safe=""), path)
    return "/" + path.replace("^", "").replace("$", "")


def filled(value: Any, ids: Mapping[str, str]) -> Any:
    """Return a body with ids in the place of their names."""
    if isinstance(value, dict):
        return {name: filled(held, ids) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [filled(held, ids) for held in value]
    return value.format_map(ids) if isinstance(value, str) and "{" in value else value


def send(
    world: World,
    actor: str,
    line: Line,
    asked: Ask | None = None,
    ids: Mapping[str, str] | None = None,
    *,
    then: Callable[[Shown], object] | None = None,
    forged: bool = False,
) -> Shown:
    """Return what the actor sees; what the request did to the database is undone, after `then`.

    A forged request comes from another site: it brings the cookie and no CSRF token.
    """
    block = transaction.atomic()
    block._from_testcase = True  # type: ignore[attr-defined]  # as Django's tests: durable ones may be inside
    with block, _logged() as log:
        request = _request(world, actor, line, asked or ask_of(line.method, line.route), ids or {})
        client = _client(world, actor, line, enforce_csrf_checks=forged)
        shown = _shown(client.generic(**request), log)
        if then is not None:
            then(shown)
        transaction.set_rollback(True)
    return shown


def _client(world: World, actor: str, line: Line, **options: bool) -> APIClient:
    """Return a client that asks as programs do, or a browser where there is a page or no bearer."""
    client, keys = APIClient(raise_request_exception=False, **options), world.keys[actor]
    if keys.bearer and line.route.startswith("api/"):
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {keys.bearer}")
    elif keys.cookie:
        client.cookies[settings.SESSION_COOKIE_NAME] = keys.cookie
    return client


def _request(world: World, actor: str, line: Line, asked: Ask, ids: Mapping[str, str]) -> dict[str, Any]:
    known = dict(world.ids_of(actor))
    elsewhere = filled(dict(asked.ids), known)
    if actor == "outside":
        elsewhere.pop("case_id", None)  # their question is about one case
    known |= {**elsewhere, **ids}
    if line.route.startswith("admin/"):
        known.setdefault("object_id", known.get("/".join(line.route.split("/")[1:3]), "1"))
    query = urlencode(filled(dict(asked.query), known))
    content, kind = _content(line.method, asked, known)
    path = address(line.route, known) + (f"?{query}" if query else "")
    headers = dict(asked.headers)
    return {"method": line.method, "path": path, "data": content, "content_type": kind, "headers": headers}


def _content(method: str, asked: Ask, ids: Mapping[str, str]) -> tuple[bytes, str]:
    body = filled(asked.body, ids)
    if method == "GET":
        return b"", ""
    if asked.file:
        file = SimpleUploadedFile("new.log", b"new evidence")
        return encode_multipart(BOUNDARY, {**body, "file": file}), MULTIPART_CONTENT
    if asked.form:
        return urlencode(body, doseq=True).encode(), "application/x-www-form-urlencoded"
    return json.dumps(body).encode(), "application/json"


def _shown(answer: HttpResponseBase, log: list[str]) -> Shown:
    # Read before the database is turned back.
    parts = answer.streaming_content if answer.streaming else [answer.content]  # type: ignore[attr-defined]
    body = b"".join(parts).decode("utf-8", "replace")
    head = "\n".join(f"{name}: {value}" for name, value in answer.items())
    return Shown(answer.status_code, head, body, "\n".join(log), answer.get("Location", ""))


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Keep what is logged, as it would be written."""
    written: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: written.append(JSONFormatter().format(record))  # type: ignore[method-assign]
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield written
    finally:
        root.removeHandler(handler)


def fits(shown: Shown, expected: Answer, asked: Ask) -> bool:
    """Whether an answer is the one that was to be expected."""
    if isinstance(expected, int):
        return shown.status == expected
    if expected in (LOGIN, PROVE):
        return shown.status == 302 and shown.sent_to == expected
    if expected == AWAY:
        return shown.status == 302
    if expected == OUT:
        return shown.status in (302, 403, 404)
    if expected == OK:
        return shown.status in asked.answers if asked.answers else 200 <= shown.status < 300
    return shown.status == 403 and shown.code == expected


def leaks(shown: Shown, actor: str) -> list[str]:
    """Return the secrets in an answer or the log that are not the actor's to see."""
    return [secret for secret in sorted(hidden_from(actor)) if shown.holds(secret)]


def findings(world: World, walked: Iterable[Line], actors: Iterable[str] = ACTORS) -> list[str]:
    """Return what is wrong with the answers to these actors on these lines."""
    wrong = []
    for line in walked:
        for actor in actors:
            if actor in line.absent:
                continue
            asked = ask_of(line.method, line.route)
            expected = answer_for(actor, line.level, line.method)
            shown = send(world, actor, line)
            if not fits(shown, expected, asked):
                wrong.append(f"{line} as {actor}: {shown.status} {shown.code}, expected {expected}")
            told = set(leaks(shown, actor)) - set(asked.reveals)
            wrong += [f"{line} tells {actor} {secret}" for secret in sorted(told)]
    return wrong
