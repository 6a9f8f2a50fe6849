"""Tests may destroy a database that nobody else uses."""

from __future__ import annotations

from django.db import connections

from datamortem.tests.revisions.scratch import Scratch, scratch_database


def test_a_scratch_database_is_empty_and_seen_by_other_processes(scratch: Scratch) -> None:
    assert scratch.connection.introspection.table_names() == []
    with scratch.connection.cursor() as cursor:
        cursor.execute("CREATE TABLE accounts_probe (id integer)")
    shown = scratch.manage("inspectdb", "accounts_probe").stdout
    assert "class AccountsProbe" in shown


def test_a_second_one_is_another_and_goes_when_it_is_done_with(scratch: Scratch) -> None:
    with scratch_database() as second:
        with second.connection.cursor() as cursor:
            cursor.execute("CREATE TABLE probe (id integer)")
        assert scratch.connection.introspection.table_names() == []
    assert second.alias not in connections.settings
