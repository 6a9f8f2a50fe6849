"""An upload read as it arrives (RFC 7578): one file, and texts beside it, in flat memory.

Nothing is kept on the side: the bytes of the file go from the connection to whoever takes them.
A body that ends before its closing delimiter is refused, wherever it was cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from django.http import QueryDict, UnreadablePostError
from django.utils.datastructures import MultiValueDict
from rest_framework.parsers import BaseParser, DataAndFiles

from datamortem.common.errors import Invalid, TooLarge

_BLOCK: Final = 256 * 1024
_HEADER_LIMIT: Final = 16 * 1024
_TEXT_LIMIT: Final = 256 * 1024
_TEXTS: Final = 32
_OPTION: Final = re.compile(r';\s*([A-Za-z0-9_*.-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;"\s]*)', re.DOTALL)
_ESCAPED: Final = re.compile(r'\\(["\\])')
#: The name of the part that holds the file.
FILE: Final = "file"


class Malformed(Invalid):
    """The body is no multipart form."""

    code = "malformed_multipart"


class Incomplete(Invalid):
    """The connection ended before the body did."""

    code = "incomplete"


def header_options(header: str) -> dict[str, str]:
    """Return the options behind the first semicolon of a header, by lower-case name.

    Browsers of old send whole paths (`"C:\\logs\\a.log"`): a backslash takes the meaning from a
    quote or a backslash only. RFC 5987's `filename*` wins over `filename`.
    """
    options = {}
    for name, value in _OPTION.findall(header):
        plain = _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value
        options[name.lower()] = plain
    extended = options.pop("filename*", "").split("'", 2)
    if len(extended) == 3 and extended[0].lower() == "utf-8":
        options["filename"] = unquote(extended[2], errors="surrogateescape")
    return options


class Upload:
    """A form with one file, read from front to back.

    `texts` holds the fields that stand before the file once `open` was called; `content` then
    yields the bytes of the file, and `rest` the fields behind it.
    """

    def __init__(self, stream: Any, boundary: bytes) -> None:
        self.texts: dict[str, str] = {}
        self.name = ""
        self._body = _Body(stream, b"\r\n--" + boundary)

    def open(self) -> bool:
        """Read up to the file; False if there is none."""
        self._body.discard()
        return self._read_texts(self.texts)

    def content(self) -> Iterator[bytes]:
        """Yield the bytes of the file."""
        return self._body.until_delimiter()

    def rest(self) -> dict[str, str]:
        """Return the fields behind the file, once all of the form has arrived."""
        texts: dict[str, str] = {}
        if self._read_texts(texts):
            raise Malformed("Send one file at a time.", field=FILE)
        if twice := set(texts) & set(self.texts):
            raise Malformed("Given more than once.", field=min(twice))
        return texts

    def close(self) -> None:
        """Do nothing: the connection belongs to the server."""

    def _read_texts(self, texts: dict[str, str]) -> bool:
        """Read fields until the file (True) or the end of the form (False)."""
        while not self._body.at_end():
            name, filename = self._body.headers()
            if name == FILE:
                self.name = filename or ""
                return True
            if name in texts or len(texts) >= _TEXTS:
                raise Malformed("Given more than once, or too many fields.", field=name)
            texts[name] = self._body.text(name)
        return False


class _Body:
    """The bytes between delimiters, read block by block."""

    def __init__(self, stream: Any, delimiter: bytes) -> None:
        self._stream = stream
        self._delimiter = delimiter
        self._buffer = b"\r\n"  # the first delimiter has no line before it

    def _fill(self) -> None:
        try:
            block = self._stream.read(_BLOCK)
        except (UnreadablePostError, OSError) as error:
            raise Incomplete("The connection broke; send the file again.", field=FILE) from error
        if not block:
            raise Incomplete("The upload ended before its closing delimiter; send it again.", field=FILE)
        self._buffer += block

    def until_delimiter(self) -> Iterator[bytes]:
        """Yield what stands before the next delimiter, and pass that."""
        keep = len(self._delimiter) - 1
        while (found := self._buffer.find(self._delimiter)) < 0:
            if len(self._buffer) > keep:
                ready, self._buffer = self._buffer[:-keep], self._buffer[-keep:]
                yield ready
            self._fill()
        ready, self._buffer = self._buffer[:found], self._buffer[found + len(self._delimiter) :]
        if ready:
            yield ready

    def discard(self) -> None:
        """Pass the next delimiter."""
        for _ in self.until_delimiter():
            pass

    def at_end(self) -> bool:
        """Look whether the delimiter that was passed is the closing one; else pass its line."""
        while len(self._buffer) < 2:
            self._fill()
        if self._buffer.startswith(b"--"):
            return True
        line = self._take(b"\r\n")
        if line.strip(b" \t"):
            raise Malformed("Something stands behind a delimiter on its line.")
        return False

    def headers(self) -> tuple[str, str | None]:
        """Return name and file name of the part that begins here."""
        lines = self._take(b"\r\n\r\n").split(b"\r\n")
        found = {name.strip().lower(): value for name, _, value in (line.partition(b":") for line in lines)}
        # Bytes that are no UTF-8 stay what they are; who stores the name makes it storable.
        disposition = found.get(b"content-disposition", b"").decode("utf-8", "surrogateescape")
        options = header_options(disposition)
        name = options.get("name", "")
        if not name or not disposition.strip().lower().startswith("form-data"):
            raise Malformed("A part has no Content-Disposition of form-data with a name.")
        encoding = found.get(b"content-transfer-encoding", b"binary").strip().lower()
        if encoding not in (b"binary", b"8bit", b"7bit"):
            raise Malformed("Send the bytes as they are, without a Content-Transfer-Encoding.", field=name)
        return name, options.get("filename")

    def text(self, name: str) -> str:
        """Return the text of the part that begins here."""
        value = b""
        for block in self.until_delimiter():
            value += block
            if len(value) > _TEXT_LIMIT:
                raise TooLarge(f"A field has up to {_TEXT_LIMIT} bytes.", field=name)
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Malformed("The text is no UTF-8.", field=name) from error

    def _take(self, end: bytes) -> bytes:
        while (found := self._buffer.find(end)) < 0:
            if len(self._buffer) > _HEADER_LIMIT + _BLOCK:
                raise Malformed("The headers of a part are too long.")
            self._fill()
        taken, self._buffer = self._buffer[:found], self._buffer[found + len(end) :]
        if len(taken) > _HEADER_LIMIT:
            raise Malformed("The headers of a part are too long.")
        return taken


class StreamedMultipart(BaseParser):
    """Gives the view an Upload in `request.FILES["upload"]` before a byte of it is read."""

    media_type = "multipart/form-data"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> DataAndFiles[Any, Any]:
        """Return the form unread. Raises Malformed without a boundary."""
        boundary = header_options(media_type or "").get("boundary", "")
        if not boundary or len(boundary) > 200 or not boundary.isascii():
            raise Malformed("The Content-Type names no boundary.")
        upload = Upload(stream, boundary.encode("ascii"))
        return DataAndFiles(QueryDict(""), MultiValueDict({"upload": [upload]}))
