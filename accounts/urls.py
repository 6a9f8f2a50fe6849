"""The addresses below /api/v1/ that belong to identity."""

from __future__ import annotations

from django.urls import path

from accounts import api

urlpatterns = [
    path("auth/login/", api.LoginView.as_view()),
    path("auth/refresh/", api.RefreshView.as_view()),
    path("me/", api.MeView.as_view()),
]
