"""How values become terms of the embedded index, and terms become values again.

The field `x` holds one term a value: its place, a sign of its kind, the key it is compared by,
and, where that differs, the spelling:

    @Channel  TEXT     security     END  Security
    @EventID  INTEGER  d4624        END             (d: four digits, so that order is that of numbers)
    @ratio    NUMBER   0.5          END  0.50
    @Image    HASHED   <of the key> END  <of the spelling>

A place is "@" and the name of an attribute, or "." and that of a core field. Long values that
are not among the first of their field are hashed, with the term `place MARK` beside.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final

from cases.index.text import fold, number, split, value_number, value_text
from cases.index.tree import Field

END: Final = "\x00"
PRESENT, MARK, HASHED, NUMBER, INTEGER, TEXT = "\x1a", "\x1b", "\x1c", "\x1d", "\x1e", "\x1f"

#: Values up to this many characters are always kept as they are.
SHORT: Final = 48
#: Values beyond are always hashed: no dictionary should hold them.
LONG: Final = 512
#: Words beyond are hashed in the word fields, and the event is marked with LONG_WORD.
LONG_WORD_SIZE: Final = 200
LONG_WORD: Final = ".\x19"
#: Stands between two texts in a word field, so that no phrase crosses it; three signs, because
#: a search with two edits must not take it for a word.
GAP: Final = "\x1f\x1f\x1f"

#: Integers with more digits are compared one by one (2**53 has sixteen).
_DIGITS: Final = 15
_NUMERIC: Final = "-0123456789"
_NAME_LIMIT: Final = 120
_SPECIAL: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_ESCAPED: Final = re.compile("\x01([0-9a-f]{4})")
#: ASCII letters in lower case, digits as they are, everything else a space; for bytes, which are
#: translated four times as fast as texts.
_ASCII_WORDS: Final = "".join(chr(code).lower() if chr(code).isalnum() else " " for code in range(128))
_WORD_TABLE: Final = _ASCII_WORDS.encode().ljust(256)


def escape(text: str) -> str:
    """Return the text without the signs used here and without lone surrogates, reversibly."""
    if text.isprintable():
        return text
    return _SPECIAL.sub(lambda match: f"\x01{ord(match[0]):04x}", text)


def unescape(text: str) -> str:
    """Return what `escape` was given."""
    if "\x01" not in text:
        return text
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)


def digest(text: str) -> str:
    """Return 32 hexadecimal characters for a text of any length."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def place_of(field: Field) -> str:
    """Return how terms of a field begin."""
    name = escape(field.name)
    if len(name) > _NAME_LIMIT:
        name = f"\x02{digest(field.name)}"
    return f"@{name}" if field.attribute else f".{name}"


def key_of(value: Any) -> str:
    """Return kind and key of a value, without regard to its length."""
    canonical = value_number(value)
    if canonical is not None:
        return number_key(canonical)
    return TEXT + escape(fold(value_text(value)))


def number_key(canonical: str) -> str:
    """Return kind and key of a canonical decimal (`text.number`)."""
    if canonical.isdigit() and len(canonical) <= _DIGITS:
        return f"{INTEGER}{integer_key(canonical)}"
    return NUMBER + canonical


def integer_key(digits: str) -> str:
    """Return the digits behind a letter for their number, so that text order is number order."""
    return chr(96 + len(digits)) + digits


def term_tail(value: Any) -> str:
    """Return what follows the place in the term of a value."""
    key, spelled = key_of(value), value_text(value)
    plain = key[2:] if key[0] == INTEGER else unescape(key[1:]) if key[0] == TEXT else None
    return key + END if spelled == plain else f"{key}{END}{escape(spelled)}"


def text_tail(value: str) -> str:
    """Return `term_tail` of a text, fast where it is plain ASCII and no number."""
    if value.isascii() and value.isprintable() and not _may_be_number(value):
        key = value.lower()
        return f"{TEXT}{key}{END}" if key == value else f"{TEXT}{key}{END}{value}"
    return term_tail(value)


def _may_be_number(value: str) -> bool:
    return value[:1] in _NUMERIC and value[-1:] in _NUMERIC and number(value) is not None


def hashed_tail(value: Any) -> str:
    """Return what follows the place in the term of a value that is too long to keep."""
    return f"{HASHED}{digest(key_of(value))}{END}{digest(value_text(value))}"


def wanted_tails(value: str) -> tuple[str, str]:
    """Return the beginnings, after the place, of terms that equal what was asked for."""
    canonical = number(value)
    key = number_key(canonical) if canonical is not None else TEXT + escape(fold(value))
    return key + END, f"{HASHED}{digest(key)}{END}"


def spelling(tail: str) -> str | None:
    """Return the value that a term stands for, from what follows its place; None if hashed."""
    key, _, spelled = tail.partition(END)
    if key[0] == HASHED:
        return None
    shown = spelled or (key[2:] if key[0] == INTEGER else key[1:])
    return unescape(shown) if "\x01" in shown else shown


def is_long(spelled: str) -> bool:
    """Say whether a value is too long to be kept unless it is frequent."""
    return len(spelled) > SHORT


def words_of(text: str) -> list[str]:
    """Return the words of a folded text as the word fields hold them."""
    found = text.encode().translate(_WORD_TABLE).decode().split() if text.isascii() else split(text)
    if len(text) > LONG_WORD_SIZE:
        return [short_word(word) for word in found]
    return found


def short_word(word: str) -> str:
    """Return the word, or a hash in place of a long one."""
    return word if len(word) <= LONG_WORD_SIZE else GAP + digest(word)


def has_long_word(words: Sequence[str]) -> bool:
    """Say whether one of the words was hashed."""
    return any(word.startswith(GAP) for word in words)
