"""Routes of events: every question over one case, pages over several."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from accounts.permissions import SignedIn
from cases import audit, formats, search, services
from cases.api.scope import CaseRoutes, Routes
from cases.api.serializers import (
    EventSerializer,
    FieldsSerializer,
    FoundSerializer,
    HistogramSerializer,
    PostedSerializer,
    TermsSerializer,
    TotalSerializer,
)
from cases.index.document import format_time, public
from cases.index.engine import INTERVALS
from cases.models import Case
from cases.models.case import CaseQuerySet
from cases.permissions import CanReadCase, CanWriteCase
from cases.remarks import with_annotations
from datamortem.common.api import number_in
from datamortem.common.downloads import as_download

_ASKED: Final = ("q", "from", "to")
_PAGED: Final = (*_ASKED, "ordering", "limit", "cursor")
_ORDERS: Final = {"timestamp": False, "-timestamp": True}


def _number_up_to(limit: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": limit}


_Q: Final = [
    OpenApiParameter("q", str, description="What to find, in the query language."),
    OpenApiParameter("from", str, description="A date or RFC 3339: nothing before it."),
    OpenApiParameter("to", str, description="A date (to its end) or RFC 3339: nothing after it."),
    OpenApiParameter("evidence", str, many=True, description="Only of this evidence; may be repeated."),
    OpenApiParameter("source", str, many=True, description="Only read by this parser; may be repeated."),
]
_EVENT: Final = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "message": {"type": "string"},
        "timestamp": {"type": "string", "format": "date-time", "nullable": True},
        "attributes": {"type": "object"},
    },
    "additionalProperties": True,
}
_POSTED: Final = {"oneOf": [_EVENT, {"type": "array", "maxItems": 10_000, "items": _EVENT}]}
_PAGE: Final = [
    OpenApiParameter("ordering", str, enum=list(_ORDERS), default="-timestamp"),
    OpenApiParameter("limit", _number_up_to(search.PAGE_LIMIT), default=100),
    OpenApiParameter("cursor", str, description="`next_cursor` of the page before."),
]


class Asked:
    """The part of a request that asks: read once, refused where it makes no sense."""

    def __init__(self, request: Request) -> None:
        self.parameters = request.query_params

    def question(self, cases: QuerySet[Case]) -> search.Question:
        """Return the question over the cases. Raises what `search.frame` raises."""
        return search.frame(
            cases=cases,
            q=self.parameters.get("q", ""),
            start=self.parameters.get("from", ""),
            end=self.parameters.get("to", ""),
            evidence=self.parameters.getlist("evidence"),
            source=self.parameters.getlist("source"),
        )

    def said(self) -> dict[str, Any]:
        """Return the question as it was put, for the record."""
        said: dict[str, Any] = {name: self.parameters.get(name, "") for name in _ASKED}
        return said | {name: self.parameters.getlist(name) for name in ("evidence", "source")}

    def number(self, name: str, default: int, limit: int) -> int:
        """Return a number from 1 to `limit`. Raises ValidationError."""
        return number_in(self.parameters, name, default=default, limit=limit)

    def one_of(self, name: str, choices: tuple[str, ...], default: str) -> str:
        """Return one of the choices. Raises ValidationError."""
        value = self.parameters.get(name, default)
        if value not in choices:
            raise ValidationError({name: [f"Expected one of {', '.join(choices)}."]}, "invalid")
        return value

    def newest_first(self, default: str = "-timestamp") -> bool:
        """Return the direction of time that was asked for."""
        return _ORDERS[self.one_of("ordering", tuple(_ORDERS), default)]

    def page(self, cases: QuerySet[Case]) -> Response:
        """Return one page of events."""
        limit, newest_first = self.number("limit", 100, search.PAGE_LIMIT), self.newest_first()
        found = search.search_events(
            self.question(cases),
            limit=limit,
            cursor=self.parameters.get("cursor", ""),
            newest_first=newest_first,
        )
        return Response(
            {
                "results": found.documents,
                "next_cursor": found.next_cursor,
                "total": found.total,
                "took_ms": found.took_ms,
            }
        )


class EventsRoutes(CaseRoutes):
    """The events of a case."""

    permission_classes = (SignedIn, CanReadCase)
    pagination_class = None
    filter_backends = ()
    action_parameters: ClassVar = {
        "find": _PAGED,
        "count": _ASKED,
        "histogram": (*_ASKED, "interval"),
        "terms": (*_ASKED, "field", "size"),
        "export": (*_ASKED, "format", "ordering"),
    }

    def get_permissions(self) -> list[Any]:
        """Let writers alone post."""
        return [SignedIn(), CanWriteCase() if self.action == "create" else CanReadCase()]

    def known_repeatable(self) -> tuple[str, ...]:
        """Return the parameters that may be given several times, where there is a question."""
        return ("evidence", "source") if self.action in self.action_parameters else ()

    @property
    def cases(self) -> QuerySet[Case]:
        """The one case, as a scope for the index."""
        return Case.objects.visible_to(self.by).filter(pk=self.case.pk)

    @extend_schema(operation_id="events_search", parameters=[*_Q, *_PAGE], responses=FoundSerializer)
    def find(self, request: Request, case_id: str) -> Response:
        """Find events, newest first unless asked otherwise; undated ones come last."""
        return Asked(request).page(self.cases)

    @extend_schema(
        operation_id="events_post",
        request={"application/json": _POSTED},
        responses={202: PostedSerializer},
    )
    def create(self, request: Request, case_id: str) -> Response:
        """Keep events durably and queue their way into the index: one, or a list up to 10,000."""
        services.check_backlog(case=self.case)  # outside the transaction of the key: see there
        return self._post(request)

    @idempotent
    def _post(self, request: Request) -> Response:
        events = request.data if isinstance(request.data, list) else [request.data]
        posted = services.post_events(case=self.case, by=self.by, events=events)
        answer = {
            "run": posted.run.pk if posted.run else None,
            "accepted": posted.accepted,
            "duplicate": posted.duplicate,
            "rejected": posted.rejected,
        }
        return Response(answer, status=202)

    @extend_schema(operation_id="events_get", responses=EventSerializer)
    def retrieve(self, request: Request, case_id: str, event_id: str) -> Response:
        """Show an event whole, with what people added to it."""
        event = public(search.get_event(self.cases, event_id))
        return Response(with_annotations([event])[0])

    @extend_schema(
        operation_id="events_source", responses={(200, "application/octet-stream"): OpenApiTypes.BINARY}
    )
    def source(self, request: Request, case_id: str, event_id: str) -> HttpResponseBase:
        """Send the bytes of the event's record in the evidence, as found."""
        document = search.get_event(self.cases, event_id)
        record = search.source_of(document)
        audit.source_taken(document, by=self.by, size=len(record))
        response = HttpResponse(record, content_type="application/octet-stream")
        as_download(response, name=f"{event_id}.bin", content=record)
        return response

    @extend_schema(operation_id="events_count", parameters=_Q, responses=TotalSerializer)
    def count(self, request: Request, case_id: str) -> Response:
        """Count events exactly."""
        return Response({"total": search.count_events(Asked(request).question(self.cases))})

    @extend_schema(
        operation_id="events_histogram",
        parameters=[*_Q, OpenApiParameter("interval", str, enum=["auto", *INTERVALS], default="auto")],
        responses=HistogramSerializer,
    )
    def histogram(self, request: Request, case_id: str) -> Response:
        """Count events by interval."""
        asked = Asked(request)
        interval = asked.one_of("interval", ("auto", *INTERVALS), "auto")
        found = search.histogram(asked.question(self.cases), interval)
        buckets = [{"start": format_time(start), "count": count} for start, count in found.buckets]
        return Response({"interval": found.interval, "buckets": buckets, "undated": found.undated})

    @extend_schema(
        operation_id="events_terms",
        parameters=[
            *_Q,
            OpenApiParameter("field", str, required=True, description="A core field or an attribute."),
            OpenApiParameter("size", _number_up_to(search.TERMS_LIMIT), default=10),
        ],
        responses=TermsSerializer,
    )
    def terms(self, request: Request, case_id: str) -> Response:
        """Count the values of a field, most frequent first."""
        asked = Asked(request)
        size = asked.number("size", 10, search.TERMS_LIMIT)
        field = asked.parameters.get("field", "")
        found = search.terms(asked.question(self.cases), field, size)
        buckets = [{"value": value, "count": count} for value, count in found.buckets]
        return Response({"buckets": buckets, "other": found.other, "missing": found.missing})

    @extend_schema(operation_id="events_fields", responses=FieldsSerializer)
    def fields(self, request: Request, case_id: str) -> Response:
        """List the fields and attributes seen in the case."""
        seen = [
            {"name": each.name, "type": each.type, "events": each.events, "attribute": each.attribute}
            for each in search.fields(self.cases)
        ]
        return Response({"next": None, "previous": None, "results": seen})

    @extend_schema(
        operation_id="events_export",
        parameters=[
            *_Q,
            OpenApiParameter("format", str, enum=list(formats.FORMATS), default="jsonl"),
            OpenApiParameter("ordering", str, enum=list(_ORDERS), default="timestamp"),
        ],
        responses={
            (200, "application/x-ndjson"): OpenApiTypes.BINARY,
            (200, "text/csv"): OpenApiTypes.BINARY,
        },
    )
    def export(self, request: Request, case_id: str) -> HttpResponseBase:
        """Stream every match from one consistent picture, oldest first.

        If the index fails midway the connection is cut: a part never looks like the whole.
        """
        asked = Asked(request)
        shape = asked.one_of("format", formats.FORMATS, "jsonl")
        newest_first = asked.newest_first("timestamp")
        events = search.export(asked.question(self.cases), newest_first=newest_first)
        audit.taken(
            audit.EXPORTED,
            case_id=self.case.case_id,
            by=self.by,
            details=audit.question(format=shape, **asked.said()),
        )
        response = StreamingHttpResponse(
            formats.lines(events, shape), content_type=formats.MEDIA_TYPES[shape]
        )
        as_download(response, name=f"{self.case.case_id}-events.{shape}")
        return response


class AllEventsRoutes(Routes):
    """The events of several cases."""

    permission_classes = (SignedIn,)
    pagination_class = None
    filter_backends = ()
    repeatable = ("case", "evidence", "source")
    action_parameters: ClassVar = {"find": _PAGED}

    @extend_schema(
        operation_id="events_search_all",
        parameters=[
            OpenApiParameter("case", str, many=True, description="Only of this case; may be repeated."),
            *_Q,
            *_PAGE,
        ],
        responses=FoundSerializer,
    )
    def find(self, request: Request) -> Response:
        """Find events in the named cases, or in all that the user may see."""
        named = request.query_params.getlist("case")
        cases = self._cases(named)
        answer = Asked(request).page(cases)
        found = {event["case_id"] for event in answer.data["results"]}
        audit.searched(cases, named=named, found=found, by=self.by, at=self.place)
        return answer

    def _cases(self, named: list[str]) -> CaseQuerySet:
        """Return the scope. Raises NotFound when one of the named cases is not visible."""
        cases = Case.objects.visible_to(self.by)
        if not named:
            return cases
        if any("\x00" in case_id for case_id in named):
            raise NotFound
        cases = cases.filter(case_id__in=set(named))
        if cases.count() < len(set(named)):
            raise NotFound
        return cases
