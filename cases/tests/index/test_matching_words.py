"""What words, phrases and fuzzy words find in a document."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.index.matching import phrase_test, within_edits
from cases.index.tree import (
    MESSAGE,
    Fuzzy,
    Words,
)
from cases.tests.index.documents import LOGON, event, meets


@pytest.mark.parametrize(
    "text",
    [
        "ACCOUNT",
        "alice",
        "ws",
        "0001",
        "corp example",
        "suspicious",
        "lateral movement",
        "4624",
        "security",
        "deep",
        "true",
        "first value",
        "10.0.0.7",
        "0.5",
    ],
)
def test_a_bare_word_is_found_in_message_host_user_type_tags_and_attribute_values(text: str) -> None:
    assert meets(LOGON, Words(text))


@pytest.mark.parametrize(
    "text",
    [
        "logo",  # the beginning of a word is not the word
        "logon",  # only the category says so
        "evtx",  # only the source says so
        "channel",  # a name is no value
        "value second",  # two elements of a list are two texts
        "movement suspicious",
        "security first",
        "on logged",
        "account successfully",
        "null",
    ],
)
def test_a_bare_word_is_not_found_elsewhere_nor_across_texts(text: str) -> None:
    assert not meets(LOGON, Words(text))


def test_words_of_the_message_ignore_every_other_text() -> None:
    assert meets(LOGON, Words("logged on alice", MESSAGE))
    assert not meets(LOGON, Words("suspicious", MESSAGE))


@pytest.mark.parametrize(
    ("slop", "text", "expected"),
    [
        (0, "one two three", True),
        (0, "one three", False),
        (1, "one three", True),
        (1, "three one", False),
        (1, "one four", False),
        (2, "one four", True),
        (1, "one three five", False),  # one in each gap are two taken together
        (2, "one three five", True),
        (9, "five one", False),
        (0, "two", True),
        (3, "five five", False),
    ],
)
def test_slop_bounds_all_words_in_between_and_keeps_the_order(slop: int, text: str, expected: bool) -> None:
    assert meets(event("one, two; three (four) five"), Words(text, slop=slop)) is expected


_LETTERS = st.lists(st.sampled_from("abc"), max_size=9)


@given(_LETTERS, st.lists(st.sampled_from("abc"), min_size=1, max_size=4), st.integers(0, 3))
def test_a_phrase_is_met_exactly_when_some_choice_of_places_meets_it(
    held: list[str], wanted: list[str], slop: int
) -> None:
    places = itertools.combinations(range(len(held)), len(wanted))
    expected = any(
        [held[place] for place in chosen] == wanted and chosen[-1] - chosen[0] - len(wanted) + 1 <= slop
        for chosen in places
    )
    assert phrase_test(wanted, slop)(".".join(held)) is expected


@pytest.mark.parametrize(
    ("word", "edits", "expected"),
    [
        ("mimikatz", 1, True),
        ("MIMIKATZ", 1, True),
        ("mimkatz", 1, True),  # one dropped
        ("mimikaatz", 1, True),  # one inserted
        ("mimikats", 1, True),  # one changed
        ("mimiaktz", 1, True),  # neighbours swapped
        ("mimkats", 1, False),
        ("mimkats", 2, True),
        ("mkats", 2, False),
        ("powershel", 2, False),  # is in an attribute, and fuzzy words are of the message
    ],
)
def test_a_fuzzy_word_is_a_word_of_the_message_within_its_edits(
    word: str, edits: int, expected: bool
) -> None:
    assert meets(event("ran Mimikatz.exe", {"a": "powershell"}), Fuzzy(word, edits)) is expected


def _distance(left: str, right: str) -> int:
    """Optimal string alignment by its definition."""
    cost: dict[tuple[int, int], int] = {}
    for i, j in itertools.product(range(len(left) + 1), range(len(right) + 1)):
        if not i or not j:
            cost[i, j] = i + j
            continue
        change = cost[i - 1, j - 1] + (left[i - 1] != right[j - 1])
        cost[i, j] = min(cost[i - 1, j] + 1, cost[i, j - 1] + 1, change)
        if i > 1 and j > 1 and left[i - 2 : i] == right[j - 2 : j][::-1]:
            cost[i, j] = min(cost[i, j], cost[i - 2, j - 2] + 1)
    return cost[len(left), len(right)]


@settings(max_examples=500)
@given(st.text("abc", max_size=7), st.text("abc", max_size=7), st.integers(1, 2))
def test_edits_are_counted_by_optimal_string_alignment(left: str, right: str, edits: int) -> None:
    assert within_edits(left, right, edits) is (_distance(left, right) <= edits)


def test_two_edits_do_not_touch_one_place_twice() -> None:
    assert not within_edits("ca", "abc", 2)  # the unrestricted distance would be 2
