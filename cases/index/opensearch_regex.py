"""An RE2 expression over folded text as an expression of Lucene's that covers the whole text.

RE2 searches, Lucene covers; RE2 folds case, here text was folded before it was indexed; anchors and
boundaries of words do not exist in Lucene and are written out where they stand at an end. What
cannot be said raises Untranslatable, and `needed` tells what a text must hold all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cases.index.opensearch_regex_read import Anchor, Choice, One, Part, Repeat, Row, Untranslatable, read
from cases.index.opensearch_shape import MAX_EXPRESSION

_WORD: Final = "0-9A-Za-z_"


def translate(source: str, *, whole: bool) -> str:
    """Return Lucene's expression for the folded texts that `patterns.regex_test` lets pass.

    Raises Untranslatable.
    """
    part = _opened(_opened(read(source), end=False, whole=whole), end=True, whole=whole)
    found = _plain(part) or "()"
    if len(found) > MAX_EXPRESSION:
        raise Untranslatable("too long")
    return found


def needed(source: str) -> list[str]:
    """Return folded texts that every match of an expression holds; when in doubt, fewer."""
    try:
        return [run for run in _runs(read(source)) if run]
    except Untranslatable:
        return []


def _plain(part: Part) -> str:
    """Write a part that holds no anchor, but boundaries that its characters settle."""
    match part:
        case One(text=text):
            return text
        case Anchor():
            raise Untranslatable("an anchor inside")
        case Row(items=items):
            return "".join(_plain(item) for item in _settled(items))
        case Choice(branches=branches):
            return f"({'|'.join(_plain(branch) or '()' for branch in branches)})"
        case Repeat(item=item, least=least, most=most):
            return _times(_plain(item), least, most)


def _times(text: str, least: int, most: int | None) -> str:
    if most is None and least < 2:
        count = "+" if least else "*"
    elif (least, most) == (0, 1):
        count = "?"
    else:
        count = f"{{{least},{'' if most is None else most}}}"
    return f"({text}){count}" if text else ""


def _settled(items: Sequence[Part]) -> list[Part]:
    """Leave out boundaries of words that are there whatever matches."""
    kept: list[Part] = []
    for at, item in enumerate(items):
        if isinstance(item, Anchor) and item.kind in ("boundary", "inside") and 0 < at < len(items) - 1:
            sides = _word_at(items[at - 1], end=True), _word_at(items[at + 1], end=False)
            if None in sides or (sides[0] != sides[1]) != (item.kind == "boundary"):
                raise Untranslatable("a boundary that is not sure")
        else:
            kept.append(item)
    return kept


def _word_at(part: Part, *, end: bool) -> bool | None:
    """Say whether the first or last character is \\w in every match, or in none."""
    match part:
        case One(word=word):
            return word
        case Row(items=items) if items:
            return _word_at(items[-1 if end else 0], end=end)
        case Choice(branches=branches):
            found = {_word_at(branch, end=end) for branch in branches}
            return found.pop() if len(found) == 1 else None
        case Repeat(item=item, least=least) if least:
            return _word_at(item, end=end)
        case _:
            return None


def _opened(part: Part, *, end: bool, whole: bool) -> Part:
    """Write out what may stand before a part, or behind it (`end`), in place of its anchors there."""
    if isinstance(part, Choice):
        return Choice(tuple(_opened(branch, end=end, whole=whole) for branch in part.branches))
    items = list(part.items if isinstance(part, Row) else (part,))
    if end:
        items.reverse()
    kinds: set[str] = set()
    while items and isinstance(at := items[0], Anchor) and at.kind != ("begin" if end else "end"):
        kinds.add(at.kind)
        del items[0]
    if kinds or not items or isinstance(items[0], One | Anchor | Repeat):
        word = _word_at(items[0], end=end) if items else None
        items.insert(0, One(_beyond(kinds, word, end=end, whole=whole), None, None))
    else:
        items[0] = _opened(items[0], end=end, whole=whole)
    if end:
        items.reverse()
    return Row(tuple(items))


def _beyond(kinds: set[str], word: bool | None, *, end: bool, whole: bool) -> str:
    """Return the expression for everything beyond an end where these anchors stand."""
    boundary, inside = "boundary" in kinds, "inside" in kinds
    if (boundary and inside) or ((boundary or inside) and word is None):
        raise Untranslatable("a boundary that is not sure")
    beside_word = boundary != word  # a sign of \\w has to stand next to it
    if whole or kinds & {"begin", "end"}:
        if (boundary or inside) and beside_word:
            raise Untranslatable("a boundary that is never there")
        return ""
    if not (boundary or inside):
        return ".*"
    if beside_word:
        return f"[{_WORD}].*" if end else f".*[{_WORD}]"
    return f"([^{_WORD}].*)?" if end else f"(.*[^{_WORD}])?"


def _runs(part: Part) -> list[str]:
    match part:
        case One(char=char):
            return [char or ""]
        case Repeat(item=item, least=least) if least:
            return ["", *_runs(item), ""]  # a run ends at whatever may be something else
        case Row(items=items):
            found = [""]
            for item in items:
                first, *rest = [""] if isinstance(item, Anchor) else _runs(item)
                found[-1] += first
                found += rest
                if not (isinstance(item, Anchor) or rest or (isinstance(item, One) and item.char)):
                    found.append("")
            return found
        case _:
            return ["", ""]
