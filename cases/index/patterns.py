"""Wildcard patterns and regular expressions as tests of a folded text, in linear time.

RE2 runs what needs an automaton; a pattern whose only wildcard is `*` needs none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Final

import re2

from cases.index.text import fold
from cases.index.tree import ANY, ONE, Wildcard

#: Says whether a folded text (`text.fold`) meets what was asked.
Test = Callable[[str], bool]

#: Memory of one automaton; RE2 falls back to a slower, still linear, run when it is used up.
_MEMORY: Final = 2 << 20
#: Instructions of one program: a thousand host names as alternatives take 22,000.
_PROGRAM_LIMIT: Final = 50_000
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
#: Pieces of RE2 syntax in which a bracket or a letter could be mistaken for something else.
_PIECE: Final = re.compile(
    r"\\Q.*?(?:\\E|\Z)"  # quoted run
    r"|(?P<byte>\\C)"
    r"|\\."
    r"|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]"  # class; its first ] stands for itself
    r"|(?P<flags>\(\?(?!:|P?<))",
    re.DOTALL,
)


class BadExpression(ValueError):
    """RE2 does not take this expression; `offset` is the place inside it."""

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(reason)
        self.offset = offset


def regex_test(source: str, *, whole: bool) -> Test:
    """Return the test that an RE2 expression covers the text (`whole`) or occurs in it.

    Case never matters: the classes of RE2's own folding are those of `text.fold`, so that the
    expression itself, where folding would change `\\D` or `\\pL`, stays as written.
    Raises BadExpression.
    """
    return _runs(_regex_program(source), whole=whole)


def regex_size(source: str) -> int:
    """Return the number of instructions of an RE2 expression. Raises BadExpression."""
    size: int = _regex_program(source).programsize
    return size


def _regex_program(source: str) -> Any:
    source = unicodedata.normalize("NFC", _SURROGATES.sub("\ufffd", source))
    for piece in _PIECE.finditer(source):
        if piece["flags"]:
            raise BadExpression("flags and look-around are not supported", piece.start())
        if piece["byte"]:
            raise BadExpression("\\C, a single byte, is not supported", piece.start())
    return _program(source, dot_nl=False, case_sensitive=False)


def pattern_test(parts: Sequence[str | Wildcard], *, whole: bool) -> Test:
    """Return the test that the wildcard pattern covers the text (`whole`) or occurs in it.

    Raises BadExpression for a pattern with thousands of `?`.
    """
    if ONE not in parts:
        return _in_order(parts, whole=whole)
    signs = {ANY: ".*", ONE: "."}
    source = "".join(signs[part] if isinstance(part, Wildcard) else re2.escape(fold(part)) for part in parts)
    return _runs(_program(source, dot_nl=True, case_sensitive=True), whole=whole)


def _in_order(parts: Sequence[str | Wildcard], *, whole: bool) -> Test:
    """The first place of each literal after the one before decides, because `*` takes the rest."""
    literals = [fold(part) for part in parts if isinstance(part, str)]
    if whole and ANY not in parts:
        only = "".join(literals)
        return lambda text: text == only
    head = literals.pop(0) if whole and parts[0] is not ANY else ""
    tail = literals.pop() if whole and parts[-1] is not ANY else ""

    def test(text: str) -> bool:
        at, end = len(head), len(text) - len(tail)
        if at > end or not text.startswith(head) or not text.endswith(tail):
            return False
        for literal in literals:
            at = text.find(literal, at, end)
            if at < 0:
                return False
            at += len(literal)
        return True

    return test


def _program(source: str, *, dot_nl: bool, case_sensitive: bool) -> Any:
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    options.never_capture = True
    options.dot_nl = dot_nl
    options.case_sensitive = case_sensitive
    try:
        program = re2.compile(source, options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace")
        fragment = reason.partition(": ")[2]
        raise BadExpression(reason, max(source.find(fragment), 0)) from None
    if program.programsize > _PROGRAM_LIMIT:
        raise BadExpression("pattern too large")
    return program


def _runs(program: Any, *, whole: bool) -> Test:
    run = program.fullmatch if whole else program.search
    return lambda text: run(text) is not None
