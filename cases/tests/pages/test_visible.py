"""Text of evidence on a page: escaped, complete, nothing hidden."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from cases.visible import marked, plain, visible


class _Reader(HTMLParser):
    """Reads markup back: the tags, and the text as a browser would show it."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_markup_in_evidence_stays_text() -> None:
    shown = visible("<script>alert('x')</script>&amp;\"")
    assert "<" not in shown
    assert _Reader(shown).text == "<script>alert('x')</script>&amp;\""


def test_an_override_of_direction_is_shown_by_its_code() -> None:
    shown = visible("invoice\u202egpj.exe")
    assert "\u202e" not in shown
    assert _Reader(shown).text == "invoiceU+202Egpj.exe"
    assert 'title="RIGHT-TO-LEFT OVERRIDE"' in shown


def test_what_nobody_sees_is_shown() -> None:
    for char in "\u200b\u2066\u2069\u200f\ufeff\x00\x1b\x7f\x85\u2028\U000e0041\ue000\ud800\u00ad":
        assert _Reader(visible(f"a{char}b")).text == f"aU+{ord(char):04X}b"


def test_layout_and_letters_of_any_script_stay_as_they_are() -> None:
    for text in ("line\n\tnext", "żółć", "日本語", "العربية", "e\u0301", "🕵", " \u00a0x\u3000"):
        assert visible(text) == text


def test_line_ends_of_windows_are_line_ends() -> None:
    assert visible("a\r\nb") == "a\nb"
    assert _Reader(visible("a\rb")).text == "aU+000Db"


def test_marks_stand_around_hits_alone() -> None:
    assert marked([("a<", False), ("b\u202e", True), ("c", False)]).startswith("a&lt;<mark>b<span")
    assert _Reader(marked([("x", True), ("<y", False)])).tags == ["mark"]


def test_messages_carry_no_hidden_characters() -> None:
    assert plain("a\u202eb\x1b[31m") == "a<U+202E>b<U+001B>[31m"


@given(st.text(st.characters(codec=None, exclude_categories=[])))
def test_any_text_is_markup_without_tags_of_its_own(text: str) -> None:
    shown = visible(text)
    shown.encode()  # no lone surrogate is left, which no answer could carry
    assert set(_Reader(shown).tags) <= {"span"}
