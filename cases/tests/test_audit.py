"""What is recorded of looks into foreign cases, and of all that leaves, and where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import api_tokens
from accounts.models import ApiToken, AuditEntry, Role, User
from accounts.tests.races import at_once
from cases import custody, search, services, tasks
from cases.models import Case, CustodyEntry, Evidence, RejectedRecord, TaskRun
from cases.tests.api.cast import V1, admin, client_of, errors, events, person, record, staffed_case
from cases.tests.cast import a_case, alice, receive
from cases.tests.pages.people import browser

pytestmark = pytest.mark.django_db

CASE = f"{V1}/cases/ir-2024-001/"
LOOK = "case.viewed_by_admin"


def looks(case_id: str = "ir-2024-001") -> list[str]:
    """Return who looked, by the custody record, which must be intact."""
    assert custody.verify(case_id) == []
    entries = CustodyEntry.objects.filter(case_id=case_id, action=LOOK).order_by("sequence")
    return list(entries.values_list("actor", flat=True))


def audited(action: str) -> list[AuditEntry]:
    """Return the audit entries of an action, oldest first."""
    return list(AuditEntry.objects.filter(action=action).order_by("pk"))


def in_custody(action: str) -> list[CustodyEntry]:
    """Return the custody entries of an action, oldest first; each record must be intact."""
    found = list(CustodyEntry.objects.filter(action=action).order_by("pk"))
    for entry in found:
        assert custody.verify(entry.case_id) == []
    return found


def event_id(case: Case) -> str:
    """Return the id of an event of the case."""
    found = search.search_events(search.frame(cases=Case.objects.filter(pk=case.pk)), limit=1)
    return str(found.documents[0]["event_id"])


def streamed(answer: Any) -> bytes:
    """Return what a streamed answer brings, to its end."""
    assert answer.status_code in (200, 206), answer.status_code
    return b"".join(answer.streaming_content)


def by_token(user: User) -> Any:
    """Return a client that asks by an API token."""
    client = client_of(user)
    made = api_tokens.create(user, name="reads", scopes=["read"])
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {made.text}")
    return client


@contextmanager
def nothing_recorded_any_more() -> Iterator[None]:
    """Let the database refuse every new custody entry."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                "CREATE TRIGGER full BEFORE INSERT ON custody_entries BEGIN SELECT RAISE(ABORT, 'full'); END"
            )
            end = "DROP TRIGGER full"
        else:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # nothing is left for the commit
            cursor.execute("ALTER TABLE custody_entries ADD CONSTRAINT c CHECK (sequence < 0) NOT VALID")
            end = "ALTER TABLE custody_entries DROP CONSTRAINT c"
        yield
        cursor.execute(end)


class TestLooks:
    """Admins who look into cases they do not work on."""

    def test_each_request_is_audited_and_the_custody_record_says_it_once_for_a_sign_in(self) -> None:
        case = staffed_case()
        events(case, [record(0)])
        ada = client_of(admin())
        for address in (CASE, f"{CASE}evidence/", f"{CASE}events/", f"{CASE}members/"):
            assert ada.get(address).status_code == 200
        assert [entry.target for entry in audited(LOOK)] == [
            f"GET {CASE}",
            f"GET {CASE}evidence/",
            f"GET {CASE}events/",
            f"GET {CASE}members/",
        ]
        assert {entry.case_id for entry in audited(LOOK)} == {case.case_id}
        assert looks() == ["ada <ada@example.org>"]
        assert client_of(admin()).get(CASE).status_code == 200
        assert len(looks()) == 2

    def test_an_api_token_looks_on_its_own(self) -> None:
        staffed_case()
        client_of(admin()).get(CASE)
        client = by_token(admin())
        assert client.get(CASE).status_code == 200
        assert client.get(CASE).status_code == 200
        assert len(looks()) == 2
        assert in_custody(LOOK)[-1].details == {"token": ApiToken.objects.get().pk}
        assert audited(LOOK)[-1].token_id == ApiToken.objects.get().pk

    def test_members_are_not_recorded_and_it_costs_them_no_query(self) -> None:
        case = staffed_case()
        services.add_member(case=case, user=admin(), role="reader", by=alice())
        costs = {}
        for user in (alice(), person("bob"), admin()):
            client = client_of(user)
            client.get(CASE)
            with CaptureQueriesContext(connection) as queries:
                assert client.get(CASE).status_code == 200
            costs[user.username] = len(queries)
            assert not any(query["sql"].startswith(("INSERT", "UPDATE", "SAVEPOINT")) for query in queries)
        # The sign-in with its user, the case, and whether it may be written to.
        assert len(set(costs.values())) == 1
        assert looks() == []
        assert not AuditEntry.objects.filter(action=LOOK).exists()

    def test_a_stranger_and_a_refused_request_leave_no_look(self) -> None:
        case = staffed_case()
        services.restrict_case(case=case, by=alice())
        for client in (client_of("charlie"), client_of(admin())):
            assert client.get(CASE).status_code == 404
        services.unrestrict_case(case=case, by=alice())
        assert client_of(admin()).get(f"{CASE}evidence/?colour=red").status_code == 400
        assert looks() == []

    def test_pages_are_looks(self) -> None:
        case = staffed_case()
        events(case, [record(0)])
        ada = browser(admin())
        assert ada.get("/cases/ir-2024-001/timeline/").status_code == 200
        assert ada.get(f"/cases/ir-2024-001/events/{event_id(case)}/").status_code == 200
        assert len(audited(LOOK)) == 2
        assert len(looks()) == 1
        assert browser(person("bob")).get("/cases/ir-2024-001/timeline/").status_code == 200
        assert len(audited(LOOK)) == 2

    def test_the_admin_site_is_one_too_and_a_list_of_cases_alone_is_not(self) -> None:
        case = staffed_case()
        evidence = receive(case, b"hello").evidence
        ada = browser(admin())
        assert ada.get("/admin/cases/case/").status_code == 200
        assert client_of(admin()).get(f"{V1}/cases/").status_code == 200
        assert looks() == []
        assert ada.get(f"/admin/cases/case/{case.pk}/change/").status_code == 200
        assert ada.get(f"/admin/cases/evidence/{evidence.pk}/change/").status_code == 200
        assert ada.get("/admin/cases/taskrun/").status_code == 200
        assert [(entry.case_id, entry.target) for entry in audited(LOOK)] == [
            ("ir-2024-001", f"GET /admin/cases/case/{case.pk}/change/"),
            ("ir-2024-001", f"GET /admin/cases/evidence/{evidence.pk}/change/"),
            ("ir-2024-001", "GET /admin/cases/taskrun/"),
        ]
        assert len(looks()) == 1

    def test_a_list_over_several_cases_is_one_entry_and_a_look_at_each(self) -> None:
        for number in range(3):
            receive(a_case(f"ir-{number}"), b"hello")
        own = services.open_case(by=admin(), case_id="ir-own")
        receive(own, b"hello")
        assert browser(admin()).get("/admin/cases/evidence/").status_code == 200
        assert [entry.details["foreign_cases"] for entry in audited("records.listed_by_admin")] == [3]
        assert [looks(f"ir-{number}") for number in range(3)] == [["ada <ada@example.org>"]] * 3
        assert looks("ir-own") == []

    @pytest.mark.django_db(transaction=True)
    def test_ten_looks_at_once_are_one_entry_in_the_custody_record(self) -> None:
        staffed_case()
        ada = client_of(admin())
        assert at_once(10, lambda: ada.get(CASE).status_code) == [200] * 10
        assert len(audited(LOOK)) == 10
        assert len(looks()) == 1


class TestSearches:
    """Searches over several cases by an admin."""

    def _three_cases(self) -> None:
        for number in range(3):
            events(a_case(f"ir-{number}"), [record(number, f"case{number}")])
        events(services.open_case(by=admin(), case_id="ir-own"), [record(9, "own case0")])

    def test_one_entry_says_how_many_were_foreign_and_those_that_show_are_told(self) -> None:
        self._three_cases()
        answer = client_of(admin()).get(f"{V1}/events/?q=case0")
        assert answer.json()["total"] == 2
        entries = audited("events.searched_by_admin")
        assert [entry.details for entry in entries] == [{"foreign_cases": 3, "shown_of": 1}]
        assert [len(looks(f"ir-{number}")) for number in range(3)] == [1, 0, 0]
        assert looks("ir-own") == []

    def test_a_case_that_was_named_is_told_though_nothing_of_it_shows(self) -> None:
        self._three_cases()
        ada = client_of(admin())
        assert ada.get(f"{V1}/events/?case=ir-1&case=ir-own&q=nothing").json()["total"] == 0
        assert [len(looks(f"ir-{number}")) for number in range(3)] == [0, 1, 0]
        assert audited("events.searched_by_admin")[0].details["foreign_cases"] == 1
        ada.get(f"{V1}/events/?case=ir-own")
        assert len(audited("events.searched_by_admin")) == 1

    @pytest.mark.usefixtures("embedded")  # a server's part of the name is asked of the database
    def test_a_search_of_ones_own_cases_is_not_recorded_and_costs_no_query_more(self) -> None:
        self._three_cases()
        client = client_of("alice")
        client.get(f"{V1}/events/")
        with CaptureQueriesContext(connection) as queries:
            assert client.get(f"{V1}/events/").json()["total"] == 3
        assert len(queries) == 3  # the sign-in with its user, the cases, what people say of the events
        assert audited("events.searched_by_admin") == []


class TestWhatLeaves:
    """Exports and downloads: both records, every time, whoever it is."""

    def _read(self) -> tuple[Case, Evidence, str]:
        case = staffed_case()
        evidence = receive(case, b'{"message": "hello"}\n[1]\n', "a.jsonl").evidence
        tasks.perform_run(TaskRun.objects.get().pk)
        return case, evidence, event_id(case)

    def _both(self, action: str, number: int) -> CustodyEntry:
        """Return the last custody entry of so many, each of which is in the audit record."""
        entries = in_custody(action)
        assert len(entries) == number
        twins = audited(action)
        assert [(t.actor, t.case_id, t.target, t.details) for t in twins] == [
            (e.actor, e.case_id, e.evidence_uid, e.details) for e in entries
        ]
        return entries[-1]

    def test_evidence_by_the_whole_and_by_ranges(self) -> None:
        _, evidence, _ = self._read()
        address = f"{CASE}evidence/{evidence.evidence_uid}/download/"
        bob = client_of("bob")
        assert b"hello" in streamed(bob.get(address))
        entry = self._both("evidence.downloaded", 1)
        assert (entry.actor, entry.evidence_uid, entry.details["sha256"]) == (
            "bob <bob@example.org>",
            evidence.evidence_uid,
            evidence.sha256,
        )
        assert len(streamed(bob.get(address, headers={"Range": "bytes=0-3"}))) == 4
        assert self._both("evidence.downloaded", 2).details["range"] == "bytes=0-3"

    def test_the_record_of_an_event_by_api_and_page(self) -> None:
        _, evidence, event = self._read()
        assert client_of("bob").get(f"{CASE}events/{event}/source/").status_code == 200
        page = browser(person("bob")).get(f"/cases/ir-2024-001/events/{event}/source/")
        assert page.status_code == 200
        entry = self._both("source.downloaded", 2)
        assert (entry.evidence_uid, entry.details["event"]) == (evidence.evidence_uid, event)

    def test_rejected_records(self) -> None:
        self._read()
        run = TaskRun.objects.get()
        assert RejectedRecord.objects.count() == 1
        assert streamed(client_of("bob").get(f"{CASE}runs/{run.pk}/rejected/"))
        assert self._both("rejected.downloaded", 1).details == {"run": run.pk, "records": 1}

    def test_the_custody_record_as_it_was_before_the_export(self) -> None:
        self._read()
        exported = streamed(client_of("bob").get(f"{CASE}custody/?format=jsonl"))
        lines = [json.loads(line) for line in exported.splitlines()]
        entry = self._both("custody.exported", 1)
        assert entry.details == {"last": lines[-1]["sequence"], "hash": lines[-1]["hash"]}
        assert entry.sequence == lines[-1]["sequence"] + 1
        assert client_of("bob").get(f"{CASE}custody/").status_code == 200
        self._both("custody.exported", 1)

    def test_events_by_the_api_with_the_question(self) -> None:
        self._read()
        answer = client_of("bob").get(f"{CASE}events/export/?q=hello&format=csv&source=jsonl")
        assert b"hello" in streamed(answer)
        entry = self._both("events.exported", 1)
        assert entry.details == {"q": "hello", "format": "csv", "source": ["jsonl"]}
        assert client_of("bob").get(f"{CASE}events/export/?q=(").status_code == 400
        self._both("events.exported", 1)

    def test_events_by_the_command_in_the_name_of_the_operator(self, tmp_path: Path) -> None:
        self._read()
        output = tmp_path / "out.jsonl"
        call_command("export", "ir-2024-001", "hello", "--format", "jsonl", "--output", str(output))
        assert "hello" in output.read_text()
        entry = self._both("events.exported", 1)
        assert entry.actor.startswith("command line (")
        assert entry.details == {"q": "hello", "format": "jsonl", "file": "out.jsonl"}

    def test_who_is_refused_leaves_nothing(self) -> None:
        _, evidence, _ = self._read()
        before = CustodyEntry.objects.count()
        idle = client_of("idle")
        User.objects.filter(username="idle").update(is_active=False)
        for client, status in ((client_of("charlie"), 404), (idle, 401)):
            for address in (f"evidence/{evidence.evidence_uid}/download/", "events/export/"):
                assert client.get(f"{CASE}{address}").status_code == status
        assert CustodyEntry.objects.count() == before


class TestOneTransaction:
    """What must be on record is on record, or it was not."""

    def test_acts_about_people_and_access_are_in_both_records(self) -> None:
        case = staffed_case()
        evidence = receive(case, b"hello").evidence
        services.restrict_case(case=case, by=alice())
        services.unrestrict_case(case=case, by=alice())
        services.delete_evidence(evidence=evidence, by=alice())
        services.delete_case(case=case, by=alice(), confirm=case.case_id)
        both = ["member.added", "case.restricted", "case.unrestricted", "evidence.deleted", "case.deleted"]
        for action in both:
            assert len(in_custody(action)) == len(audited(action)) >= 1, action
        assert [entry.target for entry in audited("member.added")] == ["dana", "bob"]
        assert [entry.target for entry in audited("evidence.deleted")] == [evidence.evidence_uid]
        everyday = set(CustodyEntry.objects.values_list("action", flat=True)) - set(both)
        assert "evidence.received" in everyday
        assert not AuditEntry.objects.filter(action__in=everyday).exists()

    def test_nothing_is_shown_that_cannot_be_recorded(self) -> None:
        case = staffed_case()
        evidence = receive(case, b"the secret of the case").evidence
        events(case, [record(0, "the secret of the case")])
        event = event_id(case)
        Case.objects.update(title="the secret of the case")
        ada, bob, page = client_of(admin()), client_of("bob"), browser(admin())
        page.raise_request_exception = False
        before = AuditEntry.objects.count()
        with nothing_recorded_any_more():
            for client, address in (
                (ada, CASE),
                (ada, f"{CASE}events/"),
                (ada, f"{V1}/events/"),
                (bob, f"{CASE}evidence/{evidence.evidence_uid}/download/"),
                (bob, f"{CASE}events/{event}/source/"),
                (bob, f"{CASE}events/export/"),
                (bob, f"{CASE}custody/?format=jsonl"),
            ):
                answer = client.get(address)
                assert (answer.status_code, errors(answer)) == (503, [("not_recorded", None)]), address
                assert answer.headers["Retry-After"]
                assert b"secret" not in answer.content
            for address in (
                "/cases/ir-2024-001/timeline/",
                "/admin/cases/evidence/",
                f"/admin/cases/case/{case.pk}/change/",
            ):
                answer = page.get(address)
                assert answer.status_code == 503, address
                assert b"secret" not in answer.content
            assert bob.get(CASE).status_code == 200  # nothing to be recorded
        assert AuditEntry.objects.count() == before
        assert looks() == []

    def test_an_admin_by_role_alone_looks(self) -> None:
        staffed_case()
        client_of(person("rita", role=Role.SUPERADMIN)).get(CASE)
        assert looks() == ["rita <rita@example.org>"]
