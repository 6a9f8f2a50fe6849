"""Wildcards and regular expressions as tests of folded texts."""

from __future__ import annotations

import re
import sys
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.index.patterns import BadExpression, pattern_test, regex_size, regex_test
from cases.index.text import fold
from cases.index.tree import ANY, ONE, Wildcard

_PARTS = st.lists(st.sampled_from([ANY, ONE, "a", "b", "ab"]), min_size=1, max_size=7).map(
    lambda parts: tuple(
        part
        for before, part in zip([None, *parts], parts, strict=False)
        if not (isinstance(before, str) and isinstance(part, str))
    )
)


@settings(max_examples=500)
@given(_PARTS, st.text("ab\n\U0001f600", max_size=8), st.booleans())
def test_a_pattern_means_what_the_equal_expression_means(
    parts: tuple[str | Wildcard, ...], text: str, whole: bool
) -> None:
    source = "".join(part if isinstance(part, str) else {"*": ".*", "?": "."}[part.sign] for part in parts)
    match = (re.fullmatch if whole else re.search)(source, text, re.DOTALL)
    assert pattern_test(parts, whole=whole)(text) is (match is not None)


def test_literals_of_a_pattern_are_folded_and_quoted() -> None:
    assert pattern_test(("C:\\", ANY, ONE, "(X)+"), whole=True)("c:\\temp\\(x)+")
    assert not pattern_test(("C:\\", ANY, ONE, "(X)+"), whole=True)("c:\\temp\\xx")
    assert pattern_test(("Stra\u1e9e", ONE), whole=True)("stra\u00dfe")
    assert pattern_test(("E\u0301", ONE), whole=True)("\u00e9x")


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("reg[ex]+", "regex", True),
        ("A", "xax", True),
        ("^a", "xa", False),
        ("a$", "a\n", False),
        (r"\d", "\u0661", False),
        (r"\w", "\u00e9", False),
        (r"\s", "\u00a0", False),
        (r"\D", "\u0661", True),
        (r"\bexe\b", "evil.exe", True),
        ("a.b", "a\nb", False),
        (r"a\nb", "a\nb", True),
        (r"\x00", "a\x00", True),
        (r"\pL", "\u00e9", True),
        (r"\p{Lu}", "a", True),  # case never matters
        (r"\p{Greek}", "\u03b1", True),
        ("[[:digit:]]", "5", True),
        ("[]a]", "]", True),
        ("[^]a]", "]", False),
        (r"\Qa.b\E", "axb", False),
        (r"\Q(?i)\E", "(?i)", True),
        (r"[(?i)]", "?", True),
        (r"\(?i", "i", True),
        ("(?:a)(?P<name>b)", "ab", True),
        ("STRA\u1e9eE", "stra\u00dfe", True),
        ("E\u0301", "\u00e9", True),
        ("\ud800", "\ufffd", True),
        ("\U0001f600+", "\U0001f600\U0001f600", True),
    ],
)
def test_an_expression_is_searched_as_re2_reads_it(source: str, text: str, expected: bool) -> None:
    assert regex_test(source, whole=False)(text) is expected


@pytest.mark.parametrize(
    ("source", "offset"),
    [
        ("(?i)a", 0),
        ("a(?s:b)", 1),
        ("a(?=b)", 1),
        ("a(?!b)", 1),
        ("ab(?<=b)", 2),
        ("ab(?<!b)", 2),
        (r"[a]\C", 3),
        (r"(a)\1", 3),
        ("a)", 0),
        ("(", 0),
        ("[a", 0),
        ("a**", 1),
        ("*a", 0),
        ("a{2,1}", 1),
        (r"\pX", 0),
        ("a\\", 0),
        ("[b-a]", 1),
    ],
)
def test_what_re2_does_not_take_is_refused_near_its_place(source: str, offset: int) -> None:
    with pytest.raises(BadExpression) as caught:
        regex_test(source, whole=False)
    assert caught.value.offset == offset
    with pytest.raises(BadExpression):
        regex_size(source)


@pytest.mark.parametrize(
    "source", [r"\pL{1000}", "(?:ab|cd){1000}" * 50, "((a{100}){100}){100}", "a" * 60_000, "(" * 90_000]
)
def test_expressions_that_explode_are_refused_quickly(source: str) -> None:
    before = time.process_time()
    with pytest.raises(BadExpression):
        regex_test(source, whole=True)
    assert time.process_time() - before < 1


@pytest.mark.parametrize("source", ["(a+)+b", "(a|a)*b", "(a|aa)+b", "a*a*a*a*a*b", "(.*)(.*)(.*)(.*)b"])
def test_expressions_that_backtrack_elsewhere_run_in_linear_time(source: str) -> None:
    text = "a" * 100_000
    before = time.process_time()
    assert not regex_test(source, whole=True)(text)
    assert not regex_test(source, whole=False)(text)
    assert time.process_time() - before < 2


def test_patterns_run_in_linear_time() -> None:
    text = "a" * 100_000
    before = time.process_time()
    assert not pattern_test((ANY, "a", ANY) * 20 + ("b",), whole=False)(text)
    assert not pattern_test(("a", ANY, ONE) * 20 + ("b",), whole=True)(text)
    assert time.process_time() - before < 2


def test_thousands_of_single_wildcards_are_refused() -> None:
    with pytest.raises(BadExpression):
        pattern_test((ONE,) * 90_000, whole=True)


def test_the_size_grows_with_the_expression() -> None:
    assert regex_size("a") < regex_size("a{100}") < regex_size(r"\pL{20}")


def test_expressions_and_texts_fold_alike() -> None:
    folding = [char for char in map(chr, range(sys.maxunicode + 1)) if fold(char) != char]
    assert len(folding) > 2000
    for char in folding:
        if unicodedata.is_normalized("NFC", char) and not 0xD800 <= ord(char) < 0xE000:
            assert regex_test(char, whole=True)(fold(char)), hex(ord(char))
            assert regex_test(f"[{char}]", whole=True)(fold(char)), hex(ord(char))
