"""Routes of runs, what they rejected, and the modules that read."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from accounts.permissions import SignedIn
from cases import audit, parsers, services
from cases.api.filters import RunFilter
from cases.api.scope import CaseRoutes, Routes, one
from cases.api.serializers import ModuleSerializer, RunSerializer
from cases.models import AnalysisModule, TaskRun
from cases.permissions import CanWriteCase
from datamortem.common.downloads import as_download
from datamortem.common.wire import dump


class RunsRoutes(CaseRoutes):
    """The runs of a case."""

    permission_classes = (SignedIn, CanWriteCase)
    queryset = TaskRun.objects.none()  # names the model to the OpenAPI document
    serializer_class = RunSerializer
    filterset_class = RunFilter
    orderings: ClassVar = {"created_at": "created_at_utc", "id": "id"}
    default_ordering = "-id"

    def get_queryset(self) -> QuerySet[TaskRun]:
        """Return them with what their shape names."""
        runs = TaskRun.objects.visible_to(self.by).filter(evidence__case=self.case)
        return runs.select_related("evidence", "module")

    @property
    def run(self) -> TaskRun:
        """The run of the address. Raises NotFound."""
        return one(self.get_queryset(), pk=self.kwargs["run_id"])

    @extend_schema(operation_id="runs_list")
    def list(self, request: Request, case_id: str) -> Response:
        """List runs, newest first."""
        answer: Response = self.listed(self.get_queryset())
        return answer

    @extend_schema(operation_id="runs_get")
    def retrieve(self, request: Request, case_id: str, run_id: int) -> Response:
        """Show a run."""
        return Response(RunSerializer(self.run).data)

    @extend_schema(operation_id="runs_cancel", request=None, responses=RunSerializer)
    def cancel(self, request: Request, case_id: str, run_id: int) -> Response:
        """End a run: at once if it waits, else within about a second."""
        services.cancel_run(run=self.run, by=self.by)
        return Response(RunSerializer(self.run).data)

    @extend_schema(operation_id="runs_retry", request=None, responses={201: RunSerializer})
    @idempotent
    def retry(self, request: Request, case_id: str, run_id: int) -> Response:
        """Queue a failed or cancelled run once more, as a new one."""
        run = services.retry_run(run=self.run, by=self.by)
        return Response(RunSerializer(one(self.get_queryset(), pk=run.pk)).data, status=201)

    @extend_schema(
        operation_id="runs_rejected", responses={(200, "application/x-ndjson"): OpenApiTypes.BINARY}
    )
    def rejected(self, request: Request, case_id: str, run_id: int) -> HttpResponseBase:
        """Stream what was read and could not be indexed: position, reason, raw."""
        run = self.run
        audit.taken(
            "rejected.downloaded",
            case_id=self.case.case_id,
            by=self.by,
            evidence_uid=run.evidence_id,
            details={"run": run.pk, "records": run.rejected},
        )
        response = StreamingHttpResponse(_rejected_lines(run), content_type="application/x-ndjson")
        as_download(response, name=f"{self.case.case_id}-run-{run.pk}-rejected.jsonl")
        return response


def _rejected_lines(run: TaskRun) -> Iterator[bytes]:
    """Yield one object a line; `raw` is for people, `raw_base64` the exact bytes."""
    for record in run.rejected_records.order_by("pk").iterator(chunk_size=1000):
        raw = bytes(record.raw)
        line: dict[str, Any] = {
            "position": record.position,
            "reason": record.reason,
            "raw": raw.decode("utf-8", "backslashreplace"),
            "raw_base64": base64.b64encode(raw).decode("ascii"),
        }
        yield dump(line) + b"\n"


class ModulesRoutes(Routes):
    """The parsers of this version."""

    permission_classes = (SignedIn,)
    queryset = AnalysisModule.objects.none()  # names the model to the OpenAPI document
    serializer_class = ModuleSerializer
    filter_backends = ()
    orderings: ClassVar = {"name": "name"}
    default_ordering = "name"

    def get_serializer_context(self) -> dict[str, Any]:
        """Give the serializer what the code says about each parser."""
        kinds = {parser.name: parser.kinds for parser in parsers.PARSERS}
        return {**super().get_serializer_context(), "kinds": kinds}

    @extend_schema(operation_id="modules_list")
    def list(self, request: Request) -> Response:
        """List the parsers, what they read, and whether the operator lets them."""
        answer: Response = self.listed(services.modules())
        return answer
