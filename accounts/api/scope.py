"""What the routes of identity share."""

from __future__ import annotations

from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import AllowAny
from rest_framework.request import Request

from accounts.models import AuthSession, User
from datamortem.common.api import StrictParameters


def user_of(request: Request) -> User:
    """Return who asks; permissions have let nobody else through."""
    if not isinstance(request.user, User):
        raise NotAuthenticated
    return request.user


def session_of(user: User) -> AuthSession | None:
    """Return the sign-in by which a user asks, if it is one."""
    return user.access.session if user.access else None


class Open(StrictParameters):
    """A route for people who are not signed in; what a request carries for authentication is not read."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get_authenticate_header(self, request: Request) -> str:
        """Return the challenge that makes a refusal a 401."""
        return 'Bearer realm="api"'
