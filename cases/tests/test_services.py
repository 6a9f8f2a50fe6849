"""What changes a case: the act, its record, and what is refused."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from django.db import connections, transaction

from accounts.models import User
from cases import custody, runs, services, store
from cases.models import Case, CaseMember, CustodyEntry, Event, Evidence, RunStatus, TaskRun
from cases.tests.cast import Untouched, a_case, alice, receive
from datamortem.common.errors import Conflict, DomainError, Invalid, Missing, TooLarge


def _actions(case_id: str) -> list[str]:
    entries = CustodyEntry.objects.filter(case_id=case_id).order_by("sequence")
    return list(entries.values_list("action", flat=True))


def _bob() -> User:
    return User.objects.create_user("bob@example.org", "bob", "correct horse battery")


class TestCases:
    """The life of a case."""

    pytestmark = pytest.mark.django_db

    def test_a_generated_id_is_unique_and_named_after_the_year(self) -> None:
        ids = {services.open_case(by=None).case_id for _ in range(20)}
        assert len(ids) == 20
        assert all(case_id.startswith("case-20") for case_id in ids)

    def test_an_id_that_could_be_a_path_or_a_pattern_is_refused(self) -> None:
        for case_id in ("", ".hidden", "..", "a/b", "a b", "*", "é", "a\n", "x" * 65, "a\x00"):
            with pytest.raises(Invalid) as refusal:
                services.open_case(by=None, case_id=case_id)
            assert refusal.value.field == "case_id"
        assert services.open_case(by=None, case_id="x" * 64).case_id == "x" * 64

    def test_a_taken_id_is_a_conflict(self) -> None:
        a_case("ir-1")
        with pytest.raises(services.CaseIdTaken) as refusal:
            a_case("ir-1")
        assert (refusal.value.code, refusal.value.field) == ("case_id_taken", "case_id")
        assert _actions("ir-1") == ["case.opened"]

    def test_a_change_keeps_what_was_there_before(self) -> None:
        case = a_case()
        services.update_case(case=case, by=alice(), title="Break-in", severity="high", tags=["a"])
        services.update_case(case=case, by=alice(), title="Break-in")
        assert _actions(case.case_id) == ["case.opened", "case.changed"]
        entry = CustodyEntry.objects.get(action="case.changed")
        assert entry.details["before"] == {"title": "", "severity": "", "tags": []}
        for wrong in ({"severity": "dire"}, {"title": "x" * 301}, {"case_id": "y"}, {"status": "closed"}):
            with pytest.raises(Invalid):
                services.update_case(case=case, by=alice(), **wrong)

    def test_a_closed_case_refuses_writes_until_it_is_open_again(self) -> None:
        case = a_case()
        evidence = receive(case, b"a").evidence
        bob = _bob()
        services.add_member(case=case, user=bob, role="lead", by=alice())
        with pytest.raises(Conflict) as busy:
            services.close_case(case=case, by=alice())
        assert busy.value.code == "case_busy"
        services.cancel_run(run=TaskRun.objects.get(), by=alice())
        services.close_case(case=case, by=alice())
        acts = (
            lambda: receive(case, b"b"),
            lambda: services.post_events(case=case, by=alice(), events=[{"message": "x"}]),
            lambda: services.update_case(case=case, by=alice(), title="x"),
            lambda: services.update_evidence(evidence=evidence, by=alice(), host="x"),
            lambda: services.delete_evidence(evidence=evidence, by=alice()),
            lambda: services.run_again(evidence=evidence, by=alice()),
            lambda: services.close_case(case=case, by=alice()),
            lambda: services.add_member(case=case, user=bob, role="reader", by=alice()),
            lambda: services.change_member(case=case, user=bob, role="reader", by=alice()),
            lambda: services.remove_member(case=case, user=bob, by=alice()),
            lambda: services.change_member(case=case, user=alice(), role="lead", by=alice()),
            lambda: services.remove_member(case=case, user=alice(), by=alice()),
        )
        for act in acts:
            with pytest.raises(services.CaseClosed) as refusal:
                act()
            assert refusal.value.code == "case_closed"
        services.reopen_case(case=case, by=alice())
        assert not receive(case, b"b").duplicate

    def test_the_last_lead_stays(self) -> None:
        case, bob = a_case(), _bob()
        Case.objects.filter(pk=case.pk).update(owner=None)
        services.add_member(case=case, user=alice(), role="lead", by=alice())
        services.add_member(case=case, user=bob, role="analyst", by=alice())
        with pytest.raises(Conflict) as refusal:
            services.remove_member(case=case, user=alice(), by=alice())
        assert refusal.value.code == "last_lead"
        with pytest.raises(Conflict):
            services.change_member(case=case, user=alice(), role="reader", by=alice())
        services.change_member(case=case, user=bob, role="lead", by=alice())
        services.remove_member(case=case, user=alice(), by=alice())
        assert [member.user for member in CaseMember.objects.all()] == [bob]
        with pytest.raises(Conflict):
            services.add_member(case=case, user=bob, role="reader", by=alice())
        with pytest.raises(Invalid):
            services.add_member(case=case, user=alice(), role="king", by=alice())


class TestEvidence:
    """How bytes become evidence."""

    pytestmark = pytest.mark.django_db

    def test_bytes_become_sealed_evidence_with_a_run_and_an_entry(self) -> None:
        case = a_case()
        received = receive(case, b"hello", "C:\\logs\\a.log", host="web-01", time_zone="Europe/Berlin")
        evidence = received.evidence
        assert evidence.sha256 == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        assert (evidence.size, evidence.original_name) == (5, "C:\\logs\\a.log")
        assert evidence.sealed_at is not None
        assert received.run is not None
        assert received.run.status == RunStatus.QUEUED
        assert _actions(case.case_id) == ["case.opened", "evidence.received"]

    def test_hostile_names_are_kept_as_data(self) -> None:
        case = a_case()
        names = [
            "../../etc/passwd",
            "a\r\nSet-Cookie: x",
            "\x1b[31m",
            "\u202egpj.exe",
            "",
            "caf\udce9",
            "n\x00l",
        ]
        for number, name in enumerate([*names, "n\x00l"]):
            evidence = receive(case, bytes([number]), name).evidence
            evidence.refresh_from_db()
            assert evidence.original_name == custody.storable(name)
            assert store.path(evidence.local_path).name == evidence.sha256

    def test_a_name_that_is_too_long_is_cut_and_the_record_says_so(self) -> None:
        evidence = receive(a_case(), b"x", "n" * 5000).evidence
        assert len(evidence.original_name) == 1024
        assert CustodyEntry.objects.get(action="evidence.received").details["name_cut_from"] == 5000

    def test_the_same_bytes_in_the_same_case_are_the_evidence_that_is_there(self) -> None:
        case = a_case()
        first, second = receive(case, b"same", "a"), receive(case, b"same", "b")
        assert second.duplicate
        assert second.evidence == first.evidence
        assert TaskRun.objects.count() == 1
        assert _actions(case.case_id)[-1] == "evidence.offered_again"

    def test_nonsense_is_refused_before_the_first_byte(self) -> None:
        case = a_case()
        wrong = (
            {"time_zone": "Mars/Olympus"},
            {"time_zone": "../etc/passwd"},
            {"time_zone": ""},
            {"clock_offset_seconds": float("nan")},
            {"clock_offset_seconds": 1e12},
            {"host": "h" * 256},
            {"module": "no such module"},
        )
        for facts in wrong:
            with pytest.raises(Invalid) as refusal:
                services.receive_evidence(case=case, by=alice(), content=Untouched(), name="x", **facts)
            assert refusal.value.field == next(iter(facts))

    def test_more_than_the_upload_limit_is_refused(self, settings) -> None:
        settings.UPLOAD_LIMIT = 10
        with pytest.raises(TooLarge):
            receive(a_case(), b"x" * 11)
        assert Evidence.objects.count() == 0

    def test_a_change_that_moves_events_has_them_read_again(self) -> None:
        evidence = receive(a_case(), b"x").evidence
        TaskRun.objects.update(status=RunStatus.SUCCEEDED)
        services.update_evidence(evidence=evidence, by=alice(), description="from the server room")
        assert TaskRun.objects.count() == 1
        services.update_evidence(evidence=evidence, by=alice(), clock_offset_seconds=-90.5)
        assert TaskRun.objects.filter(status=RunStatus.QUEUED).count() == 1
        assert custody.verify(evidence.case_id) == []


@pytest.mark.django_db(transaction=True)
class TestShared:
    """What needs real commits."""

    def test_a_failed_registration_leaves_nothing(self, settings) -> None:
        case = a_case()
        CustodyEntry.objects.create(
            case_id=case.case_id, sequence=3, actor="", action="", previous_hash="", hash=""
        )
        CustodyEntry.objects.filter(sequence=3).update(sequence=0)
        Case.objects.filter(pk=case.pk).delete()
        with pytest.raises(Missing):
            receive(case, b"orphan")
        assert list(store.contents()) == []
        assert (Evidence.objects.count(), TaskRun.objects.count()) == (0, 0)

    def test_a_failure_after_the_commit_leaves_the_bytes_of_what_was_registered(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt() -> None:
            raise KeyboardInterrupt

        def queue(*args: Any, **facts: Any) -> TaskRun:
            transaction.on_commit(interrupt)
            return whole(*args, **facts)

        whole, case = runs.queue, a_case()
        monkeypatch.setattr(runs, "queue", queue)
        with pytest.raises(KeyboardInterrupt):
            receive(case, b"kept")
        evidence = Evidence.objects.get()
        assert store.matches(evidence.local_path, evidence.sha256)

    def test_bytes_go_with_the_last_evidence_that_holds_them(self) -> None:
        first, second = a_case("one"), a_case("two")
        evidence = [receive(case, b"shared").evidence for case in (first, second)]
        path = store.path(evidence[0].local_path)
        services.delete_evidence(evidence=evidence[0], by=alice())
        assert path.read_bytes() == b"shared"
        services.delete_case(case=second, by=alice(), confirm="two")
        assert not path.exists()
        assert "evidence.deleted" in _actions("one")
        assert "case.deleted" in _actions("two")
        assert custody.verify("two") == []

    def test_a_case_with_evidence_needs_its_id_to_go(self) -> None:
        case = a_case()
        receive(case, b"x")
        services.post_events(case=case, by=alice(), events=[{"message": "x"}])
        for confirm in (None, "", "yes"):
            with pytest.raises(Conflict) as refusal:
                services.delete_case(case=case, by=alice(), confirm=confirm)
            assert refusal.value.code == "case_not_empty"
        services.delete_case(case=case, by=alice(), confirm=case.case_id)
        assert Evidence.objects.count() + TaskRun.objects.count() + Event.objects.count() == 0
        again = a_case(case.case_id)
        assert custody.verify(again.case_id) == []
        acts = [action for action in _actions(again.case_id) if action != "case.erased"]
        assert acts[-2:] == ["case.deleted", "case.opened"]

    def test_a_case_with_events_of_the_old_system_alone_needs_its_id_to_go(self) -> None:
        case = a_case()
        Event.objects.create(case=case, ts="2024-05-01 10:00:00", source="evtx", message="old")
        with pytest.raises(Conflict, match="1 stored events") as refusal:
            services.delete_case(case=case, by=alice())
        assert refusal.value.code == "case_not_empty"
        services.delete_case(case=case, by=alice(), confirm=case.case_id)
        assert Event.objects.count() == 0

    def test_the_same_bytes_from_many_at_once_are_one_evidence(self) -> None:
        case, outcomes = a_case(), []

        def send() -> None:
            try:
                outcomes.append(receive(case, b"x" * 100_000))
            finally:
                connections.close_all()

        alice()
        threads = [threading.Thread(target=send) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcome.duplicate for outcome in outcomes) == [False] + [True] * 5
        assert (Evidence.objects.count(), TaskRun.objects.count()) == (1, 1)
        assert custody.verify(case.case_id) == []

    def test_rotten_bytes_lose_their_seal_once_and_get_it_back(self) -> None:
        evidence = receive(a_case(), b"whole").evidence
        assert services.check_evidence(evidence=evidence)
        path = store.path(evidence.local_path)
        path.chmod(0o600)
        path.write_bytes(b"whOle")
        for _ in range(2):
            assert not services.check_evidence(evidence=evidence)
        evidence.refresh_from_db()
        assert evidence.sealed_at is None
        path.write_bytes(b"whole")
        assert services.check_evidence(evidence=evidence)
        assert _actions(evidence.case_id)[2:] == ["evidence.mismatch", "evidence.restored"]


class TestRuns:
    """Runs as people ask for them."""

    pytestmark = pytest.mark.django_db

    def test_one_reading_at_a_time_and_a_retry_is_a_new_one(self) -> None:
        received = receive(a_case(), b"x")
        run = received.run
        assert run is not None
        with pytest.raises(Conflict) as refusal:
            services.run_again(evidence=received.evidence, by=alice())
        assert refusal.value.code == "run_unfinished"
        services.cancel_run(run=run, by=alice())
        assert run.status == RunStatus.CANCELLED
        with pytest.raises(Conflict) as refusal:
            services.cancel_run(run=run, by=alice())
        assert refusal.value.code == "run_finished"
        again = services.retry_run(run=run, by=alice())
        assert again.pk != run.pk
        assert again.status == RunStatus.QUEUED
        with pytest.raises(Conflict):
            services.retry_run(run=again, by=alice())

    def test_evidence_that_was_never_sealed_cannot_be_read(self) -> None:
        case = a_case()
        legacy = Evidence.objects.create(evidence_uid="old", case=case, local_path="/srv/old/a.log")
        with pytest.raises(store.NotSealed):
            services.run_again(evidence=legacy, by=alice())


class TestPostedEvents:
    """Events without a file."""

    pytestmark = pytest.mark.django_db

    def test_good_events_are_kept_and_bad_ones_named(self) -> None:
        case = a_case()
        events = [
            {"message": "a", "timestamp": "2024-03-01T08:15:30.123456Z"},
            {"message": "undated", "timestamp": None, "shoe_size": 43},
            {"timestamp": "2024-03-01T08:15:30Z"},
            {"message": "x", "timestamp": "2024-03-01T08:15:30"},
            {"message": "x", "timestamp": "1600-12-31T23:59:59Z"},
            {"message": "x", "timestamp": "2024-02-30T00:00:00Z"},
            {"message": "x", "timestamp": 1709281530},
            {"message": "x", "tags": "a"},
            {"message": "x", "score": True},
            {"message": "x", "host": {"name": "a"}},
            {"message": "x", "attributes": [1]},
            {"message": "x", "a": 1, "attributes": {"a": 2}},
            "text",
        ]
        posted = services.post_events(case=case, by=alice(), events=events)
        assert (posted.accepted, posted.duplicate) == (2, 0)
        assert [entry["index"] for entry in posted.rejected] == list(range(2, 13))
        assert all(entry["errors"] for entry in posted.rejected)
        assert '"shoe_size":43' in (Event.objects.get(message="undated").raw or "")

    def test_the_same_event_is_kept_once(self) -> None:
        case = a_case()
        event = {"message": "a", "timestamp": "2024-03-01T08:15:30Z", "attributes": {"b": 1, "a": 2}}
        swapped = {"attributes": {"a": 2, "b": 1}, **event, "tags": []}
        first = services.post_events(case=case, by=alice(), events=[event, swapped])
        second = services.post_events(case=case, by=alice(), events=[event, {"message": "new"}])
        assert (first.accepted, first.duplicate) == (1, 1)
        assert (second.accepted, second.duplicate) == (1, 1)
        assert second.run == first.run
        assert services.post_events(case=case, by=alice(), events=[event]).run is None
        other = services.post_events(case=a_case("other"), by=alice(), events=[event])
        assert other.accepted == 1

    def test_too_many_at_once_are_refused(self) -> None:
        with pytest.raises(TooLarge):
            services.post_events(case=a_case(), by=alice(), events=[{"message": "x"}] * 10_001)

    def test_hostile_events_are_kept_or_refused_and_never_break_the_call(self) -> None:
        deep: object = 1
        for _ in range(5000):
            deep = [deep]
        events = [
            {"message": "nul \x00 and \ud800"},
            {"message": "big", "n": 10**60, "score": 2**31},
            {"message": "deep", "n": deep},
            {"message": "keys", "": 1, "a.b": 2, "\x00": 3},
        ]
        posted = services.post_events(case=a_case(), by=alice(), events=events)
        assert posted.accepted == 3
        assert [entry["index"] for entry in posted.rejected] == [2]


def test_a_refusal_is_never_a_bare_exception() -> None:
    for kind in (services.CaseClosed, services.CaseIdTaken, store.NoSpace, store.NotSealed):
        assert issubclass(kind, DomainError)
        assert kind.code not in ("invalid", "conflict", "unavailable")


def test_content_may_be_a_file_or_blocks(db: None) -> None:
    case = a_case()
    first = services.receive_evidence(case=case, by=None, content=io.BytesIO(b"abc"), name="x", size=3)
    second = services.receive_evidence(case=case, by=None, content=iter([b"a", b"bc"]), name="x")
    assert second.evidence == first.evidence
