"""Figures of cases and evidence, taken from the database alone: right also while the index is down."""

from __future__ import annotations

from django.db import models
from django.db.models import Count, OuterRef, QuerySet, Subquery, Sum, When
from django.db.models.functions import Coalesce

from cases.audit import LOOKED
from cases.models import Case, CustodyEntry, Event, Evidence, RunStatus, TaskRun
from cases.models.evidence import POSTED


def with_figures(cases: QuerySet[Case]) -> QuerySet[Case]:
    """Add `evidence_count`, `event_count` and `last_activity`.

    The last is the latest act on record, or None; that an administrator looked in is none.
    """
    evidence = Evidence.objects.filter(case=OuterRef("case_id")).order_by()
    acts = CustodyEntry.objects.filter(case_id=OuterRef("case_id")).exclude(action=LOOKED)
    counted = with_events(evidence).values("case").annotate(total=Sum("event_count")).values("total")
    return cases.annotate(
        evidence_count=_number(evidence.values("case").annotate(total=Count("pk")).values("total")),
        event_count=_number(counted),
        last_activity=Subquery(acts.order_by("-sequence").values("at")[:1]),
    )


def with_events(evidence: QuerySet[Evidence]) -> QuerySet[Evidence]:
    """Add `event_count`: the events that its last successful reading made searchable."""
    read = TaskRun.objects.filter(evidence=OuterRef("evidence_uid"), status=RunStatus.SUCCEEDED)
    posted = Event.objects.searchable().filter(evidence_uid=OuterRef("evidence_uid"))
    return evidence.annotate(
        event_count=models.Case(
            # Posted events join those of earlier runs, so no run knows their number.
            When(
                kind=POSTED,
                then=_number(posted.order_by().values("evidence_uid").annotate(n=Count("pk")).values("n")),
            ),
            default=_number(read.order_by("-pk").values("indexed")[:1]),
            output_field=models.BigIntegerField(),
        )
    )


def _number(figures: QuerySet[models.Model, object]) -> Coalesce:
    return Coalesce(Subquery(figures, output_field=models.BigIntegerField()), 0)
