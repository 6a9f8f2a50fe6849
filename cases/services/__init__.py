"""Everything that changes a case: one transaction each, with its entry in the custody record.

Who may do what is decided before, by querysets and permissions; `by` says who did it, and is
None for an operator's command (`custody.acting_as` names it).
"""

from cases.services.annotation import (
    COMMENT_LENGTH,
    TAG_LENGTH,
    TAGS,
    Said,
    annotate,
    change_annotation,
    remove_annotation,
    toggle_star,
)
from cases.services.annotation_batch import Annotated, annotate_all, undo_batch
from cases.services.case import (
    CaseClosed,
    CaseIdTaken,
    close_case,
    delete_case,
    open_case,
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
from cases.services.invitation import (
    Offer,
    accept_invitation,
    invitations_to,
    invite,
    invite_to_platform,
    look_at_invitation,
    revoke_invitation,
)
from cases.services.join import join_case, restrict_case, unrestrict_case
from cases.services.member import LastLead, add_member, can_lead, change_member, leads, remove_member
from cases.services.module import modules
from cases.services.owner import pass_on
from cases.services.posted import IndexBehind, Posted, check_backlog, post_events
from cases.services.quota import Usage, check_quota, usage_of
from cases.services.run import cancel_run, queue_rebuild, retry_run, run_again
from cases.services.saved_search import change_search, remove_search, save_search
from cases.services.team import (
    add_team,
    add_to_team,
    change_team,
    change_team_role,
    create_team,
    delete_team,
    remove_from_team,
    remove_team,
)

__all__ = [
    "COMMENT_LENGTH",
    "TAGS",
    "TAG_LENGTH",
    "Annotated",
    "CaseClosed",
    "CaseIdTaken",
    "IndexBehind",
    "LastLead",
    "Offer",
    "Posted",
    "Received",
    "Said",
    "Usage",
    "accept_invitation",
    "add_member",
    "add_team",
    "add_to_team",
    "annotate",
    "annotate_all",
    "can_lead",
    "cancel_run",
    "change_annotation",
    "change_member",
    "change_search",
    "change_team",
    "change_team_role",
    "check_backlog",
    "check_evidence",
    "check_quota",
    "close_case",
    "create_team",
    "delete_case",
    "delete_evidence",
    "delete_team",
    "invitations_to",
    "invite",
    "invite_to_platform",
    "join_case",
    "leads",
    "look_at_invitation",
    "modules",
    "open_case",
    "pass_on",
    "post_events",
    "queue_rebuild",
    "receive_evidence",
    "remove_annotation",
    "remove_from_team",
    "remove_member",
    "remove_search",
    "remove_team",
    "reopen_case",
    "restrict_case",
    "retry_run",
    "revoke_invitation",
    "run_again",
    "save_search",
    "toggle_star",
    "undo_batch",
    "unrestrict_case",
    "update_case",
    "update_evidence",
    "usage_of",
]
