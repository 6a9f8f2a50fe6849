"""RE2 in Lucene's words; that both find the same is shown on a server by the suite of all engines."""

from __future__ import annotations

import pytest

from cases.index.opensearch_regex import needed, translate
from cases.index.opensearch_regex_read import Untranslatable


@pytest.mark.parametrize(
    ("source", "searching", "covering"),
    [
        (r"Evil\.exe", r".*evil\.exe.*", r"evil\.exe"),
        ("^a|b$", "(a.*|.*b)", "(a|b)"),
        ("(^foo|bar)x", "(foo|.*bar)x.*", "(foo|bar)x"),
        (r"\bexe\b", "(.*[^0-9A-Za-z_])?exe([^0-9A-Za-z_].*)?", "exe"),
        (r"\Bexe", ".*[0-9A-Za-z_]exe.*", None),
        (r"foo\b bar", ".*foo bar.*", "foo bar"),
        ("a{2,3}?b", ".*(a){2,3}b.*", "(a){2,3}b"),
        (r"\Q.*\E+", r".*\.(\*)+.*", r"\.(\*)+"),
        ("a||b", "(.*a.*|.*.*|.*b.*)", "(a|()|b)"),
        ("a.b", ".*a[^\n]b.*", "a[^\n]b"),
        (r"[\]\\^a-c-]", r".*[\-A-C\\\]\^a-c].*", r"[\-A-C\\\]\^a-c]"),
        (r"x\x{416}", ".*xж.*", "xж"),
        ("", ".*.*", "()"),
    ],
)
def test_an_expression_covers_what_it_searched(source: str, searching: str, covering: str | None) -> None:
    assert translate(source, whole=False) == searching
    if covering is None:
        with pytest.raises(Untranslatable):
            translate(source, whole=True)
    else:
        assert translate(source, whole=True) == covering


@pytest.mark.parametrize("source", ["x*^a", "a$b", r"foo\bbar", r".\b.", r"\b\Ba", "(" * 70 + "a" + ")" * 70])
def test_what_lucene_cannot_say_is_left_to_the_test_of_each_event(source: str) -> None:
    with pytest.raises(Untranslatable):
        translate(source, whole=False)


def test_signs_of_lucene_mean_themselves() -> None:
    assert translate('a&b~c@d#e<1-2>"', whole=True) == r"a\&b\~c\@d\#e\<1\-2\>\""


def test_what_a_text_must_hold_is_known_all_the_same() -> None:
    assert [run for run in needed(r"x*^Temp\b.+(evil)+\.exe") if len(run) > 2] == ["temp", "evil", ".exe"]
    assert needed("one|two") == []
