"""`manage.py demo`: a fictional intrusion, from evidence files to a case one can search."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from accounts.models import Role, User
from cases import custody, services
from cases.demo.evidence import RECIPES, Recipe, make_file
from cases.ingest import Described, Intake, Named, Outcome, counts_of, ledger, total
from cases.management.commands._progress import Watch
from cases.models import Case, CaseRole, RunStatus, TaskRun
from datamortem.common.errors import DomainError
from datamortem.common.operators import operator

CASE: Final = "demo"
_LARGEST: Final = 5_000
_NOTE: Final = (
    "A fictional intrusion at a haulier: an invoice that was none, stolen credentials, a server, "
    "a web shell, and data that left. Everything in it is made up."
)
_ADMIN: Final = "admin"
#: Who works on the case: name, role on the platform, role in the case (the owner needs none).
_PEOPLE: Final = (
    ("lead", Role.ANALYST, None),
    ("analyst", Role.ANALYST, CaseRole.ANALYST),
    ("reader", Role.VIEWER, CaseRole.READER),
    (_ADMIN, Role.ADMIN, None),
)
_SEARCHES: Final = (
    ("Invoice_4471", "how it came in"),
    ("category:process AND svchosts", "what ran"),
    ("user:svc-backup AND category:(logon OR logon_failed)", "where the stolen account was used"),
    ('message:"cmd=" AND source:weblog', "the web shell"),
    ("bytes_sent:>=100000000", "what left"),
    ("EventID:1102", "who cleared the log"),
)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a later call must know: kept beside the evidence, for its owner's eyes alone."""

    scale: int
    password: str


class Command(BaseCommand):
    """Makes files, users and a case, reads the files into it, and says where to look."""

    help = "Show the main job on a fictional intrusion over three machines."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take how much ordinary noise the story is hidden in."""
        parser.add_argument(
            "--scale", type=int, default=1, metavar="N", help="noise: N times 20,000 events (1)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what is not done yet; a second call changes nothing."""
        scale = options["scale"]
        if not 1 <= scale <= _LARGEST:
            raise CommandError(f"--scale: expected a number from 1 to {_LARGEST:,}.")
        kept = _kept(settings.DEMO_ROOT, scale)
        with custody.acting_as(operator()):
            lead, case = _people_and_case(kept.password)
            try:
                outcomes = self._read(case, lead, scale)
            except DomainError as refusal:
                raise CommandError(str(refusal)) from refusal
        self._tell(case, kept.password)
        if failed := sum(not outcome.succeeded for outcome in outcomes):
            raise CommandError(f"{failed} files could not be read; the reasons are above.")

    def _read(self, case: Case, lead: User, scale: int) -> list[Outcome]:
        """Make and read the files that were not read before."""
        done = _done(case)
        missing = [recipe for recipe in RECIPES if recipe.name not in done]
        if not missing:
            return []
        files = {recipe: make_file(recipe, settings.DEMO_ROOT, scale=scale) for recipe in self._made(missing)}
        outcomes = []
        with ExitStack() as stack:
            size = sum(path.stat().st_size for path in files.values())
            watch = stack.enter_context(Watch(total_bytes=size, files=len(files), quiet=False))
            for (host, zone), group in groupby(files, key=lambda recipe: (recipe.host, recipe.time_zone)):
                intake = Intake(Described(case=case, by=lead, host=host, time_zone=zone), jobs=2)
                named = [Named(files[recipe]) for recipe in group]
                try:
                    for outcome in intake.ingest(named, received=watch.add):
                        outcomes.append(outcome)
                        if outcome.error:
                            self.stdout.write(f"{Path(outcome.path).name}: {outcome.error}")
                except KeyboardInterrupt:
                    raise CommandError("Cancelled; call again to go on.", returncode=130) from None
        return outcomes

    def _made(self, recipes: list[Recipe]) -> Iterator[Recipe]:
        """Yield the recipes, and say what is being made."""
        self.stdout.write(f"Making {len(recipes)} evidence files in {settings.DEMO_ROOT}")
        for recipe in recipes:
            self.stdout.write(f"  {recipe.name}")
            self.stdout.flush()
            yield recipe

    def _tell(self, case: Case, password: str) -> None:
        """Print what the case holds and how to go on."""
        write = self.stdout.write
        runs = _done(case)
        write(f"Case {case.case_id}: {case.title}")
        for recipe in RECIPES:
            if run := runs.get(recipe.name):
                write(f"  {recipe.name:<22} {run.parser:<7} {ledger(counts_of(run))}")
        outcomes = [Outcome(path="", counts=counts_of(run)) for run in runs.values()]
        write(f"  {'together':<30} {ledger(total(outcomes))}")
        write("")
        write("Go on with `make run`, then open")
        write(f"  timeline  {settings.PUBLIC_URL}/cases/{case.case_id}/timeline/")
        names = ", ".join(_address(name) for name, _, _ in _PEOPLE if name != _ADMIN)
        write(f"  sign in   {names}; password {password}")
        write(f"  admin     {settings.PUBLIC_URL}/admin/")
        also = " (sets up a second factor first)" if settings.SECOND_FACTOR_ROLES else ""
        write(f"  sign in   {_address(_ADMIN)}; the same password{also}")
        write("Searches that find the story (docs/demo.md tells it), there or on the command line:")
        for query, what in _SEARCHES:
            write(f"  .venv/bin/python manage.py search {case.case_id} '{query}'   # {what}")


def _done(case: Case) -> dict[str, TaskRun]:
    """Return the runs of the case that read a file of the demo, by its name."""
    runs = TaskRun.objects.filter(evidence__case=case, status=RunStatus.SUCCEEDED).select_related("evidence")
    return {run.evidence.original_name: run for run in runs.order_by("pk")}


def _address(name: str) -> str:
    return f"{name}@demo.example"


@transaction.atomic
def _people_and_case(password: str) -> tuple[User, Case]:
    """Return the lead and the case, and have the others on it; what is there stays as it is."""
    people = {name: _person(name, role, password) for name, role, _ in _PEOPLE}
    lead = people["lead"]
    case = Case.objects.filter(case_id=CASE).first()
    if case is None:
        case = services.open_case(
            by=lead, case_id=CASE, title="Nordlicht Logistik: invoice 4471", note=_NOTE, severity="high"
        )
        for name, _, role in _PEOPLE:
            if role is not None:
                services.add_member(case=case, user=people[name], role=role, by=lead)
    return lead, case


def _person(name: str, role: Role, password: str) -> User:
    user = User.objects.filter(email=_address(name)).first()
    if user is None:
        return User.objects.create_user(_address(name), f"demo-{name}", password, role=role)
    return user


def _kept(root: Path, scale: int) -> _Kept:
    """Return what the first call chose. Raises CommandError if it made another scale."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / "demo.json"
    if not path.exists():
        _keep(path, _Kept(scale, secrets.token_urlsafe(12)))
    try:
        kept = _Kept(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise CommandError(f"{path} cannot be read: remove it and the case {CASE}.") from error
    if kept.scale != scale:
        raise CommandError(
            f"The demo is there with --scale {kept.scale}. To have another, delete the case {CASE} and "
            f"{root}, or set another DATAMORTEM_HOME."
        )
    return kept


def _keep(path: Path, kept: _Kept) -> None:
    """Write beside and rename, readable by the owner alone from the first byte."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"scale": kept.scale, "password": kept.password}, file)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
