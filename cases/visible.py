"""Text of evidence as a page may show it: nothing in it is hidden, reordered or markup.

Whoever names a file "gpj.exe" behind a right-to-left override counts on a reader who cannot see
the override (Unicode UAX 9, UTS 39). Pages show such characters by their code.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString

#: Controls, formats, lone surrogates, private use, line and paragraph separators.
_UNSEEN: Final = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_LAYOUT: Final = "\n\t"

_SPAN: Final = '<span class="unseen" title="{}">{}</span>'
_MARK: Final = "<mark>{}</mark>"


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of text that is shown in one way; `name` is set for a character made visible."""

    text: str
    name: str = ""


def is_unseen(char: str) -> bool:
    """Whether a character would not show itself, or would change how others show."""
    return unicodedata.category(char) in _UNSEEN and char not in _LAYOUT


def parts(text: str) -> Iterator[Part]:
    """Yield the text in stretches, each unseen character alone and by its code."""
    text = text.replace("\r\n", "\n")
    if text.isprintable():
        if text:
            yield Part(text)
        return
    begin = 0
    for at, char in enumerate(text):
        if not char.isprintable() and is_unseen(char):
            if begin < at:
                yield Part(text[begin:at])
            yield Part(f"U+{ord(char):04X}", unicodedata.name(char, "CONTROL CHARACTER"))
            begin = at + 1
    if begin < len(text):
        yield Part(text[begin:])


def visible(value: object) -> SafeString:
    """Return the text of a value as markup in which everything of it is escaped and seen."""
    text = str(value)
    if text.isprintable():
        return escape(text)
    return format_html_join("", "{}", ((_markup(part),) for part in parts(text)))


def marked(stretches: Iterable[tuple[str, bool]]) -> SafeString:
    """Return text as markup like `visible`, with the stretches that are true marked as hits."""
    return format_html_join(
        "",
        "{}",
        ((_mark(visible(text)) if is_hit else visible(text),) for text, is_hit in stretches),
    )


def plain(value: object) -> str:
    """Return the text with every unseen character by its code: for titles and messages."""
    return "".join(f"<{part.text}>" if part.name else part.text for part in parts(str(value)))


def _markup(part: Part) -> SafeString | str:
    return format_html(_SPAN, part.name, part.text) if part.name else part.text


def _mark(shown: SafeString) -> SafeString:
    return format_html(_MARK, shown)
