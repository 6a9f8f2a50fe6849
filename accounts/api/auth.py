"""Routes of signing in and out, and of the own sign-ins."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar
from uuid import UUID

from django.contrib.auth import logout
from django.db.models import QuerySet
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts import sessions, signin, tokens
from accounts.api.scope import Open, session_of, user_of
from accounts.models import AuthSession
from accounts.serializers import (
    ChallengeSerializer,
    LoginSerializer,
    LogoutSerializer,
    RefreshSerializer,
    SessionSerializer,
    TokensSerializer,
    VerifySerializer,
)
from datamortem.common import pages
from datamortem.common.api import StrictParameters


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """What the OpenAPI document says about tokens."""

    target_class = "accounts.tokens.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the scheme."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


def _tokens(proven: signin.Proven) -> Response:
    pair = tokens.issue(proven.user, second_factor=proven.second_factor)
    return Response(TokensSerializer(asdict(pair)).data)


class LoginView(Open):
    """Tokens for an address and its password, or a challenge where a second factor is due."""

    @extend_schema(
        operation_id="auth_login",
        request=LoginSerializer,
        responses=PolymorphicProxySerializer(
            "SignedInOrDue", [TokensSerializer, ChallengeSerializer], resource_type_field_name=None
        ),
    )
    def post(self, request: Request) -> Response:
        """Sign in; with `otp` in one step."""
        given = LoginSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        found = signin.sign_in(**given.validated_data)
        if isinstance(found, signin.Due):
            return Response(ChallengeSerializer(asdict(found)).data)
        return _tokens(found)


class VerifyView(Open):
    """Tokens for a challenge and the code of the second factor."""

    @extend_schema(operation_id="auth_login_verify", request=VerifySerializer, responses=TokensSerializer)
    def post(self, request: Request) -> Response:
        """Show the second factor."""
        given = VerifySerializer(data=request.data)
        given.is_valid(raise_exception=True)
        return _tokens(signin.answer(**given.validated_data))


class RefreshView(Open):
    """The next pair of tokens for a refresh token."""

    @extend_schema(operation_id="auth_refresh", request=RefreshSerializer, responses=TokensSerializer)
    def post(self, request: Request) -> Response:
        """Get the next pair; the token is spent."""
        given = RefreshSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        return Response(TokensSerializer(asdict(tokens.renew(given.validated_data["refresh"]))).data)


class LogoutView(StrictParameters):
    """The end of this sign-in."""

    open_without_second_factor = True
    persons_only = True

    @extend_schema(operation_id="auth_logout", request=LogoutSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        """Sign out; `refresh` may name another sign-in of the same user."""
        user = user_of(request)
        given = LogoutSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        if refresh := given.validated_data.get("refresh"):
            tokens.end_by_refresh(refresh, by=user)
        elif session := session_of(user):
            sessions.end(session, reason="signed out", by=user)
            logout(request._request)
        return Response(status=204)


class LogoutAllView(StrictParameters):
    """The end of all sign-ins of a user."""

    open_without_second_factor = True
    persons_only = True

    @extend_schema(operation_id="auth_logout_all", request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        """Sign out everywhere; API tokens go on."""
        user = user_of(request)
        sessions.end_all(user, reason="signed out everywhere", by=user, tokens=False)
        return Response(status=204)


class SessionsRoutes(StrictParameters, GenericViewSet[AuthSession]):
    """The own sign-ins."""

    persons_only = True
    queryset = AuthSession.objects.none()  # names the model to the OpenAPI document
    serializer_class = SessionSerializer
    filter_backends = ()
    orderings: ClassVar = {"created_at": "created_at"}
    default_ordering = "-created_at"

    def known_parameters(self) -> tuple[str, ...]:
        """Return the parameters of a list, for the list."""
        return pages.PARAMETERS if self.action == "list" else ()

    def get_queryset(self) -> QuerySet[AuthSession]:
        """Return those that are good."""
        user = user_of(self.request)
        return AuthSession.objects.live().filter(user=user, epoch=user.token_epoch)

    @extend_schema(operation_id="sessions_list")
    def list(self, request: Request) -> Response:
        """List them, the newest first."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(operation_id="sessions_get")
    def retrieve(self, request: Request, session_id: UUID) -> Response:
        """Show one."""
        return Response(self.get_serializer(self._one(session_id)).data)

    @extend_schema(operation_id="sessions_end", responses={204: None})
    def destroy(self, request: Request, session_id: UUID) -> Response:
        """End one: its next request is refused."""
        sessions.end(self._one(session_id), reason="ended by its user", by=user_of(request))
        return Response(status=204)

    def _one(self, session_id: UUID) -> AuthSession:
        session = self.get_queryset().select_related("user").filter(pk=session_id).first()
        if session is None:
            raise NotFound
        return session
