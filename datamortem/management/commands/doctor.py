"""`manage.py doctor`: whether this installation can do its work, and how to mend what cannot."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core import checks
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from cases import custody, store
from cases.cage import Child
from cases.exchange import Job
from cases.models import CustodyEntry
from datamortem.common.errors import DomainError
from datamortem.management.commands import _services, _weaknesses
from datamortem.management.commands._finding import Finding

_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?:\s*;([^\\]*))?", re.MULTILINE)
_START: Final = 20.0


class Command(BaseCommand):
    """Looks at everything the main job needs."""

    help = "Check the installation and say how to mend it."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> str:
        """Print one line a check; the exit code is 1 on a problem, which a note is not."""
        problems = 0
        for check in _CHECKS:
            for finding in check():
                problems += finding.is_problem
                sign = self.style.ERROR("PROBLEM") if finding.is_problem else self.style.SUCCESS("ok")
                sign = self.style.WARNING("note") if finding.remedy and finding.note else sign
                self.stdout.write(f"{sign}  {finding.name}: {finding.detail}")
                if finding.remedy:
                    self.stdout.write(f"         {finding.remedy}")
        if problems:
            raise CommandError(f"{problems} problems.")
        return "No problems."


def _python() -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", found, "" if sys.version_info >= (3, 11) else "Install Python 3.11 or later.")


def _packages() -> Iterator[Finding]:
    pinned = settings.BASE_DIR / "requirements.txt"
    if not pinned.exists():
        return
    wanted: dict[str, list[str]] = {}  # a package may have one version for each Python
    for name, pin, marker in _PIN.findall(pinned.read_text("utf-8")):
        wanted.setdefault(name, []).extend([pin, "missing"] if marker else [pin])
    wrong = []
    for name, pins in wanted.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "missing"
        if found not in pins:
            wrong.append(f"{name} {found} (expected {pins[0]})")
    remedy = f"{sys.executable} -m pip install --require-hashes -r requirements.txt" if wrong else ""
    yield Finding("Packages", ", ".join(wrong) or "as pinned in requirements.txt", remedy)


def _configuration() -> Iterator[Finding]:
    found = [message for message in checks.run_checks() if message.level >= checks.ERROR]
    for message in found:
        yield Finding(f"Configuration {message.id}", message.msg, message.hint or "See the message.")
    if not found:
        yield Finding("Configuration", "the start-up checks pass")


def _database() -> Iterator[Finding]:
    try:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        yield Finding("Database", str(error).strip(), "Start the database server, or set DATABASE_URL.")
        return
    detail = (
        f"{connection.vendor}, {len(plan)} migrations to apply" if plan else f"{connection.vendor}, migrated"
    )
    yield Finding("Database", detail, "manage.py migrate" if plan else "")


def _directories() -> Iterator[Finding]:
    for name in ("HOME", "EVIDENCE_ROOT", "INDEX_ROOT", "WORK_ROOT"):
        path: Path = getattr(settings, name)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            yield Finding(
                name, f"{path}: {error.strerror}", f"Make {path} writable for the user of this process."
            )
        else:
            yield Finding(name, str(path))


def _space() -> Iterator[Finding]:
    free = shutil.disk_usage(settings.EVIDENCE_ROOT).free
    enough = free > settings.EVIDENCE_RESERVE
    remedy = "" if enough else "Make room on the volume of the evidence, or lower EVIDENCE_RESERVE."
    yield Finding("Free space", f"{free / 1024**3:.1f} GB for evidence", remedy)


def _evidence_store() -> Iterator[Finding]:
    try:
        detail = store.probe()
    except (OSError, DomainError) as error:
        yield Finding(
            "Evidence store", str(error), "Check EVIDENCE_URL, its volume or bucket, and our rights."
        )
        return
    yield Finding("Evidence store", detail)


def _reading() -> Iterator[Finding]:
    with tempfile.TemporaryDirectory() as work:
        job = Job(
            "doctor",
            "doctor",
            "doctor",
            f"{work}/none",
            "",
            "none",
            {"url": "embedded:", "root": work},
            work,
            memory=settings.RUN_MEMORY,
            output=settings.RUN_OUTPUT,
            cpu=60,
        )
        with Child(job) as child:
            message = child.hear(_START)
            well = bool(message) and "mismatch" in (message or {})
            trace = child.trace().strip().rpartition("\n")[2]
    yield Finding(
        "Reading process",
        "starts under its limits" if well else f"does not start: {trace or 'no word from it'}",
        "" if well else "Raise RUN_MEMORY or the limits of this account (ulimit -a).",
    )


def _custody() -> Iterator[Finding]:
    cases = CustodyEntry.objects.order_by("case_id").values_list("case_id", flat=True).distinct()
    problems = [problem for case_id in cases for problem in custody.verify(case_id)]
    remedy = "Restore the database from a backup and find out who wrote to it." if problems else ""
    yield Finding("Custody", "; ".join(problems) or f"{len(cases)} records intact", remedy)


def _if_migrated(check: Callable[[], Iterator[Finding]]) -> Callable[[], Iterator[Finding]]:
    def guarded() -> Iterator[Finding]:
        try:
            yield from check()
        except DatabaseError as error:
            yield Finding(
                check.__name__.removeprefix("of").strip("_").capitalize(),
                str(error).strip(),
                "Mend the database first.",
            )

    return guarded


_CHECKS: Final = (
    _python,
    _packages,
    _configuration,
    _database,
    _directories,
    _space,
    _evidence_store,
    _reading,
    _if_migrated(_services.of_index),
    _services.of_broker,
    _if_migrated(_services.of_work),
    _if_migrated(_custody),
    _weaknesses.of_settings,
    _if_migrated(_weaknesses.of_accounts),
)
