"""The addresses below /api/v1/ that belong to cases."""

from __future__ import annotations

from django.urls import path

from cases.api.annotations import AnnotationsRoutes, BatchesRoutes
from cases.api.cases import CaseRoute, CasesRoutes, CustodyRoutes
from cases.api.events import AllEventsRoutes, EventsRoutes
from cases.api.evidence import EvidenceRoutes
from cases.api.invitations import AcceptView, CaseInvitationsRoutes, InvitationsRoutes, LookView
from cases.api.joining import BelongingRoutes, JoinRoutes, RestrictedCasesRoutes
from cases.api.members import MembersRoutes
from cases.api.quotas import MyQuotaView, UserQuotaView
from cases.api.runs import ModulesRoutes, RunsRoutes
from cases.api.saved_searches import SavedSearchesRoutes
from cases.api.teams import CaseTeamsRoutes, TeamMembersRoutes, TeamsRoutes

_CASE = "cases/<path:case_id>/"  # ids of the old system may hold a slash
_EVIDENCE = f"{_CASE}evidence/<str:evidence_uid>/"
_RUN = f"{_CASE}runs/<int:run_id>/"
_EVENTS = f"{_CASE}events/"

urlpatterns = [
    path("cases/", CasesRoutes.as_view({"get": "list", "post": "create"})),
    path(f"{_CASE}close/", CaseRoute.as_view({"post": "close"})),
    path(f"{_CASE}reopen/", CaseRoute.as_view({"post": "reopen"})),
    path(f"{_CASE}members/", MembersRoutes.as_view({"get": "list", "post": "create"})),
    path(
        f"{_CASE}members/<int:user_id>/",
        MembersRoutes.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
    ),
    path(f"{_CASE}invitations/", CaseInvitationsRoutes.as_view({"get": "list", "post": "create"})),
    path(f"{_CASE}invitations/<int:invitation_id>/", CaseInvitationsRoutes.as_view({"delete": "destroy"})),
    path("users/invitations/", InvitationsRoutes.as_view({"get": "list", "post": "create"})),
    path("users/invitations/<int:invitation_id>/", InvitationsRoutes.as_view({"delete": "destroy"})),
    path("invitations/look/", LookView.as_view()),
    path("invitations/accept/", AcceptView.as_view()),
    path(f"{_CASE}teams/", CaseTeamsRoutes.as_view({"get": "list", "post": "create"})),
    path(
        f"{_CASE}teams/<int:team_id>/",
        CaseTeamsRoutes.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
    ),
    path(f"{_CASE}owner/", BelongingRoutes.as_view({"post": "pass_on"})),
    path(f"{_CASE}restrict/", BelongingRoutes.as_view({"post": "restrict"})),
    path(f"{_CASE}unrestrict/", BelongingRoutes.as_view({"post": "unrestrict"})),
    path(f"{_CASE}join/", JoinRoutes.as_view({"post": "join"})),
    path("restricted-cases/", RestrictedCasesRoutes.as_view({"get": "list"})),
    path("teams/", TeamsRoutes.as_view({"get": "list", "post": "create"})),
    path(
        "teams/<int:team_id>/",
        TeamsRoutes.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
    ),
    path("teams/<int:team_id>/members/", TeamMembersRoutes.as_view({"get": "list", "post": "create"})),
    path("teams/<int:team_id>/members/<int:user_id>/", TeamMembersRoutes.as_view({"delete": "destroy"})),
    path(f"{_CASE}custody/", CustodyRoutes.as_view({"get": "list"})),
    path(f"{_CASE}evidence/", EvidenceRoutes.as_view({"get": "list", "post": "create"})),
    path(
        _EVIDENCE,
        EvidenceRoutes.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
    ),
    path(
        f"{_EVIDENCE}download/",
        EvidenceRoutes.as_view({"get": "download"}),
        name="api-evidence-download",
    ),
    path(f"{_EVIDENCE}runs/", EvidenceRoutes.as_view({"post": "run_again"})),
    path(f"{_CASE}runs/", RunsRoutes.as_view({"get": "list"})),
    path(_RUN, RunsRoutes.as_view({"get": "retrieve"})),
    path(f"{_RUN}cancel/", RunsRoutes.as_view({"post": "cancel"})),
    path(f"{_RUN}retry/", RunsRoutes.as_view({"post": "retry"})),
    path(f"{_RUN}rejected/", RunsRoutes.as_view({"get": "rejected"}), name="api-run-rejected"),
    path("modules/", ModulesRoutes.as_view({"get": "list"})),
    path("me/quota/", MyQuotaView.as_view()),
    path("users/<int:user_id>/quota/", UserQuotaView.as_view()),
    path("events/", AllEventsRoutes.as_view({"get": "find"})),
    path(_EVENTS, EventsRoutes.as_view({"get": "find", "post": "create"})),
    path(f"{_EVENTS}count/", EventsRoutes.as_view({"get": "count"})),
    path(f"{_EVENTS}histogram/", EventsRoutes.as_view({"get": "histogram"})),
    path(f"{_EVENTS}terms/", EventsRoutes.as_view({"get": "terms"})),
    path(f"{_EVENTS}fields/", EventsRoutes.as_view({"get": "fields"})),
    path(f"{_EVENTS}export/", EventsRoutes.as_view({"get": "export"}), name="api-events-export"),
    path(f"{_EVENTS}<str:event_id>/", EventsRoutes.as_view({"get": "retrieve"})),
    path(
        f"{_EVENTS}<str:event_id>/source/",
        EventsRoutes.as_view({"get": "source"}),
        name="api-event-source",
    ),
    path(f"{_CASE}annotations/", AnnotationsRoutes.as_view({"get": "list", "post": "create"})),
    path(f"{_CASE}annotations/bulk/", AnnotationsRoutes.as_view({"post": "annotate_all"})),
    path(f"{_CASE}annotations/batches/", BatchesRoutes.as_view({"get": "list"})),
    path(f"{_CASE}annotations/batches/<int:batch_id>/undo/", BatchesRoutes.as_view({"post": "undo"})),
    path(
        f"{_CASE}annotations/<int:annotation_id>/",
        AnnotationsRoutes.as_view(
            {"get": "retrieve", "patch": "partial_update", "delete": "destroy"},
        ),
    ),
    path(f"{_CASE}saved-searches/", SavedSearchesRoutes.as_view({"get": "list", "post": "create"})),
    path(
        f"{_CASE}saved-searches/<int:search_id>/",
        SavedSearchesRoutes.as_view(
            {"get": "retrieve", "patch": "partial_update", "delete": "destroy"},
        ),
    ),
    # Last: what follows an id would be taken for a part of it.
    path(_CASE, CaseRoute.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"})),
]
