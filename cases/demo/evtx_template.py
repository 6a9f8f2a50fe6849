"""Binary XML of Windows event logs: templates, and the values that fill them.

After MS-EVEN6 2.2.12 (BinXml) and "Windows XML Event Log (EVTX) format" (libevtx documentation).
A chunk holds every template and every name once; what comes later points there, by its offset
in the chunk. So a template is kept as pieces, and becomes bytes when its place is known.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

NAMESPACE: Final = "http://schemas.microsoft.com/win/2004/08/events/event"

_FRAGMENT: Final = b"\x0f\x01\x01\x00"
_END_OF_FRAGMENT: Final = b"\x00"
_CLOSE_START: Final = b"\x02"
_CLOSE_EMPTY: Final = b"\x03"
_END_ELEMENT: Final = b"\x04"
_TEXT: Final = b"\x05\x01"
#: Left out, with the attribute it is the value of, if it is null (MS-EVEN6 2.2.12.6).
_OPTIONAL: Final = b"\x0e"

_U16: Final = struct.Struct("<H")
_U32: Final = struct.Struct("<I")
_NAME: Final = struct.Struct("<IHH")
_TEMPLATE: Final = struct.Struct("<I16sI")


@lru_cache(maxsize=4096)
def _sid(text: str) -> bytes:
    """Return a security identifier as bytes (MS-DTYP 2.4.2.2)."""
    revision, authority, *parts = (int(part) for part in text.split("-")[1:])
    return (
        bytes((revision, len(parts))) + authority.to_bytes(6, "big") + struct.pack(f"<{len(parts)}I", *parts)
    )


@lru_cache(maxsize=4096)
def _guid(text: str) -> bytes:
    return uuid.UUID(text).bytes_le


def _text(value: str) -> bytes:
    return value.encode("utf-16-le", "surrogatepass")


#: Type code and packing of a value, by kind (MS-EVEN6 2.2.12, "BinXmlValueType").
KINDS: Final[dict[str, tuple[int, Callable[[Any], bytes]]]] = {
    "string": (0x01, _text),
    "int8": (0x03, struct.Struct("<b").pack),
    "uint8": (0x04, struct.Struct("<B").pack),
    "int16": (0x05, struct.Struct("<h").pack),
    "uint16": (0x06, _U16.pack),
    "int32": (0x07, struct.Struct("<i").pack),
    "uint32": (0x08, _U32.pack),
    "int64": (0x09, struct.Struct("<q").pack),
    "uint64": (0x0A, struct.Struct("<Q").pack),
    "double": (0x0C, struct.Struct("<d").pack),
    "boolean": (0x0D, _U32.pack),
    "binary": (0x0E, bytes),
    "guid": (0x0F, _guid),
    "filetime": (0x11, struct.Struct("<Q").pack),
    "sid": (0x13, _sid),
    "hex32": (0x14, _U32.pack),
    "hex64": (0x15, struct.Struct("<Q").pack),
}


@dataclass(frozen=True, slots=True)
class _Name:
    """Where the name of an element or attribute is pointed to, or stands."""

    text: str

    @property
    def hash(self) -> int:
        """The hash that sorts names into the buckets of a chunk."""
        found = 0
        for unit in memoryview(_text(self.text)).cast("H"):
            found = (found * 65599 + unit) & 0xFFFFFFFF
        return found & 0xFFFF


@dataclass(frozen=True, slots=True)
class _Sized:
    """Something that its size in bytes goes before."""

    pieces: tuple[_Piece, ...]


_Piece = bytes | _Name | _Sized


def _attribute(name: str, value: bytes, *, more: bool) -> tuple[_Piece, ...]:
    return (b"\x46" if more else b"\x06", _Name(name), value)


def _element(
    name: str, content: tuple[_Piece, ...] = (), attributes: tuple[tuple[str, bytes], ...] = ()
) -> tuple[_Piece, ...]:
    listed = tuple(
        piece
        for number, (key, value) in enumerate(attributes)
        for piece in _attribute(key, value, more=number < len(attributes) - 1)
    )
    inner: tuple[_Piece, ...] = (_Name(name),)
    if attributes:
        inner += (_Sized(listed),)
    inner += (_CLOSE_START, *content, _END_ELEMENT) if content else (_CLOSE_EMPTY,)
    return (b"\x41" if attributes else b"\x01", b"\xff\xff", _Sized(inner))


def _literal(text: str) -> bytes:
    encoded = _text(text)
    return _TEXT + _U16.pack(len(encoded) // 2) + encoded


def _value(number: int, kind: str) -> bytes:
    return _OPTIONAL + _U16.pack(number) + bytes((KINDS[kind][0],))


#: What the System section of every event is filled with, in the order of the substitutions.
SYSTEM: Final = (
    ("EventRecordID", "uint64"), ("TimeCreated", "filetime"), ("ProcessID", "uint32"),
    ("ThreadID", "uint32"), ("UserID", "sid"), ("ActivityID", "guid"), ("Computer", "string"),
    ("EventID", "uint16"), ("Version", "uint8"), ("Level", "uint8"), ("Task", "uint16"),
    ("Opcode", "uint8"), ("Keywords", "hex64"), ("Channel", "string"),
)  # fmt: skip
_PLACE: Final = {name: number for number, (name, _) in enumerate(SYSTEM)}
#: From here on the values are the same in every event of a template.
CONSTANT: Final = _PLACE["EventID"]


def _from_system(name: str) -> bytes:
    return _value(_PLACE[name], SYSTEM[_PLACE[name]][1])


@dataclass(frozen=True, eq=False)  # asked for with every event: identity is quick
class Template:
    """One kind of event: who logs it, what it is called, and the names and kinds of its data.

    With `payload`, an element's name and namespace, the data are elements of UserData.
    """

    provider: str
    guid: str
    channel: str
    event_id: int
    fields: tuple[tuple[str, str], ...]
    version: int = 0
    level: int = 4
    task: int = 0
    opcode: int = 0
    keywords: int = 0x8000000000000000
    payload: tuple[str, str] | None = None

    @cached_property
    def identifier(self) -> uuid.UUID:
        """The identifier of the template, the same for the same content."""
        return uuid.uuid5(uuid.NAMESPACE_URL, repr(self))

    @cached_property
    def short_id(self) -> int:
        """The first part of the identifier, which records name."""
        return int(self.identifier.fields[0])

    @cached_property
    def constants(self) -> tuple[Any, ...]:
        """The values of SYSTEM from CONSTANT on."""
        return (
            self.event_id, self.version, self.level, self.task, self.opcode, self.keywords, self.channel,
        )  # fmt: skip

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of all values, those of System first."""
        return tuple(kind for _, kind in SYSTEM) + tuple(kind for _, kind in self.fields)

    @cached_property
    def _pieces(self) -> tuple[_Piece, ...]:
        plain = ("EventID", "Version", "Level", "Task", "Opcode", "Keywords")
        system: tuple[_Piece, ...] = (
            *_element(
                "Provider",
                attributes=(("Name", _literal(self.provider)), ("Guid", _literal(f"{{{self.guid}}}"))),
            ),
            *(piece for name in plain for piece in _element(name, (_from_system(name),))),
            *_element("TimeCreated", attributes=(("SystemTime", _from_system("TimeCreated")),)),
            *_element("EventRecordID", (_from_system("EventRecordID"),)),
            *_element("Correlation", attributes=(("ActivityID", _from_system("ActivityID")),)),
            *_element(
                "Execution",
                attributes=tuple((name, _from_system(name)) for name in ("ProcessID", "ThreadID")),
            ),
            *(piece for name in ("Channel", "Computer") for piece in _element(name, (_from_system(name),))),
            *_element("Security", attributes=(("UserID", _from_system("UserID")),)),
        )
        content = (*_element("System", system), *self._data())
        return (_FRAGMENT, *_element("Event", content, (("xmlns", _literal(NAMESPACE)),)), _END_OF_FRAGMENT)

    def _data(self) -> tuple[_Piece, ...]:
        values = [
            (name, _value(number, kind)) for number, (name, kind) in enumerate(self.fields, start=len(SYSTEM))
        ]
        if self.payload is None:
            fields = [_element("Data", (value,), (("Name", _literal(name)),)) for name, value in values]
            return _element("EventData", tuple(piece for field in fields for piece in field))
        name, namespace = self.payload
        fields = [_element(field, (value,)) for field, value in values]
        inner = tuple(piece for field in fields for piece in field)
        return _element("UserData", _element(name, inner, (("xmlns", _literal(namespace)),)))

    def define(self, offset: int, names: dict[str, int], buckets: list[int], following: int) -> bytes:
        """Return the definition as it stands at `offset` of a chunk.

        `names` holds where names stand in that chunk, `buckets` the newest name of each hash;
        both learn the new ones. `following` is the next template of the same bucket.
        """
        out = bytearray(_TEMPLATE.size)
        _lay_out(self._pieces, out, offset, names, buckets)
        _TEMPLATE.pack_into(out, 0, following, self.identifier.bytes_le, len(out) - _TEMPLATE.size)
        return bytes(out)


def _lay_out(
    pieces: tuple[_Piece, ...], out: bytearray, base: int, names: dict[str, int], buckets: list[int]
) -> None:
    for piece in pieces:
        if isinstance(piece, bytes):
            out += piece
        elif isinstance(piece, _Name):
            known = names.get(piece.text)
            place = base + len(out) + 4
            out += _U32.pack(place if known is None else known)
            if known is None:
                names[piece.text] = place
                bucket = piece.hash % len(buckets)
                encoded = _text(piece.text)
                out += _NAME.pack(buckets[bucket], piece.hash, len(encoded) // 2) + encoded + b"\0\0"
                buckets[bucket] = place
        else:
            start = len(out)
            out += b"\0\0\0\0"
            _lay_out(piece.pieces, out, base, names, buckets)
            _U32.pack_into(out, start, len(out) - start - 4)
