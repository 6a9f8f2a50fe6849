"""Routes of feature flags: which parts of the platform are on."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts import flags
from accounts.api.scope import Open, user_of
from accounts.models import FeatureFlag
from accounts.permissions import GovernsPlatform, SignedIn
from datamortem.common import pages
from datamortem.common.api import StrictParameters, StrictSerializer
from datamortem.common.errors import Missing


class FlagSerializer(serializers.ModelSerializer[FeatureFlag]):
    """A flag as superadmins see it."""

    updated_by = serializers.CharField(source="updated_by.username", default=None, allow_null=True)

    class Meta:
        model = FeatureFlag
        fields = ("key", "description", "enabled", "updated_at", "updated_by")
        read_only_fields = fields


class PublicFlagSerializer(serializers.Serializer[Any]):
    """A flag as everybody sees it."""

    key = serializers.CharField()
    enabled = serializers.BooleanField()


class SwitchSerializer(StrictSerializer):
    """Which way to turn it."""

    enabled = serializers.BooleanField()


class FlagsRoutes(StrictParameters, GenericViewSet[FeatureFlag]):
    """The parts of the platform that can be switched off."""

    permission_classes = (SignedIn, GovernsPlatform)
    dangerous = frozenset({"update"})
    queryset = FeatureFlag.objects.none()  # names the model to the OpenAPI document
    serializer_class = FlagSerializer
    filter_backends = ()
    orderings: ClassVar = {"key": "key"}
    default_ordering = "key"

    def known_parameters(self) -> tuple[str, ...]:
        """Return page and order for the list."""
        return pages.PARAMETERS if self.action == "list" else ()

    def get_queryset(self) -> QuerySet[FeatureFlag]:
        """Return all there are."""
        return flags.rows()

    @extend_schema(operation_id="flags_list")
    def list(self, request: Request) -> Response:
        """List the flags."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(operation_id="flags_get")
    def retrieve(self, request: Request, key: str) -> Response:
        """Show a flag."""
        flag = self.get_queryset().filter(key=key).first() if key in flags.KNOWN else None
        if flag is None:
            raise Missing("There is no such flag.")
        return Response(FlagSerializer(flag).data)

    @extend_schema(operation_id="flags_switch", request=SwitchSerializer, responses=FlagSerializer)
    def update(self, request: Request, key: str) -> Response:
        """Turn a part of the platform on or off."""
        given = SwitchSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        flags.switch(key, enabled=given.validated_data["enabled"], by=user_of(request))
        return self.retrieve(request, key)


class PublicFlagView(Open):
    """Whether one part of the platform is on, for everybody."""

    @extend_schema(operation_id="flags_public", responses=PublicFlagSerializer)
    def get(self, request: Request, key: str) -> Response:
        """Show it."""
        return Response({"key": key, "enabled": flags.is_on(key)})
