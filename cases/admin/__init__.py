"""The admin: looking at cases. What changes something calls a service; evidence is read-only."""

from cases.admin.annotation import AnnotationAdmin, AnnotationBatchAdmin, SavedSearchAdmin
from cases.admin.audit import AuditAdmin
from cases.admin.case import CaseAdmin
from cases.admin.evidence import EvidenceAdmin, ModuleAdmin, PostedEventAdmin
from cases.admin.records import CustodyAdmin
from cases.admin.run import RejectedRecordAdmin, RunAdmin
from cases.admin.team import TeamAdmin

__all__ = [
    "AnnotationAdmin",
    "AnnotationBatchAdmin",
    "AuditAdmin",
    "CaseAdmin",
    "CustodyAdmin",
    "EvidenceAdmin",
    "ModuleAdmin",
    "PostedEventAdmin",
    "RejectedRecordAdmin",
    "RunAdmin",
    "SavedSearchAdmin",
    "TeamAdmin",
]
