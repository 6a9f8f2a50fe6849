"""Posted events between their arrival and the index: which rows wait, and which run takes them.

A row belongs to the run that was queued for it. Rows are added to a run as long as it waits, by
transactions that hold it; whoever claims it waits for them. So a run that has begun has all its
rows, in whatever order their numbers were given and their transactions ended.

Rows whose run failed, was cancelled or is gone are left over: the next run takes them along.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import connection
from django.db.models import Q
from django.utils import timezone

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


def insert(rows: Iterator[tuple[Any, ...]]) -> None:
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
    left = _waiting(case.case_id).filter(_not_of_others()).order_by()
    return {_ROWS: 0, _BYTES: 0, _LEFT: left[: 2**31].count()}


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
    told: dict[str, list[dict[str, Any]]] = {}
    unfinished = TaskRun.objects.unfinished().filter(task_name=INDEX_POSTED).order_by()
    for case_id, options in unfinished.values_list("evidence__case_id", "options"):
        told.setdefault(case_id, []).append(options)
    has_run = case.case_id in told
    here = _told(told.pop(case.case_id, []))
    if not has_run:
        here = _waiting(case.case_id).order_by()[: limit + 1].count()
    return Backlog(case=here, all=here + sum(map(_told, told.values())), has_run=has_run)


def _told(options: list[dict[str, Any]]) -> int:
    """Return how many rows the runs of one case will take; each counts the same ones left over."""
    own = sum(_number(each, _ROWS) for each in options)
    return own + max((_number(each, _LEFT) for each in options), default=0)


def _number(options: dict[str, Any], name: str) -> int:
    value = options.get(name, 0)
    return value if isinstance(value, int) else 0


def _waiting(case_id: str) -> EventQuerySet:
    return Event.objects.filter(case_id=case_id, indexed_at=None, event_id__isnull=False)


def _not_of_others() -> Q:
    """Rows whose run has ended, or that have none."""
    return ~Q(run__status__in=_UNFINISHED)


@dataclass(slots=True)
class Taken:
    """What a run has taken beside its own rows: the numbers of those that others left over.

    `more` says that there are others still, for which it had no room.
    """

    left: array[int] = field(default_factory=lambda: array("q"))
    more: bool = False


#: A row as it is indexed: number, event id, message, JSON, its run, when it was indexed.
Row = tuple[int, str, str, str | None, int | None, datetime | None]


def take(run: TaskRun, taken: Taken) -> Iterator[list[Row]]:
    """Yield the rows that a run indexes, in lists; `taken` is filled meanwhile.

    A run with the option "all" takes what the index has, too. Rows of other unfinished runs are
    left to them.
    """
    case_id, others = run.evidence.case_id, _not_of_others()
    if EVERYTHING in run.options:
        rows = Event.objects.filter(case_id=case_id, event_id__isnull=False)
        for found in _lists(rows.filter(Q(indexed_at__isnull=False) | Q(run=run) | others)):
            _note(found, run, taken)
            yield found
        return
    room, size = ROWS, 0
    for found in _lists(_waiting(case_id).filter(run=run)):
        room, size = room - len(found), size + _size(found)
        yield found
    for left in _lists(_waiting(case_id).filter(others)):
        if room <= 0 or size > BYTES:
            taken.more = True
            return
        taken.more = len(left) > room
        found = left[:room]
        room, size = room - len(found), size + _size(found)
        _note(found, run, taken)
        yield found
        if taken.more:
            return


def mark(run: TaskRun, taken: Taken) -> None:
    """Say of the rows that a run has taken that they are indexed, within the transaction that ends it."""
    now = timezone.now()
    Event.objects.filter(run=run, indexed_at=None).update(indexed_at=now)
    for start in range(0, len(taken.left), _ROWS_AT_ONCE):
        numbers = taken.left[start : start + _ROWS_AT_ONCE]
        Event.objects.filter(pk__in=numbers, indexed_at=None).update(indexed_at=now, run=run)


def _note(found: list[Row], run: TaskRun, taken: Taken) -> None:
    taken.left.extend(number for number, *_, of, indexed_at in found if indexed_at is None and of != run.pk)


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
