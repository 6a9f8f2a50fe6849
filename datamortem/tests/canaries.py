"""A story in which every way in is used, with all that was secret in it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.core import mail as outbox
from django.test import Client
from rest_framework.test import APIClient

from accounts import mail, tokens
from accounts.models import User
from accounts.models.second_factor import key_of
from accounts.tests.phone import Clock, Phone, set_clock
from cases.tests.api.cast import V1, person, staffed_case


@dataclass
class Story:
    """What was secret, in which answers it may show, and what was answered."""

    secrets: dict[str, str] = field(default_factory=dict)
    shown: dict[str, set[int]] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    client: APIClient = field(default_factory=lambda: APIClient(raise_request_exception=False))

    def secret(self, name: str, value: str, *, in_last_answer: bool = False) -> str:
        """Remember something secret, and return it."""
        assert len(value) >= 6
        self.secrets[name] = value
        self.shown.setdefault(name, set()).update({len(self.answers) - 1} if in_last_answer else ())
        return value

    def heard(self, answer: Any) -> Any:
        """Remember an answer with its headers."""
        self.answers.append(f"{answer.status_code} {dict(answer.headers)} {answer.content.decode()}")
        return answer

    def post(self, path: str, *, bearer: str = "", status: int = 200, **body: Any) -> Any:
        """Ask the API, and return what it answered."""
        more: Any = {"HTTP_AUTHORIZATION": f"Bearer {bearer}"} if bearer else {}
        more["HTTP_IDEMPOTENCY_KEY"] = f"key-{len(self.answers)}"
        answer = self.heard(self.client.post(f"{V1}/{path}", body, format="json", **more))
        assert answer.status_code == status, (path, answer.content)
        return answer.json() if answer.content else None

    def page(self, browser: Client, path: str, status: int, **form: str) -> Any:
        """Send a form of a page."""
        answer = self.heard(browser.post(path, form))
        assert answer.status_code == status, (path, answer.content[-2000:])
        return answer

    def mailed(self, name: str) -> str:
        """Have mail delivered, and return the token of the last one."""
        mail.deliver_due()
        found = re.findall(r"token=([\w-]+)", " ".join(str(sent.body) for sent in outbox.outbox))
        return self.secret(name, found[-1])

    def pair(self, name: str, pair: dict[str, str]) -> dict[str, str]:
        """Remember a pair of tokens, whole and by their signatures."""
        for kind in ("access", "refresh"):
            self.secret(f"{name} {kind}", pair[kind], in_last_answer=True)
            self.secret(f"{name} {kind} signature", pair[kind].split(".")[2], in_last_answer=True)
        return pair


def tell(monkeypatch: pytest.MonkeyPatch) -> Story:
    """Tell the whole story; people may register."""
    told, clock = Story(), set_clock(monkeypatch)
    access = _register_and_sign_in(told)
    phone = _enrol(told, access, clock)
    _use_the_second_factor(told, phone)
    _use_api_tokens(told, phone)
    _change_and_reset(told, phone)
    _invite(told)
    _use_pages(told, phone)
    _fail_inside(told, monkeypatch)
    return told


def _register_and_sign_in(told: Story) -> str:
    first = told.secret("first password", "gooseberry lantern 41")
    names: dict[str, Any] = {"email": "mallory@example.org", "username": "mallory", "full_name": "Mallory"}
    told.post("auth/register/", status=202, password=first, **names)
    repeated = told.secret("password of a repetition", "xylophone orchid 8")
    told.post("auth/register/", status=202, password=repeated, **{**names, "username": "other"})
    told.post("auth/register/", status=400, **{**names, "password": told.secret("weak password", "qwertz7")})
    told.post("auth/email/verify/", status=400, token=told.secret("wrong mail token", "w" * 43))
    told.post("auth/email/verify/", status=204, token=told.mailed("verification token"))
    mallory: dict[str, Any] = {"email": "mallory@example.org"}
    told.post("auth/login/", status=401, password=told.secret("wrong password", "not the one 99"), **mallory)
    for number in range(7):  # beyond the limit
        wrong = told.secret(f"guess {number}", f"guessed-wrongly-{number}")
        status = 401 if number < 5 else 429
        told.post("auth/login/", status=status, email="nobody@example.org", password=wrong)
    mistyped = told.secret("password typed as address", "typed.where@the-address-belongs.example")
    told.post("auth/login/", status=401, email=mistyped, password="mallory@example.org")
    told.post("auth/login/", status=400, password=first, **mallory, remember=True)
    pair = told.pair("first", told.post("auth/login/", password=first, **mallory))
    again = told.pair("second", told.post("auth/refresh/", refresh=pair["refresh"]))
    told.post("auth/refresh/", status=401, refresh=pair["refresh"])
    told.post("auth/logout/", status=204, bearer=pair["access"])
    assert again["access"] != pair["access"]
    return told.pair("third", told.post("auth/login/", password=first, **mallory))["access"]


def _enrol(told: Story, access: str, clock: Clock) -> Phone:
    for name in ("abandoned secret", "secret"):
        enrolment = told.post("auth/otp/enrol/", bearer=access)
        told.secret(name, enrolment["secret"], in_last_answer=True)
        told.secret(f"{name} as a key", key_of(enrolment["secret"]).hex())
    phone = Phone(enrolment["secret"], clock)
    told.post("auth/otp/confirm/", bearer=access, status=400, code=told.secret("a wrong code", "135790"))
    codes = told.post("auth/otp/confirm/", bearer=access, code=told.secret("code 1", phone.code()))
    _remember_codes(told, "old", codes)
    code = told.secret("code 2", phone.next_code())
    new = told.post("auth/otp/recovery-codes/", bearer=access, code=code)
    _remember_codes(told, "new", new)
    told.post("auth/otp/verify/", bearer=access, status=204, code=told.secret("code 3", phone.next_code()))
    return phone


def _remember_codes(told: Story, name: str, answer: dict[str, list[str]]) -> None:
    for number, code in enumerate(answer["recovery_codes"]):
        told.secret(f"{name} recovery code {number}", code, in_last_answer=True)
        told.secret(f"{name} recovery code {number}, bare", code.replace("-", ""))


def _log_in(told: Story, phone: Phone, name: str, password: str) -> str:
    body: dict[str, Any] = {"email": "mallory@example.org", "password": told.secrets[password]}
    challenge = told.post("auth/login/", **body)["challenge"]
    told.secret(f"{name} challenge", challenge, in_last_answer=True)
    code = told.secret(f"{name} code", phone.next_code())
    return told.pair(name, told.post("auth/login/verify/", challenge=challenge, code=code))["access"]


def _use_the_second_factor(told: Story, phone: Phone) -> None:
    _log_in(told, phone, "two steps", "first password")
    body: dict[str, Any] = {"email": "mallory@example.org", "password": told.secrets["first password"]}
    told.post("auth/login/", status=401, otp=told.secret("a wrong recovery code", "aaaaa-bbbbb"), **body)
    one = told.secrets["new recovery code 0"]
    told.pair("one step", told.post("auth/login/", otp=one, **body))
    told.post("auth/login/", status=401, otp=one, **body)


def _use_api_tokens(told: Story, phone: Phone) -> None:
    access = _log_in(told, phone, "for tokens", "first password")
    made = told.post("auth/api-tokens/", bearer=access, status=201, name="script", scopes=["read", "write"])
    told.secret("API token", made["token"], in_last_answer=True)
    told.secret("secret of the API token", made["token"].split("_", 2)[2], in_last_answer=True)
    told.post("cases/", bearer=made["token"], status=201, case_id="of-a-program")
    forged = told.secret("forged API token", f"{made['token'][:16]}{'Zz9' * 14}Z")
    told.post("cases/", bearer=forged, status=401)
    note = told.secret("a password in a note", "the safe opens with Tr0ub4dor")
    told.post("cases/", bearer=access, status=201, case_id="with-a-note", note=note)


def _change_and_reset(told: Story, phone: Phone) -> None:
    access = _log_in(told, phone, "for a change", "first password")
    second = told.secret("second password", "marzipan viaduct 17")
    change, old = "auth/password/change/", told.secrets["first password"]
    told.post(change, bearer=access, status=400, new_password=second, old_password="not this one, either")
    told.post(change, bearer=access, status=204, new_password=second, old_password=old)
    told.post("auth/password/reset/", status=202, email="mallory@example.org")
    token, third = told.mailed("reset token"), told.secret("third password", "pelican isthmus 23")
    told.post("auth/password/reset/confirm/", status=400, token=token, new_password="short")
    told.post("auth/password/reset/confirm/", status=204, token=token, new_password=third)


def _invite(told: Story) -> None:
    staffed_case()
    person("alice").set_password(told.secret("password of the lead", "otter semaphore 5"))
    lead = told.secret("access of the lead", tokens.issue(person("alice")).access)
    address = "ivan@example.org"
    told.post("cases/ir-2024-001/invitations/", bearer=lead, status=201, email=address, role="analyst")
    token = told.mailed("invitation token")
    told.post("invitations/look/", token=token)
    password = told.secret("password of the invited", "quagmire tulip 77")
    told.post("invitations/accept/", status=201, token=token, username="ivan", password=password)
    told.pair("of the invited", told.post("auth/login/", email=address, password=password))


def _use_pages(told: Story, phone: Phone) -> None:
    browser = Client()
    address, third = "mallory@example.org", told.secrets["third password"]
    wrong = told.secret("wrong password on a page", "wrong on the page 3")
    told.page(browser, "/login/", 400, username=address, password=wrong)
    told.page(browser, "/login/", 302, username=address, password=third)
    told.secret("cookie before the code", browser.cookies["sessionid"].value, in_last_answer=True)
    told.page(browser, "/login/code/", 400, code=told.secret("wrong code on a page", "246802"))
    told.page(browser, "/login/code/", 302, code=told.secret("code on a page", phone.next_code()))
    told.secret("cookie", browser.cookies["sessionid"].value, in_last_answer=True)
    fourth = told.secret("fourth password", "zeppelin cutlery 12")
    code = told.secret("code for the page", phone.next_code())
    told.page(browser, "/account/second-factor/verify/", 302, code=code)
    form = {"old_password": third, "new_password": fourth}
    told.page(browser, "/account/password/", 302, **form)
    told.secret("last cookie", browser.cookies["sessionid"].value, in_last_answer=True)
    assert User.objects.get(username="mallory").check_password(fourth)


def _fail_inside(told: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError

    body: dict[str, Any] = {"email": "ivan@example.org", "password": told.secrets["password of the invited"]}
    with monkeypatch.context() as patch:
        patch.setattr("accounts.signin.authenticate", fail)
        told.post("auth/login/", status=500, **body)
    broken = json.dumps(body)[:-1]
    answer = told.client.generic("POST", f"{V1}/auth/login/", broken, content_type="application/json")
    assert told.heard(answer).status_code == 400
