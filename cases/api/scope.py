"""What the views inside a case share: its case, and the same 404 for strangers and for nothing."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, TypeVar

from django.db.models import Model, QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from accounts.models import User
from cases import audit
from cases.models import Case
from datamortem.common import pages
from datamortem.common.api import StrictParameters

Row = TypeVar("Row", bound=Model)


def user_of(request: Request) -> User:
    """Return who asks; permissions have let nobody else through."""
    if not isinstance(request.user, User):
        raise NotFound
    return request.user


def one(queryset: QuerySet[Row], **by: Any) -> Row:
    """Return the row, or answer the one 404 there is: never why."""
    if any(isinstance(value, str) and "\x00" in value for value in by.values()):
        raise NotFound  # PostgreSQL refuses to look for it
    row = queryset.filter(**by).first()
    if row is None:
        raise NotFound
    return row


class Routes(StrictParameters, GenericViewSet[Any]):
    """A viewset whose lists refuse filters they do not know."""

    #: Parameters of single actions, beside those of lists.
    action_parameters: ClassVar[dict[str, tuple[str, ...]]] = {}

    def known_parameters(self) -> tuple[str, ...]:
        """Return page, order and filters for a list, else what the action takes."""
        own = self.action_parameters.get(self.action or "", ())
        if self.action != "list" or self.pagination_class is None:
            return own
        filters = getattr(self, "filterset_class", None)
        return (*pages.PARAMETERS, *(filters.base_filters if filters else ()), *own)

    @property
    def by(self) -> User:
        """Who asks."""
        return user_of(self.request)

    @property
    def place(self) -> str:
        """What is asked for, as the audit record names it."""
        return f"{self.request.method} {self.request.path}"

    def listed(self, queryset: QuerySet[Any]) -> Any:
        """Return the answer of a list: filtered, ordered, one page."""
        page = self.paginate_queryset(self.filter_queryset(queryset))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class CaseRoutes(Routes):
    """A viewset inside the case of its address. That an admin looks into a foreign one is on record."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Record the look once it is known that the request may be answered."""
        super().initial(request, *args, **kwargs)
        audit.looked(self.case, by=self.by, at=self.place)

    @cached_property
    def case(self) -> Case:
        """The case, if the user may see it. Raises NotFound."""
        cases = audit.marked(Case.objects.visible_to(self.by), self.by)
        cases = cases.select_related("owner", "closed_by")
        return one(cases, case_id=self.kwargs["case_id"])
