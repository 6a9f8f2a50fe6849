"""The pages: sign in, the cases of a user, a timeline and its events."""

from __future__ import annotations

from django.contrib.auth import views as auth_views
from django.urls import path

from cases import views

# "path", because ids of the old system may hold a slash.
urlpatterns = [
    path("", views.start, name="start"),
    path("login/", auth_views.LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", auth_views.LogoutView.as_view(), name="logout"),
    path("cases/<path:case_id>/timeline/", views.timeline, name="timeline"),
    path("cases/<path:case_id>/events/<str:event_id>/", views.event, name="event"),
    path("cases/<path:case_id>/events/<str:event_id>/source/", views.source, name="event-source"),
]
