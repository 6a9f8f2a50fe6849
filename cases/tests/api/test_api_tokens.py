"""What API tokens open in cases, and what they never do."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts import api_tokens
from accounts.models import ApiToken, Role, User
from cases import services
from cases.models import Case, CaseMember, CustodyEntry, Evidence, TaskRun
from cases.tests.api.cast import V1, admin, client_of, errors, events, person, record, staffed_case

pytestmark = pytest.mark.django_db

URL = f"{V1}/auth/api-tokens/"
ME = f"{V1}/me/"
CASES = f"{V1}/cases/"
READ, WRITE = ["read"], ["read", "write"]


def make(user: User | str = "alice", **facts: Any) -> Any:
    """Return the answer to making a token."""
    return client_of(user).post(URL, {"name": "script", **facts}, format="json")


def script(user: User | str = "alice", **facts: Any) -> Any:
    """Return a client that asks by a new token of a user."""
    user = person(user) if isinstance(user, str) else user
    client = APIClient(raise_request_exception=False)
    made = api_tokens.create(user, name="script", **facts)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {made.text}")
    return client


def two_cases() -> dict[str, Evidence]:
    """Return the evidence of two cases of Alice, an event in each."""
    return {name: events(staffed_case(name), [record(0, f"secret of {name}")]) for name in ("mine", "other")}


def ids(answer: Any) -> list[str]:
    """Return the cases that a list shows."""
    return [row["case_id"] for row in answer.json()["results"]]


class TestBinding:
    """Which cases a token may be bound to."""

    def test_cases_are_named_by_scopes_or_by_themselves(self) -> None:
        two_cases()
        assert make(scopes=["read", "case:other"]).json()["cases"] == ["other"]
        assert make(cases=["other", "mine", "mine"]).json()["cases"] == ["mine", "other"]
        body = make(scopes=["read", "write", "case:mine"], cases=["other"]).json()
        assert (body["scopes"], body["cases"]) == (WRITE, ["mine", "other"])
        assert ApiToken.objects.order_by("pk")[0].case_ids == ["other"]

    @pytest.mark.parametrize(
        ("facts", "field"), [({"cases": ["{}"]}, "cases"), ({"scopes": ["read", "case:{}"]}, "scopes")]
    )
    def test_a_case_of_others_gets_the_words_that_nothing_gets(
        self, facts: dict[str, list[str]], field: str
    ) -> None:
        staffed_case()
        named = [
            {key: [entry.format(name) for entry in value] for key, value in facts.items()}
            for name in ("ir-2024-001", "nothing", "*", "%", "ir-2024-001/", "' OR 1=1 --")
        ]
        answers = [make("charlie", **one) for one in named]
        assert {answer.status_code for answer in answers} == {400}
        assert len({answer.content for answer in answers}) == 1
        assert errors(answers[0]) == [("invalid", field)]
        assert not ApiToken.objects.exists()

    def test_one_foreign_case_among_ones_own_is_refused(self) -> None:
        staffed_case("mine")
        services.open_case(by=person("bob"), case_id="bobs")
        assert errors(make(cases=["mine", "bobs"])) == [("invalid", "cases")]

    def test_an_admin_binds_to_no_restricted_case(self) -> None:
        case = staffed_case()
        Case.objects.filter(pk=case.pk).update(restricted=True)
        assert errors(make(admin(), cases=[case.case_id])) == [("invalid", "cases")]


class TestReading:
    """A token with the scope "read"."""

    def test_it_reads_what_its_user_reads(self) -> None:
        case, one = staffed_case(), script("bob")
        assert ids(one.get(CASES)) == [case.case_id]
        assert one.get(f"{CASES}{case.case_id}/").status_code == 200
        assert script("charlie").get(f"{CASES}{case.case_id}/").status_code == 404

    def test_it_writes_nothing(self) -> None:
        case = staffed_case()
        evidence = events(case, [record(0)])
        inside = f"{CASES}{case.case_id}/"
        one = f"{inside}evidence/{evidence.evidence_uid}/"
        unsafe = [
            ("patch", ME, {"full_name": "x"}),
            ("post", CASES, {"case_id": "mine"}),
            ("patch", inside, {"title": "x"}),
            ("delete", inside, {}),
            ("post", f"{inside}close/", {}),
            ("post", f"{inside}members/", {"user": "charlie"}),
            ("delete", f"{inside}members/{person('bob').pk}/", {}),
            ("post", f"{inside}invitations/", {"email": "x@example.org"}),
            ("post", f"{inside}events/", {"message": "x"}),
            ("post", f"{inside}evidence/", {}),
            ("patch", one, {"description": "x"}),
            ("delete", one, {}),
            ("post", f"{one}runs/", {}),
        ]
        client, kept = script(scopes=READ), (Case, CaseMember, Evidence, TaskRun, CustodyEntry, User)
        before = [list(model._base_manager.order_by("pk").values_list()) for model in kept]
        for method, address, body in unsafe:
            answer = getattr(client, method)(address, body, format="json")
            assert answer.status_code == 403, address
            assert errors(answer) == [("token_scope", None)], address
        assert [list(model._base_manager.order_by("pk").values_list()) for model in kept] == before


class TestWriting:
    """A token with the scope "write"."""

    @pytest.mark.parametrize(
        ("user", "expected"), [("alice", 200), ("dana", 200), ("bob", 403), ("charlie", 404)]
    )
    def test_it_does_what_its_user_may(self, user: str, expected: int) -> None:
        case = staffed_case()
        answer = script(user, scopes=WRITE).patch(
            f"{CASES}{case.case_id}/", {"title": "by a script"}, format="json"
        )
        assert answer.status_code == expected
        case.refresh_from_db()
        assert case.title == ("by a script" if expected == 200 else "")

    def test_a_viewer_writes_nothing_whatever_the_scope(self) -> None:
        case, victor = staffed_case(), person("victor", role=Role.VIEWER)
        services.add_member(case=case, user=victor, role="reader", by=None)
        client, inside = script(victor, scopes=WRITE), f"{CASES}{case.case_id}/"
        assert client.get(inside).status_code == 200
        assert client.patch(inside, {"title": "x"}, format="json").status_code == 403

    def test_an_admins_does_nothing_dangerous(self) -> None:
        staffed_case("one")
        client = script(admin(), scopes=WRITE)
        assert client.get(f"{CASES}one/").status_code == 200
        assert client.patch(f"{CASES}one/", {"title": "x"}, format="json").status_code == 200
        for address in (URL, f"{V1}/users/invitations/", f"{V1}/auth/logout/", f"{V1}/auth/logout-all/"):
            answer = client.post(address, {"name": "x"}, format="json")
            assert errors(answer) == [("token_not_enough", None)], address


class TestBound:
    """A token bound to a case."""

    def test_it_sees_that_case_alone(self) -> None:
        two_cases()
        client = script(scopes=[*WRITE, "case:mine"])
        assert ids(client.get(CASES)) == ["mine"]
        assert client.get(f"{CASES}mine/").status_code == 200
        found = client.get(f"{V1}/events/").json()
        assert ([event["case_id"] for event in found["results"]], found["total"]) == (["mine"], 1)
        assert client.get(f"{V1}/events/", {"q": "secret"}).json()["total"] == 1
        assert client.get(f"{V1}/events/", {"q": "case_id:other OR case_id:mine"}).json()["total"] == 1

    def test_naming_another_case_gets_what_naming_nothing_gets(self) -> None:
        two_cases()
        client = script(scopes=[*WRITE, "case:mine"])
        for asked in ("case={}", "case=mine&case={}", "case={}&q=secret"):
            theirs, none, all_of_them = (
                client.get(f"{V1}/events/?{asked.format(name)}") for name in ("other", "nothing", "*")
            )
            assert theirs.status_code == none.status_code == all_of_them.status_code == 404
            assert theirs.content == none.content == all_of_them.content

    def test_filters_and_pages_do_not_widen_it(self) -> None:
        two_cases()
        client = script(cases=["mine"])
        for asked in ("find=other", "status=open", "page_size=500", "ordering=case_id", "find=secret"):
            answer = client.get(f"{CASES}?{asked}")
            assert answer.status_code == 400 or "other" not in ids(answer), asked
        first = client_of("alice").get(f"{CASES}?page_size=1&ordering=-case_id").json()
        assert [row["case_id"] for row in first["results"]] == ["other"]
        assert ids(client.get(first["next"])) == ["mine"]  # the page after it, asked by the token

    def test_it_reaches_nothing_in_another_case(self) -> None:
        evidence = two_cases()["other"]
        client, inside = script(scopes=[*WRITE, "case:mine"]), f"{CASES}other/"
        one = f"evidence/{evidence.evidence_uid}/"
        reads = ("", "members/", "custody/", "evidence/", "runs/", "events/", "events/count/", "teams/")
        for rest in (*reads, "events/export/", "events/fields/", one, f"{one}download/"):
            assert client.get(f"{inside}{rest}").status_code == 404, rest
        writes = [("patch", ""), ("delete", ""), ("post", "close/"), ("post", "events/"), ("patch", one)]
        for method, rest in (*writes, ("post", "members/"), ("post", "evidence/"), ("delete", one)):
            answer = getattr(client, method)(f"{inside}{rest}", {}, format="json")
            assert answer.status_code == 404, (method, rest)

    def test_it_opens_no_case(self) -> None:
        staffed_case("mine")
        bound, free = script(scopes=[*WRITE, "case:mine"]), script(scopes=WRITE)
        assert bound.post(CASES, {"case_id": "new"}, format="json").status_code == 403
        assert not Case.objects.filter(case_id="new").exists()
        assert free.post(CASES, {"case_id": "new"}, format="json").status_code == 201

    def test_it_opens_nothing_once_its_user_has_left(self) -> None:
        case = staffed_case()
        client = script("bob", cases=[case.case_id])
        assert client.get(f"{CASES}{case.case_id}/").status_code == 200
        CaseMember.objects.filter(user=person("bob")).delete()
        assert client.get(f"{CASES}{case.case_id}/").status_code == 404
        assert ids(client.get(CASES)) == []

    def test_an_admins_stays_bound(self) -> None:
        two_cases()
        client = script(admin(), cases=["mine"])
        assert ids(client.get(CASES)) == ["mine"]
        assert client.get(f"{CASES}other/").status_code == 404
        assert client.get(f"{CASES}other/custody/").status_code == 404
