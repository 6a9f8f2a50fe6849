"""Browsers of the people in tests, and a case whose names are hostile."""

from __future__ import annotations

from django.test import Client

from accounts.models import User
from cases import runs
from cases.models import Case, Evidence, RunStatus, TaskRun
from cases.tests.cast import receive

#: A name that would be markup, climbs directories and reverses what follows it.
HOSTILE = "../../<script>alert(1)</script>\u202egpj.exe"


def browser(user: User) -> Client:
    """Return a browser in which a user is signed in."""
    client = Client()
    client.force_login(user)
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
