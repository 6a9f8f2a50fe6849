"""The pages of one event and its source; hostile evidence; what browsers may do."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.urls import reverse

from cases import services, tasks
from cases.models import Evidence
from cases.tests.api.cast import admin, events, person, record, staffed_case
from cases.tests.cast import alice, receive
from cases.tests.pages.people import (
    HOSTILE,
    browser,
    event_address,
    get,
    links,
    read_evidence,
    timeline,
    times,
)
from datamortem.common.headers import ADMIN, PAGES

pytestmark = pytest.mark.django_db


class TestEvent:
    """One event, and where it comes from."""

    def test_it_shows_every_field_and_attribute(self) -> None:
        case = staffed_case()
        attributes = {"EventID": 4624, "Data": {"a.b": ["x", "y"], "deep": {"n": None}}, "ok": True, "e": ""}
        facts = {"host": "WS-1", "user": "eve", "type": "4624", "category": "logon", "tags": ["odd"]}
        events(case, [record(1, "logged on", attributes=attributes, score=7.5, **facts)], source="evtx")
        bob = browser(person("bob"))
        page = get(bob, event_address(get(bob, timeline(case))))
        for shown in ("EventID", "4624", "Data.a.b", "true", "WS-1", "eve", "logon", "odd", "7.5", "line 2"):
            assert shown in page
        assert "2024-03-01T00:00:01.000000Z, known to the second" in page

    def test_a_click_on_a_value_finds_the_events_that_have_it_or_do_not(self) -> None:
        case = staffed_case()
        values = ["C:\\Temp\\a b.exe", 'say "hi"', "OR", "*", "<i>", "ł", 4624, 45.5, False, "", "a\nb"]
        events(case, [record(n, attributes={"Odd name": value}) for n, value in enumerate(values)])
        bob = browser(person("bob"))
        listed = get(bob, timeline(case, ordering="timestamp", q="event"))
        for position in range(len(values)):
            page = get(bob, event_address(listed, position))
            only = unescape(re.findall(r'href="([^"]*)" title="Only events with this value"', page)[-1])
            without = unescape(re.findall(r'href="([^"]*)" title="Events without this value"', page)[-1])
            assert times(get(bob, only)) == [f"2024-03-01 00:00:{position:02}"]
            assert f"<strong>{len(values) - 1}</strong>" in get(bob, without)

    def test_a_value_too_long_for_an_address_is_shown_and_not_offered(self) -> None:
        case = staffed_case()
        bag = {"short": "x", "long": "ż" * 1_000, "longest": "y" * 50_000}
        events(case, [record(1, attributes=bag)])
        bob = browser(person("bob"))
        page = get(bob, event_address(get(bob, timeline(case))))
        addresses = [unescape(found) for found in re.findall(r'href="([^"]*)" title="(?:Only|Events)', page)]
        assert "ż" * 1_000 in page
        assert "30,000 characters more" in page
        assert [address for address in addresses if "%C5%BC" in address or "yyyy" in address] == []
        assert any("short" in address for address in addresses)

    def test_it_leads_back_to_the_search_it_came_from(self) -> None:
        case = staffed_case()
        events(case, [record(1)])
        bob = browser(person("bob"))
        asked = timeline(case, q="event", ordering="timestamp")
        page = get(bob, event_address(get(bob, asked)))
        assert links(page, "← Back to the search") == [asked]

    def test_what_happened_around_it_is_a_click_away(self) -> None:
        case = staffed_case()
        events(case, [record(seconds, "x" if seconds else "y") for seconds in (0, 299, 301)])
        bob = browser(person("bob"))
        page = get(bob, event_address(get(bob, timeline(case, q="y"))))
        [address] = links(page, "Five minutes around")
        assert times(get(bob, address)) == ["2024-03-01 00:00:00", "2024-03-01 00:04:59"]

    @pytest.mark.django_db(transaction=True)
    def test_its_source_record_is_shown_as_text_and_bytes(self) -> None:
        case = staffed_case()
        line = b'{"timestamp": "2024-03-01T08:15:30Z", "message": "<script>alert(1)</script> \xe2\x80\xae x"}'
        receive(case, b'{"message": "first"}\n' + line + b"\n", "events.jsonl")
        tasks.work(once=True)
        bob = browser(person("bob"))
        address = event_address(get(bob, timeline(case, q="script")))
        [address] = links(get(bob, address), "Source record")
        page = get(bob, address)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script>" not in page
        assert "U+202E" in page
        assert (
            "00000000  7b 22 74 69 6d 65 73 74  61 6d 70 22 3a 20 22 32  {&quot;timestamp&quot;: &quot;2"
            in page
        )
        [download] = links(page, "Download")
        assert bob.get(download).getvalue() == line

    def test_evidence_that_was_changed_on_disk_is_not_shown(self) -> None:
        case = staffed_case()
        evidence = events(case, [record(1)])
        Evidence.objects.filter(pk=evidence.pk).update(sealed_at=None)
        bob = browser(person("bob"))
        address = event_address(get(bob, timeline(case))).replace("/?", "/source/?")
        assert "The record cannot be shown" in get(bob, address, 409)


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
        listed = get(bob, timeline(case, q="alert"))
        pages = [get(bob, "/"), listed, get(bob, event_address(listed))]
        for page in pages:
            assert "<script" not in page
            assert "\u202e" not in page
            assert "\x1b" not in page

    def test_a_huge_event_is_shown_in_part(self) -> None:
        case = staffed_case()
        bag = {f"name{n}": "v" for n in range(5_000)} | {"long": "y" * 100_000}
        events(case, [record(1, "x" * 1_000_000, attributes=bag)])
        bob = browser(person("bob"))
        listed = get(bob, timeline(case))
        assert len(listed) < 50_000
        page = get(bob, event_address(listed))
        assert len(page) < 3_000_000
        assert "1,000,000 characters in all" in page


class TestHeaders:
    """What a browser may do with our pages."""

    def test_pages_run_no_script_and_the_admin_only_files_of_this_site(self) -> None:
        case = staffed_case()
        client = browser(admin())
        for address in ("/", "/login/", timeline(case), "/cases/none/timeline/"):
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
        for address in ("/", timeline(case), reverse("event", args=[case.case_id, "0" * 64])):
            for method in ("post", "put", "patch", "delete"):
                assert getattr(bob, method)(address).status_code == 405
