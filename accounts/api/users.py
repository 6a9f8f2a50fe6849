"""Routes by which administrators look after accounts."""

from __future__ import annotations

from typing import Any, ClassVar

import django_filters
from django.db import transaction
from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts import users
from accounts.api.scope import user_of
from accounts.idempotency import begin, fingerprint_of, keep, key_of, repeat
from accounts.models import Role, User
from accounts.permissions import Administers, SignedIn
from datamortem.common import pages
from datamortem.common.api import StrictParameters, StrictSerializer
from datamortem.common.errors import DomainError

_LONGEST_ID = 2**31


class UserSerializer(serializers.ModelSerializer[User]):
    """An account as administrators see it."""

    created_at = serializers.DateTimeField(source="created_at_utc")

    class Meta:
        model = User
        fields = (
            "id",
            "email",
            "username",
            "full_name",
            "role",
            "is_active",
            "email_verified",
            "otp_enabled",
            "locale",
            "created_at",
            "last_login",
        )
        read_only_fields = fields


class ChangeUserSerializer(StrictSerializer):
    """What administrators change about an account."""

    email = serializers.CharField(max_length=320, required=False)
    username = serializers.CharField(max_length=150, required=False)
    full_name = serializers.CharField(max_length=200, allow_blank=True, required=False)
    role = serializers.ChoiceField(choices=Role.choices, required=False)
    is_active = serializers.BooleanField(required=False)


class NewUserSerializer(StrictSerializer):
    """A new account; without a password its owner gets a mail to set one."""

    email = serializers.CharField(max_length=320)
    username = serializers.CharField(max_length=150)
    full_name = serializers.CharField(max_length=200, allow_blank=True, required=False)
    role = serializers.ChoiceField(choices=Role.choices, required=False)
    password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True, required=False)


class UserFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Accounts by role, activity, and a part of address or name."""

    role = django_filters.ChoiceFilter(choices=Role.choices)
    is_active = django_filters.TypedChoiceFilter(
        choices=(("true", "true"), ("false", "false")), coerce=lambda text: text == "true"
    )
    find = django_filters.CharFilter(method="find_part", label="Part of address, username or name")

    class Meta:
        model = User
        fields = ()

    def find_part(self, queryset: QuerySet[User], name: str, value: str) -> QuerySet[User]:
        """Return the accounts that have the value in one of their names."""
        return queryset.filter(
            Q(email__icontains=value) | Q(username__icontains=value) | Q(full_name__icontains=value)
        )


class UsersRoutes(StrictParameters, GenericViewSet[User]):
    """The accounts of the platform."""

    permission_classes = (SignedIn, Administers)
    dangerous = frozenset({"create", "partial_update", "reset_second_factor", "end_sessions"})
    queryset = User.objects.none()  # names the model to the OpenAPI document
    serializer_class = UserSerializer
    filterset_class = UserFilter
    orderings: ClassVar = {"id": "id", "email": "email", "username": "username"}
    default_ordering = "id"

    def known_parameters(self) -> tuple[str, ...]:
        """Return page, order and filters for the list."""
        return (*pages.PARAMETERS, *UserFilter.base_filters) if self.action == "list" else ()

    def get_queryset(self) -> QuerySet[User]:
        """Return all of them."""
        return User.objects.all()

    @extend_schema(operation_id="users_list")
    def list(self, request: Request) -> Response:
        """List accounts, oldest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(operation_id="users_create", request=NewUserSerializer, responses={201: UserSerializer})
    def create(self, request: Request) -> Response:
        """Make an account."""
        given = NewUserSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        facts: dict[str, Any] = given.validated_data
        key, by = key_of(request), user_of(request)
        if key is None:
            return Response(UserSerializer(users.create(by=by, **facts)).data, status=201)
        try:
            return _once(request, key, facts)
        except DomainError as refusal:
            users.refused("user.created", refusal, by=by, target=facts["email"])
            raise

    @extend_schema(operation_id="users_get")
    def retrieve(self, request: Request, user_id: int) -> Response:
        """Show an account."""
        return Response(UserSerializer(self._one(user_id)).data)

    @extend_schema(operation_id="users_change", request=ChangeUserSerializer, responses=UserSerializer)
    def partial_update(self, request: Request, user_id: int) -> Response:
        """Change an account. With its role, activity or address, its sign-ins and API tokens end."""
        user = self._one(user_id)
        given = ChangeUserSerializer(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        changed = users.change(user=user, by=user_of(request), **given.validated_data)
        return Response(UserSerializer(changed).data)

    @extend_schema(operation_id="users_reset_second_factor", responses={204: None})
    def reset_second_factor(self, request: Request, user_id: int) -> Response:
        """Take a lost second factor from an account; its sign-ins end."""
        users.reset_second_factor(user=self._one(user_id), by=user_of(request))
        return Response(status=204)

    @extend_schema(operation_id="users_end_sessions", responses={204: None})
    def end_sessions(self, request: Request, user_id: int) -> Response:
        """End every sign-in and API token of an account."""
        users.end_sessions(user=self._one(user_id), by=user_of(request))
        return Response(status=204)

    def _one(self, user_id: int) -> User:
        user = self.get_queryset().filter(pk=user_id).first() if user_id < _LONGEST_ID else None
        if user is None:
            raise NotFound
        return user


@transaction.atomic
def _once(request: Request, key: str, facts: dict[str, Any]) -> Response:
    """Make the account once for a key. The password itself never becomes part of the fingerprint."""
    by = user_of(request)
    said = {name: value for name, value in facts.items() if name != "password"}
    answer = begin(by, key, fingerprint_of(request, [said, "password" in facts]))
    if answer.status is not None:
        return repeat(answer)
    response = Response(UserSerializer(users.create(by=by, **facts)).data, status=201)
    keep(answer, response)
    return response
