"""How the tests of text parsers read: bytes in, records out, every promise of the contract checked."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from django.conf import settings

from cases.index.document import format_time
from cases.parsers.base import Context, Parser
from cases.parsers.source import FileSource
from cases.records import Damage, ParseError, Record

SAMPLES = Path(os.environ.get("DATAMORTEM_SAMPLES", settings.BASE_DIR.parent / "shared" / "samples"))

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


def source_of(folder: Path, data: bytes, **context: Any) -> FileSource:
    """Return the bytes as evidence."""
    path = folder / "evidence"
    path.write_bytes(data)
    return FileSource(path, "evidence", Context(**context))


def read_all(parser: Parser, source: FileSource) -> list[Any]:
    """Return the records and damages, having checked positions, places and notes."""
    found = list(parser.parse(source))
    positions = [entry.position for entry in found]
    assert len(set(positions)) == len(positions)
    for entry in found[:50] + found[-50:]:
        if isinstance(entry, Record):
            raw = parser.locate(source, entry.position, entry.span)
            assert entry.span is None or len(raw) == entry.span[1]
            assert entry.message
            assert (entry.timestamp is None) == (entry.time_precision == "none")
            assert entry.timestamp is not None or "time_note" in entry.attributes
    return found


def read_records(parser: Parser, source: FileSource) -> list[Any]:
    """Return the records of evidence in which nothing is damaged."""
    found = read_all(parser, source)
    assert not [entry for entry in found if isinstance(entry, Damage)]
    return [entry for entry in found if isinstance(entry, Record)]


def read_until_error(parser: Parser, source: FileSource) -> tuple[list[Any], str]:
    """Return what was read before the reading ended, and why it ended early, if it did."""
    found: list[Any] = []
    try:
        found.extend(parser.parse(source))
    except ParseError as error:
        return found, str(error)
    return found, ""


def when(record: Any) -> Any:
    """Return the time of a record as the API shows it."""
    assert isinstance(record, Record)
    return format_time(record.timestamp)


def sample(name: str) -> Path:
    """Return a public sample, or skip with the reason."""
    path = SAMPLES / name
    if not path.is_file():
        pytest.skip(f"no sample at {path}; set DATAMORTEM_SAMPLES")
    return path


def expected_count(name: str) -> int:
    """Return the number of records that the manifest of the samples states."""
    manifest = json.loads(sample("manifest.json").read_text())
    return next(int(entry["expect"]) for entry in manifest if entry["path"] == name)
