"""What holds for every query, and for every example of docs/search.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cases.index.matching import compile_test
from cases.index.query import QueryError, parse
from cases.index.tree import (
    And,
    Annotated,
    Equals,
    Everything,
    Field,
    Node,
    Not,
    Or,
)
from cases.tests.index.documents import LOGON


def attribute(name: str) -> Field:
    return Field(name, attribute=True)


# The page for investigators

PAGE = (Path(__file__).parents[3] / "docs" / "search.md").read_text(encoding="utf-8")
EXAMPLES = [
    line for block in re.findall(r"```query\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]
MISTAKES = re.findall(r"^\| `(.+?)` \| (Character .+?) \| `(.+?)` \|$", PAGE, re.MULTILINE)


def test_the_page_has_examples_and_mistakes() -> None:
    assert len(EXAMPLES) > 20
    assert len(MISTAKES) == PAGE.count("| Character ") > 10


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_of_the_page_parses(text: str) -> None:
    assert parse(text) != Everything()


@pytest.mark.parametrize(("written", "answer", "meant"), MISTAKES)
def test_every_mistake_of_the_page_gets_the_answer_it_shows(written: str, answer: str, meant: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(written)
    assert caught.value.message.startswith(answer)
    parse(meant)


# Properties

_PIECES = st.sampled_from(
    [
        *'+-!(){}[]^"~*?:\\/&|<>= \t\n',
        "AND",
        "OR",
        "NOT",
        "TO",
        "host:",
        "message:",
        "timestamp:",
        "_exists_:",
        "tag:",
        "x:",
        "2024-03-01",
        "[1 TO 5]",
        "a",
        "b.c",
        "5",
        "é",
        "😀",
        "\x00",
        "\ud800",
        '"a b"',
        "/a/",
        "~1",
    ]
)


@settings(max_examples=1000)
@given(st.lists(_PIECES, max_size=25).map("".join) | st.text(max_size=60))
@example("/[[:foo:]]/")
@example("host:/\\Q\\E/")
def test_any_text_becomes_a_tree_that_can_be_evaluated_or_an_error_at_a_place(text: str) -> None:
    try:
        node = parse(text)
    except QueryError as error:
        place, message = error.at, error.message
    else:
        place, message = 0, ""
    assert 0 <= place <= len(text)
    assert message.isprintable()
    if not message and not _annotated(node):
        assert compile_test(node)(LOGON) in {True, False}


def _annotated(node: Node) -> bool:
    match node:
        case And(children=children) | Or(children=children):
            return any(_annotated(child) for child in children)
        case Not(child=child):
            return _annotated(child)
        case _:
            return isinstance(node, Annotated)


def _written(text: str) -> str:
    """A value in quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escaped(text: str) -> str:
    """A value without quotes."""
    return "".join(
        f"\\{char}" if char in '+-!(){}[]^"~*?:\\/&|<>=' or char.isspace() else char for char in text
    )


@settings(max_examples=300)
@given(st.text(max_size=30))
def test_every_value_and_every_name_can_be_written_in_quotes(text: str) -> None:
    assert parse(f"x:{_written(text)}") == Equals(attribute("x"), text)
    assert parse(f"attributes.{_written(text)}:1") == Equals(attribute(text), "1")


@settings(max_examples=300)
@given(st.text(min_size=1, max_size=30).filter(lambda text: text not in {"AND", "OR", "NOT", "TO"}))
def test_every_value_can_be_written_with_backslashes(text: str) -> None:
    assert parse(f"x:{_escaped(text)}") == Equals(attribute("x"), text)
    assert parse(f"attributes.{_escaped(text)}:1") == Equals(attribute(text), "1")


_LEAVES = st.sampled_from(["a", "host:b", '"c d"', "x:>5", "y*", "/z/", "t~1", "_exists_:u", "tag:v"])
_QUERIES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" ", " AND ", " OR ", " && ", " || "]), inner).map(
            lambda pair: f"({pair[0]}{pair[1]}{pair[2]})"
        ),
        inner.map(lambda query: f"NOT {query}"),
    ),
    max_leaves=8,
)


@given(_QUERIES, _QUERIES)
def test_spellings_of_an_operator_mean_the_same(left: str, right: str) -> None:
    assert parse(f"{left} AND {right}") == parse(f"{left} && {right}") == parse(f"{left} {right}")
    assert parse(f"{left} OR {right}") == parse(f"{left} || {right}") == parse(f"({left}) OR ({right})")
    assert parse(f"NOT ({left})") == parse(f"-({left})") == parse(f"!({left})")
    assert parse(f"+({left})") == parse(f"NOT NOT ({left})") == parse(f"  ({left})\n") == parse(left)
    assert parse(f"{left} AND {right}") == And((parse(left), parse(right)))
    assert parse(f"{left} OR {right}") == Or((parse(left), parse(right)))
