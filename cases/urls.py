"""The pages: the cases of a user, a timeline and its events, an invitation to one."""

from __future__ import annotations

from django.urls import path

from cases import invitation_views, people_views, views

# "path", because ids of the old system may hold a slash.
urlpatterns = [
    path("", views.start, name="start"),
    path("invitation/", invitation_views.invitation, name="invitation"),
    path("cases/<path:case_id>/timeline/", views.timeline, name="timeline"),
    path("cases/<path:case_id>/timeline/annotate/", people_views.annotate_all, name="annotate-all"),
    path("cases/<path:case_id>/timeline/undo/<int:batch_id>/", people_views.undo, name="undo-batch"),
    path("cases/<path:case_id>/timeline/save/", people_views.save_search, name="save-search"),
    path(
        "cases/<path:case_id>/timeline/saved/<int:search_id>/remove/",
        people_views.remove_search,
        name="remove-search",
    ),
    path("cases/<path:case_id>/events/<str:event_id>/annotate/", people_views.annotate, name="annotate"),
    path("cases/<path:case_id>/events/<str:event_id>/star/", people_views.star, name="star"),
    path(
        "cases/<path:case_id>/events/<str:event_id>/said/<int:annotation_id>/remove/",
        people_views.remove,
        name="remove-annotation",
    ),
    path("cases/<path:case_id>/events/<str:event_id>/", views.event, name="event"),
    path("cases/<path:case_id>/events/<str:event_id>/source/", views.source, name="event-source"),
]
