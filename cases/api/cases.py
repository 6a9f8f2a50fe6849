"""Routes of cases and their custody record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from accounts.permissions import SignedIn
from cases import audit, custody, services
from cases.api.filters import CaseFilter, CustodyFilter
from cases.api.scope import CaseRoutes, Routes
from cases.api.serializers import CaseSerializer, ChangeCaseSerializer, CustodySerializer, OpenCaseSerializer
from cases.models import Case, CustodyEntry
from cases.permissions import CanManageCase, CanOpenCases, CanReadCase, CanWriteCase
from datamortem.common.downloads import as_download
from datamortem.common.wire import dump


class CasesRoutes(Routes):
    """The cases somebody may see."""

    permission_classes = (SignedIn, CanOpenCases)
    queryset = Case.objects.none()  # names the model to the OpenAPI document
    serializer_class = CaseSerializer
    filterset_class = CaseFilter
    orderings: ClassVar = {"created_at": "created_at_utc", "case_id": "case_id"}
    default_ordering = "-created_at"

    def get_queryset(self) -> QuerySet[Case]:
        """Return them with what their shape names."""
        return Case.objects.visible_to(self.by).select_related("owner", "closed_by")

    @extend_schema(operation_id="cases_list")
    def list(self, request: Request) -> Response:
        """List cases, newest first."""
        answer: Response = self.listed(self.get_queryset())
        return answer

    @extend_schema(operation_id="cases_open", request=OpenCaseSerializer, responses={201: CaseSerializer})
    @idempotent
    def create(self, request: Request) -> Response:
        """Open a case; without an id it gets one."""
        given = OpenCaseSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        facts = {name: value for name, value in given.validated_data.items() if name != "status"}
        case = services.open_case(by=self.by, **facts)
        return Response(CaseSerializer(case).data, status=201)


class CaseRoute(CaseRoutes):
    """One case."""

    serializer_class = CaseSerializer
    action_parameters: ClassVar = {"destroy": ("confirm",)}

    def get_permissions(self) -> list[BasePermission]:
        """Let writers describe a case, and leads alone end its life."""
        is_description = self.action in ("retrieve", "partial_update", None)
        return [SignedIn(), CanWriteCase() if is_description else CanManageCase()]

    @extend_schema(operation_id="cases_get")
    def retrieve(self, request: Request, case_id: str) -> Response:
        """Show a case."""
        return Response(CaseSerializer(self.case).data)

    @extend_schema(operation_id="cases_change", request=ChangeCaseSerializer, responses=CaseSerializer)
    def partial_update(self, request: Request, case_id: str) -> Response:
        """Change title, note, severity or tags."""
        given = ChangeCaseSerializer(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        services.update_case(case=self.case, by=self.by, **given.validated_data)
        return self._fresh()

    @extend_schema(
        operation_id="cases_delete",
        parameters=[OpenApiParameter("confirm", str, description="The case id, if the case is not empty.")],
        responses={204: None},
    )
    def destroy(self, request: Request, case_id: str) -> Response:
        """Delete a case with its evidence and events; its custody record stays."""
        services.delete_case(case=self.case, by=self.by, confirm=request.query_params.get("confirm"))
        return Response(status=204)

    @extend_schema(operation_id="cases_close", request=None, responses=CaseSerializer)
    def close(self, request: Request, case_id: str) -> Response:
        """Refuse further evidence and writes."""
        services.close_case(case=self.case, by=self.by)
        return self._fresh()

    @extend_schema(operation_id="cases_reopen", request=None, responses=CaseSerializer)
    def reopen(self, request: Request, case_id: str) -> Response:
        """Accept evidence and writes again."""
        services.reopen_case(case=self.case, by=self.by)
        return self._fresh()

    def _fresh(self) -> Response:
        del self.case
        return Response(CaseSerializer(self.case).data)


@extend_schema_view(
    list=extend_schema(
        operation_id="custody_list",
        parameters=[OpenApiParameter("format", str, enum=["json", "jsonl"], description="jsonl: all of it.")],
        responses={
            (200, "application/json"): CustodySerializer(many=True),
            (200, "application/x-ndjson"): OpenApiResponse(OpenApiTypes.BINARY),
        },
    )
)
class CustodyRoutes(CaseRoutes):
    """Who did what to a case."""

    permission_classes = (SignedIn, CanReadCase)
    queryset = CustodyEntry.objects.none()  # names the model to the OpenAPI document
    serializer_class = CustodySerializer
    filterset_class = CustodyFilter
    orderings: ClassVar = {"sequence": "sequence"}
    default_ordering = "sequence"
    action_parameters: ClassVar = {"list": ("format",)}

    def get_queryset(self) -> QuerySet[CustodyEntry]:
        """Return the record of the case."""
        return CustodyEntry.objects.visible_to(self.by).filter(case_id=self.case.case_id)

    def list(self, request: Request, case_id: str) -> HttpResponseBase:
        """Show the record, oldest first; `?format=jsonl` streams all of it, one entry a line."""
        shape = request.query_params.get("format", "json")
        if shape not in ("json", "jsonl"):
            raise ValidationError({"format": ["Expected json or jsonl."]}, "invalid")
        if shape == "json":
            page: Response = self.listed(self.get_queryset())
            return page
        entries = self.filter_queryset(self.get_queryset()).order_by("sequence")
        last = entries.last()
        details = {"last": last.sequence, "hash": last.hash} if last else {}
        audit.taken("custody.exported", case_id=self.case.case_id, by=self.by, details=details)
        entries = entries.filter(sequence__lte=last.sequence if last else 0)  # without this very export
        response = StreamingHttpResponse(_lines(entries), content_type="application/x-ndjson")
        as_download(response, name=f"{self.case.case_id}-custody.jsonl")
        return response


def _lines(entries: QuerySet[CustodyEntry]) -> Iterator[bytes]:
    for entry in entries.iterator(chunk_size=1000):
        shown: dict[str, Any] = {**custody.content(entry), "hash": entry.hash}
        yield dump(shown) + b"\n"
