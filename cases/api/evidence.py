"""Routes of evidence: in by a streamed upload, out as a download, and what is said about it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from io import RawIOBase
from typing import Any, ClassVar

from django.conf import settings
from django.db.models import Prefetch, QuerySet
from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import begin, fingerprint_of, idempotent, keep, key_of, repeat
from accounts.models import IdempotentAnswer
from accounts.permissions import SignedIn
from cases import audit, services, store
from cases.api.filters import EvidenceFilter
from cases.api.scope import CaseRoutes, one
from cases.api.serializers import (
    DescribeEvidenceSerializer,
    EvidenceSerializer,
    NewRunSerializer,
    ReceivedSerializer,
    RunSerializer,
    UploadSerializer,
)
from cases.models import Evidence, TaskRun
from cases.permissions import CanWriteCase
from cases.search import SourceGone
from datamortem.common.downloads import send_file
from datamortem.common.errors import Invalid, TooLarge
from datamortem.common.multipart import FILE, StreamedMultipart, Upload
from datamortem.common.wire import JSONParser

Parsers = list[BaseParser]
#: What delimiters, headers and fields of a form may add to the file.
_FORM_ROOM = 1024 * 1024


class FileMissing(Invalid):
    """The form holds no file."""

    code = "required"


class Answered(Exception):
    """The upload was answered before, under the same key; nothing is to be done."""

    def __init__(self, answer: IdempotentAnswer) -> None:
        super().__init__(answer.key)
        self.answer = answer


class EvidenceRoutes(CaseRoutes):
    """The evidence of a case."""

    permission_classes = (SignedIn, CanWriteCase)
    queryset = Evidence.objects.none()  # names the model to the OpenAPI document
    serializer_class = EvidenceSerializer
    filterset_class = EvidenceFilter
    orderings: ClassVar = {"added_at": "added_at_utc", "evidence_uid": "evidence_uid"}
    default_ordering = "-added_at"

    def get_parsers(self) -> Parsers:
        """Read an upload as it arrives, everything else as JSON."""
        request = getattr(self, "request", None)
        is_upload = request is not None and "evidence_uid" not in self.kwargs
        return [StreamedMultipart() if is_upload else JSONParser()]

    def get_queryset(self) -> QuerySet[Evidence]:
        """Return it with what its shape names."""
        runs = TaskRun.objects.select_related("evidence", "module").order_by("-pk")
        evidence = Evidence.objects.visible_to(self.by).filter(case=self.case).select_related("added_by")
        return evidence.prefetch_related(Prefetch("task_runs", queryset=runs))

    @property
    def evidence(self) -> Evidence:
        """The evidence of the address. Raises NotFound."""
        return one(self.get_queryset(), evidence_uid=self.kwargs["evidence_uid"])

    @extend_schema(operation_id="evidence_list")
    def list(self, request: Request, case_id: str) -> Response:
        """List evidence, newest first."""
        answer: Response = self.listed(self.get_queryset())
        return answer

    @extend_schema(
        operation_id="evidence_upload",
        request={"multipart/form-data": UploadSerializer},
        responses={200: ReceivedSerializer, 201: ReceivedSerializer},
    )
    def create(self, request: Request, case_id: str) -> Response:
        """Take a file in. The same bytes in the same case: 200 with the evidence that is there."""
        length = int(request.META.get("CONTENT_LENGTH") or 0)
        if length > settings.UPLOAD_LIMIT + _FORM_ROOM:
            raise TooLarge(f"A file has up to {settings.UPLOAD_LIMIT} bytes.", field=FILE)
        services.check_quota(self.by, size=max(length - _FORM_ROOM, 0))
        intake = _Intake(self, request)
        try:
            return intake.receive(room=length)
        except Answered as repeated:
            return repeat(repeated.answer)

    @extend_schema(operation_id="evidence_get")
    def retrieve(self, request: Request, case_id: str, evidence_uid: str) -> Response:
        """Show evidence and its runs."""
        return Response(EvidenceSerializer(self.evidence).data)

    @extend_schema(
        operation_id="evidence_change",
        request={"application/json": DescribeEvidenceSerializer},
        responses=EvidenceSerializer,
    )
    def partial_update(self, request: Request, case_id: str, evidence_uid: str) -> Response:
        """Change what is said about it; its events are read again if they depend on that."""
        evidence = self.evidence
        given = DescribeEvidenceSerializer(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        services.update_evidence(evidence=evidence, by=self.by, **given.validated_data)
        return Response(EvidenceSerializer(self.evidence).data)

    @extend_schema(operation_id="evidence_delete", responses={204: None})
    def destroy(self, request: Request, case_id: str, evidence_uid: str) -> Response:
        """Remove evidence with its events; the custody record stays."""
        services.delete_evidence(evidence=self.evidence, by=self.by)
        return Response(status=204)

    @extend_schema(
        operation_id="evidence_download", responses={(200, "application/octet-stream"): OpenApiTypes.BINARY}
    )
    def download(self, request: Request, case_id: str, evidence_uid: str) -> HttpResponseBase:
        """Send the bytes as they came in, or a range of them."""
        evidence = self.evidence
        with ExitStack() as opened:
            file = opened.enter_context(_content_of(evidence))
            audit.evidence_taken(evidence, by=self.by, range=request.headers.get("Range", ""))
            name = evidence.original_name.replace("\\", "/").rpartition("/")[2] or evidence.evidence_uid
            response = send_file(request._request, file, name=name, sha256=evidence.sha256 or "")
            opened.pop_all()  # the response closes it
        return response

    @extend_schema(
        operation_id="evidence_run_again",
        request={"application/json": NewRunSerializer},
        responses={201: RunSerializer},
    )
    @idempotent
    def run_again(self, request: Request, case_id: str, evidence_uid: str) -> Response:
        """Read it again; the new events take the place of the ones before when the run succeeds."""
        evidence = self.evidence
        given = NewRunSerializer(data=request.data or {})
        given.is_valid(raise_exception=True)
        run = services.run_again(evidence=evidence, by=self.by, **given.validated_data)
        shown = TaskRun.objects.select_related("evidence", "module").get(pk=run.pk)
        return Response(RunSerializer(shown).data, status=201)


def _content_of(evidence: Evidence) -> RawIOBase:
    """Return its bytes for sending. Raises SourceGone unless they are those that came in."""
    try:
        file = store.open_content(evidence.local_path)
    except store.Absent:
        file = None
    if file is None or evidence.sealed_at is None or not evidence.sha256:
        if file is not None:
            file.close()
        raise SourceGone("The stored bytes are not those that came in, so none are sent.")
    return file


class _Intake:
    """One upload: what stands before the file is checked before its first byte, the rest behind it."""

    def __init__(self, routes: EvidenceRoutes, request: Request) -> None:
        self.routes = routes
        self.request = request
        if "upload" not in request.FILES:  # nothing was announced, so nothing is read
            raise FileMissing("Send a form with a file, and its Content-Length.", field=FILE)
        self.upload: Upload = request.FILES["upload"]
        self.key = key_of(request)
        self.answer: IdempotentAnswer | None = None

    def receive(self, *, room: int) -> Response:
        """Return what became of the file. Raises Answered for a repetition."""
        if not self.upload.open():
            self._checked(self.upload.texts)
            raise FileMissing("Send the evidence as a file in a part named `file`.", field=FILE)
        services.receive_evidence(
            case=self.routes.case,
            by=self.routes.by,
            content=self.upload.content(),
            name=self.upload.name,
            room=room,
            at_end=self._at_end,
            then=self._respond,
            **self._checked(self.upload.texts),
        )
        return self.response

    def _at_end(self, stored: store.Stored) -> Mapping[str, Any]:
        texts = self.upload.rest()
        if self.key is not None:
            content = [stored.sha256, self.upload.name, sorted({**self.upload.texts, **texts}.items())]
            self.answer = begin(self.routes.by, self.key, fingerprint_of(self.request, content))
            if self.answer.status is not None:
                raise Answered(self.answer)
        return self._checked(texts)

    def _respond(self, received: services.Received) -> None:
        """Make the answer, and keep it under its key before anybody can repeat the request."""
        evidence = one(self.routes.get_queryset(), pk=received.evidence.pk)
        shown = {**EvidenceSerializer(evidence).data, "duplicate": received.duplicate}
        self.response = Response(shown, status=200 if received.duplicate else 201)
        if self.answer is not None:
            keep(self.answer, self.response)

    def _checked(self, texts: dict[str, str]) -> dict[str, Any]:
        given = DescribeEvidenceSerializer(data={name: text for name, text in texts.items() if text})
        given.is_valid(raise_exception=True)
        described: dict[str, Any] = given.validated_data
        return described
