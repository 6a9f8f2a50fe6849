"""Annotating all events of a query, and taking it back."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cases import custody, services
from cases.models import Annotation, AnnotationBatch, AnnotationTag, Case, CustodyEntry
from cases.tests.api.cast import V1, admin, client_of, errors, events, person, record, staffed_case
from cases.tests.cast import actions

pytestmark = pytest.mark.django_db

HERE = f"{V1}/cases/ir-2024-001/annotations/"


@pytest.fixture
def case() -> Case:
    case = staffed_case()
    events(case, [record(n, f"odd {n}" if n % 2 else f"even {n}") for n in range(20)])
    return case


def bulk(who: str = "dana", **body: Any) -> Any:
    return client_of(who).post(f"{HERE}bulk/", body, format="json")


def count(q: str) -> int:
    answer = client_of("bob").get(f"{V1}/cases/ir-2024-001/events/count/", {"q": q})
    total: int = answer.json()["total"]
    return total


def undo(batch: int, who: str = "dana") -> Any:
    return client_of(who).post(f"{HERE}batches/{batch}/undo/")


def test_all_events_of_a_query_are_annotated_in_one_act_on_record(case: Case) -> None:
    answer = bulk(q="odd", tags=["Odd", "a"], comment="half of them", star=True)
    assert answer.status_code == 201
    batch = AnnotationBatch.objects.get()
    assert answer.json() == {"batch": batch.pk, "annotated": 10, "already": 0}
    assert (count("tag:odd"), count("starred:true AND even"), count("comment:half")) == (10, 0, 10)
    assert actions(case)[-1] == "annotations.added"
    details = CustodyEntry.objects.latest("pk").details
    assert details == {
        "batch": batch.pk, "events": 10, "already": 0, "q": "odd", "from": "", "to": "", "evidence": [],
        "source": [], "limit": 10_000, "tags": ["Odd", "a"], "star": True, "comment": "half of them",
    }  # fmt: skip
    (shown,) = client_of("bob").get(f"{HERE}batches/").json()["results"]
    assert (shown["id"], shown["annotated"], shown["author"]) == (batch.pk, 10, "dana")
    assert (shown["asked"]["q"], shown["undone_at"], shown["undone_by"]) == ("odd", None, None)
    said = client_of("bob").get(HERE, {"batch": batch.pk}).json()["results"]
    assert {(tuple(one["tags"]), one["star"], one["comment"]) for one in said} == {
        (("Odd", "a"), True, "half of them")
    }


def test_more_than_the_limit_annotates_nothing_and_says_how_many_there_are(case: Case) -> None:
    answer = bulk(tags=["x"], limit=19)
    assert answer.status_code == 409
    assert errors(answer) == [("too_many_events", "limit")]
    assert "20 events match" in answer.json()["errors"][0]["detail"]
    assert not Annotation.objects.exists()
    assert bulk(tags=["x"], limit=20).json()["annotated"] == 20
    for limit in (0, 100_001, "many"):
        assert bulk(tags=["x"], limit=limit).status_code == 400


def test_what_somebody_said_before_is_not_said_again(case: Case) -> None:
    assert bulk(q="odd", tags=["x"]).json()["annotated"] == 10
    again = bulk(tags=["X"]).json()
    assert (again["annotated"], again["already"]) == (10, 10)
    assert bulk(tags=["x"]).json() == {"batch": None, "annotated": 0, "already": 20}
    assert bulk(tags=["x", "y"]).json()["annotated"] == 20
    assert bulk("alice", tags=["x"]).json()["annotated"] == 20
    assert count("tag:x") == 20


def test_undoing_takes_exactly_those_away(case: Case) -> None:
    batch = bulk(q="odd", tags=["x"], star=True).json()["batch"]
    bulk("alice", q="odd", tags=["x"])
    assert count("tag:x AND starred:true") == 10
    assert undo(batch).json() == {"batch": batch, "removed": 10, "kept": 0}
    assert (count("tag:x"), count("starred:true")) == (10, 0)
    assert Annotation.objects.count() == AnnotationTag.objects.count() == 10
    assert actions(case)[-1] == "annotations.undone"
    assert CustodyEntry.objects.latest("pk").details == {"batch": batch, "removed": 10, "kept": 0}
    shown = client_of("bob").get(f"{HERE}batches/").json()["results"][-1]
    assert (shown["id"], shown["undone_by"]) == (batch, "dana")
    answer = undo(batch)
    assert (answer.status_code, errors(answer)) == (409, [("already_undone", None)])


def test_what_somebody_changed_since_stays_when_a_batch_is_undone(case: Case) -> None:
    batch = bulk(q="odd", tags=["x"]).json()["batch"]
    changed, removed, *_ = client_of("dana").get(HERE, {"batch": batch}).json()["results"]
    asking = client_of("alice")
    mended = asking.patch(f"{HERE}{changed['id']}/", {"comment": "look"}, format="json").json()
    assert mended["batch"] is None
    asking.delete(f"{HERE}{removed['id']}/")
    assert undo(batch).json() == {"batch": batch, "removed": 8, "kept": 2}
    (left,) = client_of("bob").get(HERE).json()["results"]
    assert (left["id"], left["tags"], left["comment"]) == (changed["id"], ["x"], "look")


def test_only_the_author_and_the_leads_undo(case: Case) -> None:
    services.add_member(case=case, user=person("erin"), role="analyst", by=case.owner)
    batch = bulk(q="odd", tags=["x"]).json()["batch"]
    assert [undo(batch, who).status_code for who in ("erin", "bob", "charlie")] == [403, 403, 404]
    other = staffed_case("ir-2024-002")
    elsewhere = f"{V1}/cases/{other.case_id}/annotations/batches/{batch}/undo/"
    assert client_of("alice").post(elsewhere).status_code == 404
    assert undo(batch, admin().username).status_code == 200


def test_a_question_narrows_by_time_evidence_and_source(case: Case) -> None:
    more = events(case, [record(100)], source="syslog").evidence_uid
    assert bulk(tags=["a"], to="2024-03-01T00:00:04Z").json()["annotated"] == 5
    assert bulk(tags=["b"], **{"from": "2024-03-01T00:00:15Z"}).json()["annotated"] == 6
    assert bulk(tags=["c"], evidence=[more]).json()["annotated"] == 1
    assert bulk(tags=["d"], source=["syslog"]).json()["annotated"] == 1
    assert bulk(tags=["e"], q="tag:a OR tag:b").json()["annotated"] == 11
    assert errors(bulk(tags=["f"], q="(a")) == [("invalid_query", "q")]
    assert errors(bulk(tags=["f"], **{"from": "soon"}))[0][1] == "from"
    assert errors(bulk(q="odd")) == [("invalid", "non_field_errors")]
    assert errors(bulk(tags=["g"], query="odd")) == [("unknown_field", "query")]


def test_the_same_key_makes_one_batch(case: Case) -> None:
    asking, body = client_of("dana"), {"tags": ["x"]}
    first, second = (
        asking.post(f"{HERE}bulk/", body, format="json", headers={"Idempotency-Key": "k"}) for _ in range(2)
    )
    assert first.json() == second.json()
    assert AnnotationBatch.objects.count() == 1


def test_twenty_thousand_are_said_and_unsaid_in_a_handful_of_statements(case: Case) -> None:
    evidence = events(case, [record(1)]).evidence_uid
    many = [(f"{n:064x}", evidence) for n in range(20_000)]
    said = services.Said.checked(tags=["bulk", "second"], comment="x")
    with CaptureQueriesContext(connection) as asked:
        done = services.annotate_all(case=case, by=person("dana"), asked={}, events=many, said=said)
        assert done.batch is not None
        assert (done.annotated, AnnotationTag.objects.count()) == (20_000, 40_000)
        assert services.undo_batch(batch=done.batch, by=person("dana"), manages=False) == 20_000
    assert len(asked) < 40
    assert not Annotation.objects.exists()
    assert not AnnotationTag.objects.exists()
    assert custody.verify(case.case_id) == []
