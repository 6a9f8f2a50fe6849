"""Feature flags: on unless a superadmin says otherwise, on record, and public one by one."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import flags
from accounts.flags import FeatureOff
from accounts.models import AuditEntry, FeatureFlag, Role, User
from cases.tests.api.cast import V1, a_file, admin, client_of, errors, person, staffed_case
from cases.tests.pages.people import browser
from datamortem.common.errors import Missing

pytestmark = pytest.mark.django_db

FLAGS = f"{V1}/feature-flags/"
PROCESSING = f"{FLAGS}evidence_processing/"


def root() -> User:
    """Return Rita, who may do everything."""
    return person("rita", role=Role.SUPERADMIN, is_superuser=True)


def turn(key: str, *, on: bool) -> Any:
    """Turn a flag as Rita."""
    return client_of(root()).put(f"{FLAGS}{key}/", {"enabled": on}, format="json")


def test_what_no_row_speaks_of_is_on_and_asking_is_one_query() -> None:
    with CaptureQueriesContext(connection) as queries:
        assert all(flags.is_on(key) for key in flags.KNOWN)
    assert len(queries) == len(flags.KNOWN)
    with pytest.raises(Missing):
        flags.is_on("time_travel")


def test_off_is_off_at_once_and_on_record() -> None:
    assert turn("registration", on=False).json()["enabled"] is False
    assert not flags.is_on("registration")
    with pytest.raises(FeatureOff):
        flags.require("registration")
    entry = AuditEntry.objects.get(action="flag.changed")
    assert (entry.actor, entry.target, entry.details) == (
        "rita <rita@example.org>",
        "registration",
        {"enabled": False},
    )
    turn("registration", on=False)
    assert AuditEntry.objects.filter(action="flag.changed").count() == 1
    shown = turn("registration", on=True).json()
    assert (shown["enabled"], shown["updated_by"]) == (True, "rita")
    assert flags.is_on("registration")


def test_all_are_listed_also_before_one_was_switched() -> None:
    rows = client_of(root()).get(FLAGS).json()["results"]
    assert [row["key"] for row in rows] == sorted(flags.KNOWN)
    assert all(row["enabled"] and row["description"] and row["updated_by"] is None for row in rows)


def test_a_row_of_another_version_is_not_shown() -> None:
    FeatureFlag.objects.create(key="time_travel", enabled=True)
    client = client_of(root())
    assert "time_travel" not in client.get(FLAGS).content.decode()
    for address in (f"{FLAGS}time_travel/", f"{FLAGS}public/time_travel/", f"{FLAGS}public/%00/"):
        assert client.get(address).status_code == 404
    assert client.put(f"{FLAGS}time_travel/", {"enabled": True}, format="json").status_code == 404


@pytest.mark.parametrize(
    "body", [{}, {"enabled": "perhaps"}, {"enabled": None}, {"enabled": True, "key": "x"}]
)
def test_what_is_no_yes_or_no_is_refused(body: dict[str, Any]) -> None:
    assert client_of(root()).put(PROCESSING, body, format="json").status_code == 400
    assert flags.is_on("evidence_processing")


def test_everybody_asks_for_one_and_superadmins_alone_see_and_turn_them(client: Any) -> None:
    turn("script_marketplace", on=False)
    assert client.get(f"{FLAGS}public/script_marketplace/").json() == {
        "key": "script_marketplace",
        "enabled": False,
    }
    assert client.get(FLAGS).status_code == 401
    for user in (admin(), person("dana")):
        theirs = client_of(user)
        assert errors(theirs.get(FLAGS)) == [("permission_denied", None)]
        assert theirs.put(PROCESSING, {"enabled": False}, format="json").status_code == 403
    assert flags.is_on("evidence_processing")


def test_no_new_run_is_queued_while_evidence_processing_is_off() -> None:
    case = staffed_case()
    client = client_of("alice")
    address = f"{V1}/cases/{case.case_id}/"
    received = client.post(f"{address}evidence/", {"file": a_file()}).json()
    run = received["runs"][0]["id"]
    client.post(f"{address}runs/{run}/cancel/")
    turn("evidence_processing", on=False)
    for answer in (
        client.post(f"{address}evidence/", {"file": a_file(b"other")}),
        client.post(f"{address}evidence/{received['evidence_uid']}/runs/", {}, format="json"),
        client.post(f"{address}runs/{run}/retry/"),
        client.post(f"{address}events/", {"message": "hello"}, format="json"),
        client.patch(
            f"{address}evidence/{received['evidence_uid']}/", {"time_zone": "Europe/Berlin"}, format="json"
        ),
    ):
        assert (answer.status_code, errors(answer)) == (409, [("feature_off", None)])
    assert client.get(f"{address}evidence/").json()["results"][0]["time_zone"] == "UTC"
    assert client.patch(address, {"title": "still open"}, format="json").status_code == 200
    turn("evidence_processing", on=True)
    assert client.post(f"{address}runs/{run}/retry/").status_code == 201


class TestAdminSite:
    """The page of a superadmin."""

    def test_a_superadmin_turns_a_flag_there(self) -> None:
        rita = browser(root())
        page = rita.get("/admin/accounts/featureflag/")
        assert page.status_code == 200
        flag = FeatureFlag.objects.get(key="registration")
        answer = rita.post(f"/admin/accounts/featureflag/{flag.pk}/change/", {})  # an empty box is off
        assert answer.status_code == 302
        assert not flags.is_on("registration")
        assert AuditEntry.objects.get(action="flag.changed").actor == "rita <rita@example.org>"

    def test_an_admin_does_not_see_it(self) -> None:
        ada = browser(admin())
        assert ada.get("/admin/accounts/featureflag/").status_code == 403
        assert "featureflag" not in ada.get("/admin/cases/case/").content.decode()
