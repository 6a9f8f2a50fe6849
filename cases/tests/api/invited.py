"""Inviting people in tests, and reading the mail they get. Eve is invited and has no account."""

from __future__ import annotations

import re
from typing import Any

from django.core import mail as outbox
from rest_framework.test import APIClient

from accounts import mail
from accounts.models import User
from cases.models import Case, CaseMember
from cases.tests.api.cast import V1, client_of

PLATFORM = f"{V1}/users/invitations/"
LOOK, ACCEPT = f"{V1}/invitations/look/", f"{V1}/invitations/accept/"
EVE = "eve@example.org"
NEW: dict[str, str] = {"username": "eve", "password": "a horse that is correct", "full_name": "Eve Ning"}


def of(case: Case) -> str:
    """Return the address of a case's invitations."""
    return f"{V1}/cases/{case.case_id}/invitations/"


def post(address: str, body: dict[str, Any], user: User | str | None = None) -> Any:
    """Return the answer to a POST, as nobody or as a user."""
    client = client_of(user) if user else APIClient(raise_request_exception=False)
    return client.post(address, body, format="json")


def invite(case: Case, email: str = EVE, role: str = "reader", by: User | str = "alice") -> Any:
    """Return the answer to inviting an address to a case."""
    return post(of(case), {"email": email, "role": role}, by)


def mailed(address: str = EVE) -> str:
    """Deliver what waits and return the token of the last mail to an address."""
    mail.deliver_due()
    letters = [str(letter.body) for letter in outbox.outbox if letter.to == [address]]
    return re.findall(r"/invitation/\?token=([\w-]+)", letters[-1])[0] if letters else ""


def token_for(case: Case, email: str = EVE, role: str = "reader", by: User | str = "alice") -> str:
    """Invite and return the token that was mailed."""
    answer = invite(case, email, role, by)
    assert answer.status_code == 201, answer.json()
    return mailed(email.lower())


def role_of(name: str, case: Case) -> str | None:
    """Return the role of a member."""
    return (
        CaseMember.objects.filter(case_ref=case, user__username=name).values_list("role", flat=True).first()
    )
