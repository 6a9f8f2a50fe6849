"""The parsers, in the order in which they are asked.

A parser that recognises its format by a signature comes before one that recognises it by looks.
"""

from __future__ import annotations

from typing import Final

from cases.parsers.base import Parser, Source
from cases.parsers.delimited import Delimited
from cases.parsers.evtx import EvtxParser
from cases.parsers.jsonl import JsonLines
from cases.parsers.syslog import Syslog
from cases.parsers.weblog import Weblog
from cases.records import ParseError

PARSERS: Final[tuple[Parser, ...]] = (EvtxParser(), JsonLines(), Weblog(), Syslog(), Delimited())


def choose(source: Source) -> Parser:
    """Return the first parser that accepts the content. Raises ParseError when none does."""
    for parser in PARSERS:
        if parser.accepts(source):
            return parser
    if not source.head:
        raise ParseError("The file is empty.")
    known = ", ".join(parser.name for parser in PARSERS)
    raise ParseError(f"No parser recognises this content; there are {known}. Name one to have it try.")


def by_name(name: str) -> Parser:
    """Return the parser of a name. Raises KeyError."""
    return {parser.name: parser for parser in PARSERS}[name]
