"""The facts of a case, one aggregate a file."""

from cases.models.analysis import AnalysisModule, RejectedRecord, RunStatus, TaskRun, TaskRunQuerySet
from cases.models.annotation import (
    Annotation,
    AnnotationBatch,
    AnnotationBatchQuerySet,
    AnnotationQuerySet,
    AnnotationTag,
    SavedSearch,
    SavedSearchQuerySet,
)
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
from cases.models.index import Erasure, Installation

__all__ = [
    "AnalysisModule",
    "Annotation",
    "AnnotationBatch",
    "AnnotationBatchQuerySet",
    "AnnotationQuerySet",
    "AnnotationTag",
    "Case",
    "CaseInvitation",
    "CaseMember",
    "CaseQuerySet",
    "CaseRole",
    "CaseStatus",
    "CaseTeam",
    "CustodyEntry",
    "CustodyQuerySet",
    "Erasure",
    "Event",
    "EventQuerySet",
    "Evidence",
    "EvidenceQuerySet",
    "Installation",
    "RejectedRecord",
    "RunStatus",
    "SavedSearch",
    "SavedSearchQuerySet",
    "Severity",
    "TaskRun",
    "TaskRunQuerySet",
]
