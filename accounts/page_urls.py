"""The addresses of the pages of accounts."""

from __future__ import annotations

from django.urls import path

from accounts.views import account, api_tokens, mailed, second_factor, signin

urlpatterns = [
    path("login/", signin.login, name="login"),
    path("login/code/", signin.login_code, name="login-code"),
    path("logout/", signin.logout, name="logout"),
    path("account/", account.profile, name="account"),
    path("account/password/", account.password, name="account-password"),
    path("account/sign-ins/", account.sign_ins, name="account-sign-ins"),
    path("account/sign-ins/end-others/", account.end_other_sign_ins, name="account-sign-ins-end-others"),
    path("account/sign-ins/<uuid:session_id>/end/", account.end_sign_in, name="account-sign-in-end"),
    path("account/second-factor/", second_factor.manage, name="second-factor"),
    path("account/second-factor/verify/", second_factor.verify, name="second-factor-verify"),
    path("account/second-factor/codes/", second_factor.new_codes, name="second-factor-codes"),
    path("account/second-factor/disable/", second_factor.disable, name="second-factor-disable"),
    path("account/tokens/", api_tokens.listed, name="account-tokens"),
    path("account/tokens/new/", api_tokens.create, name="account-token-new"),
    path("account/tokens/<int:token_id>/revoke/", api_tokens.revoke, name="account-token-revoke"),
    path("password/reset/", mailed.ask_reset, name="password-reset"),
    path("password/reset/confirm/", mailed.set_password, name="password-reset-confirm"),
    path("email/verify/", mailed.verify_email, name="email-verify"),
    path("email/resend/", mailed.resend, name="email-resend"),
    path("register/", mailed.register, name="register"),
]
