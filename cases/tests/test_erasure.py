"""Deleted text leaves the disk of the index, and the custody record says when, not before."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from django.test import override_settings

from cases import custody, services
from cases.engines import engine
from cases.index.engine import IndexUnavailable
from cases.models import Case, CustodyEntry, Erasure
from cases.services.erasure import finish_erasures
from cases.tests.cast import a_case, alice, receive
from cases.tests.index.engines import SERVER, event

pytestmark = pytest.mark.django_db
on_a_server = pytest.mark.skipif(not SERVER, reason="TEST_SEARCH_URL names no search server")


@pytest.fixture
def _server() -> Iterator[None]:
    with override_settings(SEARCH_URL=SERVER):
        yield


def actions(case_id: str) -> list[str]:
    return list(
        CustodyEntry.objects.filter(case_id=case_id).order_by("sequence").values_list("action", flat=True)
    )


def with_events(case: Case, shard: str) -> None:
    """Give a shard of the case two events, as a run does."""
    with engine().writer(case_id=case.case_id, shard=shard, run="1") as writer:
        writer.add([event(number, case_id=case.case_id, evidence_uid=shard) for number in (1, 2)])
        writer.seal()
        engine().publish(case_id=case.case_id, shard=shard, run="1")


def finish(*, within: float = 60) -> None:
    """Do as workers do until nothing is due."""
    end = time.monotonic() + within
    while Erasure.objects.filter(erased_at=None).exists():
        assert time.monotonic() < end, "The text has not left the disk."
        finish_erasures()
        time.sleep(0.2)


@override_settings(SEARCH_URL="embedded:")
def test_the_embedded_index_says_so_at_once() -> None:
    case = a_case("one")
    evidence = receive(case, b"x").evidence
    services.delete_evidence(evidence=evidence, by=alice())
    assert actions("one")[-2:] == ["evidence.deleted", "evidence.erased"]
    services.delete_case(case=case, by=alice())
    assert actions("one")[-2:] == ["case.deleted", "case.erased"]
    assert not Erasure.objects.exists()
    assert custody.verify("one") == []


@on_a_server
@pytest.mark.usefixtures("_server")
class TestOnAServer:
    def test_evidence_is_erased_when_its_text_is_gone_and_this_is_said_once(self) -> None:
        case = a_case("one")
        evidence = receive(case, b"x").evidence
        with_events(case, evidence.evidence_uid)
        services.delete_evidence(evidence=evidence, by=alice())
        assert engine().shards(case_id="one") == {}
        assert actions("one")[-1] == "evidence.deleted"
        assert Erasure.objects.get().evidence_uid == evidence.evidence_uid
        finish()
        assert finish_erasures() == 0
        assert actions("one").count("evidence.erased") == 1
        assert CustodyEntry.objects.get(action="evidence.erased").evidence_uid == evidence.evidence_uid
        assert custody.verify("one") == []

    def test_a_case_is_erased_after_its_deletion(self) -> None:
        case = a_case("one")
        with_events(case, "ev-1")
        services.delete_case(case=case, by=alice())
        assert actions("one")[-1] == "case.deleted"
        finish()
        assert actions("one")[-1] == "case.erased"

    def test_a_server_that_does_not_answer_leaves_it_due(self, monkeypatch: pytest.MonkeyPatch) -> None:
        case = a_case("one")
        services.delete_case(case=case, by=alice())

        def down(**_: str) -> bool:
            raise IndexUnavailable("It is down.")

        monkeypatch.setattr(engine(), "erase", down)
        assert finish_erasures() == 0
        assert Erasure.objects.get().erased_at is None
        monkeypatch.undo()
        finish()
        assert actions("one")[-1] == "case.erased"


def test_nothing_due_costs_one_query(django_assert_num_queries: pytest.FixtureRequest) -> None:
    with django_assert_num_queries(1):  # type: ignore[operator]
        assert finish_erasures() == 0
