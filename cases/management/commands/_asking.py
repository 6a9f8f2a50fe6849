"""What `search` and `export` have in common: a case, a question, and refusals with exit code 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError, CommandParser

from cases import search
from cases.models import Case
from datamortem.common.errors import DomainError
from datamortem.common.terminal import printable

REFUSED = 2


def add_question(parser: CommandParser, *, query_required: bool) -> None:
    """Take the case and what to find in it."""
    parser.add_argument("case", metavar="CASE")
    given = "to find everything, put ''; " if query_required else ""
    parser.add_argument(
        "query",
        metavar="QUERY",
        nargs=None if query_required else "?",
        default="",
        help=f"what to find; {given}put -- before a leading minus",
    )
    parser.add_argument("--from", dest="start", default="", metavar="TIME", help="a date, or RFC 3339")
    parser.add_argument(
        "--to", dest="end", default="", metavar="TIME", help="a date (to its end), or RFC 3339"
    )
    parser.add_argument(
        "--evidence", action="append", default=[], metavar="UID", help="only of this evidence"
    )
    parser.add_argument("--source", action="append", default=[], metavar="NAME", help="only by this parser")


def question(options: dict[str, Any]) -> search.Question:
    """Return the question. Raises DomainError and CommandError."""
    cases = Case.objects.filter(case_id=options["case"])
    if not cases.exists():
        raise CommandError(f"There is no case {printable(options['case'])}.", returncode=REFUSED)
    return search.frame(
        cases=cases,
        q=options["query"],
        start=options["start"],
        end=options["end"],
        evidence=options["evidence"],
        source=options["source"],
    )


@contextmanager
def refusals(query: str) -> Iterator[None]:
    """Turn what search refuses into an error of the command; a fault in the query is pointed at."""
    try:
        yield
    except search.InvalidQuery as refusal:
        before, rest = printable(query[: refusal.at]), printable(query[refusal.at :])
        # A query of a megabyte is not printed whole.
        shown = f"{before[-60:]}{rest[:60]}\n  {' ' * len(before[-60:])}^"
        raise CommandError(f"{printable(refusal.detail)}\n  {shown}", returncode=REFUSED) from refusal
    except DomainError as refusal:
        raise CommandError(printable(refusal.detail), returncode=REFUSED) from refusal
