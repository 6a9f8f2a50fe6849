"""The headers of every answer: each route of the URLconf, errors, redirects, files, downloads."""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import get_resolver, path

from accounts.models import Role
from accounts.tests.pages.surf import browser
from accounts.tests.phone import PASSWORD, enrolled, set_clock
from cases.models import Case, Evidence, TaskRun
from cases.tests.api.cast import admin, client_of, events, person, record, staffed_case
from datamortem import urls
from datamortem.common.headers import ADMIN, DOCS, EVERYWHERE, PAGES
from datamortem.tests.matrix import address, routes
from datamortem.tests.test_settings import manage

pytestmark = pytest.mark.django_db

#: What a policy may never allow.
_TOO_MUCH = ("unsafe-inline", "unsafe-hashes", "*", "http:", "https:", "data: 'self'", "blob:")


def _break(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("as a fault would")


handler400, handler500 = urls.handler400, urls.handler500
#: The site map, and two views that fail.
urlpatterns = [path("broken/", _break), path("api/v1/broken/", _break), *urls.urlpatterns]


def _wrong(answer: Any) -> list[str]:
    """Return what is wrong with the headers of an answer."""
    held = answer.headers
    wrong = [name for name in EVERYWHERE if name not in held]
    policy = held.get("Content-Security-Policy", "")
    if "default-src 'none'" not in policy:
        wrong.append(f"policy {policy!r}")
    wrong += [f"policy allows {much}" for much in _TOO_MUCH if much in policy]
    if "unsafe-eval" in policy and policy != ADMIN:
        wrong.append("evaluates")
    if "sandbox" not in policy and "frame-ancestors 'none'" not in policy:
        wrong.append("may be framed")
    expected = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    wrong += [f"{name}: {held.get(name)}" for name, value in expected.items() if held.get(name) != value]
    if held.get("Referrer-Policy") not in ("same-origin", "strict-origin"):
        wrong.append(f"Referrer-Policy: {held.get('Referrer-Policy')}")
    for cookie in answer.cookies.values():
        if not cookie["httponly"] or cookie["samesite"] != "Lax" or cookie["path"] != "/":
            wrong.append(f"cookie {cookie.key}")
    return wrong


def _is_kept(answer: Any) -> bool:
    """Whether a browser or proxy may keep the answer."""
    return "no-store" not in answer.headers.get("Cache-Control", "")


def _ids() -> dict[str, str]:
    case = staffed_case()
    evidence = events(case, [record(0, "an event")])
    return {
        "case_id": case.case_id,
        "evidence_uid": Evidence.objects.get(pk=evidence.pk).evidence_uid,
        "run_id": str(TaskRun.objects.latest("pk").pk),
        "object_id": str(Case.objects.get().pk),
        "session_id": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
        "key": "registration",
        "event_id": "0" * 64,
    }


def _answers() -> Iterator[tuple[str, Any]]:
    """Yield the answers of every route to three kinds of people."""
    ids = _ids()
    eve = person("eve", role=Role.SUPERADMIN, is_superuser=True)
    people = {
        "nobody": (Client(), ("GET", "HEAD", "POST", "OPTIONS")),
        "an analyst": (browser(person("bob")), ("GET", "POST")),
        "an admin": (browser(eve, shown=timedelta(0)), ("GET", "POST")),
    }
    for route, _ in routes(get_resolver()):
        for who, (client, methods) in people.items():
            client.raise_request_exception = False
            for method in methods:
                if "logout" in route and method == "POST":
                    continue  # the rest would be asked by nobody
                answer: Any = client.generic(method, address(route, ids))
                yield f"{method} {route} as {who}: {answer.status_code}", answer
                if answer.streaming:
                    b"".join(answer.streaming_content)
                answer.close()


def test_every_route_answers_under_all_headers_and_none_is_kept() -> None:
    wrong, seen = [], 0
    for what, answer in _answers():
        seen += 1
        wrong += [f"{what}: {fault}" for fault in _wrong(answer)]
        wrong += [f"{what}: kept"] if _is_kept(answer) else []
    assert wrong == []
    assert seen > 700


class TestOthers:
    """What no route answers."""

    @override_settings(ROOT_URLCONF="datamortem.tests.test_headers")
    @pytest.mark.parametrize(
        ("address", "status"),
        [
            ("/nowhere/", 404),
            ("/api/v1/nowhere/", 404),
            ("/static/datamortem/nowhere.css", 404),
            ("/account", 301),
            ("/broken/", 500),
            ("/api/v1/broken/", 500),
        ],
    )
    def test_errors_and_redirects_carry_them(self, address: str, status: int) -> None:
        answer = Client(raise_request_exception=False).get(address)
        assert answer.status_code == status
        assert _wrong(answer) == []
        assert _is_kept(answer) == (status == 301 and "Cache-Control" not in answer.headers)

    def test_a_host_that_is_not_ours_does_too(self) -> None:
        for page in ("/", "/api/v1/me/"):
            answer = Client().get(page, headers={"host": "evil.example"})
            assert answer.status_code == 400
            assert _wrong(answer) == []

    def test_a_form_from_elsewhere_does_too(self) -> None:
        answer = Client(enforce_csrf_checks=True).post("/login/", {})
        assert answer.status_code == 403
        assert _wrong(answer) == []
        assert "style" not in answer.content.decode().replace("stylesheet", "")

    @pytest.mark.parametrize(
        "file", ["datamortem/app.css", "datamortem/icon.svg", "unfold/js/app.js", "admin/css/base.css"]
    )
    def test_files_of_the_site_carry_them_and_may_be_kept(self, file: str) -> None:
        answer: Any = Client().get(f"/static/{file}")
        assert answer.status_code == 200
        b"".join(answer.streaming_content)
        assert _wrong(answer) == []
        assert _is_kept(answer)

    def test_downloads_bring_a_stricter_policy(self) -> None:
        ids = _ids()
        answer = client_of(admin()).get(address("api/v1/cases/<path:case_id>/events/export/", ids))
        b"".join(answer.streaming_content)
        assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
        assert _wrong(answer) == []
        assert _is_kept(answer) is False


class TestPolicies:
    """Which page has which."""

    def test_pages_run_no_script(self) -> None:
        assert "script-src" not in PAGES
        for page in ("/login/", "/account/", "/", "/nowhere/", "/password/reset/"):
            answer = browser(person("bob")).get(page)
            assert answer.headers["Content-Security-Policy"] == PAGES
            assert "<script" not in answer.content.decode()

    def test_the_admin_and_the_pages_of_the_api_run_files_of_this_site(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada = enrolled(set_clock(monkeypatch), "ada", role=Role.ADMIN)
        client = browser(ada.user, shown=timedelta(0))
        for page, policy in (("/admin/cases/case/", ADMIN), ("/api/v1/docs/", DOCS)):
            answer = client.get(page)
            assert answer.headers["Content-Security-Policy"] == policy
            body = answer.content.decode()
            assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)[^>]*>|\son[a-z]+=", body)


class TestOverHTTPS:
    """What the settings say when PUBLIC_URL is https, as the settings themselves are tested for it."""

    SECURE = {
        "SECURE_SSL_REDIRECT": True,
        "SECURE_HSTS_SECONDS": 31_536_000,
        "SECURE_HSTS_INCLUDE_SUBDOMAINS": True,
        "SECURE_HSTS_PRELOAD": True,
        "SESSION_COOKIE_SECURE": True,
        "CSRF_COOKIE_SECURE": True,
        "SESSION_COOKIE_NAME": "__Host-sessionid",
        "CSRF_COOKIE_NAME": "__Host-csrftoken",
    }

    def test_the_settings_say_so_for_an_address_of_https(self, tmp_path: Path) -> None:
        shown = "from django.conf import settings; print({name: getattr(settings, name) for name in %r})"
        code = shown % sorted(self.SECURE)
        over_https = {"PUBLIC_URL": "https://dm.example"}
        done = manage(tmp_path, "shell", "--no-imports", "-c", code, **over_https)
        assert literal_eval(done.stdout.strip()) == self.SECURE
        done = manage(tmp_path, "shell", "--no-imports", "-c", code)
        assert literal_eval(done.stdout.strip())["SESSION_COOKIE_NAME"] == "sessionid"

    def test_browsers_are_told_to_stay_with_it(self) -> None:
        with override_settings(**self.SECURE):
            for page in ("/login/", "/nowhere/", "/api/v1/me/", "/static/datamortem/app.css", "/admin/"):
                answer: Any = Client().get(page, secure=True)
                if answer.streaming:
                    b"".join(answer.streaming_content)
                said = answer.headers["Strict-Transport-Security"]
                assert said == "max-age=31536000; includeSubDomains; preload"
            plain = Client().get("/login/?next=/account/")
            assert (plain.status_code, plain.headers["Location"]) == (
                301,
                "https://testserver/login/?next=/account/",
            )
            assert _wrong(plain) == []

    def test_cookies_belong_to_this_host_alone(self) -> None:
        person("bob")
        with override_settings(**self.SECURE):
            client = Client()
            client.get("/login/", secure=True)
            said = {"username": "bob@example.org", "password": PASSWORD}
            answer = client.post("/login/", said, secure=True)
            assert set(client.cookies) == {"__Host-sessionid", "__Host-csrftoken"}
            for cookie in client.cookies.values():
                assert cookie["secure"]
                assert cookie["path"] == "/"
                assert cookie["domain"] == ""
            assert _wrong(answer) == []


def test_there_are_two_cookies_and_no_third() -> None:
    client = browser(person("bob"))
    client.post("/account/", {"full_name": "Bob", "locale": ""})
    client.get("/account/")
    assert set(client.cookies) == {settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME}
