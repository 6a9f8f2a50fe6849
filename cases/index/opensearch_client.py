"""The connection to a search server: one a process, every request through one door.

The door checks the names of indices, tells what is worth trying again from what is not, and
says what went wrong without credentials and without evidence.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import orjson
from opensearchpy import JSONSerializer, Transport, Urllib3HttpConnection
from opensearchpy import exceptions as raised

from cases.index.connect import Address
from cases.index.engine import IndexUnavailable
from cases.index.opensearch_names import checked

# It writes addresses at every failure, and at level DEBUG what is sent: evidence.
logging.getLogger("opensearch").setLevel(logging.CRITICAL)

#: Seconds that an answer may take unless a request says otherwise, and a connection.
TIMEOUT: Final = 60.0
#: Connections that one process keeps to one host.
_CONNECTIONS: Final = 16
#: Answers after which the same request may succeed; 0 is no answer.
PASSING: Final = frozenset({0, 429, 502, 503, 504})
_REASON_LIMIT: Final = 300
#: http.max_content_length unless set otherwise.
_LARGEST: Final = 100 * 1024**2
_JSON: Final = {"content-type": "application/json"}
_LINES: Final = {"content-type": "application/x-ndjson"}


class ServerError(IndexUnavailable):
    """The server refused a request, or gave no answer (status 0).

    `kind` is the server's own name of the error. The message is for people: it names no
    credentials. `reason` is the server's and may quote what was sent.
    """

    def __init__(self, message: str, *, status: int, kind: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.status, self.kind, self.reason = status, kind, reason

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in PASSING

    @property
    def missing(self) -> bool:
        """Whether what was asked for is not there."""
        return self.status == 404


class _Json(JSONSerializer):
    """Answers are read by orjson; what is sent is bytes already."""

    def loads(self, s: str | bytes) -> Any:
        """Return the value. Raises ValueError."""
        return orjson.loads(s)


class Client:
    """Sends requests to the hosts of an address; safe to use by threads and after a fork.

    `trial` is called once in a process before the first request about an index; it may raise.
    """

    def __init__(self, address: Address, trial: Callable[[], None] | None = None) -> None:
        self._trial, self._tried = trial, 0
        self._address = address
        self._hosts, self._login = read_hosts(address.url)
        self._process = self._largest = 0
        self._transport: Any = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Client of {self.hosts}>"

    @property
    def hosts(self) -> str:
        """The hosts, for people: no credentials."""
        return ", ".join(f"{host['host']}:{host['port']}" for host in self._hosts)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        names: str | Iterable[str] | None = None,
        params: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
        retries: int = 0,
    ) -> Any:
        """Return the answer to a request to `/names/path`; names of no index of ours are refused.

        Repeats it so many times when no answer came, for requests that change nothing.
        Raises ServerError.
        """
        where = f"/{path}" if names is None else f"/{checked(names)}/{path}".rstrip("/")
        if names is not None:
            self._try_out()
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        for attempt in range(retries + 1):
            try:
                return self._send(method, where, data, params, timeout, _JSON)
            except ServerError as error:
                if error.status or attempt == retries:
                    raise
        raise AssertionError("unreachable")

    def _try_out(self) -> None:
        if self._trial is None or self._tried == os.getpid():
            return
        with self._lock:  # one tries, the others wait for what comes of it
            if self._tried != os.getpid():
                self._trial()
                self._tried = os.getpid()

    def send_lines(
        self, path: str, lines: bytes, *, names: str | None, params: Mapping[str, str], timeout: float
    ) -> Any:
        """Return the answer to newline-delimited JSON. Raises ServerError."""
        where = f"/{path}" if names is None else f"/{checked(names)}/{path}"
        return self._send("POST", where, lines, params, timeout, _LINES)

    def largest_request(self) -> int:
        """Return how many bytes every node takes at once; the default where we may not ask.

        Raises ServerError when there is no answer.
        """
        if not self._largest:
            wanted = {"filter_path": "nodes.*.http.max_content_length_in_bytes"}
            try:
                nodes = self.ask("GET", "_nodes/http", params=wanted, retries=2).get("nodes", {})
            except ServerError as error:
                if error.status != 403:
                    raise
                nodes = {}
            limits = [node["http"]["max_content_length_in_bytes"] for node in nodes.values()]
            self._largest = min(limits, default=_LARGEST)
        return self._largest

    def _send(
        self,
        method: str,
        where: str,
        data: bytes | None,
        params: Mapping[str, str] | None,
        timeout: float,
        headers: Mapping[str, str],
    ) -> Any:
        sent = {**(params or {}), "request_timeout": timeout}
        try:
            return self._connected().perform_request(
                method, where, params=sent, body=data, headers=dict(headers)
            )
        except raised.TransportError as error:
            raise _said(error) from None  # the cause holds what was sent
        except (raised.SerializationError, ValueError):
            raise ServerError("The search server sent what is no answer.", status=0) from None

    def _connected(self) -> Any:
        """The connections of this process: those of a parent would mix up answers."""
        if self._process != os.getpid():
            with self._lock:
                if self._process != os.getpid():
                    self._transport = self._connect()
                    self._process = os.getpid()
        return self._transport

    def _connect(self) -> Any:
        options: dict[str, Any] = {}
        headers: dict[str, str] = {}
        if self._hosts[0]["use_ssl"] and self._address.ca:
            options["ca_certs"] = self._address.ca
        if self._address.api_key:
            headers["authorization"] = f"ApiKey {self._address.api_key}"
        elif self._login:
            options["http_auth"] = self._login
        return Transport(
            [dict(host) for host in self._hosts],
            connection_class=Urllib3HttpConnection,
            serializer=_Json(),
            max_retries=0,  # whoever asks knows whether twice is once
            retry_on_status=(),  # a refusal says nothing about the health of its host
            timeout=TIMEOUT,
            pool_maxsize=_CONNECTIONS,
            headers=headers,
            **options,
        )


def jittered(seconds: float) -> float:
    """Return half to one and a half of a pause, so that those who wait do not come back at once."""
    return seconds * (0.5 + secrets.randbelow(1001) / 1000)


def read_hosts(url: str) -> tuple[list[dict[str, Any]], tuple[str, str] | None]:
    """Return the hosts of a search URL and the login. Raises ValueError, which repeats no password.

    Hosts are separated by commas; those behind the first may leave out scheme and login.
    """
    first, *others = (part.strip() for part in url.split(","))
    scheme = first.partition("://")[0]
    parts = [_parsed(part if "://" in part else f"{scheme}://{part}") for part in (first, *others)]
    if {part.scheme for part in parts} - {scheme}:
        raise ValueError("SEARCH_URL names http and https; all hosts speak the same.")
    logins = {(unquote(part.username), unquote(part.password or "")) for part in parts if part.username}
    if len(logins) > 1:
        raise ValueError("SEARCH_URL names two logins; all hosts take the same.")
    hosts = [
        {"host": part.hostname, "port": part.port or 9200, "use_ssl": scheme == "https"}
        | ({"url_prefix": part.path.strip("/")} if part.path.strip("/") else {})
        for part in parts
    ]
    return hosts, logins.pop() if logins else None


def _parsed(part: str) -> SplitResult:
    try:
        found = urlsplit(part)
        usable = bool(found.hostname) and (found.port is None or found.port > 0)
    except ValueError:
        usable = False
    if not usable or found.query or found.fragment:
        raise ValueError("SEARCH_URL: expected https://user:password@host:9200, hosts separated by commas.")
    return found


def _said(error: raised.TransportError) -> ServerError:
    """Return what a failed request means, in words that may be shown and logged."""
    if isinstance(error, raised.SSLError):
        return ServerError(
            "The search server's certificate is not trusted: set SEARCH_CA to the file of its authority.",
            status=0,
            kind="certificate",
        )
    if isinstance(error, raised.ConnectionTimeout):
        return ServerError("The search server did not answer in time.", status=0, kind="timeout")
    if isinstance(error, raised.ConnectionError):
        return ServerError("The search server cannot be reached.", status=0, kind="connection")
    status = error.status_code if isinstance(error.status_code, int) else 0
    kind, reason = _told(error.info)
    messages = {
        401: "The search server does not accept our login: check SEARCH_URL or SEARCH_API_KEY.",
        403: "The search server does not let our login do this.",
        413: "The request is larger than the search server takes.",
    }
    told = f" ({kind})" if kind else ""
    message = messages.get(status, f"The search server answered {status}{told}.")
    if kind == "cluster_block_exception":
        message = f"The search server takes no changes now: {reason}"
    return ServerError(message, status=status, kind=kind, reason=reason)


def _told(info: object) -> tuple[str, str]:
    """Return the kind and the reason of an error, the root's where it is told."""
    found: object = info.get("error") if isinstance(info, dict) else None
    if not isinstance(found, dict):
        return "", str(found or "")[:_REASON_LIMIT]
    causes: Sequence[Any] = found.get("root_cause") or [found]
    root = causes[0] if isinstance(causes[0], dict) else found
    return str(root.get("type", "")), str(root.get("reason", ""))[:_REASON_LIMIT]
