"""What lists can be narrowed by."""

from __future__ import annotations

import django_filters
from django.db.models import QuerySet

from cases.index.text import fold
from cases.models import (
    Annotation,
    Case,
    CaseStatus,
    CustodyEntry,
    Evidence,
    RunStatus,
    SavedSearch,
    Severity,
    TaskRun,
)


class CaseFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Cases by status, severity, and words of the title."""

    status = django_filters.ChoiceFilter(choices=CaseStatus.choices)
    severity = django_filters.ChoiceFilter(choices=Severity.choices)
    title = django_filters.CharFilter(lookup_expr="icontains")

    class Meta:
        model = Case
        fields = ()


class EvidenceFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Evidence by what it is and where it comes from."""

    kind = django_filters.CharFilter()
    host = django_filters.CharFilter(lookup_expr="iexact")
    sha256 = django_filters.CharFilter(lookup_expr="iexact")

    class Meta:
        model = Evidence
        fields = ()


class RunFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Runs by how they stand and what they read."""

    status = django_filters.ChoiceFilter(choices=RunStatus.choices)
    evidence = django_filters.CharFilter(field_name="evidence__evidence_uid")
    module = django_filters.CharFilter(field_name="parser")

    class Meta:
        model = TaskRun
        fields = ()


class CustodyFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Entries by act and evidence."""

    action = django_filters.CharFilter()
    evidence = django_filters.CharFilter(field_name="evidence_uid")

    class Meta:
        model = CustodyEntry
        fields = ()


class AnnotationFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Annotations by event, by what they say (a tag as `tag:` compares it), by author and batch."""

    event_id = django_filters.CharFilter()
    evidence = django_filters.CharFilter(field_name="evidence_uid")
    tag = django_filters.CharFilter(method="with_tag")
    star = django_filters.TypedChoiceFilter(
        choices=(("true", "true"), ("false", "false")), coerce=lambda text: text == "true"
    )
    author = django_filters.CharFilter(field_name="author__username", lookup_expr="iexact")
    batch = django_filters.NumberFilter(field_name="batch_id", min_value=1, max_value=2**31 - 1)

    class Meta:
        model = Annotation
        fields = ()

    def with_tag(self, annotations: QuerySet[Annotation], name: str, tag: str) -> QuerySet[Annotation]:
        """Return those with the tag."""
        return annotations.filter(tag_rows__folded=fold(tag.strip()))


class SavedSearchFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Saved searches by words of the name, and who keeps them."""

    name = django_filters.CharFilter(lookup_expr="icontains")
    author = django_filters.CharFilter(field_name="author__username", lookup_expr="iexact")

    class Meta:
        model = SavedSearch
        fields = ()
