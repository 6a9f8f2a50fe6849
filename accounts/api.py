"""Routes of identity: sign in, the next pair of tokens, the own account."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import tokens
from accounts.models import User
from accounts.serializers import (
    ChangeMeSerializer,
    LoginSerializer,
    MeSerializer,
    RefreshSerializer,
    TokensSerializer,
)
from datamortem.common.api import StrictParameters


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """What the OpenAPI document says about tokens."""

    target_class = "accounts.tokens.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the scheme."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class LoginView(StrictParameters):
    """Tokens for an address and its password."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get_authenticate_header(self, request: Request) -> str:
        """Return the challenge that makes a refusal a 401."""
        return 'Bearer realm="api"'

    @extend_schema(operation_id="auth_login", request=LoginSerializer, responses=TokensSerializer)
    def post(self, request: Request) -> Response:
        """Sign in."""
        given = LoginSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        email, password = given.validated_data["email"], given.validated_data["password"]
        pair = tokens.sign_in(email, password, request)
        return Response(TokensSerializer(asdict(pair)).data)


class RefreshView(StrictParameters):
    """The next pair of tokens for a refresh token."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get_authenticate_header(self, request: Request) -> str:
        """Return the challenge that makes a refusal a 401."""
        return 'Bearer realm="api"'

    @extend_schema(operation_id="auth_refresh", request=RefreshSerializer, responses=TokensSerializer)
    def post(self, request: Request) -> Response:
        """Get the next pair."""
        given = RefreshSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        return Response(TokensSerializer(asdict(tokens.renew(given.validated_data["refresh"]))).data)


class MeView(StrictParameters):
    """The account that asks."""

    @extend_schema(operation_id="me", responses=MeSerializer)
    def get(self, request: Request) -> Response:
        """Show it."""
        return Response(MeSerializer(_user(request)).data)

    @extend_schema(operation_id="me_change", request=ChangeMeSerializer, responses=MeSerializer)
    def patch(self, request: Request) -> Response:
        """Change name or language."""
        given = ChangeMeSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        changes: dict[str, Any] = given.validated_data
        user = _user(request)
        if changes:
            User.objects.filter(pk=user.pk).update(**changes)
            user.refresh_from_db()
        return Response(MeSerializer(user).data)


def _user(request: Request) -> User:
    """Return who asks; permissions have let nobody else through."""
    if not isinstance(request.user, User):
        raise NotAuthenticated
    return request.user
