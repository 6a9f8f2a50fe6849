"""`manage.py export`: all events that match, into a file that is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases import audit, custody, formats, search
from cases.index.document import Document
from cases.management.commands._asking import REFUSED, add_question, question, refusals
from cases.management.commands._examples import add_examples
from datamortem.common.operators import operator


class Command(BaseCommand):
    """Writes events as JSON lines or CSV, oldest first; the last line is their number."""

    help = "Export the events of a case that match a query."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the question, the format and the file."""
        add_examples(
            parser,
            "export ir-2024-001 --format jsonl --output everything.jsonl",
            "export ir-2024-001 'user:alice' --to 2024-03-31 --format csv --output alice.csv",
        )
        add_question(parser, query_required=False)
        parser.add_argument("--format", choices=formats.FORMATS, required=True)
        parser.add_argument("--output", type=Path, required=True, metavar="FILE")

    def handle(self, *args: Any, **options: Any) -> str:
        """Write the file and return the number of events in it."""
        output: Path = options["output"]
        if str(output) == "-":
            raise CommandError("--output: name a file; `search --format` prints.", returncode=REFUSED)
        with refusals(options["query"]):
            counted = _Counted(search.export(question(options)))
            _record(options)
            try:
                _write_whole(output, formats.lines(counted, options["format"]))
            except OSError as error:
                raise CommandError(f"{output}: {error.strerror}.", returncode=REFUSED) from error
        return str(counted.number)


def _record(options: dict[str, Any]) -> None:
    asked = {"q": options["query"], "from": options["start"], "to": options["end"]}
    details = audit.question(
        **asked,
        evidence=options["evidence"],
        source=options["source"],
        format=options["format"],
        file=options["output"].name,
    )
    with custody.acting_as(operator()):
        audit.taken(audit.EXPORTED, case_id=options["case"], by=None, details=details)


class _Counted:
    """Hands events on and counts them."""

    def __init__(self, events: Iterable[Document]) -> None:
        self.events = events
        self.number = 0

    def __iter__(self) -> Iterator[Document]:
        for event in self.events:
            self.number += 1
            yield event


def _write_whole(output: Path, blocks: Iterable[bytes]) -> None:
    """Write beside and rename, so that a part is never taken for the whole."""
    if output.exists() and not output.is_file():  # a pipe, or /dev/stdout
        with output.open("wb") as file:
            file.writelines(blocks)
        return
    handle, draft = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(blocks)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, output)  # noqa: PTH105
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(draft).unlink()
