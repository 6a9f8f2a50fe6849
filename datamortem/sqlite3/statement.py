"""Read what SQLite keeps only as text: the parts of CREATE TABLE and CREATE INDEX.

The pragmas tell names, types and keys; checks, DEFERRABLE, AUTOINCREMENT, generated columns,
expressions and conditions stand only in the statement, which SQLite keeps as it was typed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(
    r"""
      (?P<skip>\s+|--[^\n]*|/\*.*?(?:\*/|\Z))
    | (?P<string>[xX]?'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
    | (?P<word>[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*)
    | (?P<number>\d[\w.]*|\.\d\w*)
    | (?P<sign>\|\||->>|->|<<|>>|<=|>=|==|!=|<>|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_TABLE_WORDS: Final = frozenset({"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"})


@dataclass(frozen=True, slots=True)
class Token:
    """A word, name, literal or sign, and where it stands in the statement."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        """The keyword this may be, in capitals; empty for everything that is no bare word."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def name(self) -> str:
        """The name this may be, unquoted."""
        if self.kind == "word":
            return self.text
        if self.kind not in ("quoted", "string"):
            return ""
        quote = self.text[-1]
        inner = self.text[1:-1]
        return inner if quote == "]" else inner.replace(quote * 2, quote)

    @property
    def normal(self) -> str:
        """The text, the same for all spellings of a name or keyword."""
        return self.name.lower() if self.kind in ("word", "quoted") else self.text


Tokens = Sequence[Token]


@dataclass(frozen=True, slots=True)
class TableStatement:
    """A CREATE TABLE, taken apart. The texts are as they stand there."""

    #: Name of a column -> its definition, name included.
    columns: dict[str, Tokens]
    #: The constraints of the table, with CONSTRAINT and their name where they have one.
    constraints: list[Tokens]
    #: What follows the closing bracket: WITHOUT ROWID, STRICT.
    options: str


def tokens(sql: str) -> list[Token]:
    """Return the statement's tokens without blanks and comments."""
    return [
        Token(match.lastgroup or "", match.group(), match.start(), match.end())
        for match in _TOKEN.finditer(sql)
        if match.lastgroup != "skip"
    ]


def text(sql: str, part: Tokens) -> str:
    """Return a part of a statement as it stands there."""
    return sql[part[0].start : part[-1].end] if part else ""


def normal(part: Tokens) -> str:
    """Return an expression in one spelling: no outer brackets, names bare and in lower case."""
    while len(part) > 1 and part[0].text == "(" and closing(part, 0) == len(part) - 1:
        part = part[1:-1]
    return " ".join(token.normal for token in part)


def closing(part: Tokens, opening: int) -> int:
    """Return where the bracket opened at `opening` closes."""
    depth = 0
    for position in range(opening, len(part)):
        if part[position].text == "(":
            depth += 1
        elif part[position].text == ")":
            depth -= 1
            if depth == 0:
                return position
    return len(part) - 1


def split(part: Tokens) -> Iterator[Tokens]:
    """Yield what stands between the commas that are in no bracket."""
    start = depth = 0
    for position, token in enumerate(part):
        depth += (token.text == "(") - (token.text == ")")
        if token.text == "," and depth == 0:
            yield part[start:position]
            start = position + 1
    if part[start:]:
        yield part[start:]


def table_statement(sql: str) -> TableStatement:
    """Take a CREATE TABLE apart, as SQLite keeps it in sqlite_master."""
    all_tokens = tokens(sql)
    opening = next((n for n, token in enumerate(all_tokens) if token.text == "("), None)
    if opening is None:
        return TableStatement({}, [], "")
    end = closing(all_tokens, opening)
    columns: dict[str, Tokens] = {}
    constraints: list[Tokens] = []
    for part in split(all_tokens[opening + 1 : end]):
        # Constraints may follow each other without a comma; no tool writes them so.
        if part[0].word in _TABLE_WORDS:
            constraints.append(part)
        else:
            columns[part[0].name] = part
    return TableStatement(columns, constraints, text(sql, all_tokens[end + 1 :]))


def checks(part: Tokens) -> Iterator[tuple[str, Tokens]]:
    """Yield name (or nothing) and expression, brackets included, of the checks in a definition."""
    depth = 0
    for position, token in enumerate(part):
        if token.word == "CHECK" and depth == 0:
            named = position > 1 and part[position - 2].word == "CONSTRAINT"
            name = part[position - 1].name if named else ""
            yield name, part[position + 1 : closing(part, position + 1) + 1]
        depth += (token.text == "(") - (token.text == ")")


def index_statement(sql: str) -> tuple[list[Tokens], Tokens]:
    """Return the columns or expressions of a CREATE INDEX, and its condition."""
    all_tokens = tokens(sql)
    opening = next(n for n, token in enumerate(all_tokens) if token.text == "(")
    end = closing(all_tokens, opening)
    return list(split(all_tokens[opening + 1 : end])), all_tokens[end + 2 :]  # after WHERE
