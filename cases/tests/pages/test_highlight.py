"""What of a message is marked as a hit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.highlight import sought, stretches
from cases.index.query import parse


def _marked(query: str, text: str) -> list[str]:
    pieces = list(stretches(text, sought(parse(query))))
    assert "".join(piece for piece, _ in pieces) == text
    return [piece for piece, is_hit in pieces if is_hit]


@pytest.mark.parametrize(
    ("query", "text", "hits"),
    [
        ("failed", "Failed password: failed", ["Failed", "failed"]),
        ("fail", "Failed password", []),
        ('"failed password"', "failed to set; Failed  password", ["Failed  password"]),
        ("evil.exe", "run evil.exe now", ["evil.exe"]),
        ('"a c"~2', "a b c", ["a", "c"]),
        ("a AND NOT b", "a b", ["a"]),
        ("a OR (b c)", "a b c d", ["a", "b", "c"]),
        ("*\\\\Temp\\\\*.exe", "C:\\Temp\\x.EXE", ["\\Temp\\", ".EXE"]),
        ("message:pass*", "password", ["pass"]),
        ("host:web", "web", []),
        ("STRASSE", "straße Strasse", ["Strasse"]),
        ("ŻÓŁĆ", "żółć", ["żółć"]),
        ("*", "anything", []),
        ("", "anything", []),
    ],
)
def test_words_phrases_and_pieces_of_patterns_are_marked(query: str, text: str, hits: list[str]) -> None:
    assert _marked(query, text) == hits


@given(st.text())
def test_no_text_is_lost_by_marking(text: str) -> None:
    wanted = sought(parse('a OR "b c" OR *x* OR message:0*'))
    assert "".join(piece for piece, _ in stretches(text, wanted)) == text
