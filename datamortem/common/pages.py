"""Lists by cursor: pages that neither lose nor repeat a row, at the same cost wherever they are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from django.core import signing
from django.db.models import Model, Q, QuerySet
from django.http import QueryDict
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from datamortem.common.api import number_in

PARAMETERS: Final = ("cursor", "page_size", "ordering")


class CursorPages(BasePagination):
    """Orders by one field and the row number, and goes on behind the last row of a page.

    A view names what it can be ordered by in `orderings` (name of the API to model field, never
    a nullable one) and its `default_ordering`. Cursors are signed and bound to address and order.
    """

    default_size = 100
    largest_size = 500

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """Return the rows of the page that the request asks for. Raises ValidationError."""
        self.request = request
        size = self._size(request)
        ordering = self._ordering(request, view)
        self.field: str = view.orderings[ordering.removeprefix("-")]
        self.signer = signing.Signer(salt=f"pages:{request.path}:{ordering}")
        descending = ordering.startswith("-")
        backwards, position = self._position(request.query_params.get("cursor"))
        rows = self._rows(queryset, descending != backwards, position, size)
        more, self.page = len(rows) > size, rows[:size]
        if backwards:
            self.page.reverse()
        self.has_next = more or backwards
        self.has_previous = position is not None and (more or not backwards)
        return self.page

    def _rows(
        self, queryset: QuerySet[Any], descending: bool, position: tuple[Any, int] | None, size: int
    ) -> list[Any]:
        if position is not None:
            value, pk = position
            value = queryset.model._meta.get_field(self.field).to_python(value)
            beyond = "lt" if descending else "gt"
            queryset = queryset.filter(
                Q(**{f"{self.field}__{beyond}": value}) | Q(**{self.field: value, f"pk__{beyond}": pk})
            )
        sign = "-" if descending else ""
        return list(queryset.order_by(f"{sign}{self.field}", f"{sign}pk")[: size + 1])

    def _size(self, request: Request) -> int:
        parameters: QueryDict = request.query_params
        return number_in(parameters, "page_size", default=self.default_size, limit=self.largest_size)

    def _ordering(self, request: Request, view: Any) -> str:
        ordering: str = request.query_params.get("ordering", view.default_ordering)
        if ordering.removeprefix("-") not in view.orderings:
            known = ", ".join(f"{name}, -{name}" for name in view.orderings)
            raise ValidationError({"ordering": [f"Expected one of {known}."]}, "invalid")
        return ordering

    def _position(self, cursor: str | None) -> tuple[bool, tuple[Any, int] | None]:
        if cursor is None:
            return False, None
        try:
            backwards, value, pk = self.signer.unsign_object(cursor)
        except (signing.BadSignature, ValueError) as error:
            detail = "This cursor was not issued for this list and order; begin again without one."
            raise ValidationError({"cursor": [detail]}, "invalid_cursor") from error
        return backwards, (value, pk)

    def get_paginated_response(self, data: Any) -> Response:
        """Return the page with the addresses of its neighbours."""
        following = self._link(self.page[-1], backwards=False) if self.has_next and self.page else None
        preceding = self._link(self.page[0], backwards=True) if self.has_previous and self.page else None
        return Response({"next": following, "previous": preceding, "results": data})

    def _link(self, row: Model, *, backwards: bool) -> str:
        value = getattr(row, self.field)
        value = value.isoformat() if isinstance(value, datetime) else value
        parameters: QueryDict = self.request.query_params.copy()
        parameters["cursor"] = self.signer.sign_object([backwards, value, row.pk])
        address = urlsplit(self.request.build_absolute_uri())
        return urlunsplit(address._replace(query=parameters.urlencode()))

    def get_paginated_response_schema(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return the shape for the OpenAPI document."""
        link = {"type": "string", "format": "uri", "nullable": True}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Return the parameters for the OpenAPI document."""
        orderings = [name for base in view.orderings for name in (base, f"-{base}")]
        sizes = {"type": "integer", "minimum": 1, "maximum": self.largest_size, "default": self.default_size}
        return [
            {"name": "cursor", "in": "query", "required": False, "schema": {"type": "string"}},
            {"name": "page_size", "in": "query", "required": False, "schema": sizes},
            {
                "name": "ordering",
                "in": "query",
                "required": False,
                "schema": {"type": "string", "enum": orderings, "default": view.default_ordering},
            },
        ]
