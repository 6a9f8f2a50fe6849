"""The files of the demo: real formats, the same bytes every time, a story in noise."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pyevtx
import pytest

from cases.demo import evidence
from cases.demo.evidence import RECIPES, Recipe, make_file
from cases.parsers import choose
from cases.parsers.base import Context
from cases.parsers.source import FileSource
from cases.records import EPOCH, MICROSECOND, Damage, Record

PARSERS = {"evtx": "evtx", "jsonl": "jsonl", "csv": "csv"}
SMALL = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)


def parser_of(recipe: Recipe) -> str:
    if recipe.name.endswith(".log"):
        return "syslog" if "auth" in recipe.name else "weblog"
    return PARSERS[recipe.name.rpartition(".")[2]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("demo")
    for recipe in RECIPES:
        make_file(recipe, place, scale=1)
    return place


def read(recipe: Recipe, root: Path) -> list[Record]:
    path = make_file(recipe, root, scale=1)
    reference = EPOCH + int(path.stat().st_mtime * 1_000_000) * MICROSECOND
    source = FileSource(path, recipe.name, Context(time_zone=recipe.time_zone, reference=reference))
    parser = choose(source)
    assert parser.name == parser_of(recipe)
    found = list(parser.parse(source))
    assert not [item for item in found if isinstance(item, Damage)]
    return [item for item in found if isinstance(item, Record)]


@SMALL
def test_every_file_is_read_to_the_last_event_in_the_order_of_time(recipe: Recipe, root: Path) -> None:
    records = read(recipe, root)
    assert recipe.noise < len(records) < recipe.noise + 20
    times = [record.timestamp for record in records if record.timestamp is not None]
    assert len(times) == len(records)
    assert times == sorted(times)
    days = Counter((EPOCH + time * MICROSECOND).date().isoformat() for time in times)
    assert set(days) <= {f"2026-03-{day:02}" for day in range(9, 14)}


@SMALL
def test_the_bytes_are_the_same_every_time(recipe: Recipe, root: Path, tmp_path: Path) -> None:
    again = make_file(recipe, tmp_path, scale=1)
    first = make_file(recipe, root, scale=1)
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(first.read_bytes()).digest()
    assert again.stat().st_mtime == first.stat().st_mtime


def test_the_scale_multiplies_the_noise_and_not_the_story(root: Path, tmp_path: Path) -> None:
    recipe = next(recipe for recipe in RECIPES if recipe.name == "firewall_traffic.csv")
    lines = make_file(recipe, tmp_path, scale=3).read_text().splitlines()
    assert len(lines) == 1 + 3 * recipe.noise + 4
    assert sum("198.51.100.77" in line for line in lines) == 4


def test_the_noise_hides_some_fifty_events_of_the_story(root: Path) -> None:
    total = sum(len(read(recipe, root)) for recipe in RECIPES)
    noise = sum(recipe.noise for recipe in RECIPES)
    assert noise == 20_000
    assert 40 <= total - noise <= 60


def test_libevtx_reads_the_event_logs_without_complaint(root: Path) -> None:
    for recipe in RECIPES:
        if not recipe.name.endswith(".evtx"):
            continue
        file = pyevtx.file()
        file.open(str(make_file(recipe, root, scale=1)))
        assert not file.is_corrupted()
        assert file.number_of_records == len(read(recipe, root))
        assert file.get_record(file.number_of_records - 1).xml_string.startswith("<Event")
        file.close()


def test_a_kill_while_writing_leaves_no_half_file_under_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPES[2]

    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", die)
        with pytest.raises(KeyboardInterrupt):
            make_file(recipe, tmp_path, scale=1)
    place = tmp_path / f"evidence-{evidence.VERSION}-x1"
    assert [path.name for path in place.iterdir()] == [f"{recipe.name}.part"]
    assert len(make_file(recipe, tmp_path, scale=1).read_bytes().splitlines()) == recipe.noise + 3
    assert [path.name for path in place.iterdir()] == [recipe.name]
