"""The addresses below /api/v1/ that belong to identity."""

from __future__ import annotations

from django.urls import path

from accounts.api import auth, me

_ONE = {"get": "retrieve", "delete": "destroy"}

urlpatterns = [
    path("auth/login/", auth.LoginView.as_view()),
    path("auth/login/verify/", auth.VerifyView.as_view()),
    path("auth/refresh/", auth.RefreshView.as_view()),
    path("auth/logout/", auth.LogoutView.as_view()),
    path("auth/logout-all/", auth.LogoutAllView.as_view()),
    path("auth/sessions/", auth.SessionsRoutes.as_view({"get": "list"})),
    path("auth/sessions/<uuid:session_id>/", auth.SessionsRoutes.as_view(_ONE)),
    path("me/", me.MeView.as_view()),
]
