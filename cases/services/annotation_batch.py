"""What somebody says of many events at once, and how it is taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Count
from django.utils import timezone

from accounts.models import User
from cases import custody
from cases.index.text import fold
from cases.models import Annotation, AnnotationBatch, Case, Evidence
from cases.services.annotation import ANNOTATIONS_OF_AN_EVENT, Said, TooManyAnnotations, check_authorship
from cases.services.case import locked_open
from datamortem.common.errors import Conflict, Missing
from datamortem.common.storable import plain

#: Events that one call annotates unless it says more, and at most.
USUAL: Final = 10_000
LIMIT: Final = 100_000
#: Annotations of one case.
OF_A_CASE: Final = 500_000

_COPY: Final = (
    "COPY annotations (case_pk, event_id, evidence_uid, star, comment, comment_folded, author_id, batch_id,"
    " created_at, updated_at) FROM STDIN"
)
_INSERT: Final = (
    "INSERT INTO annotations (case_pk, event_id, evidence_uid, star, comment, comment_folded, author_id,"
    " batch_id, created_at, updated_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
_TAG: Final = (
    "INSERT INTO annotation_tags (annotation_id, tag, folded)"
    " SELECT id, %s, %s FROM annotations WHERE batch_id = %s ORDER BY id"
)


class AlreadyUndone(Conflict):
    """The batch was undone before."""

    code = "already_undone"


@dataclass(frozen=True, slots=True)
class Annotated:
    """What became of a bulk annotation; `already` counts events of which the author said all of it before."""

    batch: AnnotationBatch | None
    annotated: int
    already: int


@transaction.atomic
def annotate_all(
    *, case: Case, by: User, asked: dict[str, Any], events: Sequence[tuple[str, str]], said: Said
) -> Annotated:
    """Say the same of many events, given as (event id, evidence id), in one transaction.

    `asked` is the question they answered, for the record. An event of which the same person has said
    all of this in one annotation is left as it is; if that is so of all, there is no batch. Events whose
    evidence was deleted meanwhile are left out. Raises CaseClosed and TooManyAnnotations.
    """
    case = locked_open(case)
    alive = set(Evidence.objects.filter(case=case).values_list("evidence_uid", flat=True))
    events = [event for event in events if event[1] in alive]
    known = _said_before(case, by, said)
    fresh = [event for event in events if event[0] not in known]
    already = len(events) - len(fresh)
    if not fresh:
        return Annotated(None, 0, already)
    _check_room(case, fresh)
    question = {**asked, **said.facts()}
    batch = AnnotationBatch.objects.create(case_ref=case, asked=plain(question), events=len(fresh), author=by)
    _write(batch, fresh, said)
    details = {"batch": batch.pk, "events": len(fresh), "already": already, **question}
    custody.record(case_id=case.case_id, by=by, action="annotations.added", details=details)
    return Annotated(batch, len(fresh), already)


@transaction.atomic
def undo_batch(*, batch: AnnotationBatch, by: User, manages: bool) -> int:
    """Take away what a batch added, and return the number of annotations that went.

    What somebody changed since is theirs and stays. Raises CaseClosed, AlreadyUndone, Forbidden, Missing.
    """
    case = locked_open(batch.case_ref)
    batch = AnnotationBatch.objects.filter(pk=batch.pk).first() or _gone()
    check_authorship(batch.author_id, by=by, manages=manages)
    if batch.undone_at is not None:
        raise AlreadyUndone("This batch was undone before.")
    removed = Annotation.objects.filter(batch=batch).erase()
    batch.undone_at, batch.undone_by = timezone.now(), by
    batch.save(update_fields=["undone_at", "undone_by"])
    details = {"batch": batch.pk, "removed": removed, "kept": batch.events - removed}
    custody.record(case_id=case.case_id, by=by, action="annotations.undone", details=details)
    return removed


def _gone() -> AnnotationBatch:
    raise Missing("There is no such batch.")


def _said_before(case: Case, by: User, said: Said) -> set[str]:
    """Return the events of which the author has said all of it in one annotation."""
    mine = Annotation.objects.filter(case_ref=case, author=by).order_by()
    if said.star:
        mine = mine.filter(star=True)
    if said.comment:
        mine = mine.filter(comment=said.comment)
    for tag in said.tags:
        mine = mine.filter(tag_rows__folded=fold(tag))
    return set(mine.values_list("event_id", flat=True))


def _check_room(case: Case, fresh: Sequence[tuple[str, str]]) -> None:
    held = Annotation.objects.filter(case_ref=case).order_by()
    if held.count() + len(fresh) > OF_A_CASE:
        raise TooManyAnnotations(f"A case has up to {OF_A_CASE:,} annotations: undo a batch first.")
    counted = held.values("event_id").annotate(said=Count("pk")).filter(said__gte=ANNOTATIONS_OF_AN_EVENT)
    full = set(counted.values_list("event_id", flat=True))
    if any(event_id in full for event_id, _ in fresh):
        raise TooManyAnnotations(
            f"Among these are events with {ANNOTATIONS_OF_AN_EVENT} annotations, which is the most: nothing "
            "was done."
        )


def _write(batch: AnnotationBatch, events: Sequence[tuple[str, str]], said: Said) -> None:
    """Add the rows, by COPY where there is one; then the tags of all of them, one statement a tag."""
    now, folded = batch.created_at, fold(said.comment)
    rows = (
        (
            batch.case_ref_id, event_id, evidence_uid, said.star, said.comment, folded,
            batch.author_id, batch.pk, now, now,
        )
        for event_id, evidence_uid in events
    )  # fmt: skip
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(_COPY) as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            adapted = connection.ops.adapt_datetimefield_value(now)
            cursor.executemany(_INSERT, [(*row[:-2], adapted, adapted) for row in rows])
        for tag in said.tags:
            cursor.execute(_TAG, [tag, fold(tag), batch.pk])
