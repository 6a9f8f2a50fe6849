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
from cases import services, tasks
from cases.engines import engine
from cases.index.tree import Everything
from cases.models import Case, Evidence
from cases.tests.api.cast import PASSWORD, admin, events, person, record, staffed_case
from cases.tests.cast import a_case, alice, receive
from cases.tests.pages.people import HOSTILE, browser, read_evidence
from datamortem.common.headers import ADMIN, PAGES

pytestmark = pytest.mark.django_db


def _timeline(case: Case | str = "ir-2024-001", **asked: object) -> str:
    case_id = case if isinstance(case, str) else case.case_id
    query = "&".join(f"{name}={quote(str(value))}" for name, value in asked.items())
    return f"/cases/{case_id}/timeline/" + (f"?{query}" if query else "")


def _get(client: Client, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status, address
    return answer.content.decode()


def _links(page: str, text: str) -> list[str]:
    """Return where the links with this text lead."""
    found = re.findall(rf'<a [^>]*href="([^"]*)"[^>]*>\s*(?:<bdi>)?{re.escape(text)}(?:</bdi>)?\s*</a>', page)
    return [unescape(address) for address in found]


def _times(page: str) -> list[str]:
    return re.findall(r'<td class="time"><a [^>]*>([^<]*)</a>', page)


def _event_address(page: str, position: int = 0) -> str:
    return unescape(re.findall(r'<td class="time"><a href="([^"]*)"', page)[position])


class TestSigningIn:
    """The one door."""

    def test_a_stranger_is_sent_to_the_door_and_back(self, client: Client) -> None:
        case = staffed_case()
        answer = client.get(_timeline(case, q="a b"))
        assert answer.headers["Location"] == f"/login/?next={quote(_timeline(case, q='a b'), safe='/')}"
        said = {"username": "Bob@Example.org", "password": PASSWORD, "next": _timeline(case)}
        assert client.post("/login/", said).headers["Location"] == _timeline(case)
        _get(client, _timeline(case))

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
        page = _get(browser(person("bob")), "/")
        assert _timeline("mine") in page
        assert "not-mine" not in page
        assert "not-mine" in _get(browser(admin()), "/")

    def test_somebody_without_cases_is_told_how_to_get_one(self) -> None:
        assert "No case yet" in _get(browser(person("charlie")), "/")

    def test_a_case_is_found_by_id_and_title(self) -> None:
        services.update_case(case=a_case("ir-1"), by=alice(), title="Break-in at the bank")
        a_case("ir-2")
        page = _get(browser(alice()), "/?find=BANK")
        assert _timeline("ir-1") in page
        assert _timeline("ir-2") not in page
        assert "No case of yours" in _get(browser(alice()), "/?find=%3Cscript%3E")

    def test_many_cases_are_paged_at_a_constant_number_of_queries(
        self, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        a_case("ir-000")
        client = browser(alice())
        with django_assert_max_num_queries(10) as few:
            _get(client, "/")
        for number in range(1, 60):
            a_case(f"ir-{number:03}")
        seen: list[str] = []
        address = "/"
        while address:
            with django_assert_max_num_queries(len(few)):
                page = _get(client, address)
            seen += re.findall(r"/cases/(ir-\d+)/timeline/", page)
            address = next(iter(_links(page, "Older cases")), "")
            address = address and f"/{address}"
        assert seen == [f"ir-{number:03}" for number in range(59, -1, -1)]


class TestAccess:
    """A case that is not yours does not exist."""

    def test_a_stranger_gets_the_answer_of_a_case_that_is_not_there(self) -> None:
        case = staffed_case()
        events(case, [record(1, "secret")])
        event = _event_address(_get(browser(person("bob")), _timeline(case)))
        charlie = browser(person("charlie"))
        for address in (_timeline(case), event, event.replace("/?", "/source/?")):
            there = _get(charlie, address, 404)
            gone = _get(charlie, address.replace(case.case_id, "ir-none"), 404)
            assert re.sub(r'value="[^"]*"', "", there) == re.sub(r'value="[^"]*"', "", gone)
            assert "secret" not in there

    @pytest.mark.parametrize("name", ["alice", "dana", "bob"])
    def test_members_read(self, name: str) -> None:
        case = staffed_case()
        events(case, [record(1, "for members")])
        assert "for members" in _get(browser(person(name)), _timeline(case))

    def test_a_viewer_of_the_platform_reads_a_case_it_is_in(self) -> None:
        case = staffed_case()
        User.objects.filter(username="bob").update(role=Role.VIEWER)
        _get(browser(person("bob")), _timeline(case))

    def test_events_of_another_case_are_not_found_under_ones_own(self) -> None:
        case, other = staffed_case("one"), a_case("two")
        events(other, [record(1, "theirs")])
        event_id = next(iter(engine().stream(case_ids=["two"], query=Everything())))["event_id"]
        bob = browser(person("bob"))
        _get(bob, reverse("event", args=["one", event_id]), 404)
        _get(bob, reverse("event", args=["one", "0" * 64]), 404)
        _get(bob, reverse("event", args=["one", "x' OR 1=1"]), 404)
        assert "theirs" not in _get(bob, _timeline(case))


class TestTimeline:
    """Searching."""

    def test_events_stand_newest_first_with_exact_total_and_undated_last(self) -> None:
        case = staffed_case()
        events(case, [record(number) for number in range(5)] + [record(9, "no time", timestamp=None)])
        page = _get(browser(person("bob")), _timeline(case))
        assert _times(page)[:2] == ["2024-03-01 00:00:04", "2024-03-01 00:00:03"]
        assert _times(page)[-1] == "undated"
        assert "<strong>6</strong> events" in page
        assert "1 undated" in page
        oldest = _get(browser(person("bob")), _timeline(case, ordering="timestamp"))
        assert _times(oldest) == [*sorted(_times(page)[:-1]), "undated"]

    def test_the_undated_are_a_click_away(self) -> None:
        case = staffed_case()
        events(case, [record(1), record(9, "no time", timestamp=None)])
        bob = browser(person("bob"))
        [address] = _links(_get(bob, _timeline(case, q="a OR no OR event")), "1 undated")
        page = _get(bob, _timeline(case) + address)
        assert "<strong>1</strong> event " in page
        assert _times(page) == ["undated"]

    def test_a_time_is_shown_as_finely_as_its_source_knew_it(self) -> None:
        case = staffed_case()
        precisions = ("us", "ms", "s", "min", "day", "year")
        events(
            case,
            [record(n, timestamp=1_709_280_930_123_456, time_precision=p) for n, p in enumerate(precisions)],
        )
        page = _get(browser(person("bob")), _timeline(case))
        assert sorted(_times(page)) == [
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
        page = _get(browser(person("bob")), _timeline(case, q='"b password"'))
        assert "Failed &lt;<mark>b&gt;password</mark>&lt;/b&gt; for root" in page

    def test_a_hit_far_inside_a_long_message_is_in_its_row(self) -> None:
        case = staffed_case()
        events(case, [record(1, "a " * 3_000 + "needle" + " b" * 3_000)])
        page = _get(browser(person("bob")), _timeline(case, q="needle"))
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
        page = _get(browser(person("bob")), _timeline(case, q=query), 400)
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
        page = _get(browser(person("bob")), _timeline(case, **asked), 400)
        assert re.search(rf'id="{field}"[^>]*aria-invalid="true"', page)
        assert "must not be shown" not in page

    @pytest.mark.parametrize(
        "asked",
        [{"cursor": "edited"}, {"limit": "-1"}, {"limit": "5000"}, {"ordering": "x"}, {"form": "2024-01-01"}],
    )
    def test_an_address_that_makes_no_sense_shows_no_events(self, asked: dict[str, str]) -> None:
        case = staffed_case()
        events(case, [record(1, "must not be shown")])
        page = _get(browser(person("bob")), _timeline(case, **asked), 400)
        assert "This address does not make sense" in page
        assert "must not be shown" not in page

    @pytest.mark.parametrize(
        "query", ["(" * 5_000, "a" * 100_000, "/(a*)*b/ AND " * 500, "\x00", "\u202e", "]" * 99]
    )
    def test_hostile_queries_get_an_answer(self, query: str) -> None:
        case = staffed_case()
        events(case, [record(1)])
        answer = browser(person("bob")).get(_timeline(case), {"q": query})
        assert answer.status_code in (200, 400)

    def test_a_nul_in_an_address_is_no_fault_of_the_server(self) -> None:
        case = staffed_case()
        bob = browser(person("bob"))
        assert case.case_id in _get(bob, "/?find=%00ir-2024")
        _get(bob, "/cases/%00/timeline/", 404)
        for name in ("evidence", "source", "from", "cursor", "x%00"):
            _get(bob, f"{_timeline(case)}?{name}=%00", 400)
        _get(bob, f"/cases/{case.case_id}/events/%00/", 404)

    def test_pages_lose_and_repeat_nothing(self) -> None:
        case = staffed_case()
        same = 1_709_251_200_000_000
        evidence = [
            record(n, f"number {n:03}", timestamp=same if n < 40 else None if n > 90 else same + n)
            for n in range(100)
        ]
        events(case, evidence)
        bob = browser(person("bob"))
        seen, address = [], _timeline(case, limit=25, q="number")
        while address:
            page = _get(bob, address)
            seen += re.findall(r"<mark>number</mark> (\d{3})\b", page)
            address = next(iter(_links(page, "Next 25")), "")
            address = address and _timeline(case) + address
        assert sorted(seen) == [f"{n:03}" for n in range(100)]
        assert "This is the last page" in page
        assert _links(page, "First page") == ["?q=number&limit=25"]

    def test_a_bar_narrows_to_its_interval(self) -> None:
        case = staffed_case()
        events(case, [record(3600 * hour) for hour in range(24)])
        bob = browser(person("bob"))
        page = _get(bob, _timeline(case, q="event"))
        bars = re.findall(r'<a href="([^"]*)" aria-label="([^"]*)"><title>', page)
        assert len(bars) == 24
        address, label = bars[7]
        assert label == "2024-03-01 07:00 UTC, one hour: 1 event"
        narrowed = _get(bob, _timeline(case) + unescape(address))
        assert _times(narrowed) == ["2024-03-01 07:00:00"]

    def test_sources_hosts_and_evidence_narrow_and_widen(self) -> None:
        case = staffed_case()
        first = events(case, [record(n, host="ws 1") for n in range(3)], source="evtx")
        events(case, [record(n, host="web") for n in range(2)], source="syslog")
        bob = browser(person("bob"))
        page = _get(bob, _timeline(case))
        for name, count in (("evtx", 3), ("ws 1", 3), (first.original_name, 3), ("syslog", 2)):
            [address] = _links(page, name)
            narrowed = _get(bob, _timeline(case) + address)
            assert f"<strong>{count}</strong> events" in narrowed
        [address] = _links(page, "evtx")
        narrowed = _get(bob, _timeline(case) + address)
        [both] = _links(narrowed, "syslog")
        assert "<strong>5</strong> events" in _get(bob, _timeline(case) + both)
        assert 'class="limits"' in narrowed

    def test_conditions_stay_when_something_else_is_searched(self) -> None:
        case = staffed_case()
        evidence = events(case, [record(1)])
        page = _get(browser(person("bob")), _timeline(case, evidence=evidence.evidence_uid, source="jsonl"))
        assert f'<input type="hidden" name="evidence" value="{evidence.evidence_uid}">' in page
        assert '<input type="hidden" name="source" value="jsonl">' in page

    def test_the_export_gives_what_the_search_finds(self) -> None:
        case = staffed_case()
        events(case, [record(n, "apple" if n % 2 else "pear") for n in range(10)])
        bob = browser(person("bob"))
        page = _get(bob, _timeline(case, q="apple", to="2024-03-01T00:00:06Z"))
        [jsonl], [table] = _links(page, "JSONL"), _links(page, "CSV")
        answer = bob.get(jsonl)
        assert answer.status_code == 200
        assert answer.getvalue().count(b"apple") == 3
        answer = bob.get(table)
        assert len(answer.getvalue().splitlines()) == 4

    def test_an_empty_case_and_an_empty_answer_say_what_to_do(self) -> None:
        case = staffed_case()
        bob = browser(person("bob"))
        assert "no events yet" in _get(bob, _timeline(case))
        events(case, [record(1)])
        assert "No event matches" in _get(bob, _timeline(case, q="nothing"))

    def test_without_the_index_it_says_so_and_the_rest_works(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        case = staffed_case()
        broken = tmp_path / "broken"
        broken.write_text("no directory")
        settings.INDEX_ROOT = broken
        bob = browser(person("bob"))
        assert "The index does not answer" in _get(bob, _timeline(case), 503)
        assert "cannot be shown now" in _get(bob, reverse("event", args=[case.case_id, "0" * 64]), 503)
        _get(bob, "/")

    def test_the_number_of_queries_does_not_grow(
        self, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        case = staffed_case()
        events(case, [record(1)])
        bob = browser(person("bob"))
        with django_assert_max_num_queries(15) as few:
            _get(bob, _timeline(case))
        for number in range(10):
            events(case, [record(number * 10 + n) for n in range(10)])
        with django_assert_max_num_queries(len(few)):
            _get(bob, _timeline(case))


class TestEvent:
    """One event, and where it comes from."""

    def test_it_shows_every_field_and_attribute(self) -> None:
        case = staffed_case()
        attributes = {"EventID": 4624, "Data": {"a.b": ["x", "y"], "deep": {"n": None}}, "ok": True, "e": ""}
        facts = {"host": "WS-1", "user": "eve", "type": "4624", "category": "logon", "tags": ["odd"]}
        events(case, [record(1, "logged on", attributes=attributes, score=7.5, **facts)], source="evtx")
        bob = browser(person("bob"))
        page = _get(bob, _event_address(_get(bob, _timeline(case))))
        for shown in ("EventID", "4624", "Data.a.b", "true", "WS-1", "eve", "logon", "odd", "7.5", "line 2"):
            assert shown in page
        assert "2024-03-01T00:00:01.000000Z, known to the second" in page

    def test_a_click_on_a_value_finds_the_events_that_have_it_or_do_not(self) -> None:
        case = staffed_case()
        values = ["C:\\Temp\\a b.exe", 'say "hi"', "OR", "*", "<i>", "ł", 4624, 45.5, False, "", "a\nb"]
        events(case, [record(n, attributes={"Odd name": value}) for n, value in enumerate(values)])
        bob = browser(person("bob"))
        listed = _get(bob, _timeline(case, ordering="timestamp", q="event"))
        for position in range(len(values)):
            page = _get(bob, _event_address(listed, position))
            only = unescape(re.findall(r'href="([^"]*)" title="Only events with this value"', page)[-1])
            without = unescape(re.findall(r'href="([^"]*)" title="Events without this value"', page)[-1])
            assert _times(_get(bob, only)) == [f"2024-03-01 00:00:{position:02}"]
            assert f"<strong>{len(values) - 1}</strong>" in _get(bob, without)

    def test_a_value_too_long_for_an_address_is_shown_and_not_offered(self) -> None:
        case = staffed_case()
        bag = {"short": "x", "long": "ż" * 1_000, "longest": "y" * 50_000}
        events(case, [record(1, attributes=bag)])
        bob = browser(person("bob"))
        page = _get(bob, _event_address(_get(bob, _timeline(case))))
        addresses = [unescape(found) for found in re.findall(r'href="([^"]*)" title="(?:Only|Events)', page)]
        assert "ż" * 1_000 in page
        assert "30,000 characters more" in page
        assert [address for address in addresses if "%C5%BC" in address or "yyyy" in address] == []
        assert any("short" in address for address in addresses)

    def test_it_leads_back_to_the_search_it_came_from(self) -> None:
        case = staffed_case()
        events(case, [record(1)])
        bob = browser(person("bob"))
        asked = _timeline(case, q="event", ordering="timestamp")
        page = _get(bob, _event_address(_get(bob, asked)))
        assert _links(page, "← Back to the search") == [asked]

    def test_what_happened_around_it_is_a_click_away(self) -> None:
        case = staffed_case()
        events(case, [record(seconds, "x" if seconds else "y") for seconds in (0, 299, 301)])
        bob = browser(person("bob"))
        page = _get(bob, _event_address(_get(bob, _timeline(case, q="y"))))
        [address] = _links(page, "Five minutes around")
        assert _times(_get(bob, address)) == ["2024-03-01 00:00:00", "2024-03-01 00:04:59"]

    @pytest.mark.django_db(transaction=True)
    def test_its_source_record_is_shown_as_text_and_bytes(self) -> None:
        case = staffed_case()
        line = b'{"timestamp": "2024-03-01T08:15:30Z", "message": "<script>alert(1)</script> \xe2\x80\xae x"}'
        receive(case, b'{"message": "first"}\n' + line + b"\n", "events.jsonl")
        tasks.work(once=True)
        bob = browser(person("bob"))
        address = _event_address(_get(bob, _timeline(case, q="script")))
        [address] = _links(_get(bob, address), "Source record")
        page = _get(bob, address)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script>" not in page
        assert "U+202E" in page
        assert (
            "00000000  7b 22 74 69 6d 65 73 74  61 6d 70 22 3a 20 22 32  {&quot;timestamp&quot;: &quot;2"
            in page
        )
        [download] = _links(page, "Download")
        assert bob.get(download).getvalue() == line

    def test_evidence_that_was_changed_on_disk_is_not_shown(self) -> None:
        case = staffed_case()
        evidence = events(case, [record(1)])
        Evidence.objects.filter(pk=evidence.pk).update(sealed_at=None)
        bob = browser(person("bob"))
        address = _event_address(_get(bob, _timeline(case))).replace("/?", "/source/?")
        assert "The record cannot be shown" in _get(bob, address, 409)


class TestHostileEvidence:
    """What evidence says is text, everywhere."""

    def test_nothing_of_it_becomes_markup_or_stays_hidden(self) -> None:
        case = staffed_case()
        services.update_case(case=case, by=alice(), title=HOSTILE)
        read_evidence(case, HOSTILE)
        facts = dict.fromkeys(("host", "user", "category", "type", "timestamp_desc"), HOSTILE)
        bag = {HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE]}, "lone": "\ud800", "nul": "\x00", "ok": 1}
        hostile = record(1, f"{HOSTILE} \ud800 \x00 \x1b[31m", attributes=bag, tags=[HOSTILE], **facts)
        events(case, [hostile], source=HOSTILE)
        bob = browser(person("bob"))
        listed = _get(bob, _timeline(case, q="alert"))
        pages = [_get(bob, "/"), listed, _get(bob, _event_address(listed))]
        for page in pages:
            assert "<script" not in page
            assert "\u202e" not in page
            assert "\x1b" not in page

    def test_a_huge_event_is_shown_in_part(self) -> None:
        case = staffed_case()
        bag = {f"name{n}": "v" for n in range(5_000)} | {"long": "y" * 100_000}
        events(case, [record(1, "x" * 1_000_000, attributes=bag)])
        bob = browser(person("bob"))
        listed = _get(bob, _timeline(case))
        assert len(listed) < 50_000
        page = _get(bob, _event_address(listed))
        assert len(page) < 3_000_000
        assert "1,000,000 characters in all" in page


class TestHeaders:
    """What a browser may do with our pages."""

    def test_pages_run_no_script_and_the_admin_only_files_of_this_site(self) -> None:
        case = staffed_case()
        client = browser(admin())
        for address in ("/", "/login/", _timeline(case), "/cases/none/timeline/"):
            policy = client.get(address).headers["Content-Security-Policy"]
            assert policy == PAGES
        assert "script-src" not in PAGES
        assert "default-src 'none'" in PAGES
        policy = client.get("/admin/cases/case/").headers["Content-Security-Policy"]
        assert policy == ADMIN
        assert "script-src 'self' 'unsafe-eval';" in policy
        for address in ("/", "/admin/cases/case/"):
            headers = client.get(address).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "same-origin"
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]

    def test_a_page_changes_nothing(self) -> None:
        case = staffed_case()
        bob = browser(person("bob"))
        for address in ("/", _timeline(case), reverse("event", args=[case.case_id, "0" * 64])):
            for method in ("post", "put", "patch", "delete"):
                assert getattr(bob, method)(address).status_code == 405
