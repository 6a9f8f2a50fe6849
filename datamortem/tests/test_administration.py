"""The door of the admin site: nobody enters on a password, and what is dangerous wants a fresh code."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import get_resolver, reverse

from accounts.models import Role, User
from accounts.tests.pages.surf import browser, text, to
from accounts.tests.phone import PASSWORD, Clock, Owner, enrolled, person, set_clock
from cases import services
from cases.models import Case
from cases.tests.cast import a_case
from datamortem.tests.matrix import address, routes

pytestmark = pytest.mark.django_db

NOW = timedelta(0)
LONG_AGO = timedelta(minutes=6)
VERIFY = "/account/second-factor/verify/"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time as devices see it."""
    return set_clock(monkeypatch)


@pytest.fixture
def ada(clock: Clock) -> Owner:
    """Who administers, with a second factor."""
    return enrolled(clock, "ada", role=Role.SUPERADMIN, is_superuser=True)


def _pages() -> list[str]:
    known = {"object_id": str(a_case().pk), "id": "1", "content_type_id": "1"}
    return [address(route, known) for route, _ in routes(get_resolver()) if route.startswith("admin/")]


def _change(user: User) -> str:
    return reverse("admin:accounts_user_change", args=[user.pk])


def _user_form(user: User, **changes: Any) -> dict[str, Any]:
    return {"email": user.email, "username": user.username, "role": user.role, "is_active": "on", **changes}


class TestEntering:
    """On a password alone nothing opens."""

    @pytest.mark.parametrize("state", ["never enrolled", "not shown"])
    def test_no_page_opens_on_a_password_alone(self, clock: Clock, state: str) -> None:
        facts: dict[str, Any] = {"role": Role.SUPERADMIN, "is_superuser": True}
        user = person("eve", **facts) if state == "never enrolled" else enrolled(clock, "eve", **facts).user
        client, pages = browser(user), _pages()
        assert len(pages) > 40
        opened = []
        for page in pages:
            for method in (client.get, client.post):
                answer = method(page)
                # A redirect leads to the second factor, or (an address without a slash) to one that does.
                if answer.status_code not in (301, 302) or b"ir-2024-001" in answer.content:
                    opened.append((page, answer.status_code))
        assert opened == []

    def test_no_page_opens_after_the_form_of_the_door_either(self, clock: Clock) -> None:
        person("eve", role=Role.ADMIN)
        client = Client()
        client.post("/login/", {"username": "eve@example.org", "password": PASSWORD})
        assert to(client.get("/admin/cases/case/")) == (
            "/account/second-factor/?next=%2Fadmin%2Fcases%2Fcase%2F"
        )
        assert to(client.get("/admin/login/?next=/admin/cases/case/")) == (
            "/account/second-factor/?next=%2Fadmin%2Fcases%2Fcase%2F"
        )

    def test_the_site_itself_asks_without_the_middleware(self, ada: Owner, settings: Any) -> None:
        settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "BrowserSessions" not in name]
        client = browser(ada.user, shown=NOW)
        assert to(client.get("/admin/cases/case/")).startswith("/admin/login/")
        assert to(client.get("/admin/login/?next=/admin/cases/case/")).startswith(VERIFY)

    def test_the_way_leads_on_to_where_one_wanted_to_go(self, ada: Owner) -> None:
        client = browser(ada.user)
        wanted = to(client.get("/admin/cases/case/?q=x"))
        assert wanted == f"{VERIFY}?next=%2Fadmin%2Fcases%2Fcase%2F%3Fq%3Dx"
        back = client.post(VERIFY, {"code": ada.phone.code(), "next": "/admin/cases/case/?q=x"})
        assert to(back) == "/admin/cases/case/?q=x"
        assert client.get("/admin/cases/case/?q=x").status_code == 200

    def test_people_who_do_not_administer_are_told_so(self) -> None:
        assert "not open to your role" in text(browser(person("bob")).get("/admin/", follow=True), 403)

    def test_the_admins_own_doors_lead_to_those_of_the_site(self, ada: Owner) -> None:
        client = browser(ada.user, shown=NOW)
        assert to(client.get("/admin/password_change/")) == "/account/password/"
        assert client.get("/admin/logout/").status_code == 405
        assert to(client.post("/admin/logout/")) == "/login/"
        assert to(client.get("/admin/cases/case/", follow=False)).startswith("/admin/login/")


class TestDangerous:
    """What ends something, or changes somebody's access."""

    def test_a_role_is_not_changed_on_a_stale_code(self, ada: Owner) -> None:
        bob = person("bob")
        client = browser(ada.user, shown=LONG_AGO)
        form = _user_form(bob, role=Role.VIEWER)
        answer = client.post(_change(bob), form, headers={"referer": f"http://testserver{_change(bob)}"})
        assert to(answer) == f"{VERIFY}?next={_change(bob).replace('/', '%2F')}"
        assert "Nothing was changed yet" in text(client.get(VERIFY))
        bob.refresh_from_db()
        assert bob.role == Role.ANALYST
        assert to(client.post(VERIFY, {"code": ada.phone.code(), "next": _change(bob)})) == _change(bob)
        assert client.post(_change(bob), form).status_code == 302
        bob.refresh_from_db()
        assert bob.role == Role.VIEWER

    @pytest.mark.parametrize("disguise", ["check", "retry"])
    def test_the_name_of_an_everyday_act_opens_no_other_form(self, ada: Owner, disguise: str) -> None:
        bob = person("bob")
        client = browser(ada.user, shown=LONG_AGO)
        form = _user_form(bob, role=Role.VIEWER, do=disguise, action=disguise)
        assert to(client.post(_change(bob), form)).startswith(VERIFY)
        bob.refresh_from_db()
        assert bob.role == Role.ANALYST

    def test_forms_that_need_it_ask_before_they_are_filled_in(self, ada: Owner) -> None:
        bob = person("bob")
        client = browser(ada.user, shown=LONG_AGO)
        for page in (
            reverse("admin:accounts_user_add"),
            reverse("admin:auth_user_password_change", args=[bob.pk]),
        ):
            assert to(client.get(page)).startswith(VERIFY)
        assert client.get(_change(bob)).status_code == 200
        fresh = browser(ada.user, shown=NOW)
        assert fresh.get(reverse("admin:accounts_user_add")).status_code == 200

    def test_no_password_is_given_on_a_stale_code(self, ada: Owner) -> None:
        bob = person("bob")
        new = {"password1": "a staple in a battery", "password2": "a staple in a battery"}
        page = reverse("admin:auth_user_password_change", args=[bob.pk])
        assert to(browser(ada.user, shown=LONG_AGO).post(page, new)).startswith(VERIFY)
        assert User.objects.get(pk=bob.pk).check_password(PASSWORD)

    def test_a_case_is_closed_by_its_button_and_in_its_list_on_a_fresh_code_alone(self, ada: Owner) -> None:
        case = a_case()
        door, listed = reverse("admin:cases_case_act", args=[case.pk]), reverse("admin:cases_case_changelist")
        chosen = {"_selected_action": [case.pk], "index": "0"}
        sent: list[tuple[str, dict[str, Any]]] = [
            (door, {"do": "close"}),
            (door, {"do": ["check", "close"]}),
            (listed, {"action": "close", **chosen}),
            (listed, {"action": ["close", "check_record"], **chosen}),
        ]
        stale = browser(ada.user, shown=LONG_AGO)
        for page, said in sent:
            assert to(stale.post(page, said)).startswith(VERIFY), said
            assert not Case.objects.get(pk=case.pk).is_closed
        assert browser(ada.user, shown=NOW).post(door, {"do": "close"}).status_code == 302
        assert Case.objects.get(pk=case.pk).is_closed

    def test_everyday_work_goes_on_without(self, ada: Owner) -> None:
        case = a_case()
        services.close_case(case=case, by=None)
        client = browser(ada.user, shown=LONG_AGO)
        door = reverse("admin:cases_case_act", args=[case.pk])
        for what in ("check", "reopen"):
            assert "/cases/case/" in to(client.post(door, {"do": what}))
        case.refresh_from_db()
        assert not case.is_closed
        page = reverse("admin:cases_case_change", args=[case.pk])
        said = {"title": "Break-in", "severity": "high", "tag_list": "", "note": ""}
        assert client.post(page, said).status_code == 302
        case.refresh_from_db()
        assert case.title == "Break-in"

    @pytest.mark.parametrize(
        "referer", ["https://evil.example/x", "//evil.example", "", "javascript:alert(1)"]
    )
    def test_the_way_back_is_on_this_site(self, ada: Owner, referer: str) -> None:
        client = browser(ada.user, shown=LONG_AGO)
        page = reverse("admin:cases_case_act", args=[a_case().pk])
        answer = client.post(page, {"do": "close"}, headers={"referer": referer})
        assert to(answer) == f"{VERIFY}?next=%2Fadmin%2F"

    def test_where_no_second_factor_is_asked_for_nothing_is_in_the_way(self, settings: Any) -> None:
        settings.SECOND_FACTOR_ROLES = ()
        client = browser(person("ada", role=Role.ADMIN))
        assert (
            client.post(reverse("admin:cases_case_act", args=[a_case().pk]), {"do": "close"}).status_code
            == 302
        )
        assert Case.objects.get().is_closed


def test_no_page_of_the_admin_brings_a_style_of_its_own(ada: Owner) -> None:
    client = browser(ada.user, shown=NOW)
    for page in _pages():
        answer = client.get(page, follow=True)
        if answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/html"):
            body = answer.content.decode()
            assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)[^>]*>|\son[a-z]+=", body), page
