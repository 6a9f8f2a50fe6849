"""The routes of cases, their members and their record."""

from __future__ import annotations

import hashlib
import json
from urllib.parse import quote

import pytest

from cases import services
from cases.models import Case, CustodyEntry
from cases.tests.api.cast import V1, admin, client_of, errors, person, staffed_case
from cases.tests.cast import a_case, receive

pytestmark = pytest.mark.django_db

CASES = f"{V1}/cases/"


def _one(case_id: str = "ir-2024-001") -> str:
    return f"{CASES}{case_id}/"


class TestOpening:
    """POST cases/."""

    def test_a_case_is_opened_with_what_is_said_about_it(self) -> None:
        facts = {"case_id": "ir-1", "title": "Break-in", "severity": "high", "tags": ["a"], "note": "n"}
        answer = client_of("alice").post(CASES, facts, format="json")
        assert answer.status_code == 201
        body = answer.json()
        assert {name: body[name] for name in facts} == facts
        assert (body["status"], body["owner"], body["closed_at"]) == ("open", "alice", None)
        assert body["created_at"].endswith("Z")
        assert len(body["created_at"]) == 27
        assert Case.objects.get().owner == person("alice")

    def test_without_an_id_it_gets_one(self) -> None:
        body = client_of("alice").post(CASES, {}, format="json").json()
        assert body["case_id"].startswith("case-20")

    def test_what_makes_no_sense_is_refused_by_name(self) -> None:
        client = client_of("alice")
        wrong = {
            "case_id": ("a/b", "", "x" * 65, None, "é"),
            "severity": ("dire", 3),
            "title": ("x" * 301, ["a"], "a\x00b"),
            "tags": ("a", [1, {}], [""]),
            "status": ("closed",),
            "titel": ("misspelt",),
        }
        for name, values in wrong.items():
            for value in values:
                answer = client.post(CASES, {name: value}, format="json")
                assert answer.status_code == 400, (name, value)
                assert errors(answer)[0][1].startswith(name), (name, value)  # type: ignore[union-attr]
        assert not Case.objects.exists()

    def test_a_taken_id_is_a_conflict(self) -> None:
        a_case("ir-1")
        answer = client_of("dana").post(CASES, {"case_id": "ir-1"}, format="json")
        assert (answer.status_code, errors(answer)) == (409, [("case_id_taken", "case_id")])

    def test_a_viewer_opens_nothing(self) -> None:
        victor = client_of(person("victor", role="viewer"))
        assert victor.post(CASES, {}, format="json").status_code == 403
        assert victor.get(CASES).status_code == 200


class TestListing:
    """GET cases/."""

    def test_everybody_sees_their_own(self) -> None:
        staffed_case("ir-1")
        services.open_case(by=person("charlie"), case_id="ir-2")

        def seen(name: str) -> list[str]:
            return [case["case_id"] for case in client_of(name).get(CASES).json()["results"]]

        assert [seen(name) for name in ("alice", "bob", "charlie")] == [["ir-1"], ["ir-1"], ["ir-2"]]
        assert {case["case_id"] for case in client_of(admin()).get(CASES).json()["results"]} == {
            "ir-1",
            "ir-2",
        }

    @pytest.mark.parametrize("ordering", ["created_at", "-created_at", "case_id", "-case_id"])
    def test_pages_neither_lose_nor_repeat_at_ties(self, ordering: str) -> None:
        first = a_case("ir-000")
        for number in range(1, 23):
            a_case(f"ir-{number:03}")
        Case.objects.update(created_at_utc=first.created_at_utc)
        client = client_of("alice")
        forwards: list[str] = []
        backwards: list[str] = []
        address = f"{CASES}?page_size=5&ordering={ordering}"
        while address:
            last, page = address, client.get(address).json()
            forwards += [case["case_id"] for case in page["results"]]
            address = page["next"]
        assert sorted(forwards) == [f"ir-{number:03}" for number in range(23)]
        if "case_id" in ordering:
            assert forwards == sorted(forwards, reverse=ordering.startswith("-"))
        address = last
        while address:
            page = client.get(address).json()
            backwards = [case["case_id"] for case in page["results"]] + backwards
            address = page["previous"]
        assert backwards == forwards

    @pytest.mark.parametrize(
        ("query", "attr"),
        [
            ("page_size=0", "page_size"),
            ("page_size=501", "page_size"),
            ("page_size=-1", "page_size"),
            ("page_size=٣", "page_size"),
            ("page_size=" + "9" * 5000, "page_size"),
            ("page_size=000000001999", "page_size"),
            ("ordering=note", "ordering"),
            ("ordering=--case_id", "ordering"),
            ("cursor=abc", "cursor"),
            ("cursor=", "cursor"),
            ("status=ajar", "status"),
            ("stauts=open", "stauts"),
            ("limit=3", "limit"),
            ("page_size=1&page_size=2", "page_size"),
        ],
    )
    def test_a_parameter_that_makes_no_sense_is_refused(self, query: str, attr: str) -> None:
        answer = client_of("alice").get(f"{CASES}?{query}")
        assert answer.status_code == 400
        assert errors(answer)[0][1] == attr

    def test_a_cursor_of_another_order_is_refused(self) -> None:
        for number in range(3):
            a_case(f"ir-{number}")
        client = client_of("alice")
        following = client.get(f"{CASES}?page_size=1").json()["next"]
        assert client.get(following).status_code == 200
        assert client.get(following.replace("cursor=", "cursor=x")).status_code == 400
        assert client.get(f"{following}&ordering=case_id").status_code == 400

    def test_filters_narrow(self) -> None:
        services.open_case(by=person("alice"), case_id="ir-1", severity="high", title="Break-in at night")
        closed = services.open_case(by=person("alice"), case_id="ir-2")
        services.close_case(case=closed, by=person("alice"))
        client = client_of("alice")
        for query in ("status=open", "severity=high", "title=BREAK"):
            page = client.get(f"{CASES}?{query}").json()
            assert [case["case_id"] for case in page["results"]] == ["ir-1"]


class TestOne:
    """cases/{case_id}/ and what happens to it."""

    def test_strangers_and_nothing_get_the_same_answer(self) -> None:
        staffed_case()
        charlie = client_of("charlie")
        there, nowhere = charlie.get(_one()), charlie.get(_one("ir-nothing"))
        assert (there.status_code, there.content) == (404, nowhere.content)
        assert errors(there) == [("not_found", None)]
        assert client_of("alice").get(f"{CASES}a%00b/").status_code == 404

    @pytest.mark.parametrize("case_id", ["Sans propriétaire/été", "a/b/c", "50% ?#", "events"])
    def test_ids_of_the_old_system_are_addressed_whatever_is_in_them(self, case_id: str) -> None:
        case = Case.objects.create(case_id=case_id, owner=person("alice"))
        evidence = receive(case, b"Nov 24 10:00:00 host sshd[1]: no\n", "auth.log").evidence
        client, one = client_of("alice"), _one(quote(case_id, safe=""))
        for below in ("", f"evidence/{evidence.evidence_uid}/", "runs/", "members/", "custody/", "events/"):
            assert client.get(one + below).status_code == 200, below
            assert client_of("charlie").get(one + below).status_code == 404, below
        assert client.get(one).json()["case_id"] == case_id
        listed = client.get(f"{one}evidence/").json()["results"]
        assert [row["evidence_uid"] for row in listed] == [evidence.evidence_uid]
        assert client.patch(one, {"title": "Kept"}, format="json").json()["title"] == "Kept"
        assert client.delete(f"{one}?confirm={quote(case_id, safe='')}").status_code == 204

    def test_analysts_describe_and_readers_do_not(self) -> None:
        staffed_case()
        answer = client_of("dana").patch(_one(), {"title": "New", "tags": []}, format="json")
        assert (answer.status_code, answer.json()["title"]) == (200, "New")
        refused = client_of("bob").patch(_one(), {"title": "Mine"}, format="json")
        assert (refused.status_code, errors(refused)) == (403, [("permission_denied", None)])
        assert client_of("alice").patch(_one(), {"status": "closed"}, format="json").status_code == 400
        assert Case.objects.get().title == "New"

    def test_a_closed_case_refuses_until_a_lead_opens_it_again(self) -> None:
        staffed_case()
        assert client_of("dana").post(f"{_one()}close/").status_code == 403
        alice = client_of("alice")
        closed = alice.post(f"{_one()}close/").json()
        assert (closed["status"], closed["closed_by"]) == ("closed", "alice")
        refused = alice.patch(_one(), {"title": "x"}, format="json")
        assert (refused.status_code, errors(refused)) == (409, [("case_closed", None)])
        assert errors(alice.post(f"{_one()}close/")) == [("case_closed", None)]
        assert alice.post(f"{_one()}reopen/").json()["status"] == "open"
        assert alice.patch(_one(), {"title": "x"}, format="json").status_code == 200

    def test_only_a_lead_deletes_and_only_with_the_id_once_it_holds_anything(self) -> None:
        case = staffed_case()
        assert client_of("dana").delete(_one()).status_code == 403
        receive(case, b"a")
        alice = client_of("alice")
        for address in (_one(), f"{_one()}?confirm=other"):
            refused = alice.delete(address)
            assert (refused.status_code, errors(refused)) == (409, [("case_not_empty", "confirm")])
        assert alice.delete(f"{_one()}?confirm={case.case_id}").status_code == 204
        assert alice.get(_one()).status_code == 404
        assert CustodyEntry.objects.get(action="case.deleted")


class TestMembers:
    """cases/{case_id}/members/."""

    def test_a_lead_adds_changes_and_removes(self) -> None:
        staffed_case()
        address, alice, erin = f"{_one()}members/", client_of("alice"), person("erin")
        added = alice.post(address, {"user": "erin", "role": "analyst"}, format="json")
        assert (added.status_code, added.json()["id"], added.json()["role"]) == (201, erin.pk, "analyst")
        assert client_of(erin).get(_one()).status_code == 200
        changed = alice.patch(f"{address}{erin.pk}/", {"role": "reader"}, format="json")
        assert changed.json()["role"] == "reader"
        assert client_of(erin).patch(_one(), {}, format="json").status_code == 403
        assert alice.delete(f"{address}{erin.pk}/").status_code == 204
        assert client_of(erin).get(_one()).status_code == 404

    def test_a_user_is_named_by_username_address_or_id(self) -> None:
        address, alice, erin = f"{_one()}members/", client_of("alice"), person("erin")
        staffed_case()
        for name in ("erin", "ERIN@example.org", str(erin.pk), erin.pk):
            assert alice.post(address, {"user": name}, format="json").json()["username"] == "erin"
            alice.delete(f"{address}{erin.pk}/")
        for name in ("nobody", "", "9" * 30, person("gone", is_active=False).username):
            refused = alice.post(address, {"user": name}, format="json")
            assert (refused.status_code, errors(refused)[0][1]) == (400, "user")

    def test_the_list_holds_the_owner_and_readers_see_it(self) -> None:
        staffed_case()
        members = client_of("bob").get(f"{_one()}members/").json()["results"]
        assert [(each["username"], each["role"], each["is_owner"]) for each in members] == [
            ("alice", "lead", True),
            ("bob", "reader", False),
            ("dana", "analyst", False),
        ]

    def test_members_who_do_not_lead_change_nothing(self) -> None:
        staffed_case()
        address = f"{_one()}members/"
        for name in ("bob", "dana"):
            client = client_of(name)
            own = f"{address}{person(name).pk}/"
            assert client.patch(own, {"role": "lead"}, format="json").status_code == 403
            assert client.post(address, {"user": "charlie"}, format="json").status_code == 403
            assert client.delete(own).status_code == 403

    def test_the_last_lead_stays_and_a_second_one_follows(self) -> None:
        case = staffed_case()
        address, alice = f"{_one()}members/", client_of("alice")
        own = f"{address}{person('alice').pk}/"
        for refused in (alice.delete(own), alice.patch(own, {"role": "reader"}, format="json")):
            assert (refused.status_code, errors(refused)) == (409, [("last_lead", "role")])
        alice.patch(f"{address}{person('dana').pk}/", {"role": "lead"}, format="json")
        assert alice.patch(own, {"role": "reader"}, format="json").json()["role"] == "reader"
        case.refresh_from_db()
        assert case.owner == person("dana")
        dana = client_of("dana")
        assert dana.delete(f"{address}{person('dana').pk}/").status_code == 409
        assert dana.delete(own).status_code == 204
        assert dana.get(own).status_code == 404

    def test_nobody_joins_twice(self) -> None:
        staffed_case()
        for name in ("alice", "bob"):
            refused = client_of("alice").post(f"{_one()}members/", {"user": name}, format="json")
            assert (refused.status_code, errors(refused)) == (409, [("already_member", "user")])


class TestCustody:
    """cases/{case_id}/custody/."""

    def test_the_record_is_listed_oldest_first(self) -> None:
        staffed_case()
        entries = client_of("bob").get(f"{_one()}custody/?page_size=2").json()
        assert [entry["sequence"] for entry in entries["results"]] == [1, 2]
        assert entries["results"][0]["action"] == "case.opened"
        rest = client_of("bob").get(entries["next"]).json()
        assert [entry["sequence"] for entry in rest["results"]] == [3]

    def test_an_export_checks_without_anything_of_ours(self) -> None:
        case = staffed_case()
        receive(case, b"a", "na\x00me\udce9.log", clock_offset_seconds=1.5)
        answer = client_of("bob").get(f"{_one()}custody/?format=jsonl")
        assert answer["Content-Disposition"].startswith("attachment")
        lines = b"".join(answer.streaming_content).decode().splitlines()
        previous = "0" * 64
        for line in lines:
            entry = json.loads(line)
            stated = entry.pop("hash")
            text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            assert (entry["previous_hash"], stated) == (previous, hashlib.sha256(text.encode()).hexdigest())
            previous = stated
        assert len(lines) == 4

    def test_filters_and_formats_that_are_unknown_are_refused(self) -> None:
        staffed_case()
        client = client_of("bob")
        assert client.get(f"{_one()}custody/?format=xml").status_code == 400
        assert client.get(f"{_one()}custody/?actor=x").status_code == 400
        assert client.get(f"{_one()}custody/?action=case.opened").json()["results"][0]["sequence"] == 1
