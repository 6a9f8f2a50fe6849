"""The pieces a query is written with, each read at its place: texts, expressions, ranges.

The lexical half of `query`. Which piece may stand somewhere depends on what stands before it, so
the grammar asks for them one by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NoReturn

from cases.index.tree import ANY, ONE, Wildcard


class QueryError(ValueError):
    """The query is refused; `message` says where, what is wrong and what to do.

    `at` is the offset of the fault in the text, from 0; the message counts from 1.
    """

    def __init__(self, reason: str, at: int) -> None:
        self.message = f"Character {at + 1}: {reason}"
        self.at = at
        super().__init__(self.message)


@dataclass(frozen=True, slots=True)
class Text:
    """An unquoted text, escapes resolved; `edits` where a tilde follows."""

    parts: tuple[str | Wildcard, ...]
    at: int
    edits: int | None = None

    @property
    def literal(self) -> str | None:
        """The text, None when it has wildcards."""
        literals = [part for part in self.parts if isinstance(part, str)]
        return "".join(literals) if len(literals) == len(self.parts) else None


@dataclass(frozen=True, slots=True)
class Quoted:
    """A text in quotes, escapes resolved; `slop` where a tilde follows."""

    literal: str
    at: int
    slop: int | None = None


@dataclass(frozen=True, slots=True)
class Mixed:
    """Quoted and unquoted pieces joined at dots, which only a name may be."""

    pieces: tuple[Text | Quoted, ...]
    at: int

    @property
    def literal(self) -> str | None:
        """The name, None when it has wildcards."""
        literals = [piece.literal for piece in self.pieces]
        return None if None in literals else "".join(map(str, literals))


@dataclass(frozen=True, slots=True)
class Expression:
    """A regular expression; `raw` is how it was typed between its slashes."""

    source: str
    raw: str
    at: int


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of a range as typed; None is open."""

    text: str | None
    at: int


@dataclass(frozen=True, slots=True)
class Range:
    """Two bounds. A comparison is a range with one of them open."""

    lower: Bound
    upper: Bound
    include_lower: bool
    include_upper: bool
    at: int


Chunk = Text | Quoted | Mixed
Term = Text | Quoted | Mixed | Expression | Range

#: Words in between of which nobody would say that they are near each other any more.
MAX_SLOP: Final = 10_000

#: Characters whose meaning a backslash takes away. Of these `/ + - ! = & < >` may stand inside an
#: unquoted text as they are.
SPECIAL: Final = frozenset('+-!(){}[]^"~*?:\\/&|<>=')
_PLAIN: Final = re.compile(r'[^\s\\()\[\]{}"^~:|*?]+')
_SIGNS: Final = {"*": ANY, "?": ONE}
_QUOTED: Final = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_EXPRESSION: Final = re.compile(r"/([^/\\]*(?:\\.[^/\\]*)*)/", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_RANGE: Final = re.compile(r"[\[{]([^\[\]{}]*)[\]}]")
_COMPARISON: Final = re.compile(r'([<>]=?)([^\s()\[\]{}"]*)')
_KEYWORD: Final = re.compile(r"(?:AND|OR|NOT|TO)(?=[\s()]|\Z)|&&|\|\||!")
_KEYWORDS: Final = {"&&": "AND", "||": "OR", "!": "NOT"}
_SUFFIX: Final = re.compile(r"~([^\s()]*)")
_EDITS: Final = {"": 2, "1": 1, "2": 2}

#: What is said of a sign that stands where it means nothing.
_MISPLACED: Final = {
    "": "something is missing here, at the end of the query.",
    ")": "something is missing here, before the closing bracket.",
    ":": "a colon follows the name of a field, without a space; any other colon stands in quotes.",
    "^": "^ is not supported: events are ordered by time, so no term weighs more than another.",
    "~": '~ follows one word (mimikatz~1) or a phrase ("log on"~3), without a space.',
    "|": "write OR or || between two terms; a single | stands in quotes or after a backslash.",
    "]": "no range is open here; write the text in quotes or a backslash before the bracket.",
    "}": "no range is open here; write the text in quotes or a backslash before the bracket.",
    '"': 'put a space before this quote, or write the whole text in quotes, an inner one as \\".',
}


def shown(text: str) -> str:
    """Return a text as an error may quote it: short and printable."""
    cut = text if len(text) <= 40 else f"{text[:40]}…"
    return "".join(char if char.isprintable() else "\ufffd" for char in cut)


class Scanner:
    """Reads the pieces of one query from left to right; `at` is where it stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self, ahead: int = 0) -> str:
        """The character here or further on, empty beyond the end."""
        return self.text[self.at + ahead : self.at + ahead + 1]

    def skip_space(self) -> None:
        """Go on to the next character that is no space."""
        while self.peek().isspace():
            self.at += 1

    def fail(self, reason: str, at: int | None = None) -> NoReturn:
        """Refuse the query at a place, by default here."""
        raise QueryError(reason, self.at if at is None else at)

    def keyword(self) -> tuple[str, int] | None:
        """The operator that stands here, AND, OR, NOT or TO, and the length of its spelling."""
        match = _KEYWORD.match(self.text, self.at)
        return None if match is None else (_KEYWORDS.get(match[0], match[0]), len(match[0]))

    def chunk(self) -> Chunk:
        """Read a text, quoted or not, or the name of a field up to its colon."""
        pieces = [self._piece()]
        while self._name_goes_on(pieces[-1]):
            pieces.append(self._piece())
        return pieces[0] if len(pieces) == 1 else Mixed(tuple(pieces), pieces[0].at)

    def _name_goes_on(self, last: Text | Quoted) -> bool:
        if isinstance(last, Quoted):
            return self.peek() == "."
        return self.peek() == '"' and (last.literal or "").endswith(".")

    def _piece(self) -> Text | Quoted:
        return self._quoted() if self.peek() == '"' else self._unquoted()

    def _quoted(self) -> Quoted:
        start = self.at
        match = _QUOTED.match(self.text, start)
        if match is None:
            reason = "this quote is never closed."
            if '\\"' in self.text[start:]:
                reason += ' Inside quotes \\" is a quote: double the last backslash ("C:\\Temp\\\\").'
            self.fail(reason)
        self.at = match.end()
        return Quoted(_ESCAPED.sub(lambda m: m[1] if m[1] in '"\\' else m[0], match[1]), start)

    def _unquoted(self) -> Text:
        start = self.at
        parts: list[str | Wildcard] = []
        literal: list[str] = []
        while True:
            if match := _PLAIN.match(self.text, self.at):
                self._refuse_joined(match)
                literal.append(match[0])
                self.at = match.end()
            elif (char := self.peek()) == "\\":
                literal.append(self._escaped())
            elif (sign := _SIGNS.get(char)) is not None:
                parts += ["".join(literal)] if literal else []
                literal.clear()
                if sign is ONE or parts[-1:] != [ANY]:  # "**" is "*"
                    parts.append(sign)
                self.at += 1
            else:
                break
        parts += ["".join(literal)] if literal else []
        if not parts:
            self.misplaced()
        return Text(tuple(parts), start)

    def _refuse_joined(self, match: re.Match[str]) -> None:
        joined = match[0].find("&&")
        if joined >= 0:
            self.fail("put spaces around && to mean AND, or the text in quotes.", self.at + joined)

    def _escaped(self) -> str:
        char = self.peek(1)
        if char not in SPECIAL and not char.isspace():
            self.fail(
                "a single backslash takes the meaning from a special character, and none follows."
                ' Double it (*\\\\Temp\\\\*.exe) or put the text in quotes ("C:\\Temp").'
            )
        self.at += 2
        return char

    def misplaced(self) -> NoReturn:
        """Refuse the sign that stands here, saying what it is for."""
        sign = self.peek()
        self.fail(_MISPLACED.get(sign, f"{sign} stands in quotes or after a backslash."))

    def end_term(self) -> None:
        """Check that what was read ends here: at a space, a bracket, an operator or the end."""
        sign = self.peek()
        if not sign or sign.isspace() or sign in "()" or self.text[self.at : self.at + 2] in {"&&", "||"}:
            return
        if sign in _MISPLACED:
            self.misplaced()
        self.fail("put a space here, or write the whole text in quotes.")

    def text_term(self, chunk: Chunk) -> Chunk:
        """Take a text that was read as a term, with what a tilde says after it."""
        sign = self.peek()
        if sign == ":":
            self.fail('a colon inside a value stands in quotes ("10:15") or after a backslash.')
        if sign == "(" and not isinstance(chunk, Quoted):
            self.fail("put a space before this bracket, or write the whole text in quotes.")
        if sign == "~" and not isinstance(chunk, Mixed):
            return self._with_suffix(chunk)
        self.end_term()
        return chunk

    def _with_suffix(self, chunk: Text | Quoted) -> Text | Quoted:
        match = _SUFFIX.match(self.text, self.at)
        amount = match[1] if match else ""
        if isinstance(chunk, Text):
            if amount not in _EDITS:
                self.fail("after ~ stands 1 or 2, the edits allowed; nothing means 2.")
            term: Text | Quoted = Text(chunk.parts, chunk.at, _EDITS[amount])
        else:
            if not (amount.isascii() and amount.isdigit()):
                self.fail('after the ~ of a phrase stands the number of words allowed in between: "a b"~3.')
            if len(amount) > len(str(MAX_SLOP)) or int(amount) > MAX_SLOP:
                self.fail(f"at most {MAX_SLOP} words may be allowed in between.")
            term = Quoted(chunk.literal, chunk.at, int(amount))
        self.at += 1 + len(amount)
        return term

    def expression(self) -> Expression:
        """Read a regular expression between slashes."""
        start = self.at
        match = _EXPRESSION.match(self.text, start)
        if match is None:
            self.fail('no slash closes this regular expression; a path stands in quotes ("/var/log").')
        self.at = match.end()
        sign = self.peek()
        if sign and not sign.isspace() and sign not in "()":
            self.fail(
                "after the closing slash of a regular expression stands a space. A slash inside it is"
                ' written \\/, and a path stands in quotes ("/var/log").'
            )
        return Expression(_ESCAPED.sub(lambda m: "/" if m[1] == "/" else m[0], match[1]), match[1], start)

    def range(self) -> Range:
        """Read a range in brackets."""
        start = self.at
        match = _RANGE.match(self.text, start)
        if match is None:
            self.fail("this range is never closed: write [1 TO 5], or the text in quotes.")
        bounds = [Bound(bound[0], match.start(1) + bound.start()) for bound in re.finditer(r"\S+", match[1])]
        if len(bounds) != 3 or bounds[1].text != "TO":
            self.fail("a range has two bounds with an upper-case TO in between: [1 TO 5].")
        self.at = match.end()
        self.end_term()
        lower, _, upper = (Bound(None if bound.text == "*" else bound.text, bound.at) for bound in bounds)
        return Range(lower, upper, match[0][0] == "[", match[0][-1] == "]", start)

    def comparison(self) -> Range:
        """Read a comparison with one bound: `>=5`."""
        start = self.at
        match = _COMPARISON.match(self.text, start)
        sign, text = (match[1], match[2]) if match else ("", "")
        self.at += len(sign)
        if text in {"", "*"}:
            self.fail(f"a number, or for timestamp a time, follows {sign} without space or quotes.")
        bound, open_end = Bound(text, self.at), Bound(None, start)
        self.at += len(text)
        self.end_term()
        inclusive = sign.endswith("=")
        if sign.startswith(">"):
            return Range(bound, open_end, inclusive, True, start)
        return Range(open_end, bound, True, inclusive, start)
