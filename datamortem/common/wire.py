"""JSON as it goes over the wire, in both directions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import orjson
from django.conf import settings
from django.utils.encoding import force_str
from rest_framework import parsers, renderers
from rest_framework.exceptions import ParseError
from rest_framework.metadata import BaseMetadata
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request

from datamortem.common.errors import TooLarge


def format_moment(moment: datetime) -> str:
    """Return RFC 3339 in UTC with microseconds and Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def dump(value: Any) -> bytes:
    """Return JSON in UTF-8 of whatever an answer holds.

    Events may carry what orjson refuses (lone surrogates, integers beyond 64 bits); the standard
    library writes those in ASCII escapes.
    """
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError:
        return json.dumps(value, default=_plain, separators=(",", ":")).encode("ascii")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_moment(value)
    if isinstance(value, Mapping):
        return dict(value)
    return force_str(value)


class JSONRenderer(renderers.BaseRenderer):
    """JSON in UTF-8; nothing else is offered."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the body; empty where there is nothing to say."""
        return b"" if data is None else dump(data)


class AlwaysJSON(DefaultContentNegotiation):
    """Answers in the one form that a route has, whatever a client says it likes to get."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[renderers.BaseRenderer, str]:
        """Return the only renderer."""
        return renderers[0], renderers[0].media_type


class NoMetadata(BaseMetadata):
    """Answers OPTIONS by the header `Allow` alone: the shapes are in the OpenAPI document."""

    def determine_metadata(self, request: Request, view: Any) -> dict[str, Any]:
        """Return nothing."""
        return {}


#: Brackets that a body may hold: ten million empty lists fit into its bytes, and are a gigabyte of memory.
_CONTAINERS: Final = 1_000_000


class JSONParser(parsers.BaseParser):
    """Strict JSON in UTF-8, bounded by DATA_UPLOAD_MAX_MEMORY_SIZE; integers keep every digit.

    A name that stands twice in an object is refused: one of its values would be lost in silence.
    """

    media_type = "application/json"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the value. Raises ParseError and TooLarge."""
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise TooLarge(f"A body of JSON has up to {limit} bytes.")
        if body.count(b"[") + body.count(b"{") > _CONTAINERS:
            raise TooLarge(f"A body of JSON has up to {_CONTAINERS} objects and lists.")
        try:
            return json.loads(
                body.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_each_name_once
            )
        except (ValueError, RecursionError) as error:
            reason = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
            raise ParseError(f"The body is no JSON in UTF-8: {reason}.") from error


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = Counter(name for name, _ in pairs)
        twice = next(name for name, times in names.items() if times > 1)
        raise ValueError(f"{json.dumps(twice[:100])} stands twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
