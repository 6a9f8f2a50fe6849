"""The addresses below /api/v1/ that belong to identity."""

from __future__ import annotations

from typing import Any

from django.urls import path

from accounts.api import api_tokens, auth, flags, me, passwords, registration, second_factor, users

_ONE: dict[str, Any] = {"get": "retrieve", "delete": "destroy"}

urlpatterns = [
    path("auth/login/", auth.LoginView.as_view()),
    path("auth/login/verify/", auth.VerifyView.as_view()),
    path("auth/refresh/", auth.RefreshView.as_view()),
    path("auth/logout/", auth.LogoutView.as_view()),
    path("auth/logout-all/", auth.LogoutAllView.as_view()),
    path("auth/register/", registration.RegisterView.as_view()),
    path("auth/email/verify/", registration.VerifyEmailView.as_view()),
    path("auth/email/resend/", registration.ResendView.as_view()),
    path("auth/password/change/", passwords.ChangePasswordView.as_view()),
    path("auth/password/reset/", passwords.AskResetView.as_view()),
    path("auth/password/reset/confirm/", passwords.ConfirmResetView.as_view()),
    path("auth/sessions/", auth.SessionsRoutes.as_view({"get": "list"})),
    path("auth/sessions/<uuid:session_id>/", auth.SessionsRoutes.as_view(_ONE)),
    path("auth/api-tokens/", api_tokens.ApiTokensRoutes.as_view({"get": "list", "post": "create"})),
    path("auth/api-tokens/<int:token_id>/", api_tokens.ApiTokensRoutes.as_view(_ONE)),
    path("auth/otp/enrol/", second_factor.EnrolView.as_view()),
    path("auth/otp/confirm/", second_factor.ConfirmView.as_view()),
    path("auth/otp/verify/", second_factor.VerifyView.as_view()),
    path("auth/otp/recovery-codes/", second_factor.RecoveryCodesView.as_view()),
    path("auth/otp/disable/", second_factor.DisableView.as_view()),
    path("me/", me.MeView.as_view()),
    path("users/", users.UsersRoutes.as_view({"get": "list", "post": "create"})),
    path("users/<int:user_id>/", users.UsersRoutes.as_view({"get": "retrieve", "patch": "partial_update"})),
    path("users/<int:user_id>/second-factor/", users.UsersRoutes.as_view({"delete": "reset_second_factor"})),
    path("users/<int:user_id>/sessions/", users.UsersRoutes.as_view({"delete": "end_sessions"})),
    path("feature-flags/", flags.FlagsRoutes.as_view({"get": "list"})),
    path("feature-flags/<str:key>/", flags.FlagsRoutes.as_view({"get": "retrieve", "put": "update"})),
    path("feature-flags/public/<str:key>/", flags.PublicFlagView.as_view()),
]
