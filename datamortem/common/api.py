"""What every route of the HTTP API keeps: one shape of errors, and no input dropped in silence."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.views import defaults
from drf_standardized_errors.handler import ExceptionHandler as StandardHandler
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from datamortem.common.errors import DatabaseDown, DomainError, Invalid, TooMany, Unavailable
from datamortem.common.wire import dump

logger = logging.getLogger(__name__)

PREFIX: Final = "/api/"
_DATABASE_DOWN: Final = (
    "The database does not answer, is busy, or has no space left. Send this again later: "
    "what it asks for is done wholly or not at all. Tell whoever runs this site if it stays so."
)
_STATUS: Final = {
    "invalid": status.HTTP_400_BAD_REQUEST,
    "missing": status.HTTP_404_NOT_FOUND,
    "conflict": status.HTTP_409_CONFLICT,
    "too_large": status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
    "forbidden": status.HTTP_403_FORBIDDEN,
    "too_many": status.HTTP_429_TOO_MANY_REQUESTS,
    "unavailable": status.HTTP_503_SERVICE_UNAVAILABLE,
}


class Refused(APIException):
    """A DomainError on its way out."""

    def __init__(self, error: DomainError) -> None:
        detail = {error.field: [error.detail]} if error.field else error.detail
        super().__init__(detail, error.code)
        self.status_code = _STATUS[error.status]
        if isinstance(error, Unavailable | TooMany):
            self.wait = error.retry_after


class ExceptionHandler(StandardHandler):
    """Turns a DomainError into its status; everything else is the library's."""

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        """Return the exception as REST framework knows it."""
        if isinstance(exc, Invalid):
            return ValidationError({exc.field or "non_field_errors": [exc.detail]}, exc.code)
        if isinstance(exc, OperationalError | InterfaceError):
            logger.error("The database does not do its work.", exc_info=exc)
            return Refused(DatabaseDown(_DATABASE_DOWN))
        if isinstance(exc, DomainError):
            return NotFound() if exc.status == "missing" else Refused(exc)
        converted: Exception = super().convert_known_exceptions(exc)
        return converted

    def report_exception(self, exc: APIException, response: Response) -> None:
        """Report what nobody foresaw; a part that is down says so itself."""
        if not isinstance(exc, Refused):
            super().report_exception(exc, response)


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses names it does not know: a misspelt field is never dropped in silence."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the validated values. Raises ValidationError."""
        if isinstance(data, Mapping) and (unknown := sorted(set(map(str, data)) - set(self.fields))):
            known = ", ".join(self.fields)
            raise ValidationError(
                {name: [f"There is no such field; there are {known}."] for name in unknown[:10]},
                "unknown_field",
            )
        return super().to_internal_value(data)


class StrictParameters(APIView):
    """Refuses query parameters that the route does not know, and single ones given twice."""

    parameters: ClassVar[tuple[str, ...]] = ()
    repeatable: ClassVar[tuple[str, ...]] = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check the parameters once it is known who asks."""
        super().initial(request, *args, **kwargs)
        if not hasattr(self, (request.method or "").lower()):
            return  # the method is what is wrong, which is said next
        known, repeatable = self.known_parameters(), self.known_repeatable()
        for name, values in request.query_params.lists():
            if name not in (*known, *repeatable):
                there_are = ", ".join(sorted({*known, *repeatable})) or "none"
                detail = f"There is no such parameter here; there are {there_are}."
                raise ValidationError({name: [detail]}, "unknown_parameter")
            if len(values) > 1 and name not in repeatable:
                raise ValidationError({name: ["Given more than once."]}, "repeated_parameter")

    def known_parameters(self) -> tuple[str, ...]:
        """Return the names of the single parameters that this request may carry."""
        return self.parameters

    def known_repeatable(self) -> tuple[str, ...]:
        """Return the names of those that it may carry several times."""
        return self.repeatable


def number_in(parameters: QueryDict, name: str, *, default: int, limit: int) -> int:
    """Return a parameter that is a number from 1 to `limit`. Raises ValidationError."""
    text = parameters.get(name, str(default))
    digits = text.lstrip("0") if text.isascii() and text.isdecimal() else ""
    if not 1 <= len(digits) <= len(str(limit)) or int(digits) > limit:
        raise ValidationError({name: [f"Expected a number from 1 to {limit}."]}, "invalid")
    return int(digits)


class Nowhere(APIView):
    """Answers addresses below the API's prefix that no route has."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse, whatever the method."""
        raise NotFound


def refused(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
    """Answer what no view can make sense of, such as a Host that is not ours (handler400)."""
    if not request.path.startswith(PREFIX):
        return defaults.bad_request(request, *args, **kwargs)
    return _outside_views(400, "client_error", "bad_request", "This request makes no sense.")


def failed(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
    """Answer what failed outside a view (handler500)."""
    if not request.path.startswith(PREFIX):
        return defaults.server_error(request, *args, **kwargs)
    return _outside_views(500, "server_error", "error", "Server Error (500)")


def _outside_views(status: int, type: str, code: str, detail: str) -> HttpResponse:
    body = dump({"type": type, "errors": [{"code": code, "detail": detail, "attr": None}]})
    return HttpResponse(body, status=status, content_type="application/json")
