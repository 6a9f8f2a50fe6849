"""Rows that move to another database arrive as they were, to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import call_command

from cases import custody
from cases.models import Case, CustodyEntry, Event, RejectedRecord
from cases.tests.cast import a_case, receive

pytestmark = pytest.mark.django_db(transaction=True)

_APPS = ("accounts", "cases", "scripts_marketplace")


def test_a_case_that_moved_has_every_value_and_its_custody_record_holds(tmp_path: Path) -> None:
    moment = datetime(2024, 3, 1, 8, 15, 30, 123456, tzinfo=UTC)
    case = a_case("moves")
    evidence = receive(case, b"content", "a.log").evidence
    Event.objects.create(
        case=case, ts="x", source="s", message="odd \x1b[0m \u202e é 𝄞", event_id="1", created_at_utc=moment
    )
    run = evidence.task_runs.get()
    RejectedRecord.objects.create(run=run, position="line 1", reason="r", raw=b"\x00\xff")
    before = {
        model: list(model.objects.order_by("pk").values())
        for model in (Case, CustodyEntry, Event, RejectedRecord)
    }
    place = tmp_path / "data.exact"
    call_command("dumpdata", *_APPS, all=True, format="exact", output=str(place), verbosity=0)
    call_command("flush", interactive=False, verbosity=0)
    assert not Case.objects.exists()
    call_command("loaddata", str(place), verbosity=0)
    for model, rows in before.items():
        found = list(model.objects.order_by("pk").values())
        for row in (*found, *rows):
            row.update({name: bytes(value) for name, value in row.items() if isinstance(value, memoryview)})
        assert found == rows
    assert custody.verify("moves") == []
    assert Event.objects.get().created_at_utc == moment
