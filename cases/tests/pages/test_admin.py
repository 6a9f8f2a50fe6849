"""The admin: what it shows of cases, what it does through services, what it never does."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import Role, User
from cases import custody, services
from cases.models import Case, CustodyEntry, Event, Evidence, RejectedRecord, RunStatus, TaskRun
from cases.tests.api.cast import admin, events, person, record, staffed_case
from cases.tests.cast import a_case, alice, receive
from cases.tests.pages.people import HOSTILE, add_run, browser, read_evidence

pytestmark = pytest.mark.django_db

LISTS = (
    "cases_case",
    "cases_evidence",
    "cases_taskrun",
    "cases_rejectedrecord",
    "cases_custodyentry",
    "cases_event",
    "cases_analysismodule",
    "accounts_user",
    "scripts_marketplace_customscript",
)


@pytest.fixture
def ada() -> Client:
    """A browser of Ada, who administers."""
    return browser(admin())


def _list(name: str) -> str:
    return reverse(f"admin:{name}_changelist")


def _page(thing: Case | Evidence | TaskRun | CustodyEntry | User) -> str:
    meta = thing._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[thing.pk])


def _door(case: Case) -> str:
    """Return where the buttons of the case's page lead."""
    return reverse("admin:cases_case_act", args=[case.pk])


def _text(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, (address, answer.status_code)
    return answer.content.decode()


def _act(client: Client, case: Case, do: str, to: object = "") -> str:
    """Press a button of the case's page; return the page it leads to."""
    answer = client.post(_door(case), {"do": do, "to": str(to)}, follow=True)
    assert answer.redirect_chain == [(_page(case), 302)]
    return answer.content.decode()


class TestEntering:
    """Who gets in."""

    def test_nobody_without_signing_in(self, client: Client) -> None:
        answer = client.get(_list("cases_case"), follow=True)
        assert answer.redirect_chain[-1][0] == f"/login/?next={_list('cases_case')}"

    @pytest.mark.parametrize("role", [Role.ANALYST, Role.VIEWER])
    def test_whoever_does_not_administer_is_refused(self, role: Role) -> None:
        case = staffed_case()
        client = browser(person("dana", role=role))
        for name in LISTS:
            answer = client.get(_list(name), follow=True)
            assert answer.status_code == 403
        assert client.get(_page(case), follow=True).status_code == 403
        assert (
            client.post(reverse("admin:cases_case_act", args=[case.pk]), {"do": "close"}).status_code == 302
        )
        case.refresh_from_db()
        assert not case.is_closed

    def test_an_admin_sees_every_section_and_starts_with_the_cases(self, ada: Client) -> None:
        for name in LISTS:
            _text(ada, _list(name))
        assert ada.get("/admin/").headers["Location"] == _list("cases_case")

    def test_a_superuser_of_low_role_sees_the_own_cases_alone(self) -> None:
        hers, other = a_case("hers"), services.open_case(by=None, case_id="other-case")
        User.objects.filter(pk=alice().pk).update(is_superuser=True)
        client = browser(alice())
        page = _text(client, _list("cases_case"))
        assert "hers" in page
        assert "other-case" not in page
        assert client.get(_page(hers)).status_code == 200
        assert client.get(_page(other)).status_code == 302
        assert (
            client.post(reverse("admin:cases_case_act", args=[other.pk]), {"do": "close"}).status_code == 403
        )

    def test_keys_of_second_factors_and_groups_have_no_page(self, ada: Client) -> None:
        for path in ("otp_totp/totpdevice/", "otp_static/staticdevice/", "auth/group/"):
            assert ada.get(f"/admin/{path}").status_code == 404


class TestCasePage:
    """Everything of a case on one page."""

    def test_it_shows_figures_evidence_ledger_members_and_custody(self, ada: Client) -> None:
        case = staffed_case()
        evidence = read_evidence(case, "Security.evtx", records_read=1234, indexed=1232)
        page = _text(ada, _page(case))
        for shown in ("Security.evtx", "1,234", "1,232", "bob", "reader", "dana", "analyst", "owner, lead"):
            assert shown in page
        assert evidence.sha256
        assert evidence.sha256[:12] in page
        assert f"?evidence={evidence.evidence_uid}" in page
        last = CustodyEntry.objects.filter(case_id=case.case_id).last()
        assert last
        assert last.hash in page

    def test_it_shows_the_newest_events_and_the_picture_whose_bars_lead_to_the_timeline(
        self, ada: Client
    ) -> None:
        case = a_case()
        events(case, [record(3600 * hour, f"message of hour {hour:02}") for hour in range(24)])
        page = _text(ada, _page(case))
        assert "message of hour 23" in page
        assert "message of hour 14" in page
        assert "message of hour 13" not in page
        assert page.count('class="dm-bar"') == 24
        bar = "from=2024-03-01T05%3A00%3A00.000000Z&amp;to=2024-03-01T05%3A59%3A59.999999Z"
        assert f'href="/cases/{case.case_id}/timeline/?{bar}"' in page

    @pytest.mark.usefixtures("embedded")
    def test_without_the_index_the_rest_of_it_is_there_and_it_says_so(
        self, ada: Client, settings: Settings, tmp_path: Path
    ) -> None:
        case = a_case()
        read_evidence(case, "still.log")
        broken = tmp_path / "broken"
        broken.write_text("no directory")
        settings.INDEX_ROOT = broken
        page = _text(ada, _page(case))
        assert "still.log" in page
        assert "The index does not answer" in page

    def test_hostile_names_are_text_and_nothing_in_them_is_hidden(self, ada: Client) -> None:
        case = services.open_case(by=alice(), case_id="ir-1", title=HOSTILE, note=HOSTILE, tags=[HOSTILE])
        evidence = read_evidence(case, HOSTILE)
        run = evidence.task_runs.get()
        TaskRun.objects.filter(pk=run.pk).update(error_message=HOSTILE, progress_message=HOSTILE)
        RejectedRecord.objects.create(run=run, position=HOSTILE, reason=HOSTILE, raw=HOSTILE.encode())
        services.post_events(case=case, by=alice(), events=[{"message": HOSTILE, "source": HOSTILE}])
        events(case, [record(1, HOSTILE, host=HOSTILE)], source="jsonl")
        pages = [_page(case), _page(evidence), _page(run)]
        pages += [_page(entry) for entry in CustodyEntry.objects.all()]
        pages += [_list(name) for name in LISTS]
        pages += [reverse("admin:cases_event_change", args=[Event.objects.get().pk])]
        pages += [reverse("admin:cases_rejectedrecord_change", args=[RejectedRecord.objects.get().pk])]
        for address in pages:
            page = _text(ada, address)
            assert "<script>alert" not in page, address
            shown, _, _ = page.partition('id="case_form"')  # its inputs hold what was typed
            assert "\u202e" not in shown, address

    def test_the_number_of_queries_does_not_grow(
        self, ada: Client, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        small, large = a_case("small"), a_case("large")
        for case, size in ((small, 1), (large, 20)):
            for number in range(size):
                add_run(read_evidence(case, f"{number}.log"), RunStatus.FAILED)
                services.add_member(case=case, user=person(f"m{number}"), role="reader", by=None)
            events(case, [record(number) for number in range(size)])
        with django_assert_max_num_queries(40) as few:
            _text(ada, _page(small))
        with django_assert_max_num_queries(len(few)):
            _text(ada, _page(large))

    def test_it_is_described_through_the_service(self, ada: Client) -> None:
        case = a_case()
        said = {"title": "Break-in", "severity": "high", "tag_list": "a, b ,", "note": "n"}
        assert ada.post(_page(case), said).status_code == 302
        case.refresh_from_db()
        assert (case.title, case.severity, case.tags, case.note) == ("Break-in", "high", ["a", "b"], "n")
        entry = CustodyEntry.objects.get(action="case.changed")
        assert entry.user == admin()
        assert custody.verify(case.case_id) == []

    def test_a_description_that_makes_no_sense_changes_nothing(self, ada: Client) -> None:
        case = a_case()
        for said in ({"severity": "dire"}, {"title": "x" * 301}):
            answer = ada.post(_page(case), {"title": "", "severity": "", "tag_list": "", "note": "", **said})
            assert answer.status_code == 200
        case.refresh_from_db()
        assert (case.title, case.severity) == ("", "")

    def test_a_closed_case_is_shown_and_not_described(self, ada: Client) -> None:
        case = a_case()
        services.update_case(case=case, by=alice(), title="Old title")
        services.close_case(case=case, by=alice())
        assert "Old title" in _text(ada, _page(case))
        assert ada.post(_page(case), {"title": "new", "tag_list": ""}).status_code == 403

    def test_cases_are_neither_added_nor_deleted_here(self, ada: Client) -> None:
        case = a_case()
        assert ada.get("/admin/cases/case/add/").status_code == 403
        assert ada.get(f"/admin/cases/case/{case.pk}/delete/").status_code == 403
        assert ada.post(f"/admin/cases/case/{case.pk}/delete/", {"post": "yes"}).status_code == 403
        answer = ada.post(
            _list("cases_case"), {"action": "delete_selected", "_selected_action": [case.pk], "post": "yes"}
        )
        assert answer.status_code in (200, 302)
        assert Case.objects.filter(pk=case.pk).exists()


class TestButtons:
    """Acts go through services; what they refuse is told."""

    def test_a_case_is_closed_and_reopened(self, ada: Client) -> None:
        case = a_case()
        assert "ir-2024-001 is closed." in _act(ada, case, "close")
        case.refresh_from_db()
        assert case.closed_by == admin()
        assert "is open again" in _act(ada, case, "reopen")
        by_ada = CustodyEntry.objects.filter(user=admin()).exclude(action="case.viewed_by_admin")
        assert [entry.action for entry in by_ada] == ["case.closed", "case.reopened"]

    def test_a_refusal_is_a_message(self, ada: Client) -> None:
        case = a_case()
        receive(case, b"x")
        page = _act(ada, case, "close")
        assert "still reading evidence" in page
        case.refresh_from_db()
        assert not case.is_closed

    def test_a_run_is_cancelled_retried_and_evidence_run_again(self, ada: Client) -> None:
        case = a_case()
        received = receive(case, b"x")
        run = received.run
        assert run
        assert f"Run {run.pk} is being cancelled" in _act(ada, case, "cancel", run.pk)
        assert "has ended already" in _act(ada, case, "cancel", run.pk)
        assert f"Run {run.pk} is queued again" in _act(ada, case, "retry", run.pk)
        again = TaskRun.objects.latest("pk")
        assert (again.status, again.pk != run.pk) == (RunStatus.QUEUED, True)
        _act(ada, case, "cancel", again.pk)
        assert "another reading is queued" in _act(ada, case, "run-again", received.evidence.evidence_uid)
        assert TaskRun.objects.unfinished().count() == 1

    def test_the_record_is_checked(self, ada: Client) -> None:
        case = a_case()
        assert "1 entries intact" in _act(ada, case, "check")
        CustodyEntry.objects.filter(case_id=case.case_id).update(actor="somebody else")
        assert "was changed after it was written" in _act(ada, case, "check")

    def test_looking_changes_nothing_and_forged_requests_are_refused(self, ada: Client) -> None:
        case = a_case()
        address = _door(case)
        assert ada.get(address, {"do": "close"}).status_code == 405
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(admin())
        assert strict.post(address, {"do": "close"}).status_code == 403
        case.refresh_from_db()
        assert not case.is_closed

    def test_things_of_another_case_are_out_of_reach(self, ada: Client) -> None:
        case, other = a_case("one"), a_case("two")
        foreign = receive(other, b"x")
        assert foreign.run
        address = _door(case)
        for do, to in (
            ("cancel", foreign.run.pk),
            ("run-again", foreign.evidence.evidence_uid),
            ("retry", "x"),
        ):
            assert ada.post(address, {"do": do, "to": str(to)}).status_code == 404
        assert ada.post(address, {"do": "explode"}).status_code == 403

    @pytest.mark.parametrize(
        ("name", "action", "shows"),
        [
            ("cases_case", "close", "is closed"),
            ("cases_case", "check_record", "entries intact"),
            ("cases_evidence", "run_again", "reading is queued"),
            ("cases_taskrun", "retry", "is queued again"),
            ("cases_taskrun", "cancel", "has ended already"),
            ("cases_custodyentry", "check_record", "entries intact"),
        ],
    )
    def test_lists_do_the_same_to_many(self, ada: Client, name: str, action: str, shows: str) -> None:
        evidence = read_evidence(a_case())
        run = add_run(evidence, RunStatus.CANCELLED)
        chosen = {
            "cases_case": evidence.case.pk,
            "cases_evidence": evidence.pk,
            "cases_taskrun": run.pk,
            "cases_custodyentry": CustodyEntry.objects.latest("pk").pk,
        }[name]
        answer = ada.post(_list(name), {"action": action, "_selected_action": [chosen]}, follow=True)
        assert shows in answer.content.decode()


class TestLists:
    """Lists stay quick, and what is in them stays as it is."""

    @pytest.mark.parametrize("name", LISTS)
    def test_the_number_of_queries_does_not_grow_with_the_rows(
        self, ada: Client, name: str, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        _rows(1)
        _text(ada, _list(name))  # what is made once is made
        with django_assert_max_num_queries(25) as few:
            _text(ada, _list(name))
        _rows(20)
        with django_assert_max_num_queries(len(few) + 10):
            _text(ada, _list(name))  # the first look into each of these cases is put on record
        with django_assert_max_num_queries(len(few)):
            _text(ada, _list(name))

    def test_evidence_runs_records_and_custody_are_read_only(self, ada: Client) -> None:
        _rows(1)
        case = Case.objects.latest("pk")
        evidence = Evidence.objects.filter(case=case).exclude(kind="posted").get()
        things = {
            "evidence": evidence.pk,
            "taskrun": evidence.task_runs.get().pk,
            "rejectedrecord": RejectedRecord.objects.get().pk,
            "custodyentry": CustodyEntry.objects.latest("pk").pk,
            "event": Event.objects.get().pk,
        }
        for model, pk in things.items():
            assert ada.get(f"/admin/cases/{model}/add/").status_code == 403
            assert ada.get(f"/admin/cases/{model}/{pk}/delete/").status_code == 403
            assert ada.post(f"/admin/cases/{model}/{pk}/delete/", {"post": "yes"}).status_code == 403
            page = _text(ada, f"/admin/cases/{model}/{pk}/change/")
            assert 'name="_save"' not in page
            assert ada.post(f"/admin/cases/{model}/{pk}/change/", {"actor": "x"}).status_code == 403
        assert custody.verify(case.case_id) == []

    def test_nonsense_in_an_address_is_no_fault_of_the_server(self, ada: Client) -> None:
        _rows(1)
        for query in (
            "?q=%00",
            "?case_id=%00",
            "?case=%00",
            "?id=99999999999999999999",
            "?o=9.9",
            "?p=-1",
            "?x=y",
        ):
            for name in LISTS:
                assert ada.get(_list(name) + query).status_code < 500, (name, query)

    @pytest.mark.parametrize(
        ("name", "narrow"),
        [
            ("cases_evidence", "case=ir-0"),
            ("cases_taskrun", "evidence__case=ir-0"),
            ("cases_custodyentry", "case_id=ir-0"),
        ],
    )
    def test_links_of_a_case_narrow_its_lists(self, ada: Client, name: str, narrow: str) -> None:
        for case_id in ("ir-0", "ir-1"):
            read_evidence(a_case(case_id), f"file-of-{case_id}.log")
        page = _text(ada, f"{_list(name)}?{narrow}")
        assert "file-of-ir-0.log" in page
        assert "file-of-ir-1.log" not in page

    def test_cases_show_counts_of_events_that_can_be_found(self, ada: Client) -> None:
        case = a_case()
        first = read_evidence(case, indexed=5_000, records_read=5_002)
        read_evidence(case, indexed=7, records_read=9)
        add_run(first, RunStatus.FAILED)
        assert "5,007" in _text(ada, _list("cases_case"))

    def test_a_module_is_switched_off_and_nothing_else_of_it_changed(self, ada: Client) -> None:
        module = services.modules().get(name="jsonl")
        address = reverse("admin:cases_analysismodule_change", args=[module.pk])
        ada.post(address, {"name": "other"})
        module.refresh_from_db()
        assert (module.name, module.enabled) == ("jsonl", False)


def _rows(number: int) -> None:
    """Add rows of every kind, each of another case, evidence and user."""
    start = Case.objects.count()
    for count in range(start, start + number):
        user = person(f"user{count}")
        case = services.open_case(by=user, case_id=f"ir-{count}")
        evidence = read_evidence(case, f"{count}.log")
        RejectedRecord.objects.create(run=evidence.task_runs.get(), position="line 1", reason="r")
        services.post_events(case=case, by=user, events=[{"message": f"posted {count}"}])
