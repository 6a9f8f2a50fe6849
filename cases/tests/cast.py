"""Who and what the tests of the main job work with."""

from __future__ import annotations

import io
from typing import Any

from accounts.models import User
from cases import custody, services
from cases.engines import engine
from cases.index.tree import Everything
from cases.ingest import counts_of
from cases.models import Case, CustodyEntry, TaskRun


class Untouched:
    """Content of which not one byte may be asked for."""

    def read(self, size: int, /) -> bytes:
        raise AssertionError("a byte was asked for")


def alice() -> User:
    """Return the user who leads."""
    found = User.objects.filter(username="alice").first()
    return found or User.objects.create_user("alice@example.org", "alice", "correct horse battery")


def a_case(case_id: str = "ir-2024-001") -> Case:
    """Return a case that Alice leads."""
    return services.open_case(by=alice(), case_id=case_id)


def receive(case: Case, content: bytes, name: str = "a.log", **facts: Any) -> services.Received:
    """Take bytes into a case as Alice."""
    return services.receive_evidence(case=case, by=alice(), content=io.BytesIO(content), name=name, **facts)


def indexed(case: Case) -> list[str]:
    """Return the positions of all events that can be found, an event as often as it is there."""
    events = engine().stream(case_ids=[case.case_id], query=Everything())
    return sorted(event["position"] for event in events)


def ledger(run: TaskRun) -> dict[str, int]:
    """Return the counts of a run as they are stored."""
    run.refresh_from_db()
    return counts_of(run)


def actions(case: Case) -> list[str]:
    """Return what the custody record says was done, oldest first; the record must be intact."""
    assert custody.verify(case.case_id) == []
    entries = CustodyEntry.objects.filter(case_id=case.case_id).order_by("sequence")
    return list(entries.values_list("action", flat=True))
