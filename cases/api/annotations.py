"""Routes of annotations: one at a time, many at once, and taking many back."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from accounts.permissions import SignedIn
from cases import search, services
from cases.api.filters import AnnotationFilter
from cases.api.scope import CaseRoutes, one
from cases.models import Annotation, AnnotationBatch, Case
from cases.permissions import CanWriteCase, may_manage
from cases.services.annotation_batch import LIMIT, USUAL
from datamortem.common.api import StrictSerializer


class AnnotationSerializer(serializers.ModelSerializer[Annotation]):
    """What one person says of one event; `batch` is the act it came by, if it came with many."""

    tags = serializers.ListField(child=serializers.CharField())
    author = serializers.CharField(source="author.username", default=None, allow_null=True)
    batch = serializers.IntegerField(source="batch_id", allow_null=True)

    class Meta:
        model = Annotation
        fields = (
            "id",
            "event_id",
            "evidence_uid",
            "tags",
            "star",
            "comment",
            "author",
            "batch",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class ChangeAnnotationSerializer(StrictSerializer):
    """What may be said of an event. Lengths are checked by the service, which says what is too long."""

    tags = serializers.ListField(child=serializers.CharField(trim_whitespace=False), required=False)
    star = serializers.BooleanField(required=False)
    comment = serializers.CharField(allow_blank=True, trim_whitespace=False, required=False)


class AnnotateSerializer(ChangeAnnotationSerializer):
    """What is said, and of which event."""

    event_id = serializers.CharField(max_length=64)


class AnnotateAllSerializer(ChangeAnnotationSerializer):
    """What is said of every event that a question finds; more than `limit`, and nothing is done."""

    q = serializers.CharField(allow_blank=True, trim_whitespace=False, default="")
    to = serializers.CharField(allow_blank=True, default="")
    evidence = serializers.ListField(child=serializers.CharField(), default=list)
    source = serializers.ListField(child=serializers.CharField(), default=list)  # type: ignore[assignment]
    limit = serializers.IntegerField(min_value=1, max_value=LIMIT, default=USUAL)

    def get_fields(self) -> dict[str, Any]:
        """Return the fields, with the one that has a word of Python's as its name."""
        return {**super().get_fields(), "from": serializers.CharField(allow_blank=True, default="")}


class AnnotatedSerializer(serializers.Serializer[Any]):
    """What became of it; `already` counts events of which the author had said all of this before."""

    batch = serializers.IntegerField(allow_null=True)
    annotated = serializers.IntegerField()
    already = serializers.IntegerField()


class BatchSerializer(serializers.ModelSerializer[AnnotationBatch]):
    """One act of annotating many: the question and what was said, and whether it was undone."""

    asked = serializers.DictField()
    annotated = serializers.IntegerField(source="events")
    author = serializers.CharField(source="author.username", default=None, allow_null=True)
    undone_by = serializers.CharField(source="undone_by.username", default=None, allow_null=True)

    class Meta:
        model = AnnotationBatch
        fields = ("id", "asked", "annotated", "author", "created_at", "undone_at", "undone_by")
        read_only_fields = fields


class UndoneSerializer(serializers.Serializer[Any]):
    """How many annotations went, and how many stay because somebody changed or removed them since."""

    batch = serializers.IntegerField()
    removed = serializers.IntegerField()
    kept = serializers.IntegerField()


class AnnotationsRoutes(CaseRoutes):
    """What people say of the events of a case. Members see all of it; authors and leads change it."""

    permission_classes = (SignedIn, CanWriteCase)
    queryset = Annotation.objects.none()  # names the model to the OpenAPI document
    serializer_class = AnnotationSerializer
    filterset_class = AnnotationFilter
    orderings: ClassVar = {"id": "id", "created_at": "created_at", "updated_at": "updated_at"}
    default_ordering = "-id"

    def get_queryset(self) -> QuerySet[Annotation]:
        """Return them with what their shape names."""
        found = Annotation.objects.visible_to(self.by).filter(case_ref=self.case)
        return found.select_related("author").prefetch_related("tag_rows")

    @extend_schema(operation_id="annotations_list")
    def list(self, request: Request, case_id: str) -> Response:
        """List annotations, newest first; also those of events that a later reading no longer yields."""
        answer: Response = self.listed(self.get_queryset())
        return answer

    @extend_schema(
        operation_id="annotations_add", request=AnnotateSerializer, responses={201: AnnotationSerializer}
    )
    @idempotent
    def create(self, request: Request, case_id: str) -> Response:
        """Say something of an event: tags, a star, a comment."""
        given = AnnotateSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        facts = dict(given.validated_data)
        event = search.get_event(self.cases, facts.pop("event_id"))
        annotation = services.annotate(
            case=self.case,
            by=self.by,
            event_id=event["event_id"],
            evidence_uid=event["evidence_uid"],
            **facts,
        )
        return self._shown(annotation.pk, status=201)

    @extend_schema(operation_id="annotations_get")
    def retrieve(self, request: Request, case_id: str, annotation_id: int) -> Response:
        """Show an annotation."""
        return self._shown(annotation_id)

    @extend_schema(
        operation_id="annotations_change",
        request=ChangeAnnotationSerializer,
        responses=AnnotationSerializer,
    )
    def partial_update(self, request: Request, case_id: str, annotation_id: int) -> Response:
        """Change what is said; the author may, and who manages the case."""
        annotation = one(self.get_queryset(), pk=annotation_id)
        given = ChangeAnnotationSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        services.change_annotation(
            annotation=annotation, by=self.by, manages=may_manage(self.by, self.case), **given.validated_data
        )
        return self._shown(annotation_id)

    @extend_schema(operation_id="annotations_remove", responses={204: None})
    def destroy(self, request: Request, case_id: str, annotation_id: int) -> Response:
        """Take an annotation away; the author may, and who manages the case."""
        annotation = one(self.get_queryset(), pk=annotation_id)
        services.remove_annotation(annotation=annotation, by=self.by, manages=may_manage(self.by, self.case))
        return Response(status=204)

    @extend_schema(
        operation_id="annotations_add_all",
        request=AnnotateAllSerializer,
        responses={201: AnnotatedSerializer},
    )
    @idempotent
    def annotate_all(self, request: Request, case_id: str) -> Response:
        """Say the same of all events that a question finds; if they are more than `limit`, of none."""
        given = AnnotateAllSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        facts = given.validated_data
        said = services.Said.checked(
            **{name: facts[name] for name in ("tags", "star", "comment") if name in facts}
        )
        asked = {name: facts[name] for name in ("q", "from", "to", "evidence", "source")}
        done = services.annotate_all(
            case=self.case,
            by=self.by,
            asked={**asked, "limit": facts["limit"]},
            events=search.events_up_to(search.frame_asked(self.cases, asked), facts["limit"]),
            said=said,
        )
        answer = {
            "batch": done.batch.pk if done.batch else None,
            "annotated": done.annotated,
            "already": done.already,
        }
        return Response(answer, status=201)

    @property
    def cases(self) -> QuerySet[Case]:
        """The one case, as a scope for the index."""
        return Case.objects.visible_to(self.by).filter(pk=self.case.pk)

    def _shown(self, pk: int, status: int = 200) -> Response:
        return Response(AnnotationSerializer(one(self.get_queryset(), pk=pk)).data, status=status)


class BatchesRoutes(CaseRoutes):
    """What was said of many events at once."""

    permission_classes = (SignedIn, CanWriteCase)
    queryset = AnnotationBatch.objects.none()  # names the model to the OpenAPI document
    serializer_class = BatchSerializer
    filter_backends = ()
    orderings: ClassVar = {"id": "id"}
    default_ordering = "-id"

    def get_queryset(self) -> QuerySet[AnnotationBatch]:
        """Return them with what their shape names."""
        found = AnnotationBatch.objects.visible_to(self.by).filter(case_ref=self.case)
        return found.select_related("author", "undone_by")

    @extend_schema(operation_id="annotation_batches_list")
    def list(self, request: Request, case_id: str) -> Response:
        """List batches, newest first."""
        answer: Response = self.listed(self.get_queryset())
        return answer

    @extend_schema(operation_id="annotation_batches_undo", request=None, responses=UndoneSerializer)
    def undo(self, request: Request, case_id: str, batch_id: int) -> Response:
        """Take away what a batch added, but what was changed since; its author may, and the leads."""
        batch = one(self.get_queryset(), pk=batch_id)
        removed = services.undo_batch(batch=batch, by=self.by, manages=may_manage(self.by, self.case))
        return Response({"batch": batch.pk, "removed": removed, "kept": batch.events - removed})
