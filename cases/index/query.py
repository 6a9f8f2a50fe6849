"""Query text to a checked tree, or an error that names the place: the language of docs/search.md.

The grammar. `tokens` reads the pieces it is made of, `terms` says what each asks of its field.

    any   = all (OR all)*
    all   = term ([AND] term)*
    term  = (NOT | "+" | "-")* ("(" any ")" | [name ":"] value | name ":(" any ")")
"""

from __future__ import annotations

from typing import Final

from cases.index import terms
from cases.index.patterns import regex_size
from cases.index.tokens import Chunk, Expression, QueryError, Range, Scanner, Term
from cases.index.tree import And, Annotated, Everything, Node, Not, Or, Pattern, Regex

__all__ = ["MAX_CLAUSES", "MAX_LENGTH", "MAX_NESTING", "MAX_PATTERNS", "QueryError", "parse"]

#: Characters of a query; a thousand digests as alternatives take 70,000.
MAX_LENGTH: Final = 100_000
#: Terms of a query.
MAX_CLAUSES: Final = 2_000
#: Patterns and regular expressions, each of which may take megabytes to run.
MAX_PATTERNS: Final = 100
#: Instructions of all regular expressions together, as RE2 counts them; a tenth of a second to compile.
MAX_INSTRUCTIONS: Final = 200_000
#: Open brackets, and negations before one term. A level makes at most three levels of the tree,
#: which engines walk by recursion.
MAX_NESTING: Final = 50


def parse(text: str) -> Node:
    """Return the tree of a query; nothing and `*` are every event.

    Takes a fraction of a second whatever the text. Raises QueryError.
    """
    if len(text) > MAX_LENGTH:
        raise QueryError(f"a query has at most {MAX_LENGTH:,} characters.", MAX_LENGTH)
    return _Parser(text).query()


def _in_no_field(term: Term) -> Node:
    return terms.in_words(term, None)


class _Parser:
    """Reads one query by recursive descent; `place` is what values mean where it stands."""

    def __init__(self, text: str) -> None:
        self.scanner = Scanner(text)
        self.place: terms.Place = _in_no_field
        self.inside_field = False
        self.depth = 0
        self.clauses = 0
        self.patterns = 0
        self.instructions = 0

    def query(self) -> Node:
        self.scanner.skip_space()
        if not self.scanner.peek():
            return Everything()
        node = self._any()
        if self.scanner.peek():
            self.scanner.fail("this bracket closes nothing.")
        return node

    def _any(self) -> Node:
        """Read alternatives up to a closing bracket or the end."""
        children = [self._all()]
        while self._operator("OR"):
            children.append(self._all())
        return children[0] if len(children) == 1 else Or(tuple(children))

    def _all(self) -> Node:
        children = [self._term()]
        while self._operator("AND") or self._goes_on():
            children.append(self._term())
        return children[0] if len(children) == 1 else And(tuple(children))

    def _operator(self, name: str) -> bool:
        """Read the operator if it stands here."""
        self.scanner.skip_space()
        found = self.scanner.keyword()
        if found is None or found[0] != name:
            return False
        self.scanner.at += found[1]
        return True

    def _goes_on(self) -> bool:
        """Say whether another term follows side by side."""
        found = self.scanner.keyword()
        return self.scanner.peek() not in {"", ")"} and (found is None or found[0] != "OR")

    def _term(self) -> Node:
        negated, depth = False, 0
        while sign := self._prefix():
            negated ^= sign != "+"
            depth += 1
            if depth > MAX_NESTING:
                self.scanner.fail(f"at most {MAX_NESTING} negations stand before one term.")
        node = self._operand()
        return Not(node) if negated else node

    def _prefix(self) -> str:
        """Read NOT, + or - before a term and return it; empty when none stands here."""
        scanner = self.scanner
        scanner.skip_space()
        sign = scanner.peek()
        if sign in {"+", "-"}:
            after = scanner.peek(1)
            if not after or after.isspace() or after == ")":
                scanner.fail(
                    f"{sign} touches the term it governs, without a space; a lone one stands in quotes."
                )
            scanner.at += 1
            return sign
        if scanner.text.startswith("!=", scanner.at):
            scanner.fail("write NOT name:value instead of !=.")
        return "NOT" if self._operator("NOT") else ""

    def _operand(self) -> Node:
        """Read a bracket, or a value with or without the name of its field."""
        self._refuse_keyword()
        match self.scanner.peek():
            case "(":
                return self._bracket()
            case "/" | "[" | "{" | "<" | ">":
                return self._clause(self._other_term())
            case _:
                return self._named_or_bare()

    def _refuse_keyword(self) -> None:
        found = self.scanner.keyword()
        if found is None or found[0] == "NOT":
            return
        if found[0] == "TO":
            self.scanner.fail("TO belongs inside a range, [1 TO 5]; as a word it is lower case or in quotes.")
        self.scanner.fail(f"a term is missing before {found[0]}; as a word it is lower case or in quotes.")

    def _bracket(self) -> Node:
        scanner = self.scanner
        start = scanner.at
        if self.depth == MAX_NESTING:
            scanner.fail(f"brackets nest at most {MAX_NESTING} deep.")
        self.depth += 1
        scanner.at += 1
        scanner.skip_space()
        if scanner.peek() == ")":
            scanner.fail("there is nothing inside these brackets.", start)
        if not scanner.peek():
            scanner.fail("this bracket is never closed.", start)
        node = self._any()
        if not scanner.peek():
            scanner.fail("this bracket is never closed.", start)
        self.depth -= 1
        scanner.at += 1
        return node

    def _named_or_bare(self) -> Node:
        scanner = self.scanner
        start = scanner.at
        chunk = scanner.chunk()
        if scanner.peek() != ":":
            return self._clause(scanner.text_term(chunk))
        if self.inside_field:
            scanner.fail("inside field:( ) stand values without names; a colon in a value stands in quotes.")
        name = self._name(chunk)
        scanner.at += 1
        self.place, self.inside_field = terms.place(name, start), True
        node = self._value(name)
        self.place, self.inside_field = _in_no_field, False
        return node

    def _name(self, chunk: Chunk) -> str:
        name = chunk.literal
        if name is None:
            self.scanner.fail(
                "the name of a field has no wildcards; * alone is every event, name:* has the field.",
                chunk.at,
            )
        return name

    def _value(self, name: str) -> Node:
        """Read what follows the colon, which one space may follow."""
        scanner = self.scanner
        if scanner.peek().isspace():
            scanner.at += 1
        sign = scanner.peek()
        if not sign or sign.isspace() or sign == ")":
            scanner.fail('the value of this field is missing; an empty text is written "".')
        if sign == "(":
            return self._bracket()
        if sign in "/[{<>":
            return self._clause(self._other_term())
        if sign in "!=&":
            scanner.fail(
                f"a value that begins with {sign} stands in quotes; to negate, write NOT before the name."
            )
        if scanner.keyword():
            scanner.fail("AND, OR, NOT and TO stand in quotes as values.")
        return self._clause(scanner.text_term(scanner.chunk()))

    def _other_term(self) -> Expression | Range:
        match self.scanner.peek():
            case "/":
                return self.scanner.expression()
            case "[" | "{":
                return self.scanner.range()
            case _:
                return self.scanner.comparison()

    def _clause(self, term: Term) -> Node:
        """Return what a term means here, and keep count."""
        self.clauses += 1
        if self.clauses > MAX_CLAUSES:
            self.scanner.fail(f"a query has at most {MAX_CLAUSES:,} terms.", term.at)
        node = self.place(term)
        leaf = node.child if isinstance(node, Annotated) else node
        self.patterns += isinstance(leaf, Pattern | Regex)
        if self.patterns > MAX_PATTERNS:
            self.scanner.fail(f"a query has at most {MAX_PATTERNS} patterns.", term.at)
        if isinstance(leaf, Regex):
            self.instructions += regex_size(leaf.source)
        if self.instructions > MAX_INSTRUCTIONS:
            self.scanner.fail("the regular expressions of this query are too large together.", term.at)
        return node
