"""Routes of registration and of the proof that an address is somebody's."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import letters, registration
from accounts.api.scope import Open
from datamortem.common.api import StrictSerializer


class AddressSerializer(StrictSerializer):
    """The address that a mail goes to, if it is an account's."""

    email = serializers.RegexField(r"\A[^\s@]+@[^\s@]+\Z", max_length=320)


class TokenSerializer(StrictSerializer):
    """What a mail brought."""

    token = serializers.CharField(max_length=200)


class RegisterSerializer(StrictSerializer):
    """What makes an account."""

    email = serializers.CharField(max_length=254)
    username = serializers.CharField(max_length=64)
    password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)
    full_name = serializers.CharField(max_length=200, allow_blank=True, required=False)


class RegisterView(Open):
    """Accounts that people make for themselves."""

    @extend_schema(
        operation_id="auth_register", request=RegisterSerializer, responses={202: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request) -> Response:
        """Ask for an account. The answer is the same for an address that has one already."""
        registration.require_open()
        given = RegisterSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        registration.register(**given.validated_data, locale=letters.language_of(request._request))
        return Response({}, 202)


class VerifyEmailView(Open):
    """The proof that an address is somebody's."""

    @extend_schema(operation_id="auth_email_verify", request=TokenSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        """Confirm an address by the token of its mail, which is good for 24 hours, and once."""
        given = TokenSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        registration.verify(given.validated_data["token"])
        return Response(status=204)


class ResendView(Open):
    """Another mail to confirm an address."""

    @extend_schema(
        operation_id="auth_email_resend", request=AddressSerializer, responses={202: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request) -> Response:
        """Have it sent, if the address waits to be confirmed; the answer is the same if not."""
        given = AddressSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        locale = letters.language_of(request._request)
        registration.resend(given.validated_data["email"], locale=locale)
        return Response({}, 202)
