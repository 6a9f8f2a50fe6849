"""Who and what the tests of the main job work with."""

from __future__ import annotations

import io
from typing import Any

from accounts.models import User
from cases import services
from cases.models import Case


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
