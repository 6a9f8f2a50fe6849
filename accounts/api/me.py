"""Routes of the own account."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.scope import user_of
from accounts.models import User
from accounts.serializers import ChangeMeSerializer, MeSerializer
from datamortem.common.api import StrictParameters


class MeView(StrictParameters):
    """The account that asks."""

    open_without_second_factor = True

    @extend_schema(operation_id="me", responses=MeSerializer)
    def get(self, request: Request) -> Response:
        """Show it."""
        return Response(MeSerializer(user_of(request)).data)

    @extend_schema(operation_id="me_change", request=ChangeMeSerializer, responses=MeSerializer)
    def patch(self, request: Request) -> Response:
        """Change name or language."""
        given = ChangeMeSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        changes: dict[str, Any] = given.validated_data
        user = user_of(request)
        if changes:
            User.objects.filter(pk=user.pk).update(**changes)
            user.refresh_from_db()
        return Response(MeSerializer(user).data)
