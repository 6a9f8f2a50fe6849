"""How texts, numbers and bags of attributes are read."""

from __future__ import annotations

import sys
import time
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.index.text import (
    dump,
    flatten,
    fold,
    load,
    normalize,
    number,
    split,
    value_number,
    value_text,
    words,
)

_ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=40)


@given(st.text(max_size=40))
def test_normalizing_is_that_of_the_standard_library(text: str) -> None:
    assert normalize(text) == unicodedata.normalize("NFC", text)


@given(
    st.text(
        st.sampled_from("a\u0301\u0323\u0f71\u0f72\u0f73\u0f75\u0f81\u0345\u4e00"), min_size=30, max_size=90
    )
)
def test_long_runs_of_marks_normalize_like_short_ones(text: str) -> None:
    assert normalize(text) == unicodedata.normalize("NFC", text)


def test_a_megabyte_of_marks_normalizes_in_linear_time() -> None:
    before = time.process_time()
    normalize("a" + "\u0301\u0323" * 500_000)
    assert time.process_time() - before < 5


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ABC", "abc"),
        ("Stra\u00dfe", "stra\u00dfe"),
        ("STRA\u1e9eE", "stra\u00dfe"),
        ("\u0130", "\u0130"),  # statuses F and T only in CaseFolding.txt
        ("\u0131", "\u0131"),
        ("\u03a3\u03c3\u03c2", "\u03c3\u03c3\u03c3"),
        ("\u017f", "s"),
        ("\u017f\u0323", "\u1e63"),
        ("\u212a\u212b", "k\u00e5"),
        ("\u01c4\u01c5\u01c6", "\u01c6\u01c6\u01c6"),
        ("\ufb03", "\ufb03"),
        ("\u0149", "\u0149"),
        ("\u1f88", "\u1f80"),  # S, where F would be two characters
        ("\u13a0\uab70", "\u13a0\u13a0"),  # Cherokee folds to capitals
        ("\U00010400", "\U00010428"),
        ("E\u0301", "\u00e9"),
        ("\ud800A\udfff", "\ufffda\ufffd"),
        ("\x00\x1b\u2028", "\x00\x1b\u2028"),
        ("\uff21", "\uff41"),
        ("\uff11", "\uff11"),
        ("\U0001f600", "\U0001f600"),
    ],
)
def test_folding_is_simple_case_folding_in_nfc(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_folding_every_character_gives_one_character_that_folds_to_itself() -> None:
    for code in range(sys.maxunicode + 1):
        composed = unicodedata.normalize("NFC", chr(code)) if not 0xD800 <= code < 0xE000 else "\ufffd"
        folded = fold(chr(code))
        assert len(folded) == len(composed)
        assert fold(folded) == folded


@given(_ANY_TEXT)
def test_folding_twice_is_folding_once_and_can_be_stored(text: str) -> None:
    folded = fold(text)
    assert fold(folded) == folded
    assert folded.encode("utf-8").decode("utf-8") == folded


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("evil.exe", ["evil", "exe"]),
        ("C:\\Windows\\Temp", ["c", "windows", "temp"]),
        ("don't", ["don", "t"]),
        ("snake_case", ["snake", "case"]),
        ("caf\u00e9 cafe\u0301", ["caf\u00e9", "caf\u00e9"]),
        ("\u6728\u66dc\u65e5", ["\u6728\u66dc\u65e5"]),
        ("\u0e1b\u0e23\u0e30", ["\u0e1b\u0e23\u0e30"]),
        ("x\u00b2 \u2167 \u00bd", ["x\u00b2", "\u2177", "\u00bd"]),
        ("\u0661\u0662", ["\u0661\u0662"]),
        ("a\U0001f600b", ["a", "b"]),
        ("a\u200bb\x00c", ["a", "b", "c"]),
        ("\u24b6", ["\u24d0"]),  # a circled letter is Alphabetic
        ("", []),
        ("--- ...", []),
        ("x\u0301", ["x"]),  # an accent that does not compose is no letter
    ],
)
def test_words_are_runs_of_letters_and_digits(text: str, found: list[str]) -> None:
    assert words(text) == found


@given(_ANY_TEXT)
def test_words_of_a_folded_text_stay_words(text: str) -> None:
    found = words(text)
    assert split(" ".join(found)) == found


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("4624", "4624"),
        ("007", "7"),
        ("7.0", "7"),
        ("7.50", "7.5"),
        ("-7", "-7"),
        ("-0", "0"),
        ("-0.00", "0"),
        ("0.10", "0.1"),
        ("9" * 5000, "9" * 5000),
        ("", None),
        ("-", None),
        (".5", None),
        ("5.", None),
        ("+5", None),
        ("1e5", None),
        ("0x10", None),
        (" 5", None),
        ("5\n", None),
        ("1_000", None),
        ("1,5", None),
        ("\u0661", None),
        ("\uff11", None),
        ("1.2.3", None),
    ],
)
def test_a_number_is_a_minus_digits_and_one_decimal_part(text: str, canonical: str | None) -> None:
    assert number(text) == canonical


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        (4624, "4624"),
        (4624.0, "4624"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e22, "1" + "0" * 22),
        (1e-7, "0.0000001"),
        (2**70, str(2**70)),
        (True, None),
        (False, None),
        ("4624.0", "4624"),
        ("1e22", None),
        (float("inf"), None),
    ],
)
def test_values_read_as_exact_numbers(value: Any, canonical: str | None) -> None:
    assert value_number(value) == canonical


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        ('"', '"'),
        (7, "7"),
        (7.0, "7.0"),
        (True, "true"),
        (2**70, str(2**70)),
    ],
)
def test_the_text_of_a_value_is_itself_or_its_json_form(value: Any, text: str) -> None:
    assert value_text(value) == text


def test_a_bag_flattens_to_dotted_names_in_order_without_nulls() -> None:
    bag = {
        "a": 1,
        "b": {"c": [2, None, {"d": "x", "e": {}}], "f": None},
        "g": [[], [[3]]],
        "b.c": 4,
        "": {"": False},
    }
    assert list(flatten(bag)) == [("a", 1), ("b.c", 2), ("b.c.d", "x"), ("g", 3), ("b.c", 4), (".", False)]


def test_a_bag_nested_deeper_than_the_stack_flattens() -> None:
    bag: dict[str, Any] = {"x": 1}
    for _ in range(3000):
        bag = {"y": [bag]}
    assert list(flatten(bag)) == [("y." * 3000 + "x", 1)]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(_JSON)
def test_json_comes_back_unchanged_with_surrogates_and_huge_integers(value: Any) -> None:
    assert load(dump(value)) == value


@given(st.dictionaries(_ANY_TEXT, _JSON, max_size=4))
def test_flattened_values_are_scalars_with_text(bag: dict[str, Any]) -> None:
    for name, value in flatten(bag):
        assert isinstance(name, str)
        assert isinstance(value, str | int | float)
        assert isinstance(value_text(value), str)
