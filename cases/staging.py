"""Posted events between their arrival and the index: which rows wait, and which run takes them.

A row belongs to the run that was queued for it. Rows are added to a run as long as it waits, by
transactions that hold it; whoever claims it waits for them. So a run that has begun has all its
rows, in whatever order their numbers were given and their transactions ended.

That the index has a row is said by its run, which has succeeded: not one row is changed for it.
Rows whose run failed or was cancelled are left over; the next run takes them along and makes them its
own.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, Final

from django.db import connection
from django.db.models import Q

from cases.leases import INDEX_POSTED
from cases.models import Case, Event, Evidence, RunStatus, TaskRun
from cases.models.event import EventQuerySet

#: What one run takes: rows, and bytes of their JSON. A single call may go beyond the bytes.
ROWS: Final = 100_000
BYTES: Final = 64 * 1024**2

#: The option of a run that indexes anew whatever the index has of a case.
EVERYTHING: Final = "all"
#: Options by which a waiting run says what it will take: rows, bytes, and rows left over by others.
_ROWS: Final = "events"
_BYTES: Final = "bytes"
_LEFT: Final = "left"

_UNFINISHED: Final = (RunStatus.QUEUED, RunStatus.RUNNING)
_IDS_AT_ONCE: Final = 200_000
_ROWS_AT_ONCE: Final = 900  # SQLite bounds the number of parameters

#: The columns of a new row, in the order of `insert`.
COLUMNS: Final = (
    "ts",
    "source",
    "message",
    "host",
    "user",
    "tags",
    "score",
    "raw",
    "event_id",
    "case_id",
    "evidence_uid",
    "created_at_utc",
    "run_id",
)


def known(case_id: str, ids: Sequence[str]) -> set[str]:
    """Return those of the event ids that the case has."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT event_id FROM events WHERE case_id = %s AND event_id = ANY(%s)", [case_id, list(ids)]
            )
            return {event_id for (event_id,) in cursor}
    found: set[str] = set()
    for start in range(0, len(ids), _ROWS_AT_ONCE):
        part = ids[start : start + _ROWS_AT_ONCE]
        rows = Event.objects.filter(case_id=case_id, event_id__in=part)
        found.update(event_id for event_id in rows.values_list("event_id", flat=True) if event_id)
    return found


def insert(rows: Sequence[tuple[Any, ...]]) -> None:
    """Store rows, each with the values of COLUMNS."""
    quoted = ", ".join(map(connection.ops.quote_name, COLUMNS))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with (
                connection.wrap_database_errors,
                cursor.copy(f"COPY events ({quoted}) FROM STDIN") as copy,
            ):
                for row in rows:
                    copy.write_row(row)
        else:
            places = ", ".join(["%s"] * len(COLUMNS))
            cursor.executemany(f"INSERT INTO events ({quoted}) VALUES ({places})", rows)  # noqa: S608


def waiting_run(evidence: Evidence, *, rows: int, size: int) -> TaskRun | None:
    """Return a run that waits and has room for so many rows and bytes, held; None if there is none."""
    run = (
        TaskRun.objects.select_for_update(no_key=True)  # nobody claims or cancels it before we commit
        .filter(evidence=evidence, status=RunStatus.QUEUED, task_name=INDEX_POSTED, cancel_requested=False)
        .first()  # the newest: older ones are full
    )
    if run is None:
        return None
    has, bytes_ = _number(run.options, _ROWS), _number(run.options, _BYTES)
    return run if not has or (has + rows <= ROWS and bytes_ + size <= BYTES) else None


def queued(evidence: Evidence) -> bool:
    """Say whether a run waits that will take what is left over."""
    return TaskRun.objects.filter(evidence=evidence, status=RunStatus.QUEUED, task_name=INDEX_POSTED).exists()


def first_options(case: Case) -> dict[str, Any]:
    """Return the options of a run that is queued for new rows; it says what others left over."""
    return {_ROWS: 0, _BYTES: 0, _LEFT: _left(case.case_id).count()}


def enlarge(run: TaskRun, *, rows: int, size: int) -> None:
    """Say on a run that is held that it will take so many rows and bytes more."""
    run.options = {
        **run.options,
        _ROWS: _number(run.options, _ROWS) + rows,
        _BYTES: _number(run.options, _BYTES) + size,
    }
    run.save(update_fields=["options"])


@dataclass(slots=True)
class Backlog:
    """How many posted events wait: in the case asked about, in all; and whether a run waits for the first."""

    case: int
    all: int
    has_run: bool


def backlog(case: Case, *, limit: int) -> Backlog:
    """Return how many rows wait for the index, from what the runs say; counted only where none waits.

    Of rows left over in a case without a run, no more than `limit` + 1 are counted.
    """
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    unfinished = TaskRun.objects.unfinished().filter(task_name=INDEX_POSTED).order_by()
    for case_id, options in unfinished.values_list("evidence__case__case_id", "options"):
        told[case_id].append(options)
    has_run = case.case_id in told
    here = _told(told.pop(case.case_id, []))
    if not has_run:
        here = _left(case.case_id)[: limit + 1].count()
    return Backlog(case=here, all=here + sum(map(_told, told.values())), has_run=has_run)


def waiting_everywhere() -> int:
    """Return how many rows wait for the index in all cases: of runs that wait or work, and left over."""
    unfinished = TaskRun.objects.unfinished().filter(task_name=INDEX_POSTED).order_by()
    own = sum(_number(options, _ROWS) for options in unfinished.values_list("options", flat=True))
    return own + Event.objects.filter(_OF_ENDED_RUNS).order_by().count()


def _told(options: list[dict[str, Any]]) -> int:
    """Return how many rows the runs of one case will take; each counts the same ones left over."""
    own = sum(_number(each, _ROWS) for each in options)
    return own + max((_number(each, _LEFT) for each in options), default=0)


def _number(options: dict[str, Any], name: str) -> int:
    value = options.get(name, 0)
    return value if isinstance(value, int) else 0


#: Rows that no run will take any more, and the index does not have.
_OF_ENDED_RUNS: Final = Q(
    run__task_name=INDEX_POSTED, run__status__in=(RunStatus.FAILED, RunStatus.CANCELLED), indexed_at=None
)


def _left(case_id: str) -> EventQuerySet:
    """Return the rows of a case that are left over."""
    return Event.objects.filter(_OF_ENDED_RUNS, run__evidence__case__case_id=case_id).order_by()


@dataclass(slots=True)
class Taken:
    """What a run has taken beside its own rows: the numbers of those that others left over.

    `more` says that there are others still, for which it had no room.
    """

    left: array[int] = field(default_factory=lambda: array("q"))
    more: bool = False


#: A row as it is indexed: number, event id, message, JSON, its run, when an earlier version indexed it.
Row = tuple[int, str | None, str, str | None, int | None, datetime | None]


def take(run: TaskRun, taken: Taken) -> Iterator[list[Row]]:
    """Yield the rows that a run indexes, in lists; `taken` is filled meanwhile.

    A run with the option "all" takes what the index has, too. Rows of other unfinished runs are
    left to them.
    """
    if EVERYTHING in run.options:
        yield from _everything(run, taken)
        return
    room, size = ROWS, 0
    for found in _lists(Event.objects.filter(run=run)):
        room, size = room - len(found), size + _size(found)
        yield found
    for left in chain(_lists(_left(run.evidence.case_id)), _of_no_run(run)):
        if room <= 0 or size > BYTES:
            taken.more = True
            return
        taken.more = len(left) > room
        found = left[:room]
        room, size = room - len(found), size + _size(found)
        taken.left.extend(number for number, *_ in found)
        yield found
        if taken.more:
            return


def _of_no_run(run: TaskRun) -> Iterator[list[Row]]:
    """Yield rows that an earlier version stored and did not index: they have no run.

    Only its runs and retried ones look for them, since no index leads there quickly.
    """
    if _ROWS not in run.options:
        rows = Event.objects.filter(run=None, indexed_at=None, event_id__isnull=False)
        yield from _lists(rows.filter(evidence_uid=run.evidence_id))


def _everything(run: TaskRun, taken: Taken) -> Iterator[list[Row]]:
    """Yield the rows that the index has, those of the run, and those that are left over."""
    ours = TaskRun.objects.filter(evidence__evidence_uid=run.evidence_id, task_name=INDEX_POSTED)
    states = dict(ours.values_list("pk", "status"))
    others = [number for number, status in states.items() if status in _UNFINISHED and number != run.pk]
    kept = {run.pk, *(number for number, status in states.items() if status == RunStatus.SUCCEEDED)}
    rows = Event.objects.filter(case_id=run.evidence.case_id, event_id__isnull=False)
    rows = rows.filter(Q(run=None) | Q(run__lte=max(states))).exclude(run__in=others)
    for found in _lists(rows):
        taken.left.extend(
            number for number, *_, of, indexed_at in found if indexed_at is None and of not in kept
        )
        yield found


def adopt(run: TaskRun, taken: Taken) -> None:
    """Give a run what others had left over and it has indexed, in the transaction in which it succeeds.

    With that, the index has every row that is its own.
    """
    for start in range(0, len(taken.left), _ROWS_AT_ONCE):
        Event.objects.filter(pk__in=taken.left[start : start + _ROWS_AT_ONCE]).update(run=run)


def _size(found: list[Row]) -> int:
    return sum(len(raw or "") for _, _, _, raw, _, _ in found)


def _lists(rows: EventQuerySet) -> Iterator[list[Row]]:
    """Yield rows by their numbers, in lists.

    No cursor stays open meanwhile: on SQLite the lease could not be extended beside one, and on
    PostgreSQL the server would keep a copy of all rows.
    """
    last = 0
    while numbers := array(
        "q", rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:_IDS_AT_ONCE]
    ):
        for start in range(0, len(numbers), _ROWS_AT_ONCE):
            part = Event.objects.filter(pk__in=numbers[start : start + _ROWS_AT_ONCE]).order_by("pk")
            yield list(part.values_list("pk", "event_id", "message", "raw", "run_id", "indexed_at"))
        last = numbers[-1]
