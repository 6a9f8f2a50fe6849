"""`manage.py verify_evidence`: the stored bytes against the hashes taken on arrival."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases import custody, services, store
from cases.models import Case, Evidence
from cases.models.evidence import POSTED
from datamortem.common.errors import DomainError
from datamortem.common.operators import operator


class Command(BaseCommand):
    """Reads all evidence again and compares; what no evidence holds is listed."""

    help = "Hash the stored evidence again and compare with the hashes taken on arrival."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take one case, or none for all."""
        parser.add_argument("case", nargs="?", metavar="CASE")

    def handle(self, *args: Any, case: str | None, **options: Any) -> None:
        """Print every mismatch, then `checked=… mismatches=…`; the exit code is 1 on any."""
        if case and not Case.objects.filter(case_id=case).exists():
            raise CommandError(f"There is no case {case}.")
        evidence = Evidence.objects.exclude(kind=POSTED).order_by("case_id", "pk")
        if case:
            evidence = evidence.filter(case_id=case)
        checked = mismatches = 0
        with custody.acting_as(operator()):
            for held in evidence.iterator():
                if held.sha256 is None:  # taken over from the old system, which hashed nothing
                    self.stdout.write(f"{held.case_id} {held.evidence_uid}: was never sealed")
                    continue
                checked += 1
                if problem := _problem(held):
                    mismatches += 1
                    self.stdout.write(f"{held.case_id} {held.evidence_uid}: {problem}")
        if not case:
            self._list_unheld()
        self.stdout.write(f"checked={checked} mismatches={mismatches}")
        if mismatches:
            raise CommandError("Stored evidence is not what came in.")

    def _list_unheld(self) -> None:
        """Name content that no evidence holds: of an intake that was cut off at its last step."""
        held = set(Evidence.objects.exclude(local_path=None).values_list("local_path", flat=True))
        for key in store.contents():
            if key not in held:
                self.stdout.write(f"held by no evidence: {key}")


def _problem(evidence: Evidence) -> str:
    try:
        intact = services.check_evidence(evidence=evidence)
    except DomainError as refusal:
        return str(refusal)
    return "" if intact else f"the bytes do not have SHA-256 {evidence.sha256}, taken on arrival"
