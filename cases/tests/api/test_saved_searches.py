"""Saved searches over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from cases import services
from cases.models import Case, CustodyEntry, SavedSearch
from cases.tests.api.cast import V1, client_of, errors, person, staffed_case
from cases.tests.cast import actions

pytestmark = pytest.mark.django_db

HERE = f"{V1}/cases/ir-2024-001/saved-searches/"
FACTS = {
    "name": "Failed logons", "q": "EventID:4625 AND tag:c2", "from": "2024-03-01",
    "to": "2024-03-02T00:00:00Z",
    "columns": ["timestamp", "attributes.IpAddress"],
}  # fmt: skip


@pytest.fixture
def case() -> Case:
    return staffed_case()


def save(who: str = "dana", **facts: Any) -> Any:
    return client_of(who).post(HERE, {**FACTS, **facts}, format="json")


def test_a_search_is_kept_for_all_members(case: Case) -> None:
    made = save()
    assert made.status_code == 201
    body = made.json()
    assert {name: body[name] for name in FACTS} == FACTS
    assert body["author"] == "dana"
    assert client_of("bob").get(HERE).json()["results"] == [body]
    assert client_of("bob").get(f"{HERE}{body['id']}/").json() == body
    assert [client_of("charlie").get(at).status_code for at in (HERE, f"{HERE}{body['id']}/")] == [404, 404]
    assert actions(case)[-1] == "search.saved"


def test_a_name_stands_once_in_a_case(case: Case) -> None:
    first, second = save().json(), save(name="other").json()
    assert (save("alice").status_code, errors(save("alice"))) == (409, [("name_taken", "name")])
    changed = client_of("dana").patch(f"{HERE}{second['id']}/", {"name": FACTS["name"]}, format="json")
    assert errors(changed) == [("name_taken", "name")]
    staffed_case("ir-2024-002")
    elsewhere = client_of("alice").post(f"{V1}/cases/ir-2024-002/saved-searches/", FACTS, format="json")
    assert elsewhere.status_code == 201
    assert client_of("alice").get(f"{V1}/cases/ir-2024-002/saved-searches/{first['id']}/").status_code == 404


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"q": "(a"}, ("invalid_query", "q")),
        ({"from": "soon"}, ("invalid", "from")),
        ({"from": "2024-03-02", "to": "2024-03-01"}, ("invalid", "from")),
        ({"name": " "}, ("invalid", "name")),
        ({"name": "x" * 201}, ("invalid", "name")),
        ({"columns": ["x" * 256]}, ("invalid", "columns")),
        ({"columns": [str(n) for n in range(51)]}, ("invalid", "columns")),
        ({"start": "2024-03-01"}, ("unknown_field", "start")),
    ],
)
def test_what_cannot_be_asked_is_not_kept(case: Case, facts: Any, error: tuple[str, str]) -> None:
    answer = save(**facts)
    assert (answer.status_code, errors(answer)) == (400, [error])
    kept = save().json()
    changed = client_of("dana").patch(f"{HERE}{kept['id']}/", facts, format="json")
    assert (changed.status_code, errors(changed)) == (400, [error])
    assert SavedSearch.objects.get().name == FACTS["name"]


def test_authors_and_leads_change_and_remove_it_on_record(case: Case) -> None:
    services.add_member(case=case, user=person("erin"), role="analyst", by=case.owner)
    at = f"{HERE}{save().json()['id']}/"
    for who in ("erin", "bob"):
        assert client_of(who).patch(at, {"q": "x"}, format="json").status_code == 403
        assert client_of(who).delete(at).status_code == 403
    assert client_of("dana").patch(at, {"q": "x", "to": ""}, format="json").json()["q"] == "x"
    details = CustodyEntry.objects.latest("pk").details
    assert details["before"] == {"q": FACTS["q"], "end": FACTS["to"]}
    assert details["after"] == {"q": "x", "end": ""}
    assert client_of("alice").delete(at).status_code == 204
    assert actions(case)[-3:] == ["search.saved", "search.changed", "search.removed"]
    assert not SavedSearch.objects.exists()


def test_a_reader_and_a_closed_case_keep_nothing(case: Case) -> None:
    at = f"{HERE}{save().json()['id']}/"
    assert save("bob", name="new").status_code == 403
    Case.objects.filter(pk=case.pk).update(status="closed")
    for answer in (
        save(name="new"),
        client_of("dana").patch(at, {"q": "x"}, format="json"),
        client_of("dana").delete(at),
    ):
        assert (answer.status_code, errors(answer)) == (409, [("case_closed", None)])
    assert SavedSearch.objects.count() == 1


def test_a_list_is_ordered_and_narrowed(case: Case) -> None:
    for name in ("b", "a", "c of Dana"):
        save(name=name)
    names = [each["name"] for each in client_of("bob").get(HERE).json()["results"]]
    assert names == ["a", "b", "c of Dana"]
    assert len(client_of("bob").get(HERE, {"name": "dana"}).json()["results"]) == 1
    assert len(client_of("bob").get(HERE, {"author": "alice"}).json()["results"]) == 0
    page = client_of("bob").get(HERE, {"page_size": 2, "ordering": "-created_at"}).json()
    assert [each["name"] for each in page["results"]] == ["c of Dana", "a"]
