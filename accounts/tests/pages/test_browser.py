"""Signing in with a real Chromium: the whole way, on a telephone too, and nothing against the policy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib import admin
from django.utils import timezone
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from accounts.models import AuthSession, Role, TotpDevice, User
from cases.models import Case
from cases.tests.api.cast import PASSWORD, person
from cases.tests.pages import test_browser as pages
from cases.tests.pages.test_browser import Browser, code_of

pytestmark = pages.pytestmark

chromium, case = pages.chromium, pages.case


@pytest.fixture
def browser(chromium: Browser, live_server: LiveServer) -> Iterator[Browser]:
    """A browser in which nobody is signed in; what it holds against a page fails the test."""
    chromium.address = live_server.url
    chromium.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.resize(1280)
    chromium.complains()
    yield chromium
    assert held_against(chromium) == []
    chromium.driver.get("about:blank")


def held_against(browser: Browser) -> list[str]:
    """Return what the console says, but for advice on forms and for refusals."""
    advice = ("[DOM]", "status of 403", "status of 429")
    return [said for said in browser.complains() if not any(word in said for word in advice)]


def _path(browser: Browser) -> str:
    return browser.driver.current_url.removeprefix(browser.address)


def _send(browser: Browser, **typed: str) -> None:
    """Fill in the fields and press the button of their form."""
    for name, value in typed.items():
        field = browser.one(f"#id_{name}")
        field.clear()
        field.send_keys(value)
    browser.follow(browser.one("main form .go"))


def test_an_administrator_from_the_password_to_the_admin_and_again(browser: Browser) -> None:
    ada = person("ada", role=Role.SUPERADMIN, is_superuser=True)
    bob = person("bob")
    browser.open("/admin/accounts/user/")
    assert _path(browser) == "/login/?next=/admin/accounts/user/"
    _send(browser, username=ada.email, password="wrong")
    assert "do not match" in browser.one(".errorlist").text
    _send(browser, username=ada.email, password=PASSWORD)
    assert _path(browser).startswith("/account/second-factor/?next=")
    secret = browser.enrol()
    assert _path(browser) == "/admin/accounts/user/"
    assert "bob@example.org" in browser.one("#result_list").text

    browser.open("/")
    browser.follow(browser.one(".who button"))
    browser.open(f"/admin/accounts/user/{bob.pk}/change/")
    _send(browser, username=ada.email, password=PASSWORD)
    assert _path(browser).startswith("/login/code/")
    TotpDevice.objects.update(last_t=-1)  # half a minute has gone by
    _send(browser, code=code_of(secret))
    assert _path(browser) == f"/admin/accounts/user/{bob.pk}/change/"

    # The code has become old: what is sent is not taken, and the form is there again.
    AuthSession.objects.update(otp_time=timezone.now() - timedelta(minutes=6))
    browser.follow(browser.one('button[name="_save"]'))
    assert _path(browser).startswith("/account/second-factor/verify/")
    assert "Nothing was changed yet" in browser.one(".messages").text
    TotpDevice.objects.update(last_t=-1)
    _send(browser, code=code_of(secret))
    assert _path(browser) == f"/admin/accounts/user/{bob.pk}/change/"
    browser.follow(browser.one('button[name="_save"]'))
    assert _path(browser) == "/admin/accounts/user/"


@pytest.mark.parametrize("width", [390, 1280])
def test_the_own_account_on_any_screen(browser: Browser, width: int) -> None:
    bob = person("bob", full_name="Bob " + "x" * 150)
    browser.sign_in(bob.email)
    browser.resize(width)
    for page in ("", "password/", "sign-ins/", "second-factor/", "tokens/", "tokens/new/"):
        browser.open(f"/account/{page}")
        assert not browser.is_too_wide(), page
        for field in browser.all("main input:not([type=hidden]):not(.hidden), main select, main textarea"):
            assert browser.all(f'label[for="{field.get_attribute("id")}"]'), page
    _send(browser, name="nightly")
    assert (browser.one("#token").get_attribute("value") or "").startswith("dm_")
    assert not browser.is_too_wide()
    browser.open("/account/second-factor/")
    browser.follow(browser.one(".part .go"))
    picture = browser.one(".qr svg").rect
    assert picture["width"] > 150
    assert not browser.is_too_wide()
    secret = browser.one("code.secret").text
    _send(browser, code=code_of(secret))
    assert len(browser.all(".recovery code")) == 10
    assert not browser.is_too_wide()
    assert User.objects.get(pk=bob.pk).otp_enabled


def test_the_keyboard_is_enough(browser: Browser) -> None:
    bob = person("bob")
    browser.open("/login/")
    browser.driver.switch_to.active_element.send_keys(bob.email + "\t" + PASSWORD)
    before = browser.one("html").id
    browser.driver.switch_to.active_element.send_keys("\n")
    deadline = time.monotonic() + 10
    while browser.one("html").id == before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _path(browser) == "/"
    assert browser.one(".me").text == "bob"


def test_no_page_is_against_the_policy(browser: Browser, case: Case, settings: Settings) -> None:
    settings.SECOND_FACTOR_ROLES = ()
    settings.REGISTRATION = "open"
    User.objects.filter(username="ada").update(role=Role.SUPERADMIN, is_superuser=True)
    browser.open("/register/")
    browser.open("/password/reset/confirm/?token=x")
    browser.sign_in("ada@example.org")
    timeline = f"/cases/{case.case_id}/timeline/"
    for page in ("/", timeline, "/nowhere/", "/invitation/?token=x", "/api/v1/docs/", "/account/tokens/new/"):
        browser.open(page)
        assert held_against(browser) == [], page
    for model in admin.site._registry:
        place = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        first = model._default_manager.first()
        browser.open(place)
        if first is not None:
            browser.open(f"{place}{first.pk}/change/")
        assert held_against(browser) == [], place
    for page in ("/admin/accounts/user/add/", f"/admin/accounts/user/{case.owner_id}/password/"):
        browser.open(page)
        assert held_against(browser) == [], page
    browser.open("/admin/cases/case/")
    browser.one("input.action-select").click()
    assert "width" in (browser.one("#changelist-actions").get_attribute("style") or "")
    assert held_against(browser) == []
    planted = "document.head.insertAdjacentHTML('beforeend', '<style>a { color: red }</style>')"
    browser.driver.execute_script(planted)
    [said] = held_against(browser)
    assert "Content Security Policy" in said
