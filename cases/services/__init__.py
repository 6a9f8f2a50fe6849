"""Everything that changes a case: one transaction each, with its entry in the custody record.

Who may do what is decided before, by querysets and permissions; `by` says who did it, and is
None for an operator's command (`custody.acting_as` names it).
"""

from cases.services.case import (
    CaseClosed,
    CaseIdTaken,
    add_member,
    change_member,
    close_case,
    delete_case,
    open_case,
    remove_member,
    reopen_case,
    update_case,
)
from cases.services.evidence import (
    Received,
    check_evidence,
    delete_evidence,
    receive_evidence,
    update_evidence,
)
from cases.services.module import modules
from cases.services.owner import change_owner, remove_owner
from cases.services.posted import Posted, post_events
from cases.services.run import cancel_run, queue_rebuild, retry_run, run_again

__all__ = [
    "CaseClosed",
    "CaseIdTaken",
    "Posted",
    "Received",
    "add_member",
    "cancel_run",
    "change_member",
    "change_owner",
    "check_evidence",
    "close_case",
    "delete_case",
    "delete_evidence",
    "modules",
    "open_case",
    "post_events",
    "queue_rebuild",
    "receive_evidence",
    "remove_member",
    "remove_owner",
    "reopen_case",
    "retry_run",
    "run_again",
    "update_case",
    "update_evidence",
]
