"""Timelines as other tools export them, made of realistic events: JSON Lines and CSV of any size."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from benchmarks.events import SHARD, documents
from cases.index.document import format_time

#: Shards that two seeds have in common: none.
_APART = 10_000


def write_jsonl(place: Path, events: int, *, seed: int = 0) -> None:
    """Write one object a line, with the fields of Timesketch's format and every attribute beside them."""
    with place.open("wb") as file:
        for row in _rows(events, seed):
            file.write(orjson.dumps(row) + b"\n")


def write_csv(place: Path, events: int, *, seed: int = 0) -> None:
    """Write the same as CSV, with a column for every attribute that any event has."""
    columns: dict[str, None] = {}
    for shard in range(min(4, -(-events // SHARD))):  # three kinds of Windows tables and a Linux host
        for row in itertools.islice(_rows_of(seed * _APART + shard, 20_000), 20_000):
            columns.update(dict.fromkeys(row))
    with place.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(_rows(events, seed))


def _rows(events: int, seed: int) -> Iterator[dict[str, Any]]:
    for shard in range(-(-events // SHARD)):
        yield from _rows_of(seed * _APART + shard, min(SHARD, events - shard * SHARD))


def _rows_of(shard: int, count: int) -> Iterator[dict[str, Any]]:
    for document in documents(shard, count=count):
        yield {
            "message": document["message"],
            "datetime": format_time(document["timestamp"]),
            "timestamp_desc": document["timestamp_desc"],
            "hostname": document["host"],
            "username": document["user"],
            "tag": document["tags"],
            **document["attributes"],
        }
