"""The facts of a case, one aggregate a file."""

from cases.models.analysis import AnalysisModule, RejectedRecord, RunStatus, TaskRun, TaskRunQuerySet
from cases.models.case import (
    Case,
    CaseInvitation,
    CaseMember,
    CaseQuerySet,
    CaseRole,
    CaseStatus,
    CaseTeam,
    Severity,
)
from cases.models.custody import CustodyEntry, CustodyQuerySet
from cases.models.event import Event, EventQuerySet
from cases.models.evidence import Evidence, EvidenceQuerySet

__all__ = [
    "AnalysisModule",
    "Case",
    "CaseInvitation",
    "CaseMember",
    "CaseQuerySet",
    "CaseRole",
    "CaseStatus",
    "CaseTeam",
    "CustodyEntry",
    "CustodyQuerySet",
    "Event",
    "EventQuerySet",
    "Evidence",
    "EvidenceQuerySet",
    "RejectedRecord",
    "RunStatus",
    "Severity",
    "TaskRun",
    "TaskRunQuerySet",
]
