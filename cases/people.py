"""What pages show of what people added: to an event, and to a case."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from accounts.models import User
from cases.asked import Asked, exact
from cases.index.document import Document
from cases.models import AnnotationBatch, Case, SavedSearch
from cases.permissions import may_manage, may_write
from cases.remarks import with_annotations
from cases.services.annotation_batch import LIMIT

#: How many batches and searches a timeline offers; the API lists all.
_BATCHES: Final = 5
_SEARCHES: Final = 100


@dataclass(frozen=True, slots=True)
class Remark:
    """An annotation: what it says, a way to search for each tag, whether the user may take it away."""

    said: dict[str, Any]
    tags: list[tuple[str, str]]
    removable: bool


@dataclass(frozen=True, slots=True)
class OfEvent:
    """What was said of one event, and whether the user may say more."""

    remarks: list[Remark]
    may_write: bool
    starred: bool
    own_star: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """A saved search, where it leads, whether the user may take it away."""

    search: SavedSearch
    address: str
    removable: bool


@dataclass(frozen=True, slots=True)
class OfCase:
    """What was added to a case, as its timeline offers it."""

    may_write: bool
    username: str
    searches: list[Kept]
    batches: list[AnnotationBatch] = field(default_factory=list)
    limit: int = LIMIT


def said_of(case: Case, event: Document, asked: Asked, user: User) -> OfEvent:
    """Return what was said of an event, as its page shows it."""
    annotations = with_annotations([event])[0]["annotations"]
    writes = may_write(user, case) and not case.is_closed
    manages = writes and may_manage(user, case)
    remarks = [
        Remark(
            said,
            [(tag, asked.narrowed(exact("tag", tag)).address()) for tag in said["tags"]],
            manages or (writes and said["author"] == user.username),
        )
        for said in annotations
    ]
    stars = {said["author"] for said in annotations if said["star"]}
    return OfEvent(remarks, writes, bool(stars), user.username in stars)


def added_to(case: Case, user: User) -> OfCase:
    """Return what the timeline of a case offers to choose from and to undo."""
    writes = may_write(user, case) and not case.is_closed
    manages = writes and may_manage(user, case)
    kept = SavedSearch.objects.filter(case_ref=case).order_by("name")[:_SEARCHES]
    searches = [
        Kept(
            search,
            Asked(q=search.q, start=search.start, end=search.end).address(),
            manages or (writes and search.author_id == user.pk),
        )
        for search in kept
    ]
    if not writes:
        return OfCase(False, user.username, searches)
    batches = AnnotationBatch.objects.filter(case_ref=case, undone_at=None).select_related("author")
    own = batches if manages else batches.filter(author=user)
    return OfCase(True, user.username, searches, list(own.order_by("-pk")[:_BATCHES]))
