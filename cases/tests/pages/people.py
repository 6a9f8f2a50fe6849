"""Browsers of the people in tests, and a case whose names are hostile."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import quote

from django.test import Client

from accounts import policy, sessions
from accounts.models import AuthSession, User
from cases import runs
from cases.models import Case, Evidence, RunStatus, TaskRun
from cases.tests.cast import receive

#: A name that would be markup, climbs directories and reverses what follows it.
HOSTILE = "../../<script>alert(1)</script>\u202egpj.exe"


def browser(user: User) -> Client:
    """Return a browser in which a user is signed in; admins have just shown a second factor."""
    client = Client()
    client.force_login(user)
    signed_in = sessions.begin(
        user, method=AuthSession.Method.BROWSER, second_factor=policy.needs_second_factor(user)
    )
    held = client.session
    held[sessions.KEY] = str(signed_in.pk)
    held.save()
    return client


def read_evidence(case: Case, name: str = "a.log", **ledger: int) -> Evidence:
    """Return evidence of new content with a run that has succeeded."""
    evidence = receive(case, f"{name} {Evidence.objects.count()}".encode(), name).evidence
    counts = {"records_read": 10, "indexed": 8, "duplicate": 1, "rejected": 1, "undated": 2, **ledger}
    TaskRun.objects.filter(evidence=evidence).update(
        status=RunStatus.SUCCEEDED, progress=1, parser="jsonl", **counts
    )
    return evidence


def add_run(evidence: Evidence, status: str) -> TaskRun:
    """Return another run of the evidence in a state."""
    run = runs.queue(evidence, task_name=runs.READ)
    TaskRun.objects.filter(pk=run.pk).update(status=status)
    run.refresh_from_db()
    return run


def timeline(case: Case | str = "ir-2024-001", **asked: object) -> str:
    """Return the address of a timeline that asks something."""
    case_id = case if isinstance(case, str) else case.case_id
    query = "&".join(f"{name}={quote(str(value))}" for name, value in asked.items())
    return f"/cases/{case_id}/timeline/" + (f"?{query}" if query else "")


def get(client: Client, address: str, status: int = 200) -> str:
    """Return the page of an address, which must answer with this status."""
    answer = client.get(address)
    assert answer.status_code == status, address
    return answer.content.decode()


def links(page: str, text: str) -> list[str]:
    """Return where the links with this text lead."""
    found = re.findall(rf'<a [^>]*href="([^"]*)"[^>]*>\s*(?:<bdi>)?{re.escape(text)}(?:</bdi>)?\s*</a>', page)
    return [unescape(address) for address in found]


def times(page: str) -> list[str]:
    """Return the times of the rows."""
    return re.findall(r'<td class="time"><a [^>]*>([^<]*)</a>', page)


def event_address(page: str, position: int = 0) -> str:
    """Return where the row of this position leads."""
    return unescape(re.findall(r'<td class="time"><a href="([^"]*)"', page)[position])
