"""Annotations over HTTP: one at a time."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cases import services
from cases.models import Annotation, Case, CustodyEntry
from cases.tests.api.cast import V1, client_of, errors, events, person, record, staffed_case
from cases.tests.cast import actions

pytestmark = pytest.mark.django_db

HERE = f"{V1}/cases/ir-2024-001/annotations/"
SAID = {"tags": ["Lateral Movement", "c2"], "star": True, "comment": "Seen before, at Globex."}


@pytest.fixture
def case() -> Case:
    case = staffed_case()
    events(case, [record(n) for n in range(4)])
    return case


def ids(case: Case) -> list[str]:
    """The event ids of the case, the oldest first."""
    found = client_of("alice").get(f"{V1}/cases/{case.case_id}/events/?ordering=timestamp").json()
    return [event["event_id"] for event in found["results"]]


def add(who: str, event_id: str, **said: Any) -> Any:
    return client_of(who).post(HERE, {"event_id": event_id, **(said or SAID)}, format="json")


def record_of(case: Case) -> Any:
    """The details of the last entry in the custody record."""
    return CustodyEntry.objects.filter(case_id=case.case_id).latest("sequence").details


def test_what_somebody_says_of_an_event_is_kept_and_shown_to_all_members(case: Case) -> None:
    event = ids(case)[0]
    made = add("dana", event)
    assert made.status_code == 201
    body = made.json()
    assert {name: body[name] for name in SAID} == SAID
    assert (body["event_id"], body["author"], body["batch"]) == (event, "dana", None)
    assert body["created_at"] == body["updated_at"]
    for reader in ("alice", "bob"):
        assert client_of(reader).get(HERE).json()["results"] == [body]
        assert client_of(reader).get(f"{HERE}{body['id']}/").json() == body
    assert actions(case)[-1] == "annotation.added"
    assert record_of(case) == {"annotation": body["id"], "event": event, **SAID}


def test_several_people_annotate_one_event_and_it_shows_all_of_it(case: Case) -> None:
    event, other, *_ = ids(case)
    add("dana", event, tags=["a"])
    add("alice", event, comment="b")
    at = f"{V1}/cases/{case.case_id}/events/"
    shown = client_of("bob").get(f"{at}{event}/").json()["annotations"]
    assert [(said["author"], said["tags"], said["comment"]) for said in shown] == [
        ("dana", ["a"], ""),
        ("alice", [], "b"),
    ]
    found = client_of("bob").get(f"{at}?ordering=timestamp").json()["results"]
    assert [event["annotations"] for event in found] == [shown, [], [], []]
    everywhere = client_of("bob").get(f"{V1}/events/?ordering=timestamp").json()["results"]
    assert [event["annotations"] for event in everywhere] == [shown, [], [], []]
    assert client_of("bob").get(f"{at}{other}/").json()["annotations"] == []


def test_a_page_of_events_takes_as_many_queries_however_much_was_said(case: Case) -> None:
    asking, at = client_of("alice"), f"{V1}/cases/{case.case_id}/events/"
    event, other, *_ = ids(case)
    add("dana", event, tags=["a", "b"])

    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert asking.get(at).status_code == asking.get(HERE).status_code == 200
        return len(seen)

    first = queries()
    for number in range(5):
        add("dana", other, tags=["a", "b", str(number)], comment="c")
    assert queries() == first


def test_authors_change_their_own_and_leads_any(case: Case) -> None:
    services.add_member(case=case, user=person("erin"), role="analyst", by=case.owner)
    pk = add("dana", ids(case)[0]).json()["id"]
    assert client_of("erin").patch(f"{HERE}{pk}/", {"star": False}, format="json").status_code == 403
    assert errors(client_of("erin").delete(f"{HERE}{pk}/")) == [("permission_denied", None)]
    changed = client_of("dana").patch(f"{HERE}{pk}/", {"tags": ["C2", "new"]}, format="json")
    assert (changed.status_code, changed.json()["tags"]) == (200, ["C2", "new"])
    assert changed.json()["updated_at"] > changed.json()["created_at"]
    assert record_of(case)["before"] == {"tags": SAID["tags"]}
    assert record_of(case)["after"] == {"tags": ["C2", "new"]}
    assert client_of("alice").patch(f"{HERE}{pk}/", {"comment": ""}, format="json").json()["comment"] == ""
    assert record_of(case)["author"] == "dana"
    assert client_of("alice").delete(f"{HERE}{pk}/").status_code == 204
    assert client_of("alice").get(f"{HERE}{pk}/").status_code == 404
    assert record_of(case)["tags"] == ["C2", "new"]
    assert actions(case)[-4:] == [
        "annotation.added",
        "annotation.changed",
        "annotation.changed",
        "annotation.removed",
    ]


def test_what_changes_nothing_is_no_entry_in_the_record(case: Case) -> None:
    pk = add("dana", ids(case)[0]).json()["id"]
    before = actions(case)
    again = client_of("dana").patch(f"{HERE}{pk}/", {"tags": SAID["tags"], "star": True}, format="json")
    assert again.json()["updated_at"] == again.json()["created_at"]
    assert actions(case) == before


@pytest.mark.parametrize(("who", "status"), [("bob", 403), ("charlie", 404)])
def test_readers_and_strangers_say_nothing(case: Case, who: str, status: int) -> None:
    pk = add("dana", ids(case)[0]).json()["id"]
    asking = client_of(who)
    for answer in (
        asking.post(HERE, {"event_id": ids(case)[0], "star": True}, format="json"),
        asking.patch(f"{HERE}{pk}/", {"star": False}, format="json"),
        asking.delete(f"{HERE}{pk}/"),
        asking.post(f"{HERE}bulk/", {"star": True}, format="json"),
    ):
        assert answer.status_code == status
    assert client_of(who).get(HERE).status_code == (200 if who == "bob" else 404)
    assert Annotation.objects.get().star


@pytest.mark.parametrize(
    ("said", "attr"),
    [
        ({}, None),
        ({"tags": [], "star": False, "comment": " \n"}, None),
        ({"tags": [" "]}, "tags"),
        ({"tags": ["x" * 101]}, "tags"),
        ({"tags": ["two\nlines"]}, "tags"),
        ({"tags": [str(n) for n in range(51)]}, "tags"),
        ({"comment": "x" * 10_001}, "comment"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_field(case: Case, said: Any, attr: str | None) -> None:
    answer = client_of("dana").post(HERE, {"event_id": ids(case)[0], **said}, format="json")
    assert answer.status_code == 400
    assert errors(answer) == [("invalid", attr or "non_field_errors")]
    assert not Annotation.objects.exists()


def test_an_event_that_is_not_in_the_case_cannot_be_annotated(case: Case) -> None:
    other = staffed_case("ir-2024-002")
    events(other, [record(9)])
    for event in (ids(other)[0], "0" * 64, "nothing", "\x00", "x" * 64):
        assert add("dana", event).status_code in (400, 404)
    assert not Annotation.objects.exists()


def test_tags_are_compared_without_case_and_kept_as_they_were_typed(case: Case) -> None:
    made = add("dana", ids(case)[0], tags=[" Émile ", "ÉMILE"]).json()
    assert made["tags"] == ["Émile"]
    assert len(client_of("bob").get(HERE, {"tag": "éMILE"}).json()["results"]) == 1
    assert client_of("bob").get(HERE, {"tag": "mile"}).json()["results"] == []


def test_a_list_narrows_by_event_tag_author_star_and_batch(case: Case) -> None:
    first, second, *_ = ids(case)
    add("dana", first, tags=["a"])
    add("alice", second, star=True)
    client_of("alice").post(f"{HERE}bulk/", {"q": "number", "tags": ["bulk"]}, format="json")
    batch = client_of("bob").get(f"{HERE}batches/").json()["results"][0]["id"]

    def found(**narrow: Any) -> int:
        return len(client_of("bob").get(HERE, narrow).json()["results"])

    assert found() == 6
    assert found(event_id=first) == 2
    assert found(tag="A") == 1
    assert found(author="dana") == 1
    assert (found(star="true"), found(star="false")) == (1, 5)
    assert found(batch=batch) == 4
    assert found(ordering="created_at", page_size=2) == 2
    for wrong in ({"star": "maybe"}, {"batch": str(2**63)}, {"tags": "a"}):
        assert client_of("bob").get(HERE, wrong).status_code == 400


def test_pages_of_the_list_lose_and_repeat_nothing(case: Case) -> None:
    client_of("alice").post(f"{HERE}bulk/", {"star": True}, format="json")
    seen, at = [], f"{HERE}?page_size=3&ordering=-created_at"
    while at:
        page = client_of("bob").get(at).json()
        seen += [said["id"] for said in page["results"]]
        at = page["next"]
    assert sorted(seen) == sorted(Annotation.objects.values_list("pk", flat=True))


def test_a_closed_case_takes_no_annotations_and_loses_none(case: Case) -> None:
    event = ids(case)[0]
    pk = add("dana", event).json()["id"]
    client_of("alice").post(f"{HERE}bulk/", {"star": True}, format="json")
    batch = client_of("bob").get(f"{HERE}batches/").json()["results"][0]["id"]
    Case.objects.filter(pk=case.pk).update(status="closed")
    asking = client_of("dana")
    for answer in (
        add("dana", event),
        asking.patch(f"{HERE}{pk}/", {"star": False}, format="json"),
        asking.delete(f"{HERE}{pk}/"),
        client_of("alice").post(f"{HERE}bulk/", {"tags": ["x"]}, format="json"),
        client_of("alice").post(f"{HERE}batches/{batch}/undo/"),
    ):
        assert (answer.status_code, errors(answer)[0][0]) == (409, "case_closed")
    assert Annotation.objects.count() == 5


def test_the_same_key_says_it_once(case: Case) -> None:
    event, asking = ids(case)[0], client_of("dana")
    first, second = (
        asking.post(HERE, {"event_id": event, **SAID}, format="json", headers={"Idempotency-Key": "k"})
        for _ in range(2)
    )
    assert first.json() == second.json()
    assert Annotation.objects.count() == 1


def test_an_event_has_at_most_a_hundred_annotations(case: Case) -> None:
    event = ids(case)[0]
    template = Annotation.objects.get(pk=add("dana", event).json()["id"])
    Annotation.objects.bulk_create(
        Annotation(case_ref=case, event_id=event, evidence_uid=template.evidence_uid, comment=str(n))
        for n in range(99)
    )
    assert errors(add("dana", event)) == [("too_many_annotations", None)]
    bulk = client_of("alice").post(f"{HERE}bulk/", {"tags": ["x"]}, format="json")
    assert (bulk.status_code, errors(bulk)[0][0]) == (409, "too_many_annotations")
    assert Annotation.objects.count() == 100
