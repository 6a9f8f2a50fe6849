"""Where a request comes from: its id, its address, its agent; on every log line and record.

The id is taken from a proxy if it looks like one, else made here, and is on every answer.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from datamortem.common import logs

_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
#: What no database keeps or no terminal should show.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
#: An address that a proxy wrote with its port.
_WITH_PORT: Final = re.compile(r"\[([^\]]+)\](?::\d+)?|([^:]+):\d+")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the work at hand comes from; `actor` names who acts when no user does."""

    actor: str = "system"
    address: str = ""
    agent: str = ""
    request_id: str = ""

    @property
    def network(self) -> str:
        """What counts as one client: an address, or the 64 bits of IPv6 within which each has its choice."""
        return network_of(self.address)


#: The origin of what is being done in this context.
origin: ContextVar[Origin] = ContextVar("request_origin", default=Origin())  # noqa: B039


def client_address(meta: Mapping[str, Any]) -> str:
    """Return the address a request came from, or an empty text.

    `X-Forwarded-For` counts only behind NUM_PROXIES declared proxies: each has added the address
    it was asked from at the end, so the client's is that many from the end, whatever a client
    wrote before it.
    """
    address = str(meta.get("REMOTE_ADDR") or "")
    if settings.NUM_PROXIES:
        hops = [hop.strip() for hop in str(meta.get("HTTP_X_FORWARDED_FOR") or "").split(",") if hop.strip()]
        if hops:
            address = hops[-min(settings.NUM_PROXIES, len(hops))]
    if match := _WITH_PORT.fullmatch(address):
        address = match[1] or match[2]
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)


def network_of(address: str) -> str:
    """Return the network that is one client's: of IPv6 the first 64 bits, of IPv4 the address."""
    return str(ip_network((address, 64), strict=False)) if ":" in address else address


class RequestId:
    """Names each request in its answer (`X-Request-Id`), in every log line and record about it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request under its id."""
        given = request.headers.get("X-Request-Id", "")
        name = given if _ID.fullmatch(given) else uuid.uuid4().hex
        here = Origin(
            actor="nobody",
            address=client_address(request.META),
            agent=_CONTROL.sub("?", request.headers.get("User-Agent", ""))[:200],
            request_id=name,
        )
        in_logs, in_records = logs.context.set({"request_id": name}), origin.set(here)
        try:
            response = self.get_response(request)
        finally:
            logs.context.reset(in_logs)
            origin.reset(in_records)
        response["X-Request-Id"] = name
        return response
