"""What each node of a query tree asks of a document, on documents made by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.index.matching import compile_test, field_texts, field_values
from cases.index.text import flatten
from cases.index.tree import (
    ANY,
    MESSAGE,
    ONE,
    SCORE,
    And,
    Annotated,
    Equals,
    Everything,
    Exists,
    Field,
    Ids,
    Not,
    Nothing,
    NumberRange,
    Or,
    Pattern,
    Regex,
    TimeRange,
    Words,
)
from cases.tests.index.documents import LOGON, A, event, has, meets


@pytest.mark.parametrize("value", ["Security", "SECURITY", "security"])
def test_an_exact_field_compares_the_whole_value_without_case(value: str) -> None:
    assert has("security", Equals(A, value))
    assert not has("security log", Equals(A, value))
    assert not has("securit", Equals(A, value))


@pytest.mark.parametrize("value", ["4624", "4624.0", "04624", "4624.000"])
@pytest.mark.parametrize("held", [4624, 4624.0, "4624", "4624.00", "004624"])
def test_numbers_compare_as_numbers_however_they_are_written(value: str, held: Any) -> None:
    assert has(held, Equals(A, value))


@pytest.mark.parametrize("value", ["4625", "-4624", "4624.5", "+4624", "4.624e3", " 4624", "0x1210"])
def test_other_spellings_are_other_values(value: str) -> None:
    assert not has(4624, Equals(A, value))
    assert not has("4624", Equals(A, value))


def test_equality_of_numbers_is_exact_at_any_size() -> None:
    huge = "9" * 60
    assert has(huge, Equals(A, f"{huge}.0"))
    assert has(int(huge), Equals(A, huge))
    assert not has(huge, Equals(A, f"{huge[:-1]}8"))
    assert has(2**53 + 1, Equals(A, "9007199254740993"))
    assert not has(2**53 + 1, Equals(A, "9007199254740992"))


def test_zero_has_no_sign_and_a_boolean_is_no_number() -> None:
    assert has(0, Equals(A, "-0"))
    assert has(-0.0, Equals(A, "0"))
    assert has(True, Equals(A, "TRUE"))
    assert not has(True, Equals(A, "1"))


def test_a_number_written_with_an_exponent_is_found_by_value_and_by_its_text() -> None:
    assert has(1e22, Equals(A, "1" + "0" * 22))
    assert has(1e22, Equals(A, "1E+22"))
    assert has("7e0", Equals(A, "7E0"))
    assert not has("7e0", Equals(A, "7"))


@pytest.mark.parametrize(
    ("held", "asked", "expected"),
    [
        ("Stra\u00dfe", "STRA\u1e9eE", True),  # capital sharp s
        ("Stra\u00dfe", "STRASSE", False),  # one character stays one
        ("\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf\u03c2", True),  # final sigma
        ("\u0130", "i", False),  # dotted and dotless i of Turkish have no simple folding
        ("\u0131", "I", False),
        ("\u0131", "\u0131", True),
        ("caf\u00e9", "cafe\u0301", True),  # composed and decomposed
        ("\u212a", "k", True),  # Kelvin sign
        ("\ufb01", "fi", False),  # a ligature is compatibility, not case
        ("\uff11\uff12", "12", False),  # full-width digits are other characters
        ("\uff21", "\uff41", True),
        ("a\x00b", "A\x00B", True),
        ("\ud800 x", "\ufffd X", True),  # a lone surrogate is U+FFFD
    ],
)
def test_values_compare_by_simple_folding_in_nfc(held: str, asked: str, expected: bool) -> None:
    assert has(held, Equals(A, asked)) is expected


def test_any_element_of_a_list_may_be_the_value() -> None:
    assert has(["x", ["y", 7]], Equals(A, "Y"))
    assert has(["x", ["y", 7]], Equals(A, "7.0"))
    assert not has(["x", "y"], Equals(A, "x y"))
    assert meets(LOGON, Equals(Field("tags"), "Lateral Movement"))


@pytest.mark.parametrize("name", ["host", "user", "source", "category", "type", "case_id", "evidence_uid"])
def test_core_fields_are_exact(name: str) -> None:
    assert meets(LOGON, Equals(Field(name), LOGON[name].upper()))
    assert not meets(LOGON, Equals(Field(name), LOGON[name][:-1]))


def test_an_attribute_named_like_a_core_field_is_another_field() -> None:
    document = event("m", {"host": "inside"}, host="outside")
    assert meets(document, Equals(Field("host"), "outside"))
    assert not meets(document, Equals(Field("host"), "inside"))
    assert meets(document, Equals(Field("host", attribute=True), "inside"))


def test_an_attribute_is_named_in_its_own_case() -> None:
    assert meets(LOGON, Equals(Field("EventID", attribute=True), "4624"))
    assert not meets(LOGON, Equals(Field("eventid", attribute=True), "4624"))


@pytest.mark.parametrize(
    ("parts", "held", "expected"),
    [
        (("ws-", ANY), "WS-0001", True),
        (("ws-", ANY), "ws-", True),
        (("ws-", ANY), "my ws-1", False),
        ((ANY, "\\temp\\", ANY, ".exe"), "C:\\Windows\\Temp\\evil.EXE", True),
        ((ANY, "\\temp\\", ANY, ".exe"), "C:\\Windows\\Temp\\evil.exe.bak", False),
        (("a", ONE, "c"), "abc", True),
        (("a", ONE, "c"), "ac", False),
        (("a", ONE, "c"), "a\U0001f600c", True),
        (("a", ONE, "c"), "a\nc", True),
        (("a", ANY, "c"), "a\n\n\nc", True),
        (("aa", ANY, "aa"), "aaa", False),
        (("\u00df", ANY), "\u1e9eX", True),
        (("46", ANY), 4624, True),
        (("t", ANY), True, True),
    ],
)
def test_a_pattern_covers_the_value_of_an_exact_field(parts: Any, held: Any, expected: bool) -> None:
    assert has(held, Pattern(A, parts)) is expected


def test_a_pattern_is_looked_for_anywhere_in_the_message_across_words() -> None:
    document = event("saved as C:\\Windows\\Temp\\evil.exe today", {"a": "other.dll"})
    assert meets(document, Pattern(MESSAGE, ("\\temp\\", ANY, ".exe")))
    assert meets(document, Pattern(MESSAGE, (ANY, "as c:", ONE, "win", ANY)))
    assert not meets(document, Pattern(MESSAGE, (ANY, ".dll")))


@pytest.mark.parametrize(
    ("source", "held", "expected"),
    [
        (r"web-\d+", "WEB-12", True),
        (r"web-\d+", "web-12a", False),
        (r"web-\d+", "web-\u0661", False),  # classes are ASCII
        (r"a.c", "a\nc", False),
        (r"a|b", "b", True),
        (r"a|ab", "ab", True),  # covering decides, not the first alternative
        (r"", "", True),
        (r"\W", "\u00e9", True),
        (r"\x{c9}", "\u00e9", True),
        (r"(a+)+b", "a" * 5000, False),
        (r"46\d\d", 4624, True),
    ],
)
def test_an_expression_covers_the_value_of_an_exact_field(source: str, held: Any, expected: bool) -> None:
    assert has(held, Regex(A, source)) is expected


def test_an_expression_is_searched_in_the_message() -> None:
    assert meets(LOGON, Regex(MESSAGE, r"LOGGED o\w: alice"))
    assert not meets(LOGON, Regex(MESSAGE, r"^alice"))
    assert not meets(LOGON, Regex(MESSAGE, "suspicious"))


@pytest.mark.parametrize(
    ("held", "lower", "upper", "include", "expected"),
    [
        (5, "5", None, (True, True), True),
        (5, "5", None, (False, True), False),
        (5, None, "5", (True, False), False),
        (5, None, "5", (True, True), True),
        ("5.5", "5", "6", (True, True), True),
        ([1, 50], "40", "60", (True, True), True),
        ([1, 90], "40", "60", (True, True), False),  # one element must meet both bounds
        (5, "6", "1", (True, True), False),
        (-3, "-5", "-1", (True, True), True),
        (True, "0", "2", (True, True), False),
        ("ten", None, None, (True, True), False),
        ("10", None, None, (True, True), True),
        ("7e0", "0", "9", (True, True), False),
        (2**53, "9007199254740992", "9007199254740992", (True, True), True),
        (2**53 - 1, "9007199254740992", None, (True, True), False),
        ("9" * 400, "1", None, (True, True), True),
        (1e22, "9999999999999999999999", None, (True, True), True),
    ],
)
def test_a_range_compares_numbers_and_nothing_else(
    held: Any, lower: str | None, upper: str | None, include: tuple[bool, bool], expected: bool
) -> None:
    low, high = (None if bound is None else Decimal(bound) for bound in (lower, upper))
    assert has(held, NumberRange(A, low, high, *include)) is expected


def test_the_score_is_a_number_and_null_is_none() -> None:
    assert meets(LOGON, NumberRange(SCORE, Decimal("7.5"), None))
    assert meets(LOGON, Equals(SCORE, "7.50"))
    assert not meets(event("m"), NumberRange(SCORE, None, None))


def test_time_bounds_are_included_and_undated_events_fail_them_and_meet_the_negation() -> None:
    moment = LOGON["timestamp"]
    assert meets(LOGON, TimeRange(moment, moment))
    assert not meets(LOGON, TimeRange(moment + 1, None))
    assert not meets(LOGON, TimeRange(None, moment - 1))
    undated = event("m")
    assert not meets(undated, TimeRange(None, None))
    assert meets(undated, Not(TimeRange(None, None)))
    assert meets(undated, Everything())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Blank", True),  # an empty text is a value
        ("Nothing", False),
        ("None", False),
        ("Absent", False),
        ("Flags", True),
        ("Event.Data.Name", True),
        ("Event.Data", False),
        ("Event", False),
        ("Event.Empty", False),
    ],
)
def test_a_field_exists_when_it_has_a_value(name: str, expected: bool) -> None:
    assert meets(LOGON, Exists(Field(name, attribute=True))) is expected


@pytest.mark.parametrize("name", ["host", "user", "type", "category", "score", "timestamp", "tags"])
def test_core_fields_exist_when_they_are_not_null(name: str) -> None:
    assert meets(LOGON, Exists(Field(name)))
    assert not meets(event("m"), Exists(Field(name)))


def test_an_empty_text_in_a_core_field_is_a_value() -> None:
    assert meets(event(""), Exists(MESSAGE))
    assert meets(event(tags=[""]), Exists(Field("tags")))


def test_dotted_names_and_nested_objects_are_the_same_field() -> None:
    document = event(attributes={"a.b": 1, "a": {"b": [{"c": 2}, 3]}})
    assert list(field_values(document, Field("a.b", attribute=True))) == [1, 3]
    assert field_texts(document, Field("a.b.c", attribute=True)) == ["2"]


_BAGS = st.dictionaries(
    st.sampled_from(["", "a", "a.a", "b", "."]),
    st.recursive(
        st.none() | st.integers(0, 3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["", "a", "."]), inner),
        max_leaves=6,
    ),
)


@given(_BAGS, st.sampled_from(["", "a", "a.a", "a.a.a", "a.", "..", "...", "b", "b.a"]))
def test_the_values_of_a_name_are_those_of_the_flattened_bag(bag: dict[str, Any], name: str) -> None:
    flat = [value for dotted, value in flatten(bag) if dotted == name]
    assert list(field_values(event(attributes=bag), Field(name, attribute=True))) == flat


def test_values_nested_a_thousand_deep_are_read() -> None:
    value: Any = "bottom"
    for _ in range(1000):
        value = [value]
    assert has(value, Words("bottom"))


def test_and_or_not_are_what_they_say() -> None:
    yes, no = Everything(), Nothing()
    document = event("m")
    assert meets(document, And((yes, yes)))
    assert not meets(document, And((yes, no)))
    assert meets(document, Or((no, yes)))
    assert not meets(document, Or((no, no)))
    assert meets(document, Not(no))
    assert not meets(document, Not(yes))


def test_ids_name_events() -> None:
    assert meets(LOGON, Ids(frozenset({LOGON["event_id"], "0" * 64})))
    assert not meets(LOGON, Ids(frozenset()))
    assert meets(LOGON, Equals(Field("event_id"), LOGON["event_id"].upper()))


def test_annotations_cannot_be_answered_from_a_document() -> None:
    with pytest.raises(TypeError, match="annotations"):
        compile_test(And((Everything(), Annotated("starred", Everything()))))
