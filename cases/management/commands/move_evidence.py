"""`manage.py move_evidence`: all stored evidence into another folder or bucket, verified there."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from cases import custody, store
from cases.management.commands._examples import add_examples
from cases.models import Evidence
from cases.store.moving import VERIFIED, copy_contents
from datamortem.common.errors import DomainError
from datamortem.common.operators import operator

_NEXT = (
    "Nothing was removed. Stop the site and the workers, run this again for what came in meanwhile, "
    "set EVIDENCE_URL={target}, start, and run verify_evidence. Then the old place may go."
)


class Command(BaseCommand):
    """Copies; the settings and the old place are left to the operator."""

    help = "Copy all stored evidence to another place, hash by hash; nothing is removed. May be repeated."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the place."""
        add_examples(
            parser,
            "move_evidence --to s3://evidence/datamortem",
            "move_evidence --to /srv/evidence",
        )
        parser.add_argument(
            "--to", required=True, metavar="PLACE", help="a folder, or s3://bucket/prefix (EVIDENCE_S3_…)"
        )

    def handle(self, *args: Any, **options: Any) -> str:
        """Copy and verify; the exit code is 1 when anything could not be given to the new place."""
        try:
            target = store.place_at(options["to"])
        except ValueError as error:
            raise CommandError(f"--to: {error}") from error
        source = store.place()
        if target.name == source.name:
            raise CommandError(f"{source.name} is where the evidence lies now.")
        counts: Counter[str] = Counter()
        verified: set[str] = set()
        try:
            for moved in copy_contents(source, target):
                counts[moved.outcome] += 1
                if moved.outcome in VERIFIED:
                    verified.add(moved.key)
                else:
                    self.stdout.write(f"not copied, its bytes are not those that came in: {moved.key}")
        except DomainError as error:
            raise CommandError(f"{error} What was copied is kept: run this again to go on.") from error
        missing = _record(verified, target=target.name)
        for uid in missing:
            self.stdout.write(f"not in the new place: {uid}")
        self.stdout.write(
            f"copied={counts['copied']} there={counts['there']} changed={counts['changed']} "
            f"missing={len(missing)}"
        )
        if missing or counts["changed"]:
            raise CommandError("Not all evidence is in the new place; verify_evidence says more about it.")
        return _NEXT.format(target=options["to"])


@transaction.atomic
def _record(verified: set[str], *, target: str) -> list[str]:
    """Say in the record of each case how much of its evidence is verified in the new place.

    Returns what is not: evidence whose bytes are missing, changed, or came in meanwhile.
    """
    missing: list[str] = []
    found: Counter[str] = Counter()
    rows = Evidence.objects.exclude(local_path=None).order_by("case_id", "pk")
    for evidence in rows.only("case_id", "evidence_uid", "local_path").iterator():
        is_there = evidence.local_path in verified
        found[evidence.case_id] += is_there
        if not is_there:
            missing.append(evidence.evidence_uid)
    with custody.acting_as(operator()):
        for case_id, count in found.items():
            details = {"to": target, "verified": count}
            custody.record(case_id=case_id, by=None, action="evidence.copied", details=details)
    return missing
