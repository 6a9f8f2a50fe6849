"""`manage.py reindex`: the index of a case anew, from its evidence and posted events."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases import custody, services, tasks
from cases.engines import engine
from cases.index.engine import IndexUnavailable
from cases.models import Case, Evidence, RunStatus, TaskRun
from datamortem.common.operators import operator


class Command(BaseCommand):
    """Reads everything again; what is there stays searchable until it is replaced."""

    help = "Rebuild the index of cases from the stored evidence and the posted events."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the cases, or all of them."""
        parser.add_argument("cases", nargs="*", metavar="CASE")
        parser.add_argument("--all", action="store_true", help="every case")
        parser.add_argument("--jobs", type=int, default=2, metavar="N", help="files read at once (2)")

    def handle(self, *args: Any, cases: list[str], jobs: int, **options: Any) -> None:
        """Print the number of events per case; the exit code is 1 if anything could not be read."""
        if bool(cases) == options["all"]:
            raise CommandError("Name the cases, or give --all.")
        if not 1 <= jobs <= 64:
            raise CommandError("--jobs: expected a number from 1 to 64.")
        found = Case.objects.order_by("pk") if options["all"] else [_case(case_id) for case_id in cases]
        try:
            with custody.acting_as(operator()):
                failed = sum(self._rebuild(case, jobs) for case in found)
        except IndexUnavailable as error:
            raise CommandError(f"The index does not answer; what was there stays. {error}") from error
        if failed:
            raise CommandError(f"{failed} runs failed; the events of before are still there.")

    def _rebuild(self, case: Case, jobs: int) -> int:
        """Rebuild one case and return how many of its runs failed."""
        engine().renew(case_id=case.case_id)
        queued = services.queue_rebuild(case=case, by=None)
        ended = _see_through([run.pk for run in queued], jobs)
        failed = [run for run in ended if run.status != RunStatus.SUCCEEDED]
        for run in failed:
            self.stderr.write(f"{case.case_id}: {run.evidence_id}: {run.status}: {run.error_message}")
        kept = Evidence.objects.filter(case=case).values_list("evidence_uid", flat=True)
        engine().sweep(case_id=case.case_id, keep=kept)
        events = sum(engine().shards(case_id=case.case_id).values())
        self.stdout.write(f"{case.case_id}: {events} events")
        return len(failed)


def _see_through(run_ids: list[int], jobs: int) -> list[TaskRun]:
    """Do the runs, or wait for the workers that do; on Ctrl-C the rest stays in the queue."""
    stop = threading.Event()
    with ThreadPoolExecutor(jobs, "reindex") as pool:
        try:
            return list(pool.map(partial(tasks.see_through, stop=stop), run_ids))
        except KeyboardInterrupt:
            stop.set()
            raise CommandError("Stopped; the rest waits for a worker.", returncode=130) from None


def _case(case_id: str) -> Case:
    case = Case.objects.filter(case_id=case_id).first()
    if case is None:
        raise CommandError(f"There is no case {case_id}.")
    return case
