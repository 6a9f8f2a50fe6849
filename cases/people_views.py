"""What the pages let people add: stars, tags, comments, many at once, saved searches.

Every address here takes a form and leads back to where it stood; what is refused is told there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from cases import search, services
from cases.asked import Asked
from cases.models import Annotation, AnnotationBatch, Case, SavedSearch
from cases.permissions import may_manage, may_write
from cases.services.annotation_batch import LIMIT, USUAL
from cases.views import SignedIn, case_of, document_of
from datamortem.common.errors import DomainError, Forbidden, Missing


@login_required
@require_POST
def annotate(request: SignedIn, case_id: str, event_id: str) -> HttpResponse:
    """Say something of an event."""
    case, only = _writable(request, case_id)
    event = _told(request, lambda: document_of(only, event_id))
    if event is not None:
        _told(
            request,
            lambda: services.annotate(
                case=case,
                by=request.user,
                event_id=event["event_id"],
                evidence_uid=event["evidence_uid"],
                **_said(request),
            ),
        )
    return _to_event(request, case, event_id)


@login_required
@require_POST
def star(request: SignedIn, case_id: str, event_id: str) -> HttpResponse:
    """Give an event one's own star or take it back."""
    case, only = _writable(request, case_id)
    event = _told(request, lambda: document_of(only, event_id))
    if event is not None:
        facts = {"event_id": event["event_id"], "evidence_uid": event["evidence_uid"]}
        _told(request, lambda: services.toggle_star(case=case, by=request.user, **facts))
    if request.POST.get("to") == "timeline":
        return _to_timeline(request, case, place=f"event-{event_id}")
    return _to_event(request, case, event_id)


@login_required
@require_POST
def remove(request: SignedIn, case_id: str, event_id: str, annotation_id: int) -> HttpResponse:
    """Take an annotation away."""
    case, _ = _writable(request, case_id)
    if "\x00" in event_id:  # PostgreSQL would refuse the question
        raise Http404
    annotation = get_object_or_404(Annotation, pk=annotation_id, case_ref=case, event_id=event_id)
    manages = may_manage(request.user, case)
    _told(
        request,
        lambda: services.remove_annotation(annotation=annotation, by=request.user, manages=manages),
        done="The annotation is gone; the custody record keeps what it said.",
    )
    return _to_event(request, case, event_id)


@login_required
@require_POST
def annotate_all(request: SignedIn, case_id: str) -> HttpResponse:
    """Say the same of all events that the search of the address finds."""
    case, only = _writable(request, case_id)
    asked, refusal = Asked.read(request.GET)

    def act() -> services.Annotated:
        if refusal:
            raise refusal
        said = services.Said.checked(**_said(request))
        question: dict[str, Any] = {
            "q": asked.q,
            "from": asked.start,
            "to": asked.end,
            "evidence": list(asked.evidence),
            "source": list(asked.source),
        }
        limit = _limit(request.POST.get("limit", ""))
        events = search.events_up_to(search.frame_asked(only, question), limit)
        question["limit"] = limit
        return services.annotate_all(case=case, by=request.user, asked=question, events=events, said=said)

    done = _told(request, act)
    if done is not None:
        already = f"; of {done.already:,} you had said so before" if done.already else ""
        messages.success(request, f"{done.annotated:,} events are annotated{already}.")
    return _to_timeline(request, case)


@login_required
@require_POST
def undo(request: SignedIn, case_id: str, batch_id: int) -> HttpResponse:
    """Take away what a batch added."""
    case, _ = _writable(request, case_id)
    batch = get_object_or_404(AnnotationBatch, pk=batch_id, case_ref=case)
    manages = may_manage(request.user, case)
    removed = _told(request, lambda: services.undo_batch(batch=batch, by=request.user, manages=manages))
    if removed is not None:
        kept = batch.events - removed
        left = f"; {kept:,} were changed since and stay" if kept else ""
        messages.success(request, f"{removed:,} annotations are gone{left}.")
    return _to_timeline(request, case)


@login_required
@require_POST
def save_search(request: SignedIn, case_id: str) -> HttpResponse:
    """Keep the search of the address under a name."""
    case, _ = _writable(request, case_id)
    asked, _refusal = Asked.read(request.GET)

    def act() -> SavedSearch:
        search.check(q=asked.q, start=asked.start, end=asked.end)
        name = request.POST.get("name", "")
        facts = {"q": asked.q, "start": asked.start, "end": asked.end, "columns": []}
        return services.save_search(case=case, by=request.user, name=name, **facts)

    _told(request, act, done="The search is saved.")
    return _to_timeline(request, case)


@login_required
@require_POST
def remove_search(request: SignedIn, case_id: str, search_id: int) -> HttpResponse:
    """Take a saved search away."""
    case, _ = _writable(request, case_id)
    kept = get_object_or_404(SavedSearch, pk=search_id, case_ref=case)
    manages = may_manage(request.user, case)
    _told(
        request,
        lambda: services.remove_search(search=kept, by=request.user, manages=manages),
        done="The saved search is gone.",
    )
    return _to_timeline(request, case)


def _writable(request: SignedIn, case_id: str) -> tuple[Case, Any]:
    """Return a case that the user may write to. Raises Http404 and PermissionDenied."""
    case, only = case_of(request, case_id)
    if not may_write(request.user, case):
        raise PermissionDenied("You may read this case, not write to it: ask its lead.")
    return case, only


def _said(request: SignedIn) -> dict[str, Any]:
    """Return what the form says; commas and line ends stand between tags."""
    tags = request.POST.get("tags", "").replace("\n", ",").split(",")
    return {
        "tags": [tag for tag in tags if tag.strip()],
        "star": "star" in request.POST,
        "comment": request.POST.get("comment", ""),
    }


def _limit(text: str) -> int:
    """Return how many events the page showed, as the most that may be annotated."""
    shown = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else USUAL
    return max(1, min(shown, LIMIT))


def _told(request: SignedIn, act: Callable[[], Any], done: str = "") -> Any:
    """Do it and return what came of it; a refusal becomes a message, and None."""
    try:
        result = act()
    except Missing as refusal:
        raise Http404 from refusal
    except Forbidden as refusal:
        raise PermissionDenied(refusal.detail) from refusal
    except DomainError as refusal:
        messages.error(request, refusal.detail)
        return None
    if done:
        messages.success(request, done)
    return result


def _address(request: SignedIn) -> str:
    return Asked.read(request.GET)[0].address()


def _to_timeline(request: SignedIn, case: Case, *, place: str = "events") -> HttpResponse:
    return HttpResponseRedirect(reverse("timeline", args=[case.case_id]) + _address(request) + f"#{place}")


def _to_event(request: SignedIn, case: Case, event_id: str) -> HttpResponse:
    address = reverse("event", args=[case.case_id, event_id])
    return HttpResponseRedirect(f"{address}{_address(request)}#annotations")
