"""What lists can be narrowed by."""

from __future__ import annotations

import django_filters

from cases.models import Case, CaseStatus, CustodyEntry, Evidence, RunStatus, Severity, TaskRun


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
