"""The OpenAPI document, and a page that shows it with scripts and styles of this site alone."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from datamortem.common.headers import DOCS

_ERROR: Final = {
    "type": "object",
    "required": ["type", "errors"],
    "properties": {
        "type": {"type": "string", "enum": ["validation_error", "client_error", "server_error"]},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "detail", "attr"],
                "properties": {
                    "code": {"type": "string", "description": "A stable word."},
                    "detail": {"type": "string", "description": "What to do, for people."},
                    "attr": {"type": "string", "nullable": True, "description": "The field at fault."},
                },
            },
        },
    },
}


def add_errors(result: dict[str, Any], **context: Any) -> dict[str, Any]:
    """Say of every route that what it refuses has the one shape of errors."""
    result["components"]["schemas"]["Error"] = _ERROR
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for methods in result["paths"].values():
        for operation in methods.values():
            if isinstance(operation, dict) and "responses" in operation:
                operation["responses"]["default"] = {"description": "Refused.", "content": content}
    return result


class StrictShape(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """What the OpenAPI document says of bodies that may hold no other names than these."""

    target_class = "datamortem.common.api.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        """Return the shape."""
        shape: dict[str, Any] = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**shape, "additionalProperties": False}


@cache
def _document() -> Any:
    return SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]


class Once(SchemaGenerator):
    """Makes the document once in a process: it is the same for everybody, and takes half a second."""

    def get_schema(self, request: Any = None, public: bool = False) -> Any:
        """Return the document."""
        return _document()


class SchemaView(SpectacularAPIView):
    """OpenAPI 3, as YAML or JSON."""

    authentication_classes = ()
    content_negotiation_class = DefaultContentNegotiation
    generator_class = Once


class DocsView(SpectacularSwaggerSplitView):
    """The routes to read and to try."""

    metadata_class = None  # what it would tell has no template
    authentication_classes = ()
    content_negotiation_class = DefaultContentNegotiation

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Return the page, or the script it starts with."""
        response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        response.headers["Content-Security-Policy"] = DOCS
        return response
