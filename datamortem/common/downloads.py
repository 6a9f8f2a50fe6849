"""Bytes of evidence on their way out: as a file to save, never as something a browser shows."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from io import RawIOBase
from typing import Final

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header

_BLOCK: Final = 256 * 1024
_RANGE: Final = re.compile(r"bytes=([0-9]{0,30})-([0-9]{0,30})", re.ASCII | re.IGNORECASE)
#: A range that holds no byte of the file.
_NO_BYTE: Final = (0, 0)
#: Separators of paths, control characters, and what turns the direction of writing.
_UNSAFE: Final = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def as_download(
    response: HttpResponseBase, *, name: str, sha256: str | None = None, content: bytes | None = None
) -> None:
    """Put the headers of a download on a response. `name` comes from outside and is data.

    The digest is known from `sha256` or `content`; a stream made on the way has none.
    """
    if content is not None:
        sha256 = hashlib.sha256(content).hexdigest()
    safe = _UNSAFE.sub("_", name).strip(". ")[:200] or "download"
    disposition = content_disposition_header(True, safe)
    response.headers["Content-Disposition"] = disposition or "attachment"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response.headers["Cache-Control"] = "private, no-store"
    if sha256:
        digest = base64.b64encode(bytes.fromhex(sha256)).decode("ascii")
        response.headers["Repr-Digest"] = f"sha-256=:{digest}:"  # RFC 9530


def send_file(request: HttpRequest, file: RawIOBase, *, name: str, sha256: str) -> HttpResponseBase:
    """Return a stream that can seek, or the one range of it that was asked for (RFC 9110 section 14).

    Several ranges at once get the whole, which the RFC allows. The response closes it.
    """
    size = file.seek(0, os.SEEK_END)
    span = _span(request, size, etag=f'"{sha256}"')
    response: HttpResponseBase
    if span is _NO_BYTE:
        file.close()
        response = HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    else:
        start, end = span or (0, size)
        file.seek(start)
        response = StreamingHttpResponse(_blocks(file, end - start), content_type="application/octet-stream")
        response._resource_closers.append(file.close)  # type: ignore[attr-defined]
        response.headers["Content-Length"] = str(end - start)
        if span:
            response.status_code = 206
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["ETag"] = f'"{sha256}"'
    as_download(response, name=name, sha256=sha256)
    return response


def _span(request: HttpRequest, size: int, *, etag: str) -> tuple[int, int] | None:
    """Return begin and end of the range that is asked for.

    None where no single range is (RFC 9110 section 14.2 lets us ignore several), and _NO_BYTE when
    no byte of the file is in it.
    """
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or request.headers.get("If-Range", etag) != etag:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None  # no valid range, so it is ignored
    return (start, end) if start < end else _NO_BYTE


def _blocks(file: RawIOBase, rest: int) -> Iterator[bytes]:
    while rest and (block := file.read(min(_BLOCK, rest))):
        rest -= len(block)
        yield block
    if rest:
        raise OSError("The file is shorter than it was a moment ago.")
