"""What a case's page shows above its form: figures, histogram, evidence, runs, newest events."""

from __future__ import annotations

from typing import Any, Final

from django.urls import reverse

from cases import search
from cases.admin.base import listed, timeline_address
from cases.charts import draw
from cases.models import Case, CaseMember, CaseTeam, CustodyEntry, TaskRun
from cases.overview import with_events
from datamortem.common.errors import DomainError

_EVIDENCE: Final = 25
_RUNS: Final = 15
_NEWEST: Final = 10


def panels(case: Case) -> dict[str, Any]:
    """Return what the template of a case's page takes; without the index, the rest of it."""
    evidence = list(with_events(case.evidences.order_by("-pk"))[: _EVIDENCE + 1])
    runs = list(
        TaskRun.objects.filter(evidence__case=case).select_related("evidence").order_by("-pk")[: _RUNS + 1]
    )
    return {
        "case": case,
        "timeline": timeline_address(case),
        "act": reverse("admin:cases_case_act", args=[case.pk]),
        "evidence": evidence[:_EVIDENCE],
        "more_evidence": listed("evidence", case=case.case_id) if len(evidence) > _EVIDENCE else "",
        "runs": runs[:_RUNS],
        "more_runs": listed("taskrun", evidence__case=case.case_id) if len(runs) > _RUNS else "",
        "members": CaseMember.objects.filter(case_ref=case).select_related("user"),
        "teams": CaseTeam.objects.filter(case_ref=case)
        .select_related("team")
        .prefetch_related("team__members__user"),
        "last_entry": CustodyEntry.objects.filter(case_id=case.case_id).order_by("-sequence").first(),
        "custody": listed("custodyentry", case_id=case.case_id),
        **_found(case),
    }


def _found(case: Case) -> dict[str, Any]:
    """Return the newest events and the histogram, or why the index does not say."""
    question = search.frame(cases=Case.objects.filter(pk=case.pk))
    try:
        newest = search.search_events(question, limit=_NEWEST)
        chart = draw(search.histogram(question))
    except DomainError as refusal:
        return {"index_down": refusal.detail}
    bars = [(bar, timeline_address(case, **{"from": bar.start, "to": bar.end})) for bar in chart.bars]
    return {"found": newest, "chart": chart, "bars": bars}
