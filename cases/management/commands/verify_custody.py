"""`manage.py verify_custody`: the custody records, recomputed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases import custody
from cases.models import CustodyEntry


class Command(BaseCommand):
    """Recomputes the chain of every case, also of deleted ones."""

    help = "Recompute the custody record of a case, or of all."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take one case, or none for all."""
        parser.add_argument("case", nargs="?", metavar="CASE")

    def handle(self, *args: Any, case: str | None, **options: Any) -> None:
        """Print the last hash per case, then `checked=… mismatches=…`; the exit code is 1 on any.

        The last hash, noted outside, shows later whether entries were cut off at the end.
        """
        entries = CustodyEntry.objects.order_by("case_id", "sequence")
        if case:
            entries = entries.filter(case_id=case)
        checked = entries.count()
        if case and not checked:
            raise CommandError(f"There is no record of a case {case}.")
        mismatches = 0
        for case_id in entries.order_by("case_id").values_list("case_id", flat=True).distinct():
            problems = custody.verify(case_id)
            mismatches += len(problems)
            last = entries.filter(case_id=case_id).latest("sequence")
            self.stdout.write("\n".join(problems) or f"{case_id}: {last.sequence} entries, last {last.hash}")
        self.stdout.write(f"checked={checked} mismatches={mismatches}")
        if mismatches:
            raise CommandError("A custody record was changed.")
