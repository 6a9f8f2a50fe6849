"""Routes of quotas: what somebody may use, and how much of it is used."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import quotas
from accounts.models import User, UserQuota
from accounts.permissions import Administers, SignedIn
from cases import services
from cases.api.scope import user_of
from datamortem.common.api import StrictParameters, StrictSerializer

_LONGEST_ID: Final = 2**31


class QuotaSerializer(serializers.Serializer[Any]):
    """The bounds of a user (null: none), what they have used, and what was set for them alone."""

    storage_limit = serializers.IntegerField(allow_null=True)
    storage_used = serializers.IntegerField()
    runs_limit = serializers.IntegerField(allow_null=True)
    runs_unfinished = serializers.IntegerField()
    storage = serializers.IntegerField(allow_null=True)
    running_jobs = serializers.IntegerField(allow_null=True)


class ChangeQuotaSerializer(StrictSerializer):
    """Bounds for one user: null as the settings say, 0 for none."""

    storage = serializers.IntegerField(min_value=0, max_value=quotas.LARGEST_STORAGE, allow_null=True)
    running_jobs = serializers.IntegerField(min_value=0, max_value=quotas.LARGEST_RUNS, allow_null=True)


class MyQuotaView(StrictParameters):
    """The quota of whoever asks."""

    @extend_schema(operation_id="me_quota", responses=QuotaSerializer)
    def get(self, request: Request) -> Response:
        """Show it."""
        return Response(_shown(user_of(request)))


class UserQuotaView(StrictParameters):
    """The quota of an account."""

    permission_classes = (SignedIn, Administers)
    dangerous = frozenset({"put"})

    @extend_schema(operation_id="users_quota", responses=QuotaSerializer)
    def get(self, request: Request, user_id: int) -> Response:
        """Show it."""
        return Response(_shown(_one(user_id)))

    @extend_schema(
        operation_id="users_quota_change", request=ChangeQuotaSerializer, responses=QuotaSerializer
    )
    def put(self, request: Request, user_id: int) -> Response:
        """Bound an account otherwise than the settings do."""
        user = _one(user_id)
        given = ChangeQuotaSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        storage, runs = given.validated_data["storage"], given.validated_data["running_jobs"]
        quotas.change(user, storage=storage, runs=runs, by=user_of(request))
        return Response(_shown(user))


def _one(user_id: int) -> User:
    user = User.objects.filter(pk=user_id).first() if user_id < _LONGEST_ID else None
    if user is None:
        raise NotFound
    return user


def _shown(user: User) -> dict[str, Any]:
    quota, usage = quotas.quota_of(user), services.usage_of(user)
    own = UserQuota.objects.filter(user=user).first() or UserQuota()
    return {
        "storage_limit": quota.storage,
        "storage_used": usage.storage,
        "runs_limit": quota.runs,
        "runs_unfinished": usage.runs,
        "storage": own.storage,
        "running_jobs": own.running_jobs,
    }
