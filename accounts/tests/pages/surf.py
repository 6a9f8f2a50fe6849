"""Browsers of the people in these tests."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

from django.test import Client
from django.utils import timezone

from accounts import sessions
from accounts.models import AuthSession, User
from accounts.tests.phone import PASSWORD

#: Addresses that lead away from this site, or that no browser should be sent to.
AWAY = (
    "https://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example",
    "https:evil.example",
    "http:///evil.example/",
    "javascript:alert(1)",
    "//evil.example@testserver/",
    "http://testserver.evil.example/",
    "/\tevil",
    "/a\r\nSet-Cookie: x=1",
)


def browser(user: User, *, shown: timedelta | None = None, strict: bool = False) -> Client:
    """Return a browser in which somebody is signed in; `shown` is how long ago they showed a code."""
    client = Client(enforce_csrf_checks=strict)
    client.force_login(user)
    session = sessions.begin(user, method=AuthSession.Method.BROWSER, second_factor=shown is not None)
    if shown is not None:
        AuthSession.objects.filter(pk=session.pk).update(otp_time=timezone.now() - shown)
    held = client.session
    held[sessions.KEY] = str(session.pk)
    held.save()
    return client


def sign_in(client: Client, email: str, password: str = PASSWORD, **more: Any) -> Any:
    """Send the form of the door."""
    return client.post("/login/", {"username": email, "password": password, **more})


def text(answer: Any, status: int = 200) -> str:
    """Return what a page says, without its markup; it must have answered with this status."""
    assert answer.status_code == status, (answer.status_code, answer.headers.get("Location"))
    body = re.sub(r"(?s)<head>.*?</head>|<[^>]*>", " ", answer.content.decode())
    return " ".join(unescape(body).split())


def to(answer: Any) -> str:
    """Return where an answer sends."""
    assert answer.status_code == 302, (answer.status_code, text(answer, answer.status_code))
    return str(answer.headers["Location"])


def who(client: Client) -> str:
    """Return the name of who is signed in; empty for nobody."""
    page = client.get("/account/", follow=True).content.decode()
    found = re.search(r'class="me"[^>]*><bdi>([^<]*)<', page)
    return found[1] if found else ""
