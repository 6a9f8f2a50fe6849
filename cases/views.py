"""The pages: the cases of a user, a timeline, an event and its source record.

They run no script. Whoever is not a member gets the answer of a case that does not exist.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from accounts.models import User
from cases import audit, people, search
from cases.asked import Asked
from cases.detail import around, attribute_values, core_values, message
from cases.hexview import as_text, hex_lines, texts_in
from cases.index.document import Document, public
from cases.models import Case, Evidence
from cases.overview import with_figures
from cases.timeline import read
from datamortem.common.errors import DomainError, Missing

_CASES: Final = 50
#: How many bytes of a source record a page shows; the download has all of them.
_SOURCE: Final = 64 * 1024
_SIZES: Final = (25, 50, 100, 250)
_UNDATED: Final = "NOT _exists_:timestamp"
_STATUS: Final = {"conflict": 409, "unavailable": 503}


class SignedIn(HttpRequest):
    """A request that `login_required` let through."""

    user: User


@login_required
@require_safe
def start(request: SignedIn) -> HttpResponse:
    """List the user's cases, the newest first; `find` narrows, `before` goes on."""
    find = request.GET.get("find", "").replace("\x00", "").strip()  # no database compares a NUL
    before = request.GET.get("before", "")
    cases = Case.objects.visible_to(request.user)
    if find:
        cases = cases.filter(Q(case_id__icontains=find) | Q(title__icontains=find))
    if before.isascii() and before.isdigit() and len(before) < 10:
        cases = cases.filter(pk__lt=int(before))
    shown = list(with_figures(cases).select_related("owner").order_by("-pk")[: _CASES + 1])
    more = shown[_CASES - 1].pk if len(shown) > _CASES else None
    return render(request, "cases/start.html", {"cases": shown[:_CASES], "find": find, "more": more})


@login_required
@require_safe
def timeline(request: SignedIn, case_id: str) -> HttpResponse:
    """Show what a search finds in a case."""
    case, only = case_of(request, case_id)
    asked, refusal = Asked.read(request.GET)
    shown = read(only, asked, refusal, reader=request.user.username)
    page = {
        "case": case,
        "shown": shown,
        "asked": asked,
        "sizes": sorted({*_SIZES, asked.limit}),
        "undated": asked.narrowed(_UNDATED).address(),
        "jsonl": _api(case, "export/") + asked.export("jsonl"),
        "csv": _api(case, "export/") + asked.export("csv"),
        "people": people.added_to(case, request.user),
    }
    status = shown.problem.status if shown.problem else 200
    return render(request, "cases/timeline.html", page, status=status)


@login_required
@require_safe
def event(request: SignedIn, case_id: str, event_id: str) -> HttpResponse:
    """Show one event with all it holds; the parameters are those of the search it was found by."""
    case, only = case_of(request, case_id)
    asked, _ = Asked.read(request.GET)
    page: dict[str, Any] = {"case": case, "asked": asked, "event_id": event_id}
    try:
        document = document_of(only, event_id)
    except DomainError as refusal:
        return _refused(request, "cases/event.html", page, refusal)
    page |= _facts(document, asked)
    page |= {"said": people.said_of(case, public(document), asked, request.user)}
    page["evidence"] = Evidence.objects.filter(evidence_uid=document["evidence_uid"], case=case).first()
    return render(request, "cases/event.html", page)


@login_required
@require_safe
def source(request: SignedIn, case_id: str, event_id: str) -> HttpResponse:
    """Show the beginning of the record in the evidence, as text and in hexadecimal."""
    case, only = case_of(request, case_id)
    asked, _ = Asked.read(request.GET)
    page: dict[str, Any] = {"case": case, "asked": asked, "event_id": event_id}
    try:
        document = document_of(only, event_id)
        page |= {"event": public(document)}
        found = search.source_of(document)
        audit.source_taken(document, by=request.user, size=len(found))
    except DomainError as refusal:
        return _refused(request, "cases/source.html", page, refusal)
    part = found[:_SOURCE]
    page |= {
        "download": _api(case, f"{event_id}/source/"),
        "size": len(found),
        "cut": len(found) - len(part),
        "shown": len(part),
        "text": as_text(part),
        "texts": "\n".join(texts_in(part)),
        "hexadecimal": "\n".join(hex_lines(part)),
    }
    return render(request, "cases/source.html", page)


def case_of(request: SignedIn, case_id: str) -> tuple[Case, QuerySet[Case]]:
    """Return a case the user sees, and the queryset of it alone. Raises Http404 and NotRecorded.

    That an admin looks into a case they do not work on is on record.
    """
    if "\x00" in case_id:  # PostgreSQL would refuse the question
        raise Http404
    only = Case.objects.visible_to(request.user).filter(case_id=case_id)
    case = get_object_or_404(audit.marked(only, request.user))
    audit.looked(case, by=request.user, at=f"{request.method} {request.path}")
    return case, only


def _api(case: Case, what: str) -> str:
    """Return an address of the API; the browser's session opens it as well."""
    return f"/api/v1/cases/{quote(case.case_id, safe='')}/events/{what}"


def document_of(only: QuerySet[Case], event_id: str) -> Document:
    """Return an event of the case. Raises Http404, and what `search.get_event` raises beside."""
    try:
        return search.get_event(only, event_id)
    except Missing as error:
        raise Http404 from error


def _facts(document: Document, asked: Asked) -> dict[str, Any]:
    return {
        "event": public(document),
        "message": message(document, asked),
        "core": list(core_values(document, asked)),
        "attributes": list(attribute_values(document, asked)),
        "around": around(document),
    }


def _refused(request: SignedIn, template: str, page: dict[str, Any], refusal: DomainError) -> HttpResponse:
    if isinstance(refusal, Missing):
        raise Http404 from refusal
    return render(
        request, template, {**page, "refusal": refusal.detail}, status=_STATUS.get(refusal.status, 400)
    )
