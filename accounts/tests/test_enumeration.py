"""Nobody learns from an answer, or from the work behind it, whether an address has an account."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from unittest.mock import patch

import pytest
from django.contrib.auth import hashers
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User

pytestmark = pytest.mark.django_db

PASSWORD: Final = "correct horse battery"
#: What stands in a statement for a value, as each database shows it.
_VALUE: Final = re.compile(
    r"'(?:[^']|'')*'(?:::\w+(?:\(\d+\))?)?|\b\d+\b|\bNULL\b|\bTRUE\b|\bFALSE\b|\bCURRENT_\w+\b", re.IGNORECASE
)
_SAVEPOINT: Final = re.compile(r"\bs\d+_x\d+")


@pytest.fixture(autouse=True)
def _people(settings: Settings) -> None:
    settings.REGISTRATION = "open"
    User.objects.create_user("known@example.org", "known", PASSWORD)
    User.objects.create_user("Closed@example.org", "closed", PASSWORD, is_active=False)
    User.objects.create_user(
        "waits@example.org", "waits", PASSWORD, email_verification_sent_at=timezone.now()
    )
    User.objects.create_user("nopassword@example.org", "nopassword")


def _login(email: str) -> tuple[str, dict[str, str]]:
    return "/api/v1/auth/login/", {"email": email, "password": "a wrong password"}


def _register(email: str) -> tuple[str, dict[str, str]]:
    name = f"new{email.encode().hex()}"[:40]
    return "/api/v1/auth/register/", {
        "email": email,
        "username": name,
        "password": PASSWORD,
        "full_name": "N",
    }


def _resend(email: str) -> tuple[str, dict[str, str]]:
    return "/api/v1/auth/email/resend/", {"email": email}


def _reset(email: str) -> tuple[str, dict[str, str]]:
    return "/api/v1/auth/password/reset/", {"email": email}


def _statements(path: str, body: dict[str, str]) -> tuple[int, bytes, list[tuple[str, str]], list[str], int]:
    """Return status, body, headers, the statements without their values, and how often it hashed."""
    hasher = type(hashers.get_hasher())
    with (
        CaptureQueriesContext(connection) as asked,
        patch.object(hasher, "encode", autospec=True, side_effect=hasher.encode) as hashed,
    ):
        answer = APIClient().post(path, body, format="json")
    headers = sorted((name, value) for name, value in answer.items() if name != "X-Request-Id")
    shapes = [_SAVEPOINT.sub("s", _VALUE.sub("?", query["sql"])) for query in asked]
    return answer.status_code, answer.content, headers, shapes, hashed.call_count


@pytest.mark.parametrize("ask", [_login, _register, _resend, _reset])
def test_known_unknown_closed_and_waiting_addresses_cost_and_answer_the_same(
    ask: Callable[[str], tuple[str, dict[str, str]]],
) -> None:
    unknown = _statements(*ask("unknown@example.org"))
    assert unknown[0] == (401 if ask is _login else 202)
    assert len(unknown[3]) > 2
    for email in (
        "known@example.org",
        "KNOWN@example.org",
        "closed@example.org",
        "waits@example.org",
        "nopassword@example.org",
    ):
        known = _statements(*ask(email))
        assert known[3] == unknown[3], email
        assert known == unknown, email
