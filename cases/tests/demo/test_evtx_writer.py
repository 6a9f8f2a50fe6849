"""The logs we write are read by two programs that know nothing of us, and say the same."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import orjson
import pyevtx
import pytest
from evtx import PyEvtxParser

from cases.demo import evtx_damage
from cases.demo.evtx_template import KINDS, NAMESPACE, Template
from cases.demo.evtx_writer import CHUNK_SIZE, HEADER_SIZE, EvtxWriter

TIME = 133_536_825_301_234_567
GUID = "54849625-5478-4994-a5ba-3e3b0328c30d"
EVERY_KIND = Template(
    "Vendor-Product",
    GUID,
    "Vendor/Operational",
    4711,
    tuple((f"a_{kind}", kind) for kind in KINDS),
    version=3,
    level=2,
    task=515,
    opcode=7,
    keywords=0x8020000000000001,
)
USER_DATA = Template(
    "Vendor-Other",
    GUID,
    "Vendor/Operational",
    12,
    (("Who", "string"), ("Sid", "sid")),
    payload=("Happened", "urn:vendor:happened"),
)
VALUES: dict[str, tuple[Any, str]] = {
    "string": ('Ünïcode ✓ 漢字 😀 <&> "q"', 'Ünïcode ✓ 漢字 😀 <&> "q"'),
    "int8": (-3, "-3"),
    "uint8": (250, "250"),
    "int16": (-30_000, "-30000"),
    "uint16": (65_000, "65000"),
    "int32": (-2_000_000_000, "-2000000000"),
    "uint32": (4_000_000_000, "4000000000"),
    "int64": (-(2**62), str(-(2**62))),
    "uint64": (2**63 + 5, str(2**63 + 5)),
    "double": (0.5, "0.5"),
    "boolean": (True, "true"),
    "binary": (b"\x00\x01\xfe\xff", "0001FEFF"),
    "guid": (GUID, GUID.upper()),
    "filetime": (TIME, "2024-02-29T12:15:30.123456"),
    "sid": ("S-1-5-21-1-22-333-1001", "S-1-5-21-1-22-333-1001"),
    "hex32": (0x3E7, "0x3e7"),
    "hex64": (0xDEADBEEF01, "0xdeadbeef01"),
}


def write(path: Path, count: int) -> None:
    with path.open("wb") as file, EvtxWriter(file, first_number=100) as writer:
        for number in range(count):
            system = (4, 8 + number, "S-1-5-18", GUID, "WS-01") if number % 2 else (4, 8, None, None, "WS-01")
            values = tuple(VALUES[kind][0] for kind in KINDS)
            writer.write(EVERY_KIND, TIME + number * 10_000_000, system, values)
            if number % 7 == 0:
                writer.write(USER_DATA, TIME + number * 10_000_000 + 1, system, (f"bob {number}", None))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "written.evtx"
    write(path, 700)
    return path


def by_crate(path: Path) -> list[dict[str, Any]]:
    found = PyEvtxParser(str(path)).records_json()
    return [orjson.loads(record["data"])["Event"] for record in found if record]


def by_libevtx(path: Path) -> list[ET.Element]:
    file = pyevtx.file()
    file.open(str(path))
    try:
        assert not file.is_corrupted()
        return [ET.fromstring(record.xml_string) for record in file.records]
    finally:
        file.close()


def plain(text: Any) -> str:
    """Spell a value as neither reader does: without braces, zeros in front of hex, or decimals."""
    spelled = str(text).strip("{}")
    if spelled.startswith("0x"):
        return hex(int(spelled, 16))
    return spelled.lower() if spelled in ("True", "False") else spelled


def unsigned(name: str, text: str) -> str:
    """Undo libevtx's reading of negative numbers as sign and magnitude (-3 as -125)."""
    if text.startswith("-") and (bits := name.rpartition("a_int")[2]).isdigit():
        return str(-int(text) - 2 ** (int(bits) - 1))
    return text


def tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def test_every_kind_of_value_is_read_back_by_both_readers(log: Path) -> None:
    ours = by_crate(log)[0]["EventData"]
    section = by_libevtx(log)[0].find(tag("EventData"))
    assert section is not None
    theirs = {data.get("Name", ""): unsigned(data.get("Name", ""), data.text or "") for data in section}
    for kind, (_, expected) in VALUES.items():
        for found in (ours[f"a_{kind}"], theirs[f"a_{kind}"]):
            if kind == "filetime":
                assert str(found).startswith(expected), kind
            elif kind == "double":
                assert float(found) == float(expected)
            else:
                assert plain(found) == expected, kind


def test_both_readers_find_every_record_of_many_chunks_in_order(log: Path) -> None:
    ours, theirs = by_crate(log), by_libevtx(log)
    assert (log.stat().st_size - HEADER_SIZE) // CHUNK_SIZE > 5
    assert len(ours) == len(theirs) == 800
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True), start=100):
        system = other.find(tag("System"))
        assert system is not None
        assert mine["System"]["EventRecordID"] == number == int(system.findtext(tag("EventRecordID"), ""))


def test_both_readers_agree_on_all_fields_of_all_records(log: Path) -> None:
    for mine, other in zip(by_crate(log), by_libevtx(log), strict=True):
        assert flatten_json(mine) == flatten_xml(other)


def flatten_json(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        found: dict[str, str] = {}
        for name, inner in value.items():
            found |= flatten_json(inner, path if name in ("#attributes", "#text") else f"{path}/{name}")
        return {key: text for key, text in found.items() if not key.endswith("/xmlns")}
    return {} if value is None or value == "" else {path: comparable(path, value)}


def flatten_xml(element: ET.Element, path: str = "") -> dict[str, str]:
    found = {}
    for child in element:
        name = child.get("Name") if child.tag.endswith("}Data") else child.tag.partition("}")[2]
        here = f"{path}/{name}"
        if child.text and child.text.strip():
            found[here] = comparable(here, unsigned(here, child.text))
        for key, value in child.attrib.items():
            if not child.tag.endswith("}Data"):
                found[f"{here}/{key}"] = comparable(here, value)
        found |= flatten_xml(child, here)
    return found


def comparable(path: str, value: Any) -> str:
    if path.endswith(("SystemTime", "TimeCreated", "a_filetime")):
        return str(value)[:26]  # the crate's JSON ends at microseconds
    if path.endswith("a_double"):
        return str(float(value))
    return plain(value)


def test_the_checksums_are_right(log: Path) -> None:
    data = log.read_bytes()
    assert struct.unpack_from("<I", data, 124)[0] == zlib.crc32(data[:120])
    for start in range(HEADER_SIZE, len(data), CHUNK_SIZE):
        chunk = data[start : start + CHUNK_SIZE]
        free, checksum = struct.unpack_from("<II", chunk, 48)
        assert zlib.crc32(chunk[512:free]) == checksum
        assert struct.unpack_from("<I", chunk, 124)[0] == zlib.crc32(chunk[:120] + chunk[128:512])
    file = PyEvtxParser(io.BytesIO(data), validate_checksums=True)
    assert sum(1 for _ in file.records_json()) == 800


def test_a_null_value_leaves_its_element_out(log: Path) -> None:
    happened = by_crate(log)[1]["UserData"]["Happened"]
    assert happened["Who"] == "bob 0"
    assert happened.get("Sid") is None


def test_the_same_events_give_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a", 50)
    write(tmp_path / "b", 50)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_event_that_no_chunk_can_hold_is_refused() -> None:
    with (
        pytest.raises(ValueError, match="does not fit"),
        EvtxWriter(io.BytesIO()) as writer,
    ):
        writer.write(USER_DATA, TIME, (4, 8, None, None, "WS-01"), ("x" * 40_000, None))


def test_an_empty_log_is_a_log(tmp_path: Path) -> None:
    path = tmp_path / "empty.evtx"
    with path.open("wb") as file, EvtxWriter(file):
        pass
    assert by_crate(path) == []
    assert by_libevtx(path) == []


@pytest.mark.parametrize("kind", sorted(evtx_damage.KINDS))
def test_a_damaged_copy_differs_only_where_it_was_asked_to(log: Path, kind: str) -> None:
    data = log.read_bytes()
    damaged = evtx_damage.KINDS[kind](data, 2, 3)
    assert damaged != data
    start = HEADER_SIZE + 2 * CHUNK_SIZE
    assert damaged[:start] == data[:start]
    if kind != "cut":
        assert damaged[start + CHUNK_SIZE :] == data[start + CHUNK_SIZE :]
        assert len(damaged) == len(data)


def test_damage_beyond_the_log_is_refused(log: Path) -> None:
    with pytest.raises(ValueError, match="no record"):
        evtx_damage.overwrite_record(log.read_bytes(), 0, 5000)
