"""Routes of the searches that a case keeps."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from accounts.permissions import SignedIn
from cases import search, services
from cases.api.filters import SavedSearchFilter
from cases.api.scope import CaseRoutes, one
from cases.models import SavedSearch
from cases.permissions import CanWriteCase, may_manage
from datamortem.common.api import StrictSerializer


class SavedSearchSerializer(serializers.ModelSerializer[SavedSearch]):
    """A search under a name; times as they were typed."""

    to = serializers.CharField(source="end")
    columns = serializers.ListField(child=serializers.CharField())
    author = serializers.CharField(source="author.username", default=None, allow_null=True)

    class Meta:
        model = SavedSearch
        fields = ("id", "name", "q", "from", "to", "columns", "author", "created_at", "updated_at")
        read_only_fields = fields
        extra_kwargs: ClassVar = {"from": {"source": "start"}}


class ChangeSearchSerializer(StrictSerializer):
    """What may be kept of a search."""

    name = serializers.CharField(trim_whitespace=False, required=False)
    q = serializers.CharField(allow_blank=True, trim_whitespace=False, required=False)
    to = serializers.CharField(source="end", allow_blank=True, max_length=64, required=False)
    columns = serializers.ListField(child=serializers.CharField(trim_whitespace=False), required=False)

    def get_fields(self) -> dict[str, Any]:
        """Return the fields, with the one that has a word of Python's as its name."""
        start = serializers.CharField(source="start", allow_blank=True, max_length=64, required=False)
        return {**super().get_fields(), "from": start}


class SaveSearchSerializer(ChangeSearchSerializer):
    """A search to be kept."""

    name = serializers.CharField(trim_whitespace=False)


class SavedSearchesRoutes(CaseRoutes):
    """The searches that the people of a case keep. Members see all; authors and leads change them."""

    permission_classes = (SignedIn, CanWriteCase)
    queryset = SavedSearch.objects.none()  # names the model to the OpenAPI document
    serializer_class = SavedSearchSerializer
    filterset_class = SavedSearchFilter
    orderings: ClassVar = {"name": "name", "created_at": "created_at", "updated_at": "updated_at"}
    default_ordering = "name"

    def get_queryset(self) -> QuerySet[SavedSearch]:
        """Return them with what their shape names."""
        return SavedSearch.objects.visible_to(self.by).filter(case_ref=self.case).select_related("author")

    @extend_schema(operation_id="saved_searches_list")
    def list(self, request: Request, case_id: str) -> Response:
        """List saved searches by name."""
        answer: Response = self.listed(self.get_queryset())
        return answer

    @extend_schema(
        operation_id="saved_searches_add",
        request=SaveSearchSerializer,
        responses={201: SavedSearchSerializer},
    )
    @idempotent
    def create(self, request: Request, case_id: str) -> Response:
        """Keep a search under a name that no other of the case has."""
        facts = _given(SaveSearchSerializer(data=request.data))
        kept = services.save_search(case=self.case, by=self.by, **facts)
        return self._shown(kept.pk, status=201)

    @extend_schema(operation_id="saved_searches_get")
    def retrieve(self, request: Request, case_id: str, search_id: int) -> Response:
        """Show a saved search."""
        return self._shown(search_id)

    @extend_schema(
        operation_id="saved_searches_change",
        request=ChangeSearchSerializer,
        responses=SavedSearchSerializer,
    )
    def partial_update(self, request: Request, case_id: str, search_id: int) -> Response:
        """Change a saved search; its author may, and who manages the case."""
        kept = one(self.get_queryset(), pk=search_id)
        facts = _given(ChangeSearchSerializer(data=request.data), kept)
        services.change_search(search=kept, by=self.by, manages=may_manage(self.by, self.case), **facts)
        return self._shown(search_id)

    @extend_schema(operation_id="saved_searches_remove", responses={204: None})
    def destroy(self, request: Request, case_id: str, search_id: int) -> Response:
        """Take a saved search away; its author may, and who manages the case."""
        kept = one(self.get_queryset(), pk=search_id)
        services.remove_search(search=kept, by=self.by, manages=may_manage(self.by, self.case))
        return Response(status=204)

    def _shown(self, pk: int, status: int = 200) -> Response:
        return Response(SavedSearchSerializer(one(self.get_queryset(), pk=pk)).data, status=status)


def _given(form: StrictSerializer, kept: SavedSearch | None = None) -> dict[str, Any]:
    """Return what was given, if it would make a search that can be asked. Raises as `search.check`."""
    form.is_valid(raise_exception=True)
    facts: dict[str, Any] = form.validated_data
    then = {name: facts.get(name, getattr(kept, name, "")) for name in ("q", "start", "end")}
    search.check(**then)
    return facts
