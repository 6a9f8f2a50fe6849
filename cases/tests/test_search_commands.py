"""`manage.py search` and `export`: what is printed, where, and the exit code."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from cases.engines import engine
from cases.index.engine import IndexUnavailable
from cases.management.commands import export as export_command
from cases.management.commands import search as search_command
from cases.tests.api.cast import events, record
from cases.tests.cast import a_case

pytestmark = pytest.mark.django_db

CASE = "ir-2024-001"
HOSTILE = "\x1b[31mred\x1b[0m \x07\x9b31m \u202eevil\nnew line\t[bold]x"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _search(*arguments: str, out: io.StringIO | None = None) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr."""
    out, err = out or io.StringIO(), io.StringIO()
    try:
        call_command("search", *arguments, stdout=out, stderr=err)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue(), err.getvalue()
    except CommandError as refusal:
        return refusal.returncode, out.getvalue(), str(refusal)
    return 0, out.getvalue(), err.getvalue()


class TestSearch:
    """What is found."""

    def test_the_table_is_plain_without_a_terminal(self) -> None:
        events(
            a_case(), [record(0, "one", host="WS-1"), record(1, "two"), record(2, "three", timestamp=None)]
        )
        assert _search(CASE, "") == (
            0,
            "2024-03-01T00:00:00.000000Z  WS-1  jsonl  one\n"
            "2024-03-01T00:00:01.000000Z  -  jsonl  two\n"
            "undated  -  jsonl  three\n",
            "",
        )
        reverse = _search(CASE, "", "--reverse")[1].splitlines()
        assert [line.split()[-1] for line in reverse] == ["two", "one", "three"]

    def test_nothing_found_is_a_1_and_prints_nothing(self) -> None:
        events(a_case(), [record(0)])
        for shape in ("table", "jsonl", "csv"):
            assert _search(CASE, "absent", "--format", shape) == (1, "", "")
        assert _search(CASE, "absent", "--count") == (1, "0\n", "")

    def test_the_count_is_the_number_alone(self) -> None:
        events(a_case(), [record(number) for number in range(1234)])
        assert _search(CASE, "event", "--count") == (0, "1234\n", "")

    def test_a_query_may_begin_with_a_minus_behind_two(self) -> None:
        events(a_case(), [record(0, "one"), record(1, "two")])
        assert _search(CASE, "--count", "one") == (0, "1\n", "")
        assert _search(CASE, "--count", "--", "-one") == (0, "1\n", "")
        assert _search("--count", CASE, "--", "-one AND -two") == (1, "0\n", "")

    def test_times_evidence_and_limit_narrow(self) -> None:
        case = a_case()
        first = events(case, [record(0), record(86_400)])
        events(case, [record(1)], source="csv")
        assert _search(CASE, "", "--count", "--to", "2024-03-01")[1] == "2\n"
        assert _search(CASE, "", "--count", "--from", "2024-03-02")[1] == "1\n"
        assert _search(CASE, "", "--count", "--evidence", first.evidence_uid)[1] == "2\n"
        assert _search(CASE, "", "--count", "--source", "csv")[1] == "1\n"
        code, out, err = _search(CASE, "", "--limit", "1")
        assert (code, out.count("\n"), "1 of 3" in err) == (0, 1, True)

    def test_lines_and_sheets_hold_everything_by_default(self) -> None:
        events(a_case(), [record(number) for number in range(700)])
        lines = _search(CASE, "event", "--format", "jsonl")[1].splitlines()
        assert [json.loads(line)["position"] for line in (lines[0], lines[-1])] == ["line 1", "line 700"]
        sheet = list(csv.DictReader(io.StringIO(_search(CASE, "event", "--format", "csv")[1], newline="")))
        assert len(lines) == len(sheet) == 700
        assert len(_search(CASE, "event", "--format", "jsonl", "--limit", "3")[1].splitlines()) == 3

    @pytest.mark.parametrize("shape", ["table", "jsonl", "csv"])
    def test_nothing_in_evidence_reaches_a_terminal_raw(self, shape: str) -> None:
        events(a_case(), [record(0, HOSTILE, host="\x1b]0;title\x07", attributes={"\x9b": "\u202e"})])
        terminal = _Terminal()
        code, out, _ = _search(CASE, "", "--format", shape, out=terminal)
        assert code == 0
        assert not {"\x07", "\x9b", "\u202e", "\t"} & set(out)
        assert "\x1b[31m" not in out
        assert "\x1b]" not in out
        if shape == "jsonl":
            assert json.loads(out)["message"] == HOSTILE
        if shape == "table":
            assert "[bold]x" in out

    def test_plain_output_is_safe_to_look_at_too(self) -> None:
        events(a_case(), [record(0, HOSTILE)])
        out = _search(CASE, "")[1]
        assert out.removesuffix("\n").isprintable()


class TestRefused:
    """Errors are a 2 with the reason."""

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (("nothing", ""), "no case nothing"),
            (("\x1b[31m", ""), r"no case \x1b[31m"),
            ((CASE, "host:("), "^"),
            ((CASE, "", "--from", "yesterday"), "from"),
            ((CASE, "", "--from", "2024-03-02", "--to", "2024-03-01"), "from"),
            ((CASE, "", "--limit", "0"), "--limit"),
            ((CASE, "", "--format", "xml"), "--format"),
            ((CASE, "", "--limit", "many"), "--limit"),
            ((CASE, "(" * 100_000), "("),
        ],
    )
    def test_a_reason_is_given(self, arguments: tuple[str, ...], reason: str) -> None:
        a_case()
        code, out, err = _search(*arguments)
        assert (code if code != 1 else 2, out) == (2, "")
        assert reason in err
        assert len(err) < 2000
        assert "\x1b" not in err

    def test_the_place_of_a_fault_is_pointed_at(self) -> None:
        a_case()
        *_, query, pointer = _search(CASE, "host:a AND )")[2].splitlines()
        assert query[pointer.index("^")] == ")"

    def test_an_index_that_does_not_answer_is_a_2(self, monkeypatch: pytest.MonkeyPatch) -> None:
        a_case()

        def down(*args: Any, **kwargs: Any) -> Any:
            raise IndexUnavailable("The disk is gone.")

        for name in ("stream", "count"):
            monkeypatch.setattr(type(engine()), name, down)
        assert _search(CASE, "")[0] == 2
        assert _search(CASE, "", "--count")[0] == 2


class TestExport:
    """`manage.py export`."""

    def _export(self, *arguments: str) -> str:
        out = io.StringIO()
        call_command("export", *arguments, stdout=out)
        return out.getvalue()

    def test_the_last_line_is_the_number_of_events_in_the_file(self, tmp_path: Path) -> None:
        events(a_case(), [record(number, f"=event {number}") for number in range(600)])
        lines, sheet = tmp_path / "a.jsonl", tmp_path / "a.csv"
        assert self._export(CASE, "--format", "jsonl", "--output", str(lines)) == "600\n"
        assert self._export(CASE, "event", "--format", "csv", "--output", str(sheet)) == "600\n"
        assert [json.loads(line)["position"] for line in lines.read_bytes().splitlines()][:2] == [
            "line 1",
            "line 2",
        ]
        rows = list(csv.DictReader(io.StringIO(sheet.read_text("utf-8"))))
        assert (len(rows), rows[0]["message"]) == (600, "'=event 0")
        assert sorted(place.name for place in tmp_path.iterdir()) >= ["a.csv", "a.jsonl"]

    def test_nothing_found_is_an_empty_file_and_a_0(self, tmp_path: Path) -> None:
        a_case()
        file = tmp_path / "a.jsonl"
        assert self._export(CASE, "absent", "--format", "jsonl", "--output", str(file)) == "0\n"
        assert file.read_bytes() == b""

    def test_a_failure_midway_leaves_what_was_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        events(a_case(), [record(0), record(1)])
        file = tmp_path / "a.jsonl"
        file.write_text("before")
        stream = type(engine()).stream

        def breaking(*args: Any, **kwargs: Any) -> Any:
            yield next(iter(stream(*args, **kwargs)))
            raise IndexUnavailable("The disk is gone.")

        monkeypatch.setattr(type(engine()), "stream", breaking)
        with pytest.raises(CommandError) as refusal:
            self._export(CASE, "--format", "jsonl", "--output", str(file))
        assert refusal.value.returncode == 2
        assert [place.read_text() for place in tmp_path.iterdir() if place.is_file()] == ["before"]

    def test_a_place_that_cannot_be_written_is_a_2(self, tmp_path: Path) -> None:
        a_case()
        for place in (tmp_path / "no" / "a.jsonl", tmp_path, Path("-")):
            with pytest.raises(CommandError) as refusal:
                self._export(CASE, "--format", "jsonl", "--output", str(place))
            assert refusal.value.returncode == 2


@pytest.mark.parametrize(
    ("command", "name"), [(search_command.Command(), "search"), (export_command.Command(), "export")]
)
def test_the_examples_of_help_can_be_typed(
    command: BaseCommand, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events(a_case(), [record(0, "powershell")])
    monkeypatch.chdir(tmp_path)
    help_text = command.create_parser("manage.py", name).format_help()
    examples = re.findall(rf"^  manage\.py {name} (.*)$", help_text, re.MULTILINE)
    assert len(examples) >= 2
    for example in examples:
        with suppress(SystemExit):  # nothing is found; what is refused is a CommandError
            call_command(name, *shlex.split(example), stdout=io.StringIO(), stderr=io.StringIO())
