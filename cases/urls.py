"""The pages: the cases of a user, a timeline and its events, an invitation to one."""

from __future__ import annotations

from django.urls import path

from cases import invitation_views, views

# "path", because ids of the old system may hold a slash.
urlpatterns = [
    path("", views.start, name="start"),
    path("invitation/", invitation_views.invitation, name="invitation"),
    path("cases/<path:case_id>/timeline/", views.timeline, name="timeline"),
    path("cases/<path:case_id>/events/<str:event_id>/", views.event, name="event"),
    path("cases/<path:case_id>/events/<str:event_id>/source/", views.source, name="event-source"),
]
