"""What somebody says of one event: tags, a star, a comment."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from cases import custody
from cases.index.text import fold
from cases.models import Annotation, AnnotationTag, Case, Evidence
from cases.services.case import locked_open
from datamortem.common.errors import Conflict, Forbidden, Invalid, Missing
from datamortem.common.storable import storable

#: Characters of a tag and of a comment, tags of one annotation, annotations of one event.
TAG_LENGTH: Final = 100
COMMENT_LENGTH: Final = 10_000
TAGS: Final = 50
ANNOTATIONS_OF_AN_EVENT: Final = 100
_FOLDED_LENGTH: Final = 255


class TooManyAnnotations(Conflict):
    """The event, or the case, has as many annotations as there may be."""

    code = "too_many_annotations"


@dataclass(frozen=True, slots=True)
class Said:
    """What an annotation says, as it is stored."""

    tags: tuple[str, ...] = ()
    star: bool = False
    comment: str = ""

    @classmethod
    def checked(cls, *, tags: Iterable[str] = (), star: bool = False, comment: str = "") -> Said:
        """Return what may be said. Raises Invalid for "tags", "comment", and for saying nothing."""
        said = cls(_checked_tags(tags), star, _checked_comment(comment))
        if not (said.tags or said.star or said.comment):
            raise Invalid("An annotation has a tag, a star or a comment.")
        return said

    def facts(self) -> dict[str, Any]:
        """Return it for the custody record."""
        return {"tags": list(self.tags), "star": self.star, "comment": self.comment}


@transaction.atomic
def annotate(
    *,
    case: Case,
    by: User,
    event_id: str,
    evidence_uid: str,
    tags: Iterable[str] = (),
    star: bool = False,
    comment: str = "",
) -> Annotation:
    """Add what somebody says of an event of the case, beside what others say.

    The caller has found the event in the index. Raises CaseClosed, Invalid, TooManyAnnotations, and
    Missing when the evidence was deleted meanwhile.
    """
    said = Said.checked(tags=tags, star=star, comment=comment)
    case = locked_open(case)
    if not Evidence.objects.filter(case=case, evidence_uid=evidence_uid).exists():
        raise Missing("There is no such event.")
    if Annotation.objects.filter(case_ref=case, event_id=event_id).count() >= ANNOTATIONS_OF_AN_EVENT:
        raise TooManyAnnotations(f"This event has {ANNOTATIONS_OF_AN_EVENT} annotations: change one of them.")
    now = timezone.now()
    annotation = Annotation.objects.create(
        case_ref=case,
        event_id=event_id,
        evidence_uid=evidence_uid,
        star=said.star,
        comment=said.comment,
        comment_folded=fold(said.comment),
        author=by,
        created_at=now,
        updated_at=now,
    )
    _set_tags(annotation, said.tags)
    _record(annotation, case, by=by, action="annotation.added", **said.facts())
    return annotation


@transaction.atomic
def change_annotation(*, annotation: Annotation, by: User, manages: bool, **changes: Any) -> None:
    """Change tags, star or comment; the author may, and who manages the case.

    One that came in a batch leaves it: it is no longer what the batch added, and stays when that is
    undone. Raises as `annotate` does, and Forbidden.
    """
    case, annotation = _held(annotation, by=by, manages=manages)
    before = said_by(annotation)
    after = Said.checked(**{**before.facts(), **changes})
    if after == before:
        return
    annotation.star, annotation.comment = after.star, after.comment
    annotation.comment_folded, annotation.batch = fold(after.comment), None
    annotation.updated_at = timezone.now()
    annotation.save()
    if after.tags != before.tags:
        annotation.tag_rows.all().delete()
        _set_tags(annotation, after.tags)
    old, new = before.facts(), after.facts()
    changed = [name for name in new if new[name] != old[name]]
    _record(
        annotation,
        case,
        by=by,
        action="annotation.changed",
        before={name: old[name] for name in changed},
        after={name: new[name] for name in changed},
    )


@transaction.atomic
def remove_annotation(*, annotation: Annotation, by: User, manages: bool) -> None:
    """Take an annotation away; the record keeps what it said. Raises CaseClosed, Forbidden, Missing."""
    case, annotation = _held(annotation, by=by, manages=manages)
    _record(annotation, case, by=by, action="annotation.removed", **said_by(annotation).facts())
    annotation.delete()


@transaction.atomic
def toggle_star(*, case: Case, by: User, event_id: str, evidence_uid: str) -> bool:
    """Give an event one's own star, or take all one's stars from it; return whether it has one now.

    What else was said with a star stays.
    """
    case = locked_open(case)
    starred = list(Annotation.objects.filter(case_ref=case, event_id=event_id, author=by, star=True))
    for annotation in starred:
        if annotation.comment or annotation.tag_rows.exists():
            change_annotation(annotation=annotation, by=by, manages=False, star=False)
        else:
            remove_annotation(annotation=annotation, by=by, manages=False)
    if not starred:
        annotate(case=case, by=by, event_id=event_id, evidence_uid=evidence_uid, star=True)
    return not starred


def said_by(annotation: Annotation) -> Said:
    """Return what an annotation says."""
    return Said(tuple(annotation.tags), annotation.star, annotation.comment)


def _held(annotation: Annotation, *, by: User, manages: bool) -> tuple[Case, Annotation]:
    """Return case and annotation as they are now, held to the end of the transaction."""
    case = locked_open(annotation.case_ref)
    found = Annotation.objects.filter(pk=annotation.pk).prefetch_related("tag_rows").first()
    if found is None:
        raise Missing("There is no such annotation.")
    check_authorship(found.author_id, by=by, manages=manages)
    return case, found


def check_authorship(author: int | None, *, by: User, manages: bool) -> None:
    """Raise Forbidden unless it is theirs, or they manage the case."""
    if author != by.pk and not manages:
        raise Forbidden("This is somebody else's: its author and the leads of the case may change it.")


def _set_tags(annotation: Annotation, tags: Iterable[str]) -> None:
    AnnotationTag.objects.bulk_create(
        AnnotationTag(annotation=annotation, tag=tag, folded=fold(tag)) for tag in tags
    )


def _record(annotation: Annotation, case: Case, *, by: User, action: str, **facts: Any) -> None:
    details = {"annotation": annotation.pk, "event": annotation.event_id, **facts}
    if annotation.author_id != by.pk:
        details["author"] = annotation.author.username if annotation.author else None
    custody.record(
        case_id=case.case_id, by=by, action=action, evidence_uid=annotation.evidence_uid, details=details
    )


def _checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the tags without the space around them, each once however it is spelled."""
    found: dict[str, str] = {}
    for tag in tags:
        kept = storable(tag.strip())
        if not kept or len(kept) > TAG_LENGTH or len(fold(kept)) > _FOLDED_LENGTH:
            raise Invalid(f"A tag has 1 to {TAG_LENGTH} characters.", field="tags")
        if any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in kept):
            raise Invalid("A tag is one line of text without control characters.", field="tags")
        found.setdefault(fold(kept), kept)
    if len(found) > TAGS:
        raise Invalid(f"An annotation has up to {TAGS} tags; these are {len(found)}.", field="tags")
    return tuple(found.values())


def _checked_comment(comment: str) -> str:
    kept = storable(comment.strip())
    if len(kept) > COMMENT_LENGTH:
        raise Invalid(
            f"A comment has up to {COMMENT_LENGTH:,} characters; this one has {len(kept):,}.", field="comment"
        )
    return kept
