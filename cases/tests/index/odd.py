"""Documents as evidence really has them, and worse, and questions about them; all from a seed."""

from __future__ import annotations

import hashlib
import random
from decimal import Decimal
from typing import Any

from cases.index.document import Document
from cases.index.text import flatten, fold, value_text, words
from cases.index.tree import (
    ANY,
    KEYWORD_FIELDS,
    MESSAGE,
    ONE,
    SCORE,
    TIMESTAMP,
    And,
    Equals,
    Everything,
    Exists,
    Field,
    Fuzzy,
    Ids,
    Node,
    Not,
    Nothing,
    NumberRange,
    Or,
    Pattern,
    Regex,
    TimeRange,
    Wildcard,
    Words,
)
from cases.records import FIRST_INSTANT, LAST_INSTANT

START = 1_709_280_000_000_000  # 2024-03-01
_PIECES = (
    r"C:\Windows\Temp\evil.exe",
    r"C:\Program Files (x86)\Größe\straße.dll",
    "An account was successfully logged on",
    "powershell.exe -nop -w hidden -enc",
    "snake_case_name and-dashes 10.0.0.7:443",
    "привет МИР",
    "日本語のテキスト",
    "🔥 emoji ②③ ¼",
    "İstanbul KELVIN \u212a ſharp ẞ",
    "e\u0301te\u0301 été",
    "nul\x00inside tab\there\nline\x1e\x1f\x1c\x01",
    "lone \ud800 surrogate \udfff",
    "ᏣᎳᎩ ꮳꮃꭹ",
    "٣٤٥ १२३",
    "o'brien it's",
    "a b c a b c a",
    "file file other file",
    "x" * 190,
    "y" * 250,
    "ab" * 400,
    hashlib.sha256(b"hash").hexdigest(),
    "GET /index.php?id=1&x=%20 HTTP/1.1",
    "",
    "   ",
    "!!!",
)
_NAMES = (
    "EventID",
    "eventid",
    "Channel",
    "Image",
    "a.b",
    "Event.Data.Name",
    "with space",
    "naïve",
    "nul\x00name",
    "lone\ud83d",
    "n" * 300,
    "",
    "host",
)
_VALUES: tuple[Any, ...] = (
    4624,
    4625,
    0,
    7,
    -1,
    1.5,
    -0.25,
    4624.0,
    1e22,
    2**53 + 1,
    2**70,
    -(2**64),
    99_999_999_999_999,
    10**15,
    10**16,
    True,
    False,
    None,
    "4624",
    "007",
    "7.0",
    "7e0",
    "",
    "0",
    "-0",
    "Security",
    "SECURITY",
    "true",
    "2024-03-01T00:00:00Z",
    r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe -NoProfile",
    "v" * 49,
    "W" * 600,
    "9" * 80,
    "0" * 100 + "5",
    [],
    {},
    [1, "1", 1.0, "one"],
    ["first part", "second part"],
    {"Name": "Data", "Inner": {"Deep": [1, None, "x"]}},
    {"b": "dotted"},
    "x" * 40_000,
)


def documents(seed: int, count: int, *, case_id: str = "case", evidence: str = "ev-1") -> list[Document]:
    """Return so many documents, every eighth undated, many of one instant."""
    chance = random.Random(seed)
    return [_document(chance, f"{evidence}/{number}", case_id, evidence) for number in range(count)]


def _document(chance: random.Random, position: str, case_id: str, evidence: str) -> Document:
    name = f"{case_id}/{position}"
    return {
        "event_id": hashlib.sha256(name.encode()).hexdigest(),
        "timestamp": _instant(chance),
        "timestamp_desc": chance.choice(("Event logged", "Created", "")),
        "time_precision": chance.choice(("us", "s", "none")),
        "message": chance.choice((" ", " / ", "")).join(chance.choices(_PIECES, k=chance.randrange(4)))
        + chance.choice(("", f" {chance.getrandbits(64):x}")),
        "host": chance.choice((None, "WS-0001.corp.example", "ws-0001.CORP.example", "Größe", "4624", "")),
        "user": chance.choice((None, "alice", "Alice", "CORP\\bob", "two words", "éva", "e\u0301va")),
        "source": chance.choice(("evtx", "jsonl")),
        "category": chance.choice((None, "logon")),
        "type": chance.choice((None, "4624", "4625", "Type")),
        "tags": chance.sample(["sigma:susp", "IOC", "two words", "ioc"], k=chance.randrange(3)),
        "score": chance.choice((None, None, 0.0, 80.5, -3)),
        "case_id": case_id,
        "evidence_uid": evidence,
        "position": position,
        "attributes": _attributes(chance),
        "span": chance.choice((None, [0, 10])),
    }


def _instant(chance: random.Random) -> int | None:
    kind = chance.randrange(8)
    if kind == 0:
        return None
    if kind == 1:
        return chance.choice((FIRST_INSTANT, LAST_INSTANT, 0, -1, 2**53, 2**53 + 1, -(2**53) - 1))
    if kind < 5:
        return START
    return START + chance.randrange(-400 * 86_400, 400 * 86_400) * 1_000_000 + chance.randrange(1_000_000)


def _attributes(chance: random.Random) -> dict[str, Any]:
    names = chance.sample(_NAMES, k=chance.randrange(7))
    held: dict[str, Any] = {name: chance.choice(_VALUES) for name in names}
    if chance.randrange(3) == 0:
        held["Record"] = chance.randrange(100_000)
    if chance.randrange(4) == 0:
        held["CommandLine"] = (
            rf'"C:\Temp\{chance.getrandbits(32):x}.exe" -File C:\Users\Anna\{chance.random()}'
        )
    if chance.randrange(6) == 0:
        held[f"field{chance.randrange(5000)}"] = chance.choice(_VALUES[:-1])
    return held


class Questions:
    """Random trees about some documents; most of their leaves find something."""

    def __init__(self, seed: int, about: list[Document]) -> None:
        self._chance = random.Random(seed)
        self._about = about

    def tree(self, depth: int = 2) -> Node:
        """Return a tree of at most so many levels above its leaves."""
        kind = self._chance.randrange(6) if depth else 5
        if kind == 0:
            return And(tuple(self.tree(depth - 1) for _ in range(self._chance.randrange(1, 4))))
        if kind == 1:
            return Or(tuple(self.tree(depth - 1) for _ in range(self._chance.randrange(1, 4))))
        if kind == 2:
            return Not(self.tree(depth - 1))
        return self.leaf()

    def leaf(self) -> Node:
        """Return one condition."""
        makers = (
            self._words,
            self._words,
            self._fuzzy,
            self._equals,
            self._equals,
            self._pattern,
            self._pattern,
            self._regex,
            self._number_range,
            self._time_range,
            self._exists,
            self._ids,
            lambda: self._chance.choice((Everything(), Nothing())),
        )
        return self._chance.choice(makers)()

    def _document(self) -> Document:
        return self._chance.choice(self._about)

    def _field(self) -> tuple[Field, list[Any]]:
        """A field, and values that some document has in it."""
        document, chance = self._document(), self._chance
        pairs = list(flatten(document["attributes"]))
        if pairs and chance.random() < 0.6:
            name, value = chance.choice(pairs)
            return Field(name, attribute=True), [value]
        if chance.random() < 0.05:
            return Field(chance.choice(("absent", "Event", "")), attribute=True), ["x"]
        name = chance.choice(KEYWORD_FIELDS)
        value = document[name]
        return Field(name), value if isinstance(value, list) else [] if value is None else [value]

    def _text(self) -> str:
        document, chance = self._document(), self._chance
        if chance.random() < 0.7:
            return str(document["message"])
        _, values = self._field()
        return value_text(chance.choice(values)) if values else "nothing"

    def _words(self) -> Node:
        chance, text = self._chance, self._text()
        held = words(text) or ["absent"]
        start, size = chance.randrange(len(held)), chance.choice((1, 1, 1, 2, 2, 3, 4))
        chosen = held[start : start + size]
        slop = chance.choice((0, 0, 1, 2))
        if slop and len(chosen) > 2:
            del chosen[1]
        asked = " ".join(chosen)
        return Words(
            asked.upper() if chance.random() < 0.3 else asked, chance.choice((None, None, MESSAGE)), slop
        )

    def _fuzzy(self) -> Node:
        chance = self._chance
        held = words(self._document()["message"]) or ["absent"]
        word = list(chance.choice(held))
        at = chance.randrange(len(word))
        word[at : at + 1] = chance.choice(([], ["x"], [word[at], "q"], word[at : at + 2][::-1]))
        return Fuzzy("".join(word) or "a", chance.choice((1, 2)))

    def _equals(self) -> Node:
        field, values = self._field()
        value = value_text(self._chance.choice(values)) if values else "absent"
        return Equals(field, value.upper() if self._chance.random() < 0.3 else value)

    def _pattern(self) -> Node:
        chance = self._chance
        if chance.random() < 0.5:
            field, text = MESSAGE, self._document()["message"]
        else:
            field, values = self._field()
            text = value_text(chance.choice(values)) if values else "absent"
        text = text[: chance.choice((12, 40, 700))]
        start = chance.randrange(len(text) + 1)
        parts: list[str | Wildcard] = [text[:start], chance.choice((ANY, ONE))]
        rest = text[start + chance.randrange(3) :]
        cut = chance.randrange(len(rest) + 1)
        parts += [rest[:cut], chance.choice((ANY, ANY, ONE)), chance.choice((rest[cut + 1 :], ""))]
        if chance.random() < 0.5:
            parts = [ANY, *parts[2:]]
        return Pattern(field, tuple(part for part in parts if part != ""))

    def _regex(self) -> Node:
        chance = self._chance
        field = MESSAGE if chance.random() < 0.6 else self._field()[0]
        return Regex(
            field,
            chance.choice(
                (
                    r"evil\.exe",
                    r"\\temp\\[a-z]+\.exe",
                    "power(shell)?",
                    "logge+d on",
                    "x{3}|привет",
                    r"\d+",
                    r"4\d\d4.*",
                    ".*sec.*",
                    r"[^a-z]*",
                    "CORP.bob",
                    "stra.e",
                    r"(?:10\.0\.0\.\d)",
                    "a.*b",
                    "^$",
                    "kelvin.k",
                    r".*\.exe.*",
                    "ws-0001[.]corp[.].*",
                )
            ),
        )

    def _number_range(self) -> Node:
        chance = self._chance
        field = SCORE if chance.random() < 0.2 else self._field()[0]
        bounds = (None, *map(Decimal, ("-5", "0", "1.5", "7", "4624", "50000", "4624.5", "1e17")))
        lower, upper = chance.choice(bounds), chance.choice(bounds)
        return NumberRange(field, lower, upper, chance.random() < 0.5, chance.random() < 0.5)

    def _time_range(self) -> Node:
        instants = [self._document()["timestamp"], self._document()["timestamp"]]
        lower, upper = sorted(instant or START for instant in instants)
        return TimeRange(*self._chance.choice(((lower, upper), (None, upper), (lower, None), (None, None))))

    def _exists(self) -> Node:
        return Exists(self._chance.choice((self._field()[0], self._field()[0], TIMESTAMP, SCORE, MESSAGE)))

    def _ids(self) -> Node:
        ids = {self._document()["event_id"] for _ in range(self._chance.randrange(4))}
        return Ids(frozenset({*ids, "0" * 64, fold("ABC")}))
