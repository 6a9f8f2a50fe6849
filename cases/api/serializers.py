"""The shapes in and out: named fields, no queries, no rules."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from cases.models import AnalysisModule, Case, CaseRole, CustodyEntry, Evidence, Severity, TaskRun
from datamortem.common.api import StrictSerializer


class CaseSerializer(serializers.ModelSerializer[Case]):
    """A case."""

    owner = serializers.CharField(source="owner.username", default=None, allow_null=True)
    created_at = serializers.DateTimeField(source="created_at_utc")
    closed_by = serializers.CharField(source="closed_by.username", default=None, allow_null=True)
    note = serializers.SerializerMethodField()
    severity = serializers.ChoiceField(choices=Severity.choices, allow_blank=True)
    tags = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Case
        fields = (
            "case_id",
            "title",
            "status",
            "note",
            "severity",
            "tags",
            "owner",
            "restricted",
            "created_at",
            "closed_at",
            "closed_by",
        )
        read_only_fields = fields

    def get_note(self, case: Case) -> str:
        """Return the note; the old system had null for an empty one."""
        return case.note or ""


class ChangeCaseSerializer(StrictSerializer):
    """What may be said about a case."""

    title = serializers.CharField(max_length=300, allow_blank=True, required=False)
    note = serializers.CharField(max_length=100_000, allow_blank=True, required=False)
    severity = serializers.ChoiceField(choices=Severity.choices, allow_blank=True, required=False)
    tags = serializers.ListField(child=serializers.CharField(max_length=100), max_length=100, required=False)


class OpenCaseSerializer(ChangeCaseSerializer):
    """What opens a case; without an id it gets one."""

    case_id = serializers.CharField(max_length=64, required=False)
    status = serializers.ChoiceField(choices=["open"], required=False)


class MemberSerializer(serializers.Serializer[Any]):
    """Somebody who works on a case; `id` is that of the user."""

    id = serializers.IntegerField()
    username = serializers.CharField()
    email = serializers.CharField()
    full_name = serializers.CharField(allow_null=True)
    role = serializers.ChoiceField(choices=CaseRole.choices)
    is_owner = serializers.BooleanField()
    added_at = serializers.DateTimeField()


class AddMemberSerializer(StrictSerializer):
    """Who is to work on a case: `user` is a username, an address or an id."""

    user = serializers.CharField(max_length=320)
    role = serializers.ChoiceField(choices=CaseRole.choices, default=CaseRole.READER)


class ChangeMemberSerializer(StrictSerializer):
    """Another role in the case."""

    role = serializers.ChoiceField(choices=CaseRole.choices)


class CustodySerializer(serializers.ModelSerializer[CustodyEntry]):
    """One act, as `docs/custody.md` describes it."""

    details = serializers.JSONField()

    class Meta:
        model = CustodyEntry
        fields = (
            "case_id",
            "sequence",
            "at",
            "actor",
            "action",
            "evidence_uid",
            "details",
            "previous_hash",
            "hash",
        )
        read_only_fields = fields


class CountsSerializer(serializers.Serializer[TaskRun]):
    """The ledger of a run: read = indexed + duplicate + rejected once it has succeeded."""

    read = serializers.IntegerField(source="records_read")
    indexed = serializers.IntegerField()
    duplicate = serializers.IntegerField()
    rejected = serializers.IntegerField()
    undated = serializers.IntegerField()


class RunSerializer(serializers.ModelSerializer[TaskRun]):
    """One reading of evidence."""

    case_id = serializers.CharField(source="evidence.case_id")
    evidence_uid = serializers.CharField(source="evidence_id")
    task = serializers.CharField(source="task_name")
    counts = CountsSerializer(source="*")
    module = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField(source="created_at_utc")
    started_at = serializers.DateTimeField(source="started_at_utc", allow_null=True)
    ended_at = serializers.DateTimeField(source="ended_at_utc", allow_null=True)

    class Meta:
        model = TaskRun
        fields = (
            "id",
            "case_id",
            "evidence_uid",
            "task",
            "status",
            "progress",
            "progress_message",
            "counts",
            "error_message",
            "attempt",
            "cancel_requested",
            "module",
            "parser_version",
            "created_at",
            "started_at",
            "ended_at",
        )
        read_only_fields = fields

    def get_module(self, run: TaskRun) -> str | None:
        """Return the parser that read, else the one that was asked for."""
        return run.parser or (run.module.name if run.module else None)


class NewRunSerializer(StrictSerializer):
    """Which module is to read; without one it is chosen by content."""

    module = serializers.CharField(max_length=64, required=False, allow_null=True)
    options = serializers.DictField(child=serializers.CharField(max_length=10_000), required=False)

    def validate_options(self, options: dict[str, str]) -> dict[str, str]:
        """Refuse names that no parser can have. Raises ValidationError."""
        if any(not name.isidentifier() for name in options):
            raise serializers.ValidationError("The name of an option is a word.")
        return options


class EvidenceSerializer(serializers.ModelSerializer[Evidence]):
    """Evidence, and its readings, newest first."""

    case_id = serializers.CharField()
    added_at = serializers.DateTimeField(source="added_at_utc")
    added_by = serializers.CharField(source="added_by.username", default=None, allow_null=True)
    runs = RunSerializer(source="task_runs", many=True)

    class Meta:
        model = Evidence
        fields = (
            "evidence_uid",
            "case_id",
            "original_name",
            "size",
            "sha256",
            "kind",
            "host",
            "time_zone",
            "clock_offset_seconds",
            "description",
            "added_at",
            "added_by",
            "modified_at",
            "sealed_at",
            "runs",
        )
        read_only_fields = fields


class ReceivedSerializer(EvidenceSerializer):
    """What became of an upload."""

    duplicate = serializers.BooleanField(default=False)

    class Meta:
        model = Evidence
        fields = (*EvidenceSerializer.Meta.fields, "duplicate")
        read_only_fields = fields


class DescribeEvidenceSerializer(StrictSerializer):
    """What may be said about evidence."""

    host = serializers.CharField(max_length=255, allow_blank=True, required=False)
    time_zone = serializers.CharField(max_length=64, required=False)
    clock_offset_seconds = serializers.FloatField(required=False)
    description = serializers.CharField(max_length=100_000, allow_blank=True, required=False)


class UploadSerializer(DescribeEvidenceSerializer):
    """The form of an upload, for the OpenAPI document: the file is never read by a serializer."""

    file = serializers.FileField()


class ModuleSerializer(serializers.ModelSerializer[AnalysisModule]):
    """A parser."""

    kinds = serializers.SerializerMethodField()

    class Meta:
        model = AnalysisModule
        fields = ("name", "description", "version", "kinds", "enabled")
        read_only_fields = fields

    def get_kinds(self, module: AnalysisModule) -> list[str]:
        """Return the kinds of evidence it reads."""
        kinds: dict[str, tuple[str, ...]] = self.context["kinds"]
        return list(kinds.get(module.name, ()))


class RemarkSerializer(serializers.Serializer[Any]):
    """What one person says of the event it stands beside."""

    id = serializers.IntegerField()
    tags = serializers.ListField(child=serializers.CharField())
    star = serializers.BooleanField()
    comment = serializers.CharField()
    author = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class EventSerializer(serializers.Serializer[Any]):
    """An event, for the OpenAPI document: answers are written from the index as they are."""

    event_id = serializers.CharField()
    timestamp = serializers.DateTimeField(allow_null=True)
    timestamp_desc = serializers.CharField()
    time_precision = serializers.CharField()
    message = serializers.CharField()
    host = serializers.CharField(allow_null=True)
    user = serializers.CharField(allow_null=True)
    source = serializers.CharField()  # type: ignore[assignment]
    category = serializers.CharField(allow_null=True)
    type = serializers.CharField(allow_null=True)
    tags = serializers.ListField(child=serializers.CharField())
    score = serializers.FloatField(allow_null=True)
    case_id = serializers.CharField()
    evidence_uid = serializers.CharField()
    position = serializers.CharField()
    attributes = serializers.DictField()
    annotations = RemarkSerializer(many=True)


class FoundSerializer(serializers.Serializer[Any]):
    """One page of events."""

    results = EventSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)
    total = serializers.IntegerField()
    took_ms = serializers.IntegerField()


class RefusedEventSerializer(serializers.Serializer[Any]):
    """A posted event that was refused."""

    index = serializers.IntegerField()
    errors = serializers.ListField(child=serializers.CharField())  # type: ignore[assignment]


class PostedSerializer(serializers.Serializer[Any]):
    """What became of posted events."""

    run = serializers.IntegerField(allow_null=True)
    accepted = serializers.IntegerField()
    duplicate = serializers.IntegerField()
    rejected = RefusedEventSerializer(many=True)


class TotalSerializer(serializers.Serializer[Any]):
    """The exact number of events."""

    total = serializers.IntegerField()


class BucketSerializer(serializers.Serializer[Any]):
    """Events from `start` on, as long as the interval."""

    start = serializers.DateTimeField()
    count = serializers.IntegerField()


class HistogramSerializer(serializers.Serializer[Any]):
    """Counts by interval; they sum to the total with `undated`."""

    interval = serializers.CharField()
    buckets = BucketSerializer(many=True)
    undated = serializers.IntegerField()


class ValueSerializer(serializers.Serializer[Any]):
    """A value, and how many events have it."""

    value = serializers.CharField()
    count = serializers.IntegerField()


class TermsSerializer(serializers.Serializer[Any]):
    """The most frequent values of a field."""

    buckets = ValueSerializer(many=True)
    other = serializers.IntegerField()
    missing = serializers.IntegerField()


class FieldSerializer(serializers.Serializer[Any]):
    """A field that events of the case have."""

    name = serializers.CharField()
    type = serializers.CharField()
    events = serializers.IntegerField()
    attribute = serializers.BooleanField()


class FieldsSerializer(serializers.Serializer[Any]):
    """All fields, by name."""

    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    results = FieldSerializer(many=True)
