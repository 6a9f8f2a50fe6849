"""Who asks the API in tests, and what they ask about.

Alice leads and owns the case, Dana analyses, Bob reads, Charlie is a stranger, Victor is a
viewer, Ada administers the platform.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from accounts import policy, tokens
from accounts.models import Role, User
from cases import services
from cases.engines import engine
from cases.index.document import Origin, make_document
from cases.models import Case, Evidence
from cases.records import Record
from cases.tests.cast import a_case, receive

V1 = "/api/v1"
PASSWORD = "correct horse battery"


def person(name: str, **facts: Any) -> User:
    """Return a user, made if need be."""
    found = User.objects.filter(username=name).first()
    return found or User.objects.create_user(f"{name}@example.org", name, PASSWORD, **facts)


def client_of(user: User | str) -> Any:
    """Return an APIClient that asks as a user, by a token; admins have just shown a second factor."""
    user = person(user) if isinstance(user, str) else user
    shown = policy.needs_second_factor(user)
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.issue(user, second_factor=shown).access}")
    return client


def staffed_case(case_id: str = "ir-2024-001") -> Case:
    """Return Alice's case with Dana and Bob in it."""
    case = a_case(case_id)
    for name, role in (("dana", "analyst"), ("bob", "reader")):
        services.add_member(case=case, user=person(name), role=role, by=case.owner)
    return case


def admin() -> User:
    """Return Ada, who administers."""
    return person("ada", role=Role.ADMIN)


def a_file(content: bytes = b"hello", name: str = "a.log") -> SimpleUploadedFile:
    """Return a file as a form sends it."""
    return SimpleUploadedFile(name, content)


def events(case: Case, records: Sequence[Record], *, source: str = "jsonl") -> Evidence:
    """Put records straight into the index, as a run of new evidence would, and return that."""
    number = Evidence.objects.count()
    evidence = receive(case, f"evidence {case.case_id} {number}".encode(), f"{number}.jsonl").evidence
    origin = Origin(
        case_id=case.case_id,
        evidence_uid=evidence.evidence_uid,
        evidence_sha256=evidence.sha256 or "",
        parser=source,
    )
    shard, run = evidence.evidence_uid, f"{number}-1"
    with engine().writer(case_id=case.case_id, shard=shard, run=run) as writer:
        writer.add([make_document(record, origin) for record in records])
        writer.seal()
        engine().publish(case_id=case.case_id, shard=shard, run=run)
    return evidence


def record(number: int, message: str = "", **facts: Any) -> Record:
    """Return a record one second after the one before it; number 0 is 2024-03-01T00:00:00Z."""
    facts.setdefault("timestamp", 1_709_251_200_000_000 + number * 1_000_000)
    facts.setdefault("time_precision", "s")
    return Record(position=f"line {number + 1}", message=message or f"event number {number}", **facts)


def errors(response: Any) -> list[tuple[str, str | None]]:
    """Return code and attr of every error, after a look at the shape."""
    body = response.json()
    assert set(body) == {"type", "errors"}, body
    for error in body["errors"]:
        assert set(error) == {"code", "detail", "attr"}, body
        assert error["detail"]
    return [(error["code"], error["attr"]) for error in body["errors"]]
