"""Addresses of searches: what they ask, and the terms that a click adds."""

from __future__ import annotations

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from cases.asked import Asked, exact
from cases.index.query import parse
from cases.index.tree import And, Equals, Field, Not, Or, Words


def _read(address: str) -> Asked:
    asked, refusal = Asked.read(QueryDict(address.removeprefix("?")))
    assert refusal is None
    return asked


@pytest.mark.parametrize(
    "address",
    [
        "?",
        "?q=a+b%26c",
        "?q=%22x%22&from=2024-03-01&to=2024-03-02T00%3A00%3A00Z&evidence=ev-1&evidence=ev-2&source=evtx",
        "?q=a&ordering=timestamp&limit=100&cursor=abc%3Adef",
    ],
)
def test_an_address_says_what_was_read_from_it(address: str) -> None:
    assert _read(address).address() == address


@pytest.mark.parametrize(
    ("address", "field"),
    [
        ("form=2024-03-01", ""),
        ("q=a&q=b", "q"),
        ("ordering=message", "ordering"),
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=1001", "limit"),
        ("limit=99999999999", "limit"),
        ("limit=%D9%A3", "limit"),
    ],
)
def test_what_makes_no_sense_is_refused_and_not_dropped(address: str, field: str) -> None:
    _, refusal = Asked.read(QueryDict(address))
    assert refusal is not None
    assert refusal.field == field


def test_a_changed_search_begins_on_its_first_page() -> None:
    assert _read("?q=a&cursor=x").but(start="2024-03-01").address() == "?q=a&from=2024-03-01"


def test_an_export_asks_the_same_without_page_and_order() -> None:
    asked = _read("?q=a&source=evtx&ordering=timestamp&limit=100&cursor=x")
    assert asked.export("csv") == "?format=csv&q=a&source=evtx"


def test_a_term_narrows_the_whole_of_what_was_asked() -> None:
    narrowed = parse(_read("?q=a+OR+b").narrowed("host:x").q)
    assert isinstance(narrowed, And)
    assert isinstance(narrowed.children[0], Or)
    assert narrowed.children[1] == Equals(Field("host"), "x")
    assert _read("?").narrowed("host:x").q == "host:x"
    assert _read("?q=*").narrowed("host:x").q == "host:x"


def test_a_value_is_excluded() -> None:
    narrowed = parse(_read("?q=a").narrowed(f"NOT {exact('EventID', '4624', attribute=True)}").q)
    assert narrowed == And((Words("a"), Not(Equals(Field("EventID", attribute=True), "4624"))))


@pytest.mark.parametrize(
    "value",
    [
        "4624",
        "OR",
        "-1",
        "a b",
        'a "b"',
        "C:\\Windows\\Temp\\",
        "*",
        "a*b?",
        "/x/",
        "(",
        "ż",
        "x:y",
        "",
        "10.0.0.7",
    ],
)
def test_a_click_on_a_value_asks_for_exactly_that_value(value: str) -> None:
    for name in ("Channel", "Event.Data", "host", "a b", 'q"x', "back\\slash", "AND", "*"):
        assert parse(exact(name, value, attribute=True)) == Equals(Field(name, attribute=True), value)
    assert parse(exact("host", value)) == Equals(Field("host"), value)


@given(st.text(min_size=1, max_size=40), st.text(max_size=40))
def test_any_name_and_value_can_be_asked_for(name: str, value: str) -> None:
    assert parse(exact(name, value, attribute=True)) == Equals(Field(name, attribute=True), value)
