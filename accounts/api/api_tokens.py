"""Routes of the own API tokens. The text of one is in the answer that makes it, and nowhere else."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts import api_tokens
from accounts.access import READ
from accounts.api.scope import user_of
from accounts.idempotency import idempotent
from accounts.models import ApiToken
from datamortem.common import pages
from datamortem.common.api import StrictParameters, StrictSerializer

#: Ids of the old system have any length.
_LONGEST_ID = 1000


class ApiTokenSerializer(serializers.ModelSerializer[ApiToken]):
    """A token, without its secret. `cases` are the only ones it opens; null: all its user sees."""

    scopes = serializers.ListField(child=serializers.CharField())
    cases = serializers.ListField(source="case_ids", child=serializers.CharField(), allow_null=True)

    class Meta:
        model = ApiToken
        fields: ClassVar[tuple[str, ...]] = (
            "id", "name", "prefix", "scopes", "cases", "created_at", "expires_at",
            "last_used_at", "last_used_address",
        )  # fmt: skip
        read_only_fields = fields


class MadeTokenSerializer(ApiTokenSerializer):
    """A new token with its text; null where an `Idempotency-Key` was repeated: it is shown once."""

    token = serializers.CharField(allow_null=True)

    class Meta(ApiTokenSerializer.Meta):
        fields: ClassVar[tuple[str, ...]] = (*ApiTokenSerializer.Meta.fields, "token")
        read_only_fields = fields


class MakeTokenSerializer(StrictSerializer):
    """What a token is for. `scopes`: "read", "write", and "case:<case_id>", which means `cases`."""

    name = serializers.CharField(max_length=80)
    scopes = serializers.ListField(
        child=serializers.CharField(max_length=_LONGEST_ID), allow_empty=False, max_length=100, default=[READ]
    )
    cases = serializers.ListField(
        child=serializers.CharField(max_length=_LONGEST_ID), allow_empty=False, max_length=100, required=False
    )
    expires_at = serializers.DateTimeField(required=False)


class ApiTokensRoutes(StrictParameters, GenericViewSet[ApiToken]):
    """The own tokens."""

    persons_only = True
    dangerous = frozenset({"create"})
    queryset = ApiToken.objects.none()  # names the model to the OpenAPI document
    serializer_class = ApiTokenSerializer
    filter_backends = ()
    orderings: ClassVar = {"created_at": "created_at"}
    default_ordering = "-created_at"

    def known_parameters(self) -> tuple[str, ...]:
        """Return the parameters of a list, for the list."""
        return pages.PARAMETERS if self.action == "list" else ()

    def get_queryset(self) -> QuerySet[ApiToken]:
        """Return those that were not revoked; expired ones show until they are."""
        return ApiToken.objects.filter(user=user_of(self.request), revoked_at=None)

    @extend_schema(operation_id="api_tokens_list")
    def list(self, request: Request) -> Response:
        """List them, the newest first."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="api_tokens_make", request=MakeTokenSerializer, responses={201: MadeTokenSerializer}
    )
    def create(self, request: Request) -> Response:
        """Make one, for 90 days unless `expires_at` says otherwise; keep its text, it is shown once."""
        self.text: str | None = None
        response = self._made(request)
        response.data = {**response.data, "token": self.text}
        return response

    @idempotent
    def _made(self, request: Request) -> Response:
        # Answers are kept for repetitions, so this one is without the secret.
        given = MakeTokenSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        facts: dict[str, Any] = given.validated_data
        made = api_tokens.create(user_of(request), **facts)
        self.text = made.text
        return Response(self.get_serializer(made.token).data, status=201)

    @extend_schema(operation_id="api_tokens_get")
    def retrieve(self, request: Request, token_id: int) -> Response:
        """Show one."""
        return Response(self.get_serializer(self._one(token_id)).data)

    @extend_schema(operation_id="api_tokens_revoke", responses={204: None})
    def destroy(self, request: Request, token_id: int) -> Response:
        """Revoke one: its next request is refused."""
        api_tokens.revoke(self._one(token_id), by=user_of(request))
        return Response(status=204)

    def _one(self, token_id: int) -> ApiToken:
        token = self.get_queryset().filter(pk=token_id).first()
        if token is None:
            raise NotFound
        return token
