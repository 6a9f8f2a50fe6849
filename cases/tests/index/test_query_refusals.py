"""What the query language refuses, at which place and with which hint, and its limits."""

from __future__ import annotations

import time

import pytest

from cases.index.matching import compile_test
from cases.index.query import MAX_CLAUSES, MAX_LENGTH, MAX_NESTING, QueryError, parse
from cases.tests.index.documents import event


def refusal(text: str) -> QueryError:
    """The error a query is refused with."""
    with pytest.raises(QueryError) as caught:
        parse(text)
    return caught.value


# Places and hints


@pytest.mark.parametrize(
    ("text", "at", "hint"),
    [
        # operators without a term
        ("AND", 0, "before AND"),
        ("OR a", 0, "before OR"),
        ("a AND", 5, "missing"),
        ("a OR ", 5, "missing"),
        ("NOT", 3, "missing"),
        ("a AND OR b", 6, "before OR"),
        ("a OR OR b", 5, "before OR"),
        ("NOT AND a", 4, "before AND"),
        ("(a OR)", 5, "closing bracket"),
        ("TO", 0, "range"),
        ("a TO b", 2, "lower case"),
        ("a &&", 4, "missing"),
        ("- a", 0, "touches"),
        ("a + b", 2, "touches"),
        ("a -", 2, "touches"),
        ("(-)", 1, "touches"),
        ("a & b", 2, "AND"),
        ("a | b", 2, "OR"),
        ("a|b", 1, "OR"),
        ("a&&b", 1, "spaces"),
        ("EventID = 4624", 8, "name:value"),
        ("EventID != 4624", 8, "NOT"),
        ("x:=5", 2, "quotes"),
        ("host:!a", 5, "NOT"),
        # brackets and quotes
        ("()", 0, "nothing inside"),
        ("host:( )", 5, "nothing inside"),
        ("a OR ()", 5, "nothing inside"),
        ("(a", 0, "never closed"),
        ("a (b (c)", 2, "never closed"),
        ("(", 0, "never closed"),
        ("a)", 1, "closes nothing"),
        (")", 0, "missing"),
        ('a "b', 2, "never closed"),
        (r'"C:\Temp\"', 0, "double"),
        ('a"b"', 1, "space"),
        ('"a"b', 3, "space"),
        ('"a""b"', 3, "quote"),
        ("a(b)", 1, "space"),
        ("a]", 1, "range"),
        ("a[1]", 1, "quotes"),
        ("}", 0, "range"),
        # names and colons
        ("*:*", 0, "wildcards"),
        ("attr*:x", 0, "wildcards"),
        (":x", 0, "name"),
        ("host:", 5, "missing"),
        ("host: ", 6, "missing"),
        ("host:  a", 6, "missing"),
        ("(host:)", 6, "missing"),
        ("host :a", 5, "without a space"),
        ("x:OR", 2, "quotes"),
        ("x:AND b", 2, "quotes"),
        ("10:15:30", 5, "quotes"),
        ("fe80::1", 5, "quotes"),
        ("timestamp:2024-03-01T08:15:30Z", 23, "quotes"),
        ("host:(a:b)", 7, "without names"),
        ("host:(a OR user:b)", 15, "without names"),
        ("attributes:x", 0, "attributes.EventID"),
        ('"a".b', 0, "colon"),
        ('x:"a".b', 2, "colon"),
        # backslashes
        (r"*\Temp\*.exe", 1, "Double"),
        (r"C:\Windows", 2, "quotes"),
        (r"evil\.exe", 4, "Double"),
        ("a\\", 1, "Double"),
        # weights, edits, slop
        ("a^2", 1, "not supported"),
        ('"a b"^2', 5, "not supported"),
        ("(a)^2", 3, "not supported"),
        ("a~3", 1, "1 or 2"),
        ("a~0", 1, "1 or 2"),
        ("a~0.5", 1, "1 or 2"),
        ("a~b", 1, "1 or 2"),
        ("evil.exe~", 0, "one word"),
        ("pow*~1", 0, "one word"),
        ("-~", 1, "~"),
        ("😀~", 0, "one word"),
        ("a" * 257 + "~", 0, "256"),
        ("host:a~1", 5, "message"),
        ("comment:a~1", 8, "message"),
        ("a ~2", 2, "without a space"),
        ('"a b"~', 5, "number"),
        ('"a b"~x', 5, "number"),
        ('"a b"~-1', 5, "number"),
        ('"a b"~1.5', 5, "number"),
        ('"a b"~１', 5, "number"),
        ('"a b"~10001', 5, "10000"),
        ('"a b"~' + "9" * 5000, 5, "10000"),
        ('host:"a b"~1', 5, "whole"),
        # ranges
        ("[1 TO 5]", 0, "field"),
        (">=5", 0, "field"),
        ("<script>", 0, "field"),
        ("message:[1 TO 5]", 8, "field"),
        ("[* TO", 0, "never closed"),
        ("x:[1 TO 5", 2, "never closed"),
        ("x:[1 TO [2]", 2, "never closed"),
        ("x:[1 5]", 2, "TO"),
        ("x:[1 to 5]", 2, "upper-case TO"),
        ("x:[1 TO 5 6]", 2, "two bounds"),
        ("x:[]", 2, "two bounds"),
        ("x:[a TO 5]", 3, "number"),
        ("x:[1 TO 7e0]", 8, "number"),
        ("x:[1 TO +5]", 8, "number"),
        ('x:["1" TO 5]', 3, "bare"),
        ("x:[1 TO ５]", 8, "number"),
        ("x:[2024-01-01 TO 2024-01-02}", 3, "timestamp alone"),
        ("host:[a TO b]", 5, "holds text"),
        ("type:[1 TO 5]", 5, "holds text"),
        ("tag:>5", 4, "holds text"),
        ("x:>*", 3, "without space"),
        ("x:>= 5", 4, "without space"),
        ('x:>"5"', 3, "quotes"),
        ("x:>(5)", 3, "number"),
        ("x:>a", 3, "number"),
        ("x:[1 TO 5]^2", 10, "not supported"),
        # times
        ("timestamp:yesterday", 10, "RFC 3339"),
        ("timestamp:2024-02-30", 10, "no time"),
        ("timestamp:2024*", 10, "times"),
        ("timestamp:/2024/", 10, "times"),
        ("timestamp:2024-03-01~1", 10, "times"),
        ("timestamp:[2024-03-01 TO now]", 25, "no time"),
        ("timestamp:[5 TO *]", 11, "no time"),
        ("timestamp:>2024", 11, "no time"),
        ('timestamp:["2024-03-01" TO *]', 11, "no time"),
        # expressions
        ("/tmp", 0, "path"),
        ("/var/log/auth.log", 5, "path"),
        ("http://example.org/x", 7, "path"),
        ("/a/b/", 3, "space"),
        ("/a/i", 3, "space"),
        ("//", 0, "nothing between"),
        ("/a(/", 1, "RE2"),
        (r"/xx\/[a/", 5, "RE2"),
        ("/(?i)a/", 1, "flags"),
        ("host:/a(?=b)/", 7, "look-around"),
        (r"/(a)\1/", 4, "RE2"),
        ("/a{1001}/", 2, "RE2"),
        ("/((a{1000}){1000}){1000}/", 4, "RE2"),
        (r"/\pL{1000}/", 1, "too large"),
        # existence, annotations
        ("_exists_:*", 9, "name"),
        ("_exists_:us*", 9, "name"),
        ("_exists_:/a/", 9, "name"),
        ("_exists_:attributes", 9, "attributes.EventID"),
        ("_exists_:starred", 9, "starred:true"),
        ("_exists_:user~", 9, "name"),
        ("starred:maybe", 8, "true or false"),
        ("starred:*", 8, "true or false"),
        ("starred:/t/", 8, "true or false"),
    ],
)
def test_what_has_no_meaning_is_refused_at_its_place_with_a_hint(text: str, at: int, hint: str) -> None:
    error = refusal(text)
    assert (error.at, hint in error.message) == (at, True), error.message
    assert error.message.startswith(f"Character {at + 1}: ")
    assert str(error) == error.message


def test_errors_are_short_and_printable_whatever_they_quote() -> None:
    for text in (
        "x:[" + "a" * 5000 + " TO 5]",
        "x:[\x1b\ud800 TO 5]",
        '"\x1b\x00\ud800"',
        "/" + "(" * 9000 + "/",
    ):
        message = refusal(text).message
        assert len(message) < 300
        assert message.isprintable()
        assert message.encode()


# Limits


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        "(" * 100_000,
        "(" * (MAX_LENGTH - 1),
        "(" * (MAX_NESTING + 1) + "a" + ")" * (MAX_NESTING + 1),
        "host:(" + "(" * MAX_NESTING + "a" + ")" * MAX_NESTING + ")",
        "NOT " * 20_000 + "a",
        "-" * 90_000 + "a",
        "!" * 90_000,
        " ".join(["a"] * 100_000),
        " OR ".join(["a"] * (MAX_CLAUSES + 1)),
        '"' + "a " * 40_000 + '"',
        "?" * 90_000,
        '"a".' * 20_000,
        " ".join(f"/{number}/" for number in range(101)),
        " ".join(f"{number}*" for number in range(101)),
        " ".join(f"tag:{number}*" for number in range(101)),
        " ".join(rf"/\pL{{30}}{number}/" for number in range(99)),
        "/" + "(?:ab|cd){500}" * 90 + "/",
        "/" + "(" * 90_000 + "/",
        '"' + '\\"' * 40_000,
        "x:[" + "1 " * 40_000,
        "\\\\" * 50_000,
    ],
)
def test_oversized_queries_are_refused_quickly(text: str) -> None:
    before = time.process_time()
    refusal(text)
    assert time.process_time() - before < 1


@pytest.mark.parametrize(
    "text",
    [
        " OR ".join(f"host:h{number}" for number in range(MAX_CLAUSES)),
        " OR ".join(f"{number:064x}" for number in range(1_000)),
        "(" * MAX_NESTING + "a" + ")" * MAX_NESTING,
        "NOT " * MAX_NESTING + "a",
        "/" + "|".join(f"host-{number}" for number in range(1_000)) + "/",
        "x:" + "9" * 90_000,
        "x:[" + "9" * 90_000 + " TO *]",
        "a*" * 40_000,
        "a\u0301\u0323" + "\u0301\u0323" * 40_000,
        " " * MAX_LENGTH,
    ],
)
def test_large_queries_are_taken_quickly(text: str) -> None:
    before = time.process_time()
    parse(text)
    assert time.process_time() - before < 1


def test_the_deepest_tree_is_compiled_and_evaluated_from_deep_in_the_stack() -> None:
    text = "NOT (zz OR a " * MAX_NESTING + "b" + ")" * MAX_NESTING

    def deep(frames: int) -> bool:
        return deep(frames - 1) if frames else compile_test(parse(text))(event("a b"))

    assert deep(300) is True  # fifty negations of what is true
