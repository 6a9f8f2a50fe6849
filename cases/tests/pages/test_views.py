"""The pages: sign in, the cases of a user, a timeline, its events and their source."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import Role, User
from cases import services
from cases.engines import engine
from cases.index.tree import Everything
from cases.models import Case
from cases.tests.api.cast import PASSWORD, admin, events, person, record, staffed_case
from cases.tests.cast import a_case, alice
from cases.tests.pages.people import (
    browser,
    event_address,
    get,
    links,
    timeline,
    times,
)

pytestmark = pytest.mark.django_db


class TestSigningIn:
    """The one door."""

    def test_a_stranger_is_sent_to_the_door_and_back(self, client: Client) -> None:
        case = staffed_case()
        answer = client.get(timeline(case, q="a b"))
        assert answer.headers["Location"] == f"/login/?next={quote(timeline(case, q='a b'), safe='/')}"
        said = {"username": "Bob@Example.org", "password": PASSWORD, "next": timeline(case)}
        assert client.post("/login/", said).headers["Location"] == timeline(case)
        get(client, timeline(case))

    def test_a_wrong_password_an_unknown_address_and_an_inactive_user_hear_the_same(
        self, client: Client
    ) -> None:
        person("bob")
        person("gone", is_active=False)
        pages = set()
        for email, password in (
            ("bob@example.org", "wrong"),
            ("nobody@example.org", PASSWORD),
            ("gone@example.org", PASSWORD),
        ):
            answer = client.post("/login/", {"username": email, "password": password})
            page = answer.content.decode()
            assert "do not match" in page
            pages.add(re.sub(r'value="[^"]*"', "", page))
        assert len(pages) == 1

    def test_nobody_is_led_to_another_site(self, client: Client) -> None:
        person("bob")
        said = {"username": "bob@example.org", "password": PASSWORD, "next": "https://evil.example/"}
        assert client.post("/login/", said).headers["Location"] == "/"

    def test_signing_out_ends_the_session_and_needs_a_post(self) -> None:
        client = browser(person("bob"))
        assert client.get("/logout/").status_code == 405
        assert client.post("/logout/").headers["Location"] == "/login/"
        assert client.get("/").status_code == 302

    def test_whoever_is_signed_in_and_may_not_enter_the_admin_is_told_so(self) -> None:
        answer = browser(person("bob")).get("/admin/", follow=True)
        assert answer.status_code == 403
        assert "not open to your role" in answer.content.decode()


class TestStart:
    """The cases of a user."""

    def test_it_lists_the_own_cases_and_no_other(self) -> None:
        staffed_case("mine")
        a_case("not-mine")
        page = get(browser(person("bob")), "/")
        assert timeline("mine") in page
        assert "not-mine" not in page
        assert "not-mine" in get(browser(admin()), "/")

    def test_somebody_without_cases_is_told_how_to_get_one(self) -> None:
        assert "No case yet" in get(browser(person("charlie")), "/")

    def test_a_case_is_found_by_id_and_title(self) -> None:
        services.update_case(case=a_case("ir-1"), by=alice(), title="Break-in at the bank")
        a_case("ir-2")
        page = get(browser(alice()), "/?find=BANK")
        assert timeline("ir-1") in page
        assert timeline("ir-2") not in page
        assert "No case of yours" in get(browser(alice()), "/?find=%3Cscript%3E")

    def test_many_cases_are_paged_at_a_constant_number_of_queries(
        self, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        a_case("ir-000")
        client = browser(alice())
        with django_assert_max_num_queries(10) as few:
            get(client, "/")
        for number in range(1, 60):
            a_case(f"ir-{number:03}")
        seen: list[str] = []
        address = "/"
        while address:
            with django_assert_max_num_queries(len(few)):
                page = get(client, address)
            seen += re.findall(r"/cases/(ir-\d+)/timeline/", page)
            address = next(iter(links(page, "Older cases")), "")
            address = address and f"/{address}"
        assert seen == [f"ir-{number:03}" for number in range(59, -1, -1)]


class TestOldIds:
    """Cases of the old system may be called anything."""

    @pytest.mark.parametrize("case_id", ["Sans propriétaire/été", "a/b/c", "50% ?#"])
    def test_pages_and_admin_show_them(self, case_id: str) -> None:
        case = Case.objects.create(case_id=case_id, owner=person("alice"))
        events(case, [record(1, "kept as it was")])
        alices, address = browser(person("alice")), reverse("timeline", args=[case_id])
        page = get(alices, address)
        assert "kept as it was" in page
        assert "kept as it was" in get(alices, event_address(page))
        assert address in get(alices, "/")
        inspected = reverse("admin:cases_case_change", args=[case.pk])
        for place in (reverse("admin:cases_case_changelist"), inspected):
            assert address in get(browser(admin()), place)


class TestAccess:
    """A case that is not yours does not exist."""

    def test_a_stranger_gets_the_answer_of_a_case_that_is_not_there(self) -> None:
        case = staffed_case()
        events(case, [record(1, "secret")])
        event = event_address(get(browser(person("bob")), timeline(case)))
        charlie = browser(person("charlie"))
        for address in (timeline(case), event, event.replace("/?", "/source/?")):
            there = get(charlie, address, 404)
            gone = get(charlie, address.replace(case.case_id, "ir-none"), 404)
            assert re.sub(r'value="[^"]*"', "", there) == re.sub(r'value="[^"]*"', "", gone)
            assert "secret" not in there

    @pytest.mark.parametrize("name", ["alice", "dana", "bob"])
    def test_members_read(self, name: str) -> None:
        case = staffed_case()
        events(case, [record(1, "for members")])
        assert "for members" in get(browser(person(name)), timeline(case))

    def test_a_viewer_of_the_platform_reads_a_case_it_is_in(self) -> None:
        case = staffed_case()
        User.objects.filter(username="bob").update(role=Role.VIEWER)
        get(browser(person("bob")), timeline(case))

    def test_events_of_another_case_are_not_found_under_ones_own(self) -> None:
        case, other = staffed_case("one"), a_case("two")
        events(other, [record(1, "theirs")])
        event_id = next(iter(engine().stream(case_ids=["two"], query=Everything())))["event_id"]
        bob = browser(person("bob"))
        get(bob, reverse("event", args=["one", event_id]), 404)
        get(bob, reverse("event", args=["one", "0" * 64]), 404)
        get(bob, reverse("event", args=["one", "x' OR 1=1"]), 404)
        assert "theirs" not in get(bob, timeline(case))


class TestTimeline:
    """Searching."""

    def test_events_stand_newest_first_with_exact_total_and_undated_last(self) -> None:
        case = staffed_case()
        events(case, [record(number) for number in range(5)] + [record(9, "no time", timestamp=None)])
        page = get(browser(person("bob")), timeline(case))
        assert times(page)[:2] == ["2024-03-01 00:00:04", "2024-03-01 00:00:03"]
        assert times(page)[-1] == "undated"
        assert "<strong>6</strong> events" in page
        assert "1 undated" in page
        oldest = get(browser(person("bob")), timeline(case, ordering="timestamp"))
        assert times(oldest) == [*sorted(times(page)[:-1]), "undated"]

    def test_the_undated_are_a_click_away(self) -> None:
        case = staffed_case()
        events(case, [record(1), record(9, "no time", timestamp=None)])
        bob = browser(person("bob"))
        [address] = links(get(bob, timeline(case, q="a OR no OR event")), "1 undated")
        page = get(bob, timeline(case) + address)
        assert "<strong>1</strong> event " in page
        assert times(page) == ["undated"]

    def test_a_time_is_shown_as_finely_as_its_source_knew_it(self) -> None:
        case = staffed_case()
        precisions = ("us", "ms", "s", "min", "day", "year")
        events(
            case,
            [record(n, timestamp=1_709_280_930_123_456, time_precision=p) for n, p in enumerate(precisions)],
        )
        page = get(browser(person("bob")), timeline(case))
        assert sorted(times(page)) == [
            "2024",
            "2024-03-01",
            "2024-03-01 08:15",
            "2024-03-01 08:15:30",
            "2024-03-01 08:15:30.123",
            "2024-03-01 08:15:30.123456",
        ]

    def test_hits_are_marked(self) -> None:
        case = staffed_case()
        events(case, [record(1, "Failed <b>password</b> for root")])
        page = get(browser(person("bob")), timeline(case, q='"b password"'))
        assert "Failed &lt;<mark>b&gt;password</mark>&lt;/b&gt; for root" in page

    def test_a_hit_far_inside_a_long_message_is_in_its_row(self) -> None:
        case = staffed_case()
        events(case, [record(1, "a " * 3_000 + "needle" + " b" * 3_000)])
        page = get(browser(person("bob")), timeline(case, q="needle"))
        assert re.search(r"<bdi>… (a ){30}<mark>needle</mark>( b)+ ?…</bdi>", page)

    @pytest.mark.parametrize(
        ("query", "before", "fault"),
        [
            ("host:web AND (a OR", "host:web AND (a OR", "&nbsp;"),
            ("a^2 b", "a", "^"),
            ('"<b>" ^2', "&quot;&lt;b&gt;&quot; ", "^"),
        ],
    )
    def test_a_query_that_does_not_parse_is_marked_at_its_fault(
        self, query: str, before: str, fault: str
    ) -> None:
        case = staffed_case()
        events(case, [record(1, "must not be shown")])
        page = get(browser(person("bob")), timeline(case, q=query), 400)
        assert 'aria-invalid="true"' in page
        assert "Character " in page
        assert f"<bdi>{before}<mark>{fault}</mark>" in page
        assert "must not be shown" not in page

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"from": "yesterday"}, "from"),
            ({"to": "2024-13-01"}, "to"),
            ({"from": "2024-03-02", "to": "2024-03-01"}, "from"),
        ],
    )
    def test_a_time_that_makes_no_sense_is_told_beside_it(self, asked: dict[str, str], field: str) -> None:
        case = staffed_case()
        events(case, [record(1, "must not be shown")])
        page = get(browser(person("bob")), timeline(case, **asked), 400)
        assert re.search(rf'id="{field}"[^>]*aria-invalid="true"', page)
        assert "must not be shown" not in page

    @pytest.mark.parametrize(
        "asked",
        [{"cursor": "edited"}, {"limit": "-1"}, {"limit": "5000"}, {"ordering": "x"}, {"form": "2024-01-01"}],
    )
    def test_an_address_that_makes_no_sense_shows_no_events(self, asked: dict[str, str]) -> None:
        case = staffed_case()
        events(case, [record(1, "must not be shown")])
        page = get(browser(person("bob")), timeline(case, **asked), 400)
        assert "This address does not make sense" in page
        assert "must not be shown" not in page

    @pytest.mark.parametrize(
        "query", ["(" * 5_000, "a" * 100_000, "/(a*)*b/ AND " * 500, "\x00", "\u202e", "]" * 99]
    )
    def test_hostile_queries_get_an_answer(self, query: str) -> None:
        case = staffed_case()
        events(case, [record(1)])
        answer = browser(person("bob")).get(timeline(case), {"q": query})
        assert answer.status_code in (200, 400)

    def test_a_nul_in_an_address_is_no_fault_of_the_server(self) -> None:
        case = staffed_case()
        bob = browser(person("bob"))
        assert case.case_id in get(bob, "/?find=%00ir-2024")
        get(bob, "/cases/%00/timeline/", 404)
        for name in ("evidence", "source", "from", "cursor", "x%00"):
            get(bob, f"{timeline(case)}?{name}=%00", 400)
        get(bob, f"/cases/{case.case_id}/events/%00/", 404)

    def test_pages_lose_and_repeat_nothing(self) -> None:
        case = staffed_case()
        same = 1_709_251_200_000_000
        evidence = [
            record(n, f"number {n:03}", timestamp=same if n < 40 else None if n > 90 else same + n)
            for n in range(100)
        ]
        events(case, evidence)
        bob = browser(person("bob"))
        seen, address = [], timeline(case, limit=25, q="number")
        while address:
            page = get(bob, address)
            seen += re.findall(r"<mark>number</mark> (\d{3})\b", page)
            address = next(iter(links(page, "Next 25")), "")
            address = address and timeline(case) + address
        assert sorted(seen) == [f"{n:03}" for n in range(100)]
        assert "This is the last page" in page
        assert links(page, "First page") == ["?q=number&limit=25"]

    def test_a_bar_narrows_to_its_interval(self) -> None:
        case = staffed_case()
        events(case, [record(3600 * hour) for hour in range(24)])
        bob = browser(person("bob"))
        page = get(bob, timeline(case, q="event"))
        bars = re.findall(r'<a href="([^"]*)" aria-label="([^"]*)"><title>', page)
        assert len(bars) == 24
        address, label = bars[7]
        assert label == "2024-03-01 07:00 UTC, one hour: 1 event"
        narrowed = get(bob, timeline(case) + unescape(address))
        assert times(narrowed) == ["2024-03-01 07:00:00"]

    def test_sources_hosts_and_evidence_narrow_and_widen(self) -> None:
        case = staffed_case()
        first = events(case, [record(n, host="ws 1") for n in range(3)], source="evtx")
        events(case, [record(n, host="web") for n in range(2)], source="syslog")
        bob = browser(person("bob"))
        page = get(bob, timeline(case))
        for name, count in (("evtx", 3), ("ws 1", 3), (first.original_name, 3), ("syslog", 2)):
            [address] = links(page, name)
            narrowed = get(bob, timeline(case) + address)
            assert f"<strong>{count}</strong> events" in narrowed
        [address] = links(page, "evtx")
        narrowed = get(bob, timeline(case) + address)
        [both] = links(narrowed, "syslog")
        assert "<strong>5</strong> events" in get(bob, timeline(case) + both)
        assert 'class="limits"' in narrowed

    def test_conditions_stay_when_something_else_is_searched(self) -> None:
        case = staffed_case()
        evidence = events(case, [record(1)])
        page = get(browser(person("bob")), timeline(case, evidence=evidence.evidence_uid, source="jsonl"))
        assert f'<input type="hidden" name="evidence" value="{evidence.evidence_uid}">' in page
        assert '<input type="hidden" name="source" value="jsonl">' in page

    def test_the_export_gives_what_the_search_finds(self) -> None:
        case = staffed_case()
        events(case, [record(n, "apple" if n % 2 else "pear") for n in range(10)])
        bob = browser(person("bob"))
        page = get(bob, timeline(case, q="apple", to="2024-03-01T00:00:06Z"))
        [jsonl], [table] = links(page, "JSONL"), links(page, "CSV")
        answer = bob.get(jsonl)
        assert answer.status_code == 200
        assert answer.getvalue().count(b"apple") == 3
        answer = bob.get(table)
        assert len(answer.getvalue().splitlines()) == 4

    def test_an_empty_case_and_an_empty_answer_say_what_to_do(self) -> None:
        case = staffed_case()
        bob = browser(person("bob"))
        assert "no events yet" in get(bob, timeline(case))
        events(case, [record(1)])
        assert "No event matches" in get(bob, timeline(case, q="nothing"))

    @pytest.mark.usefixtures("embedded")
    def test_without_the_index_it_says_so_and_the_rest_works(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        case = staffed_case()
        broken = tmp_path / "broken"
        broken.write_text("no directory")
        settings.INDEX_ROOT = broken
        bob = browser(person("bob"))
        assert "The index does not answer" in get(bob, timeline(case), 503)
        assert "cannot be shown now" in get(bob, reverse("event", args=[case.case_id, "0" * 64]), 503)
        get(bob, "/")

    def test_the_number_of_queries_does_not_grow(
        self, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        case = staffed_case()
        events(case, [record(1)])
        bob = browser(person("bob"))
        with django_assert_max_num_queries(15) as few:
            get(bob, timeline(case))
        for number in range(10):
            events(case, [record(number * 10 + n) for n in range(10)])
        with django_assert_max_num_queries(len(few)):
            get(bob, timeline(case))
