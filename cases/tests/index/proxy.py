"""A proxy in front of a search server that fails as networks and servers do."""

from __future__ import annotations

import base64
import contextlib
import http.client
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

#: What becomes of a request: "" passes; "before", "inside" and "after" cut the connection before
#: the server has it, in the middle of the answer, and instead of the answer; a number answers so.
Fate = str | int


class Proxy:
    """Passes requests on as `decide` says, which is given method, path and body."""

    def __init__(self, url: str) -> None:
        self.decide: Callable[[str, str, bytes], Fate] = lambda method, path, body: ""
        self.requests: list[tuple[str, str, int]] = []
        self.login = ""
        self.upstream = urlsplit(url)
        self.url = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            super().handle_one_request()
            return
        self.close_connection = True

    def _pass(self) -> None:
        proxy = self.proxy
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        proxy.requests.append((self.command, self.path, len(body)))
        if proxy.login and self.headers.get("authorization") != proxy.login:
            self._answer(401, b'{"error":"no"}')
            return
        fate = proxy.decide(self.command, self.path, body)
        if fate == "before":
            self.close_connection = True
            return
        if isinstance(fate, int):
            kind = b"cluster_block_exception" if fate == 403 else b"circuit_breaking_exception"
            self._answer(fate, b'{"error":{"type":"%b","reason":"made up"}}' % kind)
            return
        status, data, kind_of = self._upstream(body)
        if fate == "after":
            self.close_connection = True
            return
        self._answer(status, data, kind_of, cut=fate == "inside")

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Every method of HTTP is passed on alike."""
        if name.startswith("do_"):
            return self._pass
        raise AttributeError(name)

    def _upstream(self, body: bytes) -> tuple[int, bytes, str]:
        upstream = self.proxy.upstream
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)
        headers = {name: self.headers[name] for name in ("content-type",) if name in self.headers}
        connection.request(self.command, self.path, body or None, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data, answer.headers.get("content-type", "application/json")

    def _answer(self, status: int, data: bytes, kind: str = "application/json", *, cut: bool = False) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data) + 10 if cut else len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = cut


@contextmanager
def proxy_to(
    url: str, *, tls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None
) -> Iterator[Proxy]:
    """Yield a proxy that listens on a port of its own, with TLS and a login where asked."""
    proxy = Proxy(url)
    if login:
        proxy.login = "Basic " + base64.b64encode(":".join(login).encode()).decode()
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    scheme = "https" if tls else "http"
    proxy.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
