"""An event as a document of the server, the mapping it meets there, and back again.

Everything that is compared is prepared here, by `text`, so that the server only compares bytes:

    part       shard/run; what the alias of a case lists is what is visible
    by         which of the processes that wrote the part, missing for the first
    e1, e2     the first 128 bits of the event id as two signed integers, in its order
    timestamp  microseconds since 1970 UTC, missing when undated
    sec        whole seconds of it, for counting: the server counts in doubles, which are not exact
               for microseconds before 1684 and after 2255
    message    the words of the message, one space between them
    raw        the folded message, for patterns; one longer than LONG_MESSAGE is in `long`
    words      the words of the other texts that a bare word is looked for in, BOUNDARY between two
               texts; a text is left out whose words stand in the message side by side
    exact      one term a value: place, sign of its kind, and
                   TEXT    the folded value
                   NUMBER  16 hexadecimal digits that sort as its double, ":", the canonical decimal
                   OTHER   the same of a number that is spelled otherwise (007), beside its TEXT
                   HASHED  a digest of the folded value, which is too long and stands in `long`
    long       place, TEXT and the folded value, for each that is too long for a term
    has        kind ("t", "n", "b") and place of every field that has a value
    s_*        place, TEXT and the value in its own spelling, in the order of values; of one too
               long the beginning, CUT and two digests (that of `exact`, that of the spelling). For
               counting. Fields share slots by a checksum
    src        the event itself: JSON, or JSON in a text where the server could not carry it

A place is "c" and the name of a core field or "a" and that of an attribute, signs escaped.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from typing import Any, Final

from cases.index import text
from cases.index.document import Document
from cases.index.text import fold, number, split
from cases.index.tree import Field

#: Raised with every change of mapping or meaning; indices of another version are rebuilt.
VERSION: Final = 1

TEXT, NUMBER, OTHER, HASHED = "=", "#", "~", "!"
#: Follows the beginning of a long value in a slot.
CUT: Final = "\x00!"
#: Between the words of two texts; no word, and no phrase may cross it.
BOUNDARY: Final = "|"
#: Characters of a folded value that still make a term, and of a message that still stands in `raw`
#: (four bytes each are below the 32,766 that a term or a doc value may have).
LONG: Final = 1000
LONG_MESSAGE: Final = 8000
#: The place of the message in `long`.
MESSAGE_PLACE: Final = "m"
#: Characters of a word; longer ones are hashed. Beyond what a fuzzy word may reach (258).
LONG_WORD: Final = 300
_LONGEST_NAME: Final = 200
_TOKEN: Final = 4096
#: Slots that attributes share for counting: each is small, and so are its ordinals.
SLOTS: Final = 64
#: Characters of an expression that the server is asked to run.
MAX_EXPRESSION: Final = 20_000
#: Core fields that are counted and compared, each in a slot of its own. Not the case: an index
#: belongs to one. Not the event id: e1 and e2 are it.
CORE: Final = (
    "host",
    "user",
    "source",
    "category",
    "type",
    "timestamp_desc",
    "time_precision",
    "evidence_uid",
    "position",
)
LISTED: Final = ("tags", "score")
#: Core fields that every event has.
ALWAYS: Final = ("message", "event_id", "case_id")

_NAME_SIGNS: Final = re.compile("[%=#~!|\x00-\x1f\x7f\ud800-\udfff]")
_ESCAPED_SIGN: Final = re.compile("%([0-9a-f]{4})")
#: What a slot writes otherwise: lone surrogates, and what marks them. It stands right behind them
#: in the order of code points, so that terms keep the order of values. NUL is doubled, because CUT
#: begins with one.
_SURROGATE: Final = re.compile("[\x00\ue000\ud800-\udfff]")
_SPELLED: Final = re.compile("\ue000([de][0-9a-f]{3})|\x00\x00")
#: ASCII letters and digits as they are, everything else a space; bytes are translated four times as
#: fast as texts are split.
_ASCII_WORDS: Final = "".join(chr(code) if chr(code).isalnum() else " " for code in range(128))
_WORD_TABLE: Final = _ASCII_WORDS.encode().ljust(256)
_TOP: Final = 1 << 63


def place_of(field: Field) -> str:
    """Return how terms of a field begin; two fields never share it."""
    name = field.name
    if not name.isalnum():
        name = _NAME_SIGNS.sub(lambda match: f"%{ord(match[0]):04x}", name)
    if len(name) > _LONGEST_NAME:
        name = f"%%{digest(field.name)}"
    return f"a{name}" if field.attribute else f"c{name}"


def field_of(place: str) -> Field | None:
    """Return the field of a place; None when its name was too long to be kept."""
    name = place[1:]
    if name.startswith("%%"):
        return None
    if "%" in name:
        name = _ESCAPED_SIGN.sub(lambda match: chr(int(match[1], 16)), name)
    return Field(name, attribute=place[0] == "a")


def slot_of(field: Field) -> str:
    """Return the name of the server's field that the values of a field are counted in."""
    if not field.attribute:
        return f"s_{field.name}"
    return f"s_{zlib.crc32(place_of(field).encode()) % SLOTS:02d}"


def digest(value: str) -> str:
    """Return 32 hexadecimal characters for a text of any length."""
    return hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def sortable(value: float) -> str:
    """Return 16 hexadecimal digits that sort as the double does; -0.0 is 0.0."""
    bits: int = struct.unpack(">Q", struct.pack(">d", value + 0.0))[0]
    return f"{bits ^ (2 * _TOP - 1) if bits >> 63 else bits | _TOP:016x}"


def number_tail(canonical: str) -> str:
    """Return what follows NUMBER or OTHER in the term of a number (`text.number`)."""
    kept = canonical if len(canonical) <= LONG else f"{HASHED}{digest(canonical)}"
    return f"{sortable(float(canonical))}:{kept}"


def equal_terms(field: Field, value: str) -> list[str]:
    """Return the terms of `exact` of which an event has one when its field equals the value."""
    place, canonical = place_of(field), number(value)
    if canonical is not None:
        tail = number_tail(canonical)
        return [f"{place}{NUMBER}{tail}", f"{place}{OTHER}{tail}"]
    folded = fold(value)
    return [f"{place}{TEXT}{folded}" if len(folded) <= LONG else f"{place}{HASHED}{digest(folded)}"]


def has_terms(field: Field) -> list[str]:
    """Return the terms of `has` of which an event has one when its field has a value."""
    place = place_of(field)
    return [f"{kind}{place}" for kind in "tnb"]


def spelling(tail: str) -> str:
    """Return a value as it was spelled, from what follows TEXT in a term of a slot."""
    if "\ue000" not in tail and "\x00" not in tail:
        return tail
    return _SPELLED.sub(lambda match: chr(int(match[1], 16)) if match[1] else "\x00", tail)


def shown_tail(spelled: str, folded: str) -> str:
    """Return what follows TEXT in the term of a slot for a value and what it is folded to."""
    shown = _SURROGATE.sub(_written, spelled[: LONG + 1])
    if len(spelled) <= LONG >= len(folded):
        return shown
    return f"{shown[:LONG]}{CUT}{digest(folded)}{digest(spelled)}"


def word_term(word: str) -> str:
    """Return a word as `message` and `words` hold it: a digest in place of a very long one.

    Three signs that no word has keep it away from what two edits may reach.
    """
    return word if len(word) <= LONG_WORD else f"___{digest(word)}"


def _written(sign: re.Match[str]) -> str:
    return "\x00\x00" if sign[0] == "\x00" else f"\ue000{ord(sign[0]):04x}"


def words_of(folded: str) -> list[str]:
    """Return the words of a folded text as `message` and `words` hold them."""
    found = folded.encode().translate(_WORD_TABLE).decode().split() if folded.isascii() else split(folded)
    return [word_term(word) for word in found] if len(folded) > LONG_WORD else found


def id_numbers(event_id: str) -> tuple[int, int]:
    """Return e1 and e2 of an event id. Raises ValueError when it is none."""
    return int(event_id[:16], 16) - _TOP, int(event_id[16:32], 16) - _TOP


def unshape(source: dict[str, Any]) -> Document:
    """Return the event from the `_source` of a hit, equal to what went in."""
    held = source["src"]
    document: Document = text.load(held.encode()) if isinstance(held, str) else held
    return document


def settings(shards: int) -> dict[str, Any]:
    """Return the settings of an index.

    Nothing is visible before it is asked for: a refresh interval of -1, set, not absent. One
    replica where there is a second node.
    """
    return {
        "number_of_shards": shards,
        "auto_expand_replicas": "0-1",
        "refresh_interval": "-1",
        "merge.policy.expunge_deletes_allowed": 0,  # what is deleted leaves every segment
        "max_regex_length": MAX_EXPRESSION,
        "analysis": {
            # Words are split here already; a token may have any length that reaches the server.
            "tokenizer": {
                "words": {"type": "char_group", "tokenize_on_chars": [" "], "max_token_length": _TOKEN}
            },
            "analyzer": {"words": {"type": "custom", "tokenizer": "words"}},
        },
    }


def mapping(case_id: str) -> dict[str, Any]:
    """Return the mapping of an index; a field that it does not name is refused."""
    terms = {"type": "keyword", "doc_values": False}
    words = {"type": "text", "analyzer": "words", "norms": False}
    counted = {"type": "keyword", "index": False}
    properties: dict[str, Any] = {
        "case": {"type": "constant_keyword", "value": case_id},
        "part": {"type": "keyword"},
        "by": terms,
        "e1": {"type": "long", "coerce": False},
        "e2": {"type": "long", "coerce": False, "index": False},
        "timestamp": {"type": "long", "coerce": False},
        "sec": {"type": "long", "coerce": False, "index": False},
        "message": words,
        "raw": {"type": "wildcard"},
        "words": words,
        "exact": terms,
        "long": {"type": "wildcard", "doc_values": False},
        "has": {"type": "keyword"},
        "src": {"type": "object", "enabled": False},
    }
    properties |= {f"s_{name}": counted for name in (*CORE, *LISTED)}
    properties |= {f"s_{number:02d}": counted for number in range(SLOTS)}
    return {"dynamic": "strict", "_meta": {"version": VERSION}, "properties": properties}
