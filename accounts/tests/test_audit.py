"""The audit record: append only, readable by admins alone, pruned by its retention and no faster."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import audit
from accounts.models import AuditEntry, User
from accounts.models.audit import AppendOnly
from accounts.tests.phone import Phone, set_clock
from cases import services
from cases.tests.api.cast import V1, admin, client_of, person
from cases.tests.cast import a_case, alice
from cases.tests.pages.people import browser
from datamortem.common.errors import Invalid

pytestmark = pytest.mark.django_db

LIST = "/admin/accounts/auditentry/"


def aged(action: str, days: int) -> None:
    """Record something as if it had been days ago."""
    entry = audit.record(action)
    with connection.cursor() as cursor:
        at = timezone.now() - timedelta(days=days)
        cursor.execute("UPDATE audit_entries SET at = %s WHERE id = %s", [at, entry.pk])


def actions() -> list[str]:
    """Return what is on record, oldest first."""
    return list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))


class TestAppendOnly:
    """Nothing that was recorded is edited or removed."""

    def test_an_entry_is_neither_changed_nor_deleted(self) -> None:
        entry = audit.record("user.created", by=alice(), target="dana")
        entry.actor = "mallory"
        everything = AuditEntry.objects.all()
        for attempt in (
            entry.save,
            entry.delete,
            everything.delete,
            lambda: everything.update(actor="mallory"),
            lambda: everything.filter(pk=entry.pk).update(actor="mallory"),
            lambda: AuditEntry.objects.bulk_update([entry], ["actor"]),
            lambda: AuditEntry.objects.update_or_create(pk=entry.pk, defaults={"actor": "mallory"}),
        ):
            with pytest.raises(AppendOnly), transaction.atomic():
                attempt()
        entry.refresh_from_db()
        assert entry.actor == "alice <alice@example.org>"

    def test_an_entry_outlives_its_actor(self) -> None:
        dana = person("dana")
        audit.record("token.created", by=dana, target="t")
        number = dana.pk
        dana.delete()
        entry = AuditEntry.objects.get(action="token.created")
        assert (entry.actor, entry.user_id) == ("dana <dana@example.org>", number)

    def test_whatever_is_said_is_stored_on_every_database(self) -> None:
        details = {"nul\x00": "a\x00b", "lone": "\udcff", "float": 1e22, "list": (1, True, None)}
        entry = audit.record("x", target="t\x00" + "x" * 300, case_id="c" * 300, details=details)
        entry.refresh_from_db()
        assert entry.details == {
            "nul\u2400": "a\u2400b",
            "lone": "\\udcff",
            "float": "1e+22",
            "list": [1, True, None],
        }
        assert (len(entry.target), len(entry.case_id)) == (255, 255)


class TestRequests:
    """What a request leaves."""

    def test_who_by_what_from_where_and_how_it_ended(self) -> None:
        ada, dana = admin(), person("dana")
        client = client_of(ada)
        answer = client.patch(
            f"{V1}/users/{dana.pk}/",
            {"role": "viewer"},
            format="json",
            headers={"User-Agent": "curl\n/8", "X-Request-Id": "request-0001"},
        )
        assert answer.status_code == 200
        entry = AuditEntry.objects.get(action="user.changed")
        assert ada.access is not None
        assert ada.access.session is not None
        assert (entry.actor, entry.user_id, entry.session_id) == (
            "ada <ada@example.org>",
            ada.pk,
            ada.access.session.pk,
        )
        assert (entry.address, entry.agent, entry.request_id, entry.outcome) == (
            "127.0.0.1",
            "curl?/8",
            "request-0001",
            "ok",
        )
        assert entry.details == {"before": {"role": "analyst"}, "after": {"role": "viewer"}}

    def test_what_is_undone_leaves_no_entry_that_it_was_done(self) -> None:
        dana = person("dana")
        client = client_of(admin())
        client.patch(f"{V1}/users/{dana.pk}/", {"role": "viewer", "username": "ada"}, format="json")
        assert [e.outcome for e in AuditEntry.objects.filter(action="user.changed")] == ["refused"]
        assert not AuditEntry.objects.filter(action="signin.ended").exists()


class TestCanaries:
    """Nothing secret is ever in a record."""

    def test_no_password_code_or_token_of_a_whole_life_is_in_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old, new, wrong = "the old canary sings", "the new canary sings", "a wrong canary sings"
        dana = person("dana")
        dana.set_password(old)
        dana.save()
        guest = APIClient()
        secrets = [old, new, wrong]
        guest.post(f"{V1}/auth/login/", {"email": dana.email, "password": wrong}, format="json")
        pair = guest.post(f"{V1}/auth/login/", {"email": dana.email, "password": old}, format="json").json()
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {pair['access']}")
        enrolment = client.post(f"{V1}/auth/otp/enrol/").json()
        assert client.post(f"{V1}/auth/otp/confirm/", {"code": "000000"}, format="json").status_code == 400
        phone = Phone(enrolment["secret"], set_clock(monkeypatch))
        code = phone.code()
        recovery = client.post(f"{V1}/auth/otp/confirm/", {"code": code}, format="json").json()
        given = {"name": "canary", "scopes": ["read"]}
        token = client.post(f"{V1}/auth/api-tokens/", given, format="json").json()["token"]
        passwords = {"old_password": old, "new_password": new}
        assert client.post(f"{V1}/auth/password/change/", passwords, format="json").status_code == 204
        guest.post(f"{V1}/auth/refresh/", {"refresh": pair["refresh"]}, format="json")
        guest.post(f"{V1}/auth/email/verify/", {"token": wrong}, format="json")
        made = {"email": "new@example.org", "username": "newcomer", "password": new}
        assert client_of(admin()).post(f"{V1}/users/", made, format="json").status_code == 201
        secrets += [pair["access"], pair["refresh"], token, token.rpartition("_")[2]]
        secrets += [enrolment["secret"], *recovery["recovery_codes"]]
        secrets += [code.replace("-", "") for code in recovery["recovery_codes"]]
        entries = [json.dumps(entry, default=str) for entry in AuditEntry.objects.values()]
        assert len(entries) >= 8, actions()
        for secret in secrets:
            assert not any(secret in entry for entry in entries), secret


class TestRetention:
    """Old entries go when the setting says so, on record; young ones never."""

    def test_everything_is_kept_by_default(self) -> None:
        aged("old", 10_000)
        assert audit.prune_expired() == 0
        assert actions() == ["old"]

    def test_what_is_older_than_the_retention_goes_and_that_is_on_record(self, settings: Settings) -> None:
        settings.AUDIT_RETENTION = 90
        aged("old", 91)
        aged("young", 89)
        assert audit.prune_expired() == 1
        assert actions() == ["young", "audit.pruned"]
        assert AuditEntry.objects.get(action="audit.pruned").details["entries"] == 1
        assert audit.prune_expired() == 0
        assert actions() == ["young", "audit.pruned"]

    def test_thirty_days_are_kept_whatever_is_asked(self, settings: Settings) -> None:
        settings.AUDIT_RETENTION = 1
        aged("old", 31)
        aged("young", 29)
        assert audit.prune_expired() == 1
        assert "young" in actions()
        with pytest.raises(Invalid):
            audit.prune(timezone.now() - timedelta(days=29))


class TestCommand:
    """`manage.py audit`."""

    def _run(self, *words: str) -> str:
        out = StringIO()
        call_command("audit", *words, stdout=out)
        return out.getvalue()

    def _fill(self) -> None:
        aged("signin.password", 40)
        audit.record("signin.password", by=alice(), outcome="refused", target="\x1b[31malice")
        audit.record("signin", by=person("dana"))
        audit.record("team.added", by=person("dana"), case_id="ir-2024-001", details={"team": "blue"})

    def test_it_narrows_by_time_action_outcome_actor_and_case(self) -> None:
        self._fill()
        since = (timezone.now() - timedelta(days=1)).date().isoformat()
        for words, number in (
            ([], 4),
            (["--since", since], 3),
            (["--until", since], 1),
            (["--since", "2024-03-01T00:00:00+02:00"], 4),
            (["--action", "signin"], 3),
            (["--action", "signin.password"], 2),
            (["--action", "sign"], 0),
            (["--outcome", "refused"], 1),
            (["--actor", "DANA@example"], 2),
            (["--case", "ir-2024-001"], 1),
        ):
            assert self._run(*words).splitlines()[-1] == f"entries={number}", words

    def test_json_lines_are_json_and_a_terminal_is_not_painted(self) -> None:
        self._fill()
        lines = [json.loads(line) for line in self._run("--format", "jsonl").splitlines()]
        assert [line["action"] for line in lines][-1] == "team.added"
        assert lines[-1]["details"] == {"team": "blue"}
        assert lines[1]["at"].endswith("Z")
        assert "\x1b" not in self._run()
        assert "\\x1b[31malice" in self._run()

    @pytest.mark.parametrize("time", ["yesterday", "2024-13-01", "2024-03-01T00:00:00", "99"])
    def test_a_time_that_is_none_is_refused(self, time: str) -> None:
        with pytest.raises(CommandError, match="--since"):
            self._run("--since", time)

    def test_it_prunes_by_the_setting_alone_in_the_name_of_the_operator(self, settings: Settings) -> None:
        aged("old", 400)
        with pytest.raises(CommandError, match="AUDIT_RETENTION"):
            self._run("prune")
        settings.AUDIT_RETENTION = 365
        assert self._run("prune").strip() == "removed=1"
        assert AuditEntry.objects.get().actor.startswith("command line (")


class TestAdminSite:
    """Searchable, read only, for admins; what is restricted for its people alone."""

    def _page(self, user: User, address: str = LIST, status: int = 200) -> str:
        answer = browser(user).get(address)
        assert answer.status_code == status, address
        return answer.content.decode()

    def test_it_is_searched_and_filtered(self) -> None:
        audit.record("team.created", by=alice(), target="Blue")
        audit.record("otp.enrolled", by=person("dana"), outcome="refused", case_id="ir-9")
        for query, there, gone in (
            ("q=Blue", "team.created", "otp.enrolled"),
            ("action__icontains=otp", "otp.enrolled", "team.created"),
            ("outcome__exact=refused", "otp.enrolled", "team.created"),
            ("actor__icontains=alice", "team.created", "otp.enrolled"),
            ("case_id__icontains=ir-9", "otp.enrolled", "team.created"),
            ("address__icontains=10.0.0", "", "team.created"),
        ):
            page = self._page(admin(), f"{LIST}?{query}")
            rows = page.partition('id="result_list"')[2] or page
            assert there in rows, query
            assert f">{gone}<" not in rows, query

    def test_nothing_in_it_is_changed_added_or_deleted(self) -> None:
        entry = audit.record("team.created", by=alice(), target="<script>alert(1)</script>\u202e")
        ada = browser(admin())
        page = ada.get(f"{LIST}{entry.pk}/change/")
        assert "<script>alert(1)" not in page.content.decode()
        assert "U+202E" in page.content.decode()
        for address in (f"{LIST}add/", f"{LIST}{entry.pk}/delete/", f"{LIST}{entry.pk}/change/"):
            assert ada.post(address, {"actor": "mallory", "post": "yes"}).status_code == 403
        ada.post(LIST, {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"})
        assert AuditEntry.objects.filter(pk=entry.pk, actor="alice <alice@example.org>").exists()

    def test_ordinary_people_do_not_enter(self) -> None:
        audit.record("team.created", by=alice())
        for user in (alice(), person("victor", role="viewer")):
            answer = browser(user).get(LIST)
            assert answer.status_code in (302, 403)
            assert "team.created" not in answer.content.decode()

    def test_entries_of_a_restricted_case_are_for_its_people(self) -> None:
        case = a_case("ir-secret")
        services.add_member(case=case, user=person("dana"), role="reader", by=alice())
        services.restrict_case(case=case, by=alice())
        entry = AuditEntry.objects.filter(case_id="ir-secret").first()
        assert entry is not None
        assert "ir-secret" not in self._page(admin()).partition('id="result_list"')[2]
        assert "ir-secret" not in self._page(admin(), f"{LIST}?q=ir-secret").partition("result_list")[2]
        outside = browser(admin()).get(f"{LIST}{entry.pk}/change/")
        assert outside.status_code == 302  # as for an entry that is not there
        services.add_member(case=case, user=admin(), role="reader", by=alice())
        assert "ir-secret" in self._page(admin()).partition('id="result_list"')[2]

    def test_a_list_costs_the_same_for_one_and_for_many(self, django_assert_max_num_queries: Any) -> None:
        ada = browser(admin())
        ada.get(LIST)
        for _ in range(40):
            audit.record("team.created", by=alice())
        with django_assert_max_num_queries(10):
            ada.get(LIST)
