"""What one user adds and has read: bounded exactly, also for many requests at once."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from accounts import quotas
from accounts.models import AuditEntry, Role, User
from accounts.tests.races import at_once
from cases import services, tasks
from cases.models import Evidence, RunStatus, TaskRun
from cases.tests.api.cast import V1, a_file, admin, client_of, errors, person, staffed_case
from cases.tests.cast import a_case, alice, receive

pytestmark = pytest.mark.django_db

CASE = f"{V1}/cases/ir-2024-001/"
MINE = f"{V1}/me/quota/"
EXCEEDED = [("quota_exceeded", None)]


def upload(client: Any, content: bytes, case: str = "ir-2024-001") -> Any:
    """Send a file in."""
    return client.post(f"{V1}/cases/{case}/evidence/", {"file": a_file(content)})


def bound(user: User, *, storage: int | None = None, runs: int | None = None) -> None:
    """Bound one user, as an operator."""
    quotas.change(user, storage=storage, runs=runs, by=None)


class TestStorage:
    """Bytes that a user adds in all."""

    def test_it_is_kept_to_the_byte_and_says_what_is_left(self, settings: Settings) -> None:
        settings.QUOTA_STORAGE = 10
        staffed_case()
        client = client_of("alice")
        assert upload(client, b"123456").status_code == 201
        answer = upload(client, b"12345")
        assert (answer.status_code, errors(answer)) == (409, EXCEEDED)
        assert "4 of them are left" in answer.json()["errors"][0]["detail"]
        assert upload(client, b"1234").status_code == 201
        assert client.get(MINE).json() == {
            "storage_limit": 10,
            "storage_used": 10,
            "runs_limit": None,
            "runs_unfinished": 2,
            "storage": None,
            "running_jobs": None,
        }

    def test_what_was_refused_is_not_in_the_store(self, settings: Settings) -> None:
        settings.QUOTA_STORAGE = 4
        staffed_case()
        assert upload(client_of("alice"), b"12345").status_code == 409
        assert not Evidence.objects.exists()
        kept = [path for path in settings.EVIDENCE_ROOT.glob("**/*") if path.is_file()]
        assert [path for path in kept if path.parent.name != "locks"] == []

    def test_what_is_announced_as_too_much_is_refused_before_its_first_byte(self, settings: Settings) -> None:
        settings.QUOTA_STORAGE = 1024
        staffed_case()
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        answer = client_of("alice").generic(
            "POST",
            f"{CASE}evidence/",
            head,  # and of the two megabytes that follow not one
            content_type="multipart/form-data; boundary=x",
            CONTENT_LENGTH=str(2 * 1024 * 1024),
        )
        assert (answer.status_code, errors(answer)) == (409, EXCEEDED)

    def test_the_same_bytes_again_cost_nothing_and_removed_ones_count_no_more(
        self, settings: Settings
    ) -> None:
        settings.QUOTA_STORAGE = 6
        staffed_case()
        client = client_of("alice")
        uid = upload(client, b"123456").json()["evidence_uid"]
        assert upload(client, b"123456").json()["duplicate"] is True
        assert upload(client, b"1").status_code == 409
        run = TaskRun.objects.get()
        client.post(f"{CASE}runs/{run.pk}/cancel/")
        assert client.delete(f"{CASE}evidence/{uid}/").status_code == 204
        assert upload(client, b"1").status_code == 201

    def test_it_counts_over_all_cases_and_for_each_user_alone(self, settings: Settings) -> None:
        settings.QUOTA_STORAGE = 6
        staffed_case()
        a_case("ir-2")
        assert upload(client_of("alice"), b"123456").status_code == 201
        assert upload(client_of("alice"), b"1", "ir-2").status_code == 409
        assert upload(client_of("dana"), b"abcdef").status_code == 201

    def test_admins_have_one_too_unless_theirs_is_none(self, settings: Settings) -> None:
        settings.QUOTA_STORAGE = 4
        staffed_case()
        assert upload(client_of(admin()), b"12345").status_code == 409
        bound(admin(), storage=0)
        assert upload(client_of(admin()), b"12345").status_code == 201

    def test_operators_have_none(self, settings: Settings) -> None:
        settings.QUOTA_STORAGE = settings.QUOTA_RUNS = 1
        case = a_case()
        for content in (b"12345", b"678"):
            assert receive(case, content).evidence.size == len(content)
        services.receive_evidence(case=case, by=None, content=[b"abc"], name="c")
        assert TaskRun.objects.count() == 3

    @pytest.mark.django_db(transaction=True)
    def test_of_ten_uploads_at_once_as_many_come_in_as_fit(self, settings: Settings) -> None:
        settings.QUOTA_STORAGE = 1000
        for number in range(5):
            a_case(f"ir-{number}")
        client = client_of("alice")
        files = [(f"{number}" * 300).encode() for number in range(10)]
        turn = iter(range(10))

        def send() -> Any:
            number = next(turn)
            return upload(client, files[number], f"ir-{number % 5}")

        answers = at_once(10, send)
        assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 7
        assert all(errors(answer) == EXCEEDED for answer in answers if answer.status_code == 409)
        assert services.usage_of(alice()).storage == 900


class TestRuns:
    """Runs that wait or work."""

    def test_whoever_asked_is_known_and_has_so_many(self, settings: Settings) -> None:
        settings.QUOTA_RUNS = 1
        staffed_case()
        client = client_of("alice")
        uid = upload(client, b'{"message": "a"}\n').json()["evidence_uid"]
        run = TaskRun.objects.get()
        assert run.requested_by == alice()
        for answer in (
            upload(client, b"other"),
            client.post(f"{CASE}events/", {"message": "hello"}, format="json"),
        ):
            assert (answer.status_code, errors(answer)) == (409, EXCEEDED)
        assert upload(client_of("dana"), b"hers").status_code == 201
        assert tasks.perform_run(run.pk)
        again = client.post(f"{CASE}evidence/{uid}/runs/", {}, format="json")
        assert again.status_code == 201
        assert TaskRun.objects.get(pk=again.json()["id"]).requested_by == alice()
        zone = client.patch(f"{CASE}evidence/{uid}/", {"time_zone": "Europe/Berlin"}, format="json")
        assert zone.status_code == 200  # the run that waits reads it so

    def test_a_change_that_needs_a_run_is_refused_whole(self, settings: Settings) -> None:
        staffed_case()
        client = client_of("alice")
        uid = upload(client, b'{"message": "a"}\n').json()["evidence_uid"]
        TaskRun.objects.update(status=RunStatus.SUCCEEDED)
        upload(client, b"another")
        settings.QUOTA_RUNS = 1
        answer = client.patch(f"{CASE}evidence/{uid}/", {"time_zone": "Europe/Berlin"}, format="json")
        assert (answer.status_code, errors(answer)) == (409, EXCEEDED)
        assert Evidence.objects.get(evidence_uid=uid).time_zone == "UTC"

    def test_a_retry_counts_for_whoever_retries(self, settings: Settings) -> None:
        settings.QUOTA_RUNS = 1
        staffed_case()
        upload(client_of("alice"), b"a")
        run = TaskRun.objects.get()
        client_of("alice").post(f"{CASE}runs/{run.pk}/cancel/")
        retried = client_of("dana").post(f"{CASE}runs/{run.pk}/retry/")
        assert TaskRun.objects.get(pk=retried.json()["id"]).requested_by == person("dana")

    @pytest.mark.django_db(transaction=True)
    def test_of_ten_retries_at_once_as_many_are_queued_as_may(self, settings: Settings) -> None:
        for number in range(10):
            case = a_case(f"ir-{number}")
            receive(case, b"hello")
        TaskRun.objects.update(status=RunStatus.FAILED)
        settings.QUOTA_RUNS = 3
        client = client_of("alice")
        turn = iter(list(TaskRun.objects.values_list("evidence__case", "pk")))

        def retry() -> int:
            case_id, number = next(turn)
            return int(client.post(f"{V1}/cases/{case_id}/runs/{number}/retry/").status_code)

        assert sorted(at_once(10, retry)) == [201] * 3 + [409] * 7
        assert TaskRun.objects.unfinished().count() == 3


class TestBounds:
    """Who sets them, for whom."""

    def test_an_administrator_bounds_one_user_otherwise_than_the_settings(self, settings: Settings) -> None:
        settings.QUOTA_STORAGE, settings.QUOTA_RUNS = 100, 5
        dana = person("dana")
        ada, address = client_of(admin()), f"{V1}/users/{dana.pk}/quota/"
        assert ada.get(address).json()["storage_limit"] == 100
        shown = ada.put(address, {"storage": 7, "running_jobs": 0}, format="json").json()
        assert (shown["storage_limit"], shown["runs_limit"]) == (7, None)
        assert client_of(dana).get(MINE).json() == shown
        entry = AuditEntry.objects.get(action="user.quota")
        assert (entry.actor, entry.target, entry.details) == (
            "ada <ada@example.org>",
            "dana",
            {"storage": 7, "running_jobs": 0},
        )
        shown = ada.put(address, {"storage": None, "running_jobs": None}, format="json").json()
        assert (shown["storage_limit"], shown["runs_limit"]) == (100, 5)

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"storage": 1},
            {"storage": -1, "running_jobs": 1},
            {"storage": "much", "running_jobs": 1},
            {"storage": 2**63, "running_jobs": 1},
            {"storage": 1, "running_jobs": 2**31},
            {"storage": 1, "running_jobs": 1, "user": 1},
        ],
    )
    def test_what_is_no_bound_is_refused(self, body: dict[str, Any]) -> None:
        address = f"{V1}/users/{person('dana').pk}/quota/"
        assert client_of(admin()).put(address, body, format="json").status_code == 400

    def test_nobody_else_sees_or_sets_them(self) -> None:
        dana = person("dana")
        address = f"{V1}/users/{dana.pk}/quota/"
        for client in (client_of(dana), client_of(person("victor", role=Role.VIEWER))):
            assert client.get(address).status_code == 403
            assert client.put(address, {"storage": 0, "running_jobs": 0}, format="json").status_code == 403
            assert client.put(MINE, {"storage": 0, "running_jobs": 0}, format="json").status_code == 405
            assert client.get(MINE).status_code == 200
        for number in (999_999, 2**31, 2**63):
            assert client_of(admin()).get(f"{V1}/users/{number}/quota/").status_code == 404
