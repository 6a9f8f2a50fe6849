"""Ids of posted events: made of their content, the same as ever."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cases.services.posted_event import Checked, canonical, check, event_id, shape

_TEXT = st.text(st.characters(categories=None, min_codepoint=0, max_codepoint=0x10FFFF), max_size=12)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)
_EVENTS = st.dictionaries(_TEXT, _VALUES, max_size=6).map(lambda others: {**others, "message": "m"})


def _as_ever(case_id: str, event: dict[str, Any]) -> str:
    """Return the id as the first version made it."""
    text = json.dumps(event, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{case_id}\x00{text}".encode()).hexdigest()


@given(_EVENTS)
@example({"message": "m", "n": 1e16})
@example({"message": "m", "n": 1.5e-7})
@example({"message": "m", "n": 5e-324})
@example({"message": "m", "n": 0.00006103515625})
@example({"message": "m", "n": -0.0})
@example({"message": "\x7f", "e": "2e7"})
@example({"message": "\x7f"})
@example({"message": "m", "\U0001f600": 1, "\uffff": 2, "é": 3})
def test_the_id_of_an_event_is_what_it_was_in_the_first_version(event: dict[str, Any]) -> None:
    checked = check(event)
    if checked.faults:
        return
    kept = shape(event)
    assert event_id("ir-1", kept, floats=checked.floats) == _as_ever("ir-1", kept)
    assert event_id("ir-1", kept) == _as_ever("ir-1", kept)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 3))
@example(0.00006103515625, 2)
def test_a_float_at_any_depth_is_seen(number: float, depth: int) -> None:
    value: Any = number
    for _ in range(depth):
        value = {"a": [1, value]}
    assert check({"message": "m", "n": value}).floats
    assert not check({"message": "m", "n": [1, {"a": "1.5"}]}).floats


@given(st.dictionaries(_TEXT, st.integers(-(2**70), 2**70) | _TEXT | st.booleans()))
def test_without_floats_both_libraries_write_the_same(event: dict[str, Any]) -> None:
    assert canonical(event, floats=False) == canonical(event, floats=True)


def test_an_id_is_the_one_that_is_stored_in_older_databases() -> None:
    event = {
        "timestamp": "2024-03-01T08:15:30.123456Z",
        "message": "Überwachung: 4624 an account was logged on",
        "host": "WS-1",
        "tags": ["a", "b", "a"],
        "attributes": {"EventID": 4624, "Ratio": 1e-7, "Big": 2**70},
    }
    assert check(event) == Checked([], floats=True)
    assert (
        event_id("ir-2024-001", shape(event))
        == "a6d4f3144ebc7599b4b0dcb400684da1e2025a0be88e1308dc6e564eec112b69"
    )


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("place", ["attribute", "list", "score"])
def test_a_number_that_json_cannot_say_is_refused_and_never_kept_as_null(number: float, place: str) -> None:
    event: dict[str, Any] = {"message": "m"}
    event |= {"score": number} if place == "score" else {"n": [number] if place == "list" else number}
    assert check(event).faults


def test_objects_nest_up_to_32_levels() -> None:
    def nested(levels: int) -> dict[str, Any]:
        value: Any = {}
        for _ in range(levels - 2):
            value = {"a": value}
        return {"message": "m", "a": value}

    assert check(nested(32)).faults == []
    assert check(nested(33)).faults == ["Objects and lists nest up to 32 levels."]
    assert check({"message": "m", "a": [[[1]] * 1000] * 100}).faults == []
