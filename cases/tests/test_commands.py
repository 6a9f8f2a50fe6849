"""The operator's other commands: reindex, verify_evidence, verify_custody, doctor."""

from __future__ import annotations

import io
import shutil

import pytest
from django.core.management import CommandError, call_command

from cases import services, store, tasks
from cases.engines import engine
from cases.models import AnalysisModule, Case, CustodyEntry, Evidence, RunStatus, TaskRun
from cases.tests.cast import a_case, actions, alice, indexed, receive
from cases.tests.worker_process import call

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hostile_parsers")]


def _say(*arguments: str) -> tuple[str, str]:
    """Call a command; return its output, and why it refused (or nothing)."""
    out = io.StringIO()
    try:
        call_command(*arguments, stdout=out, stderr=out, no_color=True)
    except CommandError as error:
        return out.getvalue(), str(error)
    return out.getvalue(), ""


class TestReindex:
    """The index is disposable."""

    @pytest.mark.usefixtures("embedded")
    def test_a_lost_index_is_built_anew_from_evidence_and_rows(self, settings) -> None:
        one, two = a_case("one"), a_case("two")
        for case in (one, two):
            receive(case, b"good 120")
            receive(case, b"breaking 7")
        services.post_events(case=one, by=alice(), events=[{"message": "x"}, {"message": "y"}])
        tasks.work(once=True, concurrency=2)
        before = [indexed(one), indexed(two)]
        assert [len(found) for found in before] == [129, 127]
        shutil.rmtree(settings.INDEX_ROOT)
        assert indexed(one) == []
        assert _say("reindex", "--all") == ("one: 129 events\ntwo: 127 events\n", "")
        assert [indexed(one), indexed(two)] == before
        assert actions(one).count("case.reindexed") == 1

    def test_events_of_evidence_that_is_gone_go_too(self) -> None:
        case = a_case("one")
        kept, gone = (receive(case, content).evidence for content in (b"good 10", b"good 20"))
        tasks.work(once=True)
        Evidence.objects.filter(pk=gone.pk).delete()  # as a database that was restored from a backup
        assert len(indexed(case)) == 30
        assert _say("reindex", "one") == ("one: 10 events\n", "")
        assert engine().shards(case_id="one") == {kept.evidence_uid: 10}

    def test_a_closed_case_can_be_rebuilt_and_only_what_was_named_is(self, settings) -> None:
        case = a_case("one")
        receive(case, b"good 10")
        tasks.work(once=True)
        services.close_case(case=case, by=alice())
        done = call("reindex", "one")
        assert (done.returncode, done.stdout) == (0, "one: 10 events\n")
        assert TaskRun.objects.filter(status=RunStatus.SUCCEEDED).count() == 2

    def test_a_reading_that_fails_leaves_the_events_and_an_exit_code(self) -> None:
        case = a_case("one")
        receive(case, b"good 10")
        tasks.work(once=True)
        AnalysisModule.objects.create(name="good", enabled=False)
        out, refusal = _say("reindex", "one")
        assert "is disabled" in out
        assert "one: 10 events" in out
        assert refusal == "1 runs failed; the events of before are still there."

    def test_nonsense_is_refused(self) -> None:
        a_case("one")
        assert _say("reindex")[1] == "Name the cases, or give --all."
        assert _say("reindex", "one", "--all")[1] == "Name the cases, or give --all."
        assert _say("reindex", "nowhere")[1] == "There is no case nowhere."


class TestVerify:
    """What is stored against what was noted when it came in."""

    def test_intact_evidence_and_records_pass(self) -> None:
        case = a_case("one")
        receive(case, b"a")
        receive(case, b"b")
        services.post_events(case=case, by=alice(), events=[{"message": "x"}])
        assert _say("verify_evidence") == ("checked=2 mismatches=0\n", "")
        assert _say("verify_evidence", "one") == ("checked=2 mismatches=0\n", "")
        last = CustodyEntry.objects.latest("sequence")
        assert _say("verify_custody") == (f"one: 4 entries, last {last.hash}\nchecked=4 mismatches=0\n", "")

    def test_changed_and_missing_bytes_are_named(self) -> None:
        case = a_case("one")
        changed, gone, whole = (receive(case, content).evidence for content in (b"a", b"b", b"c"))
        place = store.path(changed.local_path)
        place.chmod(0o600)
        place.write_bytes(b"A")
        store.path(gone.local_path).unlink()
        for _ in range(2):
            done = call("verify_evidence")
            assert done.returncode == 1
            assert done.stdout.splitlines()[-1] == "checked=3 mismatches=2"
            assert changed.evidence_uid in done.stdout
            assert gone.evidence_uid in done.stdout
            assert whole.evidence_uid not in done.stdout
        assert actions(case).count("evidence.mismatch") == 2

    def test_content_that_no_evidence_holds_is_listed(self) -> None:
        with store.admit([b"orphan"]) as stored:
            pass
        assert _say("verify_evidence") == (f"held by no evidence: {stored.key}\nchecked=0 mismatches=0\n", "")

    def test_evidence_of_the_old_system_is_named_and_not_counted(self) -> None:
        Evidence.objects.create(evidence_uid="old", case=a_case("one"), local_path="/srv/old")
        assert _say("verify_evidence") == ("one old: was never sealed\nchecked=0 mismatches=0\n", "")

    def test_an_edited_record_is_named(self) -> None:
        case = a_case("one")
        receive(case, b"a")
        CustodyEntry.objects.filter(sequence=1).update(actor="somebody else")
        out, refusal = _say("verify_custody", "one")
        assert out.splitlines()[-1] == "checked=2 mismatches=1"
        assert "Entry 1 of case one was changed after it was written." in out
        assert refusal == "A custody record was changed."
        assert _say("verify_custody", "nowhere")[1] == "There is no record of a case nowhere."
        assert _say("verify_evidence", "nowhere")[1] == "There is no case nowhere."


class TestDoctor:
    """Whether the installation can do its work."""

    def test_a_sound_installation_has_no_problems(self) -> None:
        out, refusal = _say("doctor")
        assert refusal == "", out
        assert out.splitlines()[-1] == "No problems."
        assert "starts under its limits" in out

    def test_what_is_wrong_comes_with_a_remedy(self, settings) -> None:
        settings.EVIDENCE_RESERVE = 2**60
        case = a_case("one")
        Case.objects.filter(pk=case.pk).update(title="x")
        CustodyEntry.objects.update(action="case.closed")
        out, refusal = _say("doctor")
        problems = [line for line in out.splitlines() if line.startswith("PROBLEM")]
        assert [problem.split()[1].rstrip(":") for problem in problems] == ["Free", "Evidence", "Custody"]
        assert refusal == "3 problems."
        assert "Make room on the volume of the evidence" in out

    def test_runs_that_wait_without_a_worker_are_a_problem(self) -> None:
        receive(a_case("one"), b"good 1")
        out, _ = _say("doctor")
        assert "1 runs wait" in out
        assert "Start one: manage.py worker" in out
        assert Case.objects.count() == 1
