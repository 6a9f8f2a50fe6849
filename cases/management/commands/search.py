"""`manage.py search`: the events of a case, on the terminal or for the next program."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cases import formats, search
from cases.index.document import Document
from cases.management.commands._asking import REFUSED, add_question, question, refusals
from cases.management.commands._examples import add_examples
from datamortem.common.terminal import printable, printable_json

_TABLE_LIMIT: Final = 100
_NOTHING: Final = 1


class Command(BaseCommand):
    """Prints what matches; the exit code is 0 if anything did, 1 if nothing, 2 for an error."""

    help = "Find events of a case: oldest first, undated ones last."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the question, and how to show the answer."""
        add_examples(
            parser,
            "search ir-2024-001 'powershell AND EventID:4688' --from 2024-03-01",
            "search ir-2024-001 'host:web-01 AND (failed OR invalid)' --reverse --limit 20",
            r"search ir-2024-001 '*\\Temp\\*.exe' --count",
            "search ir-2024-001 --format jsonl -- '-source:evtx'",
        )
        add_question(parser, query_required=True)
        parser.add_argument("--limit", type=int, metavar="N", help="print up to N (a table: 100; else all)")
        parser.add_argument("--reverse", action="store_true", help="newest first")
        parser.add_argument("--format", choices=("table", *formats.FORMATS), default="table")
        parser.add_argument("--count", action="store_true", help="print the number of events alone")

    def handle(self, *args: Any, **options: Any) -> None:
        """Search and print."""
        try:
            found = self._search(options)
            self.stdout.flush()
        except BrokenPipeError:  # `| head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        if not found:
            sys.exit(_NOTHING)

    def _search(self, options: dict[str, Any]) -> bool:
        """Print the answer; say whether anything was found."""
        limit = options["limit"]
        if limit is not None and limit < 1:
            raise CommandError("--limit: expected a number from 1.", returncode=REFUSED)
        with refusals(options["query"]):
            asked = question(options)
            if options["count"]:
                total = search.count_events(asked)
                self.stdout.write(str(total))
                return total > 0
            if options["format"] == "table":
                return self._table(asked, limit or _TABLE_LIMIT, newest_first=options["reverse"])
            events = search.export(asked, newest_first=options["reverse"])
            return self._lines(islice(events, limit), options["format"])

    def _lines(self, events: Iterable[Document], shape: str) -> bool:
        first = next(iter(events := iter(events)), None)
        if first is None:
            return False
        for block in formats.lines(chain([first], events), shape):
            text = block.decode()
            self.stdout.write(_for_terminal(text, shape) if self.stdout.isatty() else text, ending="")
        return True

    def _table(self, asked: search.Question, limit: int, *, newest_first: bool) -> bool:
        events = islice(search.export(asked, newest_first=newest_first), limit)
        rows = [_row(event) for event in events]
        if self.stdout.isatty():
            self._rich(rows)
        else:
            self.stdout.writelines("  ".join(row) + "\n" for row in rows)
        if len(rows) == limit and (total := search.count_events(asked)) > limit:
            self.stderr.write(f"{limit} of {total:,} events are shown; --limit shows more.")
        return bool(rows)

    def _rich(self, rows: list[tuple[str, ...]]) -> None:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("time (UTC)", "host", "source"):
            table.add_column(name, no_wrap=True)
        table.add_column("message", overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))  # Text: brackets in evidence are no markup
        Console(file=self.stdout, highlight=False).print(table)  # type: ignore[arg-type]


def _row(event: Document) -> tuple[str, ...]:
    cells = (event["timestamp"] or "undated", event["host"] or "-", event["source"], event["message"])
    return tuple(printable(cell) for cell in cells)


def _for_terminal(text: str, shape: str) -> str:
    escape = printable_json if shape == "jsonl" else printable
    return "".join(f"{line}\n" for line in _each(text, escape))


def _each(text: str, escape: Any) -> Iterator[str]:
    for line in text.removesuffix("\n").split("\n"):
        yield escape(line.removesuffix("\r"))
