"""`manage.py verify_evidence`: the stored bytes against the hashes taken on arrival."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases import custody, discards, services, store
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
        parser.add_argument(
            "--remove-unheld",
            action="store_true",
            help="also remove content that no evidence holds; not after restoring an older database",
        )

    def handle(self, *args: Any, case: str | None, **options: Any) -> None:
        """Print every mismatch, then `checked=… mismatches=…`; the exit code is 1 on any.

        What cannot be read just now is counted as `unread`: it is neither intact nor a mismatch.
        """
        if case and not Case.objects.filter(case_id=case).exists():
            raise CommandError(f"There is no case {case}.")
        if case and options["remove_unheld"]:
            raise CommandError("--remove-unheld looks at the whole store: name no case with it.")
        evidence = Evidence.objects.exclude(kind=POSTED).order_by("case_id", "pk")
        if case:
            evidence = evidence.filter(case_id=case)
        counts = {"checked": 0, "mismatches": 0, "unread": 0}
        with custody.acting_as(operator()):
            for held in evidence.iterator():
                self._check(held, counts)
        if not case:
            self._list_unheld(counts, remove=options["remove_unheld"])
        shown = [f"{name}={count}" for name, count in counts.items() if count or name != "unread"]
        self.stdout.write(" ".join(shown))
        if counts["mismatches"]:
            raise CommandError("Stored evidence is not what came in.")
        if counts["unread"]:
            raise CommandError("Not all evidence could be read; mend the store and run this again.")

    def _check(self, evidence: Evidence, counts: dict[str, int]) -> None:
        if evidence.sha256 is None:  # taken over from the old system, which hashed nothing
            self.stdout.write(f"{evidence.case_id} {evidence.evidence_uid}: was never sealed")
            return
        counts["checked"] += 1
        try:
            intact = services.check_evidence(evidence=evidence)
            problem = "" if intact else f"the bytes do not have SHA-256 {evidence.sha256}, taken on arrival"
        except store.StoreDown as silence:
            counts["checked"] -= 1
            counts["unread"] += 1
            self.stdout.write(f"{evidence.case_id} {evidence.evidence_uid}: not read: {silence}")
            return
        except DomainError as refusal:
            problem = str(refusal)
        if problem:
            counts["mismatches"] += 1
            self.stdout.write(f"{evidence.case_id} {evidence.evidence_uid}: {problem}")

    def _list_unheld(self, counts: dict[str, int], *, remove: bool) -> None:
        """Name content that no evidence holds: of an intake that was cut off at its last step."""
        held = set(Evidence.objects.exclude(local_path=None).values_list("local_path", flat=True))
        try:
            for key in store.contents():
                if key in held:
                    continue
                gone = remove and discards.discard(key.rpartition("/")[2])
                self.stdout.write(f"held by no evidence{', removed' if gone else ''}: {key}")
        except store.StoreDown as silence:
            counts["unread"] += 1
            self.stdout.write(f"the store cannot be listed: {silence}")
