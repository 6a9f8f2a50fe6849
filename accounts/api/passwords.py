"""Routes of passwords: change one, or get a new one by mail."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth import update_session_auth_hash
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import letters, passwords
from accounts.api.registration import AddressSerializer
from accounts.api.scope import Open, session_of, user_of
from accounts.models import AuthSession
from datamortem.common.api import StrictParameters, StrictSerializer


class ChangePasswordSerializer(StrictSerializer):
    """The password that is, and the one that shall be."""

    old_password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)
    new_password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)


class ResetPasswordSerializer(StrictSerializer):
    """What a mail brought, and the password that shall be."""

    token = serializers.CharField(max_length=200)
    new_password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)


class ChangePasswordView(StrictParameters):
    """A new password for somebody who knows the old one."""

    dangerous: ClassVar = frozenset({"post"})

    @extend_schema(
        operation_id="auth_password_change", request=ChangePasswordSerializer, responses={204: None}
    )
    def post(self, request: Request) -> Response:
        """Change the own password. All other sign-ins and all API tokens end."""
        given = ChangePasswordSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        user = user_of(request)
        session = session_of(user)
        old, new = given.validated_data["old_password"], given.validated_data["new_password"]
        passwords.change(user, old, new, keep=session)
        if session is not None and session.method == AuthSession.Method.BROWSER:
            update_session_auth_hash(request._request, user)  # this browser goes on
        return Response(status=204)


class AskResetView(Open):
    """A way to a new password, by mail."""

    @extend_schema(
        operation_id="auth_password_reset", request=AddressSerializer, responses={202: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request) -> Response:
        """Have it sent, if the address is an account's; the answer is the same if not."""
        given = AddressSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        passwords.ask_reset(given.validated_data["email"], locale=letters.language_of(request._request))
        return Response({}, 202)


class ConfirmResetView(Open):
    """A new password for somebody who reads the mail of an account."""

    @extend_schema(
        operation_id="auth_password_reset_confirm", request=ResetPasswordSerializer, responses={204: None}
    )
    def post(self, request: Request) -> Response:
        """Set it by the token of the mail, good for an hour, and once. A second factor stays."""
        given = ResetPasswordSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        passwords.set_by_reset(given.validated_data["token"], given.validated_data["new_password"])
        return Response(status=204)
