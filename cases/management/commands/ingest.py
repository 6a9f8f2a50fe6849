"""`manage.py ingest`: files and directories of this machine into a case."""

from __future__ import annotations

import json
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from cases import custody, services
from cases.ingest import Described, Intake, Named, Outcome, find, ledger, total
from cases.management.commands._examples import add_examples
from cases.management.commands._progress import Watch
from cases.models import Case
from datamortem.common.errors import DomainError
from datamortem.common.operators import operator


class Command(BaseCommand):
    """Registers, reads, waits, and accounts for every file."""

    help = "Take evidence files into a case and read them; directories are walked."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the case, the files, and what is known about them."""
        add_examples(
            parser,
            "ingest ir-2024-001 Security.evtx --create --host WS-017",
            "ingest ir-2024-001 /mnt/triage --time-zone Europe/Berlin --jobs 4",
            "ingest ir-2024-001 table.csv --module csv --option timestamp=Seen",
        )
        parser.add_argument("case", metavar="CASE")
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument("--create", action="store_true", help="open the case if there is none")
        parser.add_argument("--module", metavar="NAME", help="the parser to use; else chosen by content")
        parser.add_argument("--host", default="", help="the computer the evidence comes from")
        parser.add_argument("--time-zone", default="UTC", metavar="ZONE", help="of local times in it (UTC)")
        parser.add_argument(
            "--option",
            action="append",
            default=[],
            dest="choices",
            metavar="NAME=VALUE",
            help="a choice for the parser, such as timestamp=Column (docs/parsers.md); may be repeated",
        )
        parser.add_argument("--jobs", type=int, default=2, metavar="N", help="files read at once (2)")
        parser.add_argument("--json", action="store_true", help="one JSON object a file")
        parser.add_argument("--user", metavar="EMAIL", help="who does it, for the custody record")

    def handle(self, *args: Any, **options: Any) -> str | None:
        """Take everything in; the last line is the ledger, the exit code 0 if all was read."""
        if not 1 <= options["jobs"] <= 64:
            raise CommandError("--jobs: expected a number from 1 to 64.")
        with custody.acting_as(operator()):
            try:
                described = _describe(options)
            except DomainError as refusal:
                raise CommandError(str(refusal)) from refusal
            outcomes = self._ingest(described, options)
        failed = sum(not outcome.succeeded for outcome in outcomes)
        if not options["json"]:
            self.stdout.write(ledger(total(outcomes)))
        if failed or not outcomes:
            raise CommandError(f"{failed} of {len(outcomes)} files could not be read; the reasons are above.")
        return None

    def _ingest(self, described: Described, options: dict[str, Any]) -> list[Outcome]:
        files = list(find(options["files"]))
        intake = Intake(described, jobs=options["jobs"])
        outcomes = []
        with Watch(total_bytes=_bytes(files), files=len(files), quiet=options["json"]) as watch:
            try:
                for outcome in intake.ingest(files, received=watch.add):
                    outcomes.append(outcome)
                    self.stdout.write(_line(outcome, as_json=options["json"]))
            except KeyboardInterrupt:
                raise CommandError("Cancelled; what had not ended was not read.", returncode=130) from None
        return outcomes


def _describe(options: dict[str, Any]) -> Described:
    by = None
    if options["user"]:
        try:
            by = User.objects.get_by_natural_key(options["user"])
        except User.DoesNotExist as error:
            raise CommandError(f"There is no user {options['user']}.") from error
    return Described(
        case=_case(options["case"], by=by, create=options["create"]),
        by=by,
        module=options["module"],
        host=options["host"],
        time_zone=options["time_zone"],
        options=_choices(options["choices"]),
    )


def _choices(pairs: list[str]) -> dict[str, str]:
    chosen = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise CommandError(f"--option: expected NAME=VALUE, not {pair!r}.")
        chosen[name] = value
    return chosen


def _case(case_id: str, *, by: User | None, create: bool) -> Case:
    case = Case.objects.filter(case_id=case_id).first()
    if case is None and not create:
        raise CommandError(f"There is no case {case_id}; --create opens it.")
    try:
        return case or services.open_case(by=by, case_id=case_id)
    except services.CaseIdTaken:  # by another call in this moment
        return Case.objects.get(case_id=case_id)


def _bytes(files: list[Named]) -> int:
    return sum(_size(named.path) for named in files)


def _size(path: Path) -> int:
    try:
        facts = path.stat()
    except OSError:
        return 0
    return facts.st_size if stat.S_ISREG(facts.st_mode) else 0


def _line(outcome: Outcome, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(asdict(outcome), ensure_ascii=False)
    what = f"{outcome.status}{' (already there)' if outcome.duplicate else ''}"
    facts = ledger(outcome.counts) if outcome.evidence_uid else ""
    reason = f": {outcome.error}" if outcome.error else ""
    return f"{_printable(outcome.path)}  {outcome.parser}  {what}  {facts}{_printable(reason)}"


def _printable(text: str) -> str:
    """Return text that cannot move the cursor or colour the terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
