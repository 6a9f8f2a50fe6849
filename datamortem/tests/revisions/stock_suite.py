"""A few tests for Django's own test runner, which `test_db_command` starts; pytest does not collect them."""

from __future__ import annotations

from django.test import TestCase

from cases.models import Case
from datamortem.revisions.graph import RevisionGraph


class First(TestCase):
    """One process of `--parallel`."""

    def test_the_database_is_at_the_head_and_empty(self) -> None:
        from django.db import connection

        graph = RevisionGraph(connection)
        self.assertEqual(graph.current(), graph.heads)
        self.assertEqual(Case.objects.count(), 0)
        Case.objects.create(case_id="first")


class Second(First):
    """Another."""
