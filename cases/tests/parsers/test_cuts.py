"""Evidence in pieces gives what it gives as a whole: the same records and damages, in the same order."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import random
import struct
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.demo.windows import write_workstation_security
from cases.parsers import by_name
from cases.parsers.base import Context, Parser, Piece
from cases.parsers.cutting import joined
from cases.parsers.lines import LINE_LIMIT
from cases.parsers.source import FileSource
from cases.records import ParseError
from cases.tests.parsers.reading import SAMPLES

REFERENCE = datetime(2024, 6, 1, tzinfo=UTC)
PLACE: list[Path] = []


@pytest.fixture(scope="module", autouse=True)
def _place(tmp_path_factory: pytest.TempPathFactory) -> None:
    PLACE.append(tmp_path_factory.mktemp("cuts"))


def _source(content: bytes, **options: str) -> FileSource:
    path = PLACE[-1] / "evidence"
    path.write_bytes(content)
    return FileSource(path, "evidence", Context(reference=REFERENCE, options=options))


def _pieces(parser: Parser, content: bytes, size: int, **options: str) -> list[Piece]:
    """Return the pieces as another process would be told of them."""
    return [_told(piece) for piece in parser.cuts(_source(content, **options), size)]


def _told(piece: Piece) -> Piece:
    facts = json.loads(json.dumps(asdict(piece)))
    return Piece(**facts | {"entry": tuple(facts["entry"])})


def _in_pieces(parser: Parser, content: bytes, pieces: list[Piece], **options: str) -> list[Any]:
    """Read every piece as a process of its own would."""
    return [found for piece in pieces for found in parser.read_piece(_source(content, **options), piece)]


def assert_alike(name: str, content: bytes, size: int, **options: str) -> int:
    """Check that pieces of a size give what the whole gives; return how many there were."""
    parser = by_name(name)
    whole = list(parser.parse(_source(content, **options)))
    pieces = _pieces(parser, content, size, **options)
    if not pieces:
        return 0
    assert _in_pieces(parser, content, pieces, **options) == whole
    for fewer in (2, 3):
        assert _in_pieces(parser, content, joined(pieces, fewer), **options) == whole
    source = _source(content, **options)  # one process reads several, in order
    assert [found for piece in pieces for found in parser.read_piece(source, piece)] == whole
    assert [piece.end for piece in pieces[:-1]] == [piece.start for piece in pieces[1:]]
    assert [piece.is_last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    return len(pieces)


#: Ends of lines, and what stands where one might be expected.
ENDS = [b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"\r", b" \n", b"\n\n \n"]
ODD = [b"\0\0\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3", b"\x1b[2K", b" ", b"\t x", b"", b"#", b'"', b"{"]

JSON_LINES = [
    b'{"timestamp": "2024-03-01T08:15:30Z", "message": "one", "host": "a"}',
    b'{"time": "03/04/2024 10:00:00", "message": "ambiguous"}',
    b'{"time": "25/04/2024 10:00:00", "message": "tells day first"}',
    b'{"a": 1, "a": 2, "n": 1e999}',
    b'{"broken": ',
    b"[1, 2]",
]
SYSLOG_LINES = [
    b"Mar  1 09:00:00 host1 sshd[7]: Accepted password for root",
    b"Mar  1 09:00:01 host1 last message repeated 2 times",
    b"Dec 31 23:59:59 host1 cron: old",
    b"Jan  1 00:00:01 host1 cron: new",
    b"Feb 29 00:00:01 host2 cron[1]: leap",
    b"Feb 30 00:00:01 host2 cron[1]: never",
    b"<13>Nov  3 10:00:00 fw1 app: forwarded",
    b"Mon Mar  4 10:00:00 2024 host3 app: with a year",
    b"2024-03-01T08:15:30+01:00 alpha sshd[1]: known by its program",
    b"2024-03-01T08:15:31+01:00 alpha just words",
    b"2024-03-01T08:15:31Z beta just words",
    b"2024-03-01 08:15:31 UTC beta app: zone in between",
    b"2024-03-01T08:15:31Z UTC app: a host like a zone",
    b"2024-03-01 08:15:31 UTC gamma app: after it",
    b"2024-03-01T08:15:31Z gamma words",
    b"2024-03-01T08:15:30Z INFO app: level",
    b"type=SYSCALL msg=audit(1709281000.123:45): arch=c000003e",
    b"    continues the record before",
    b"\tso does this",
    b"nothing of a log",
]
WEB_LINES = [
    b"#Fields: date time c-ip cs-method cs-uri-stem sc-status",
    b"#Fields: time c-ip cs-uri-stem",
    b"#Date: 2024-03-01 10:00:00",
    b"#Time Format: Local",
    b"#Time Format: UTC",
    b"#Software: IIS",
    b"2024-03-01 10:00:00 10.0.0.1 GET /index.html 200",
    b"10:00:00 10.0.0.1 /index.html",
    b"10:00:00 10.0.0.1 /a b c d",
    b'10.0.0.7 - - [01/Mar/2024:08:15:30 +0000] "GET / HTTP/1.1" 200 532 "-" "curl"',
    b'10.0.0.7 - - [31/Feb/2024:08:15:30 +0000] "GET / HTTP/1.1" 200 532',
    b"    indented",
    b"nothing",
]
CSV_ROWS = [
    b"2024-03-01T08:15:30Z,one,host,plain",
    b'2024-03-01T08:15:31Z,"quoted, with a comma",host,x',
    b'2024-03-01T08:15:32Z,"over\nseveral\r\n\nlines",host,x',
    b'2024-03-01T08:15:33Z,"never closed,host,x',
    b'2024-03-01T08:15:34Z,"doubled ""quote""\n",host,"y"',
    b"03/04/2024 10:00,ambiguous,host,x",
    b"datetime,message,host,extra",
    b"short",
    b"a,b,c,d,e,f,g",
]
JOURNAL = [
    b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1709281000123456\nMESSAGE=hello\n_HOSTNAME=a\n\n",
    b"__REALTIME_TIMESTAMP=1709281000123457\nMESSAGE\n\x0b\0\0\0\0\0\0\0two\n\nblanks\n_PID=7\n\n",
    b"bad name=1\nMESSAGE=x\n\n",
    b"\n\n",
    b"MESSAGE\n\xff\xff\0\0\0\0\0\0short\n\n",
]


def _texts(first: bytes, lines: list[bytes]) -> st.SearchStrategy[bytes]:
    pieces = st.tuples(st.sampled_from(lines) | st.sampled_from([*lines, *ODD]), st.sampled_from(ENDS)).map(
        b"".join
    )
    marks = st.sampled_from([b"", b"", b"\xef\xbb\xbf"])
    return st.builds(
        lambda mark, found, cut: mark + first + b"".join(found)[: -cut or None],
        marks,
        st.lists(pieces, min_size=5, max_size=60),
        st.integers(0, 3),
    )


FORMATS: dict[str, tuple[str, bytes, list[bytes]]] = {
    "jsonl": ("jsonl", b"", JSON_LINES),
    "syslog": ("syslog", b"", SYSLOG_LINES),
    "weblog": ("weblog", b"", WEB_LINES),
    "csv": ("csv", b"datetime,message,host,extra\n2024-03-01T08:15:30Z,one,host,x\n", CSV_ROWS),
}


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_lines_in_any_number_of_pieces(name: str, data: st.DataObject) -> None:
    parser, first, lines = FORMATS[name]
    content, size = data.draw(_texts(first, lines)), data.draw(st.integers(1, 400))
    try:
        assert_alike(parser, content, size)
    except ParseError:
        with pytest.raises(ParseError):
            list(by_name(parser).parse(_source(content)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(JOURNAL), min_size=3, max_size=30), st.integers(1, 300), st.integers(0, 3))
def test_a_journal_export_in_any_number_of_pieces(entries: list[bytes], size: int, cut: int) -> None:
    content = (JOURNAL[0] + b"".join(entries))[: -cut or None]
    assert assert_alike("syslog", content, size) > 0


@pytest.fixture(scope="module")
def log() -> bytes:
    file = io.BytesIO()
    write_workstation_security(file, 1000)
    return file.getvalue()


def _damaged(log: bytes, chance: random.Random) -> bytes:
    """Return a log with chunks doubled, emptied, overwritten, and an end cut off."""
    header, chunks = log[:4096], [log[at : at + 65536] for at in range(4096, len(log), 65536)]
    for _ in range(chance.randrange(6)):
        place = chance.randrange(len(chunks))
        chunk = bytearray(chunks[place])
        at = chance.randrange(len(chunk))
        chunks[place : place + 1] = chance.choice(
            [
                [bytes(chunk), bytes(chunk)],
                [bytes(65536)],
                [bytes(65536), bytes(65536), bytes(chunk)],
                [bytes(chunk), bytes(chance.randbytes(65536))],
                [bytes(chunk[:at]) + b"\xff" * 40 + bytes(chunk[at + 40 :])][:1],
            ]
        )
    chunks = [chunk.ljust(65536, b"\0")[:65536] for chunk in chunks]
    if chance.random() < 0.3:
        header = header[:42] + struct.pack("<H", chance.randrange(200)) + header[44:]
    content = header + b"".join(chunks) + bytes(65536 * chance.randrange(3))
    return content[: -chance.randrange(1, 70_000)] if chance.random() < 0.4 else content


@pytest.mark.parametrize("number", range(9))
def test_an_event_log_in_pieces_whatever_is_damaged(log: bytes, number: int) -> None:
    chance = random.Random(number)
    content = _damaged(log, chance)
    recover = {"recover": "yes"} if number % 3 == 0 else {}
    assert assert_alike("evtx", content, chance.choice([65536, 150_000, 250_000]), **recover) > 1


def test_records_that_come_again_are_named_alike_in_pieces(log: bytes) -> None:
    body = log[4096:]
    assert assert_alike("evtx", log[:4096] + body + body[: 3 * 65536] + body, 150_000) > 5


def _lines(count: int, padding: int = 0) -> bytes:
    return b"".join(
        json.dumps(
            {"time": f"2024-03-01T08:{n // 60 % 60:02}:{n % 60:02}Z", "message": f"line {n}{'x' * padding}"}
        ).encode()
        + b"\n"
        for n in range(count)
    )


def _members(pack: Callable[[bytes], bytes], content: bytes, size: int) -> bytes:
    return b"".join(pack(content[at : at + size]) for at in range(0, len(content), size))


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("gzip", lambda content: gzip.compress(content, 1)),
        ("zstd", zstandard.ZstdCompressor(level=1).compress),
        ("xz", lambda content: lzma.compress(content, preset=0)),
    ],
)
@pytest.mark.parametrize("members", [1, 20])
def test_packed_lines_are_cut_and_members_are_where_reading_begins(
    name: str, pack: Callable[[bytes], bytes], members: int
) -> None:
    content = _lines(2500, padding=1500)
    packed = _members(pack, content, len(content) // members + 1)
    assert assert_alike("jsonl", packed, 700_000) >= 5
    entries = {piece.entry for piece in _pieces(by_name("jsonl"), packed, 700_000)}
    assert len(entries) == (1 if members == 1 else 3)  # noted once in a mebibyte
    for stored, _ in entries:
        assert packed[stored : stored + 2] == packed[:2]


def test_a_packed_event_log_is_cut(log: bytes) -> None:
    assert assert_alike("evtx", _members(gzip.compress, log, 150_000), 140_000) > 2


@pytest.mark.parametrize("torn", [100, 5000])
def test_a_packed_text_that_is_torn_off_is_read_as_a_whole(torn: int) -> None:
    packed = gzip.compress(_lines(2000, padding=500), 1)[:-torn]
    with pytest.raises(ParseError):
        by_name("jsonl").cuts(_source(packed), 10_000)


@pytest.mark.parametrize(
    "content",
    [
        _lines(50).decode().encode("utf-16"),
        b"[\n" + b",\n".join(_lines(50).splitlines()) + b"\n]\n",
        b'{"Records": [\n' + b",\n".join(_lines(50).splitlines()) + b"\n]}\n",
    ],
)
def test_what_has_to_be_read_from_its_beginning_says_so(content: bytes) -> None:
    assert by_name("jsonl").cuts(_source(content), 100) == []


@pytest.mark.parametrize("name", ["jsonl", "syslog", "weblog", "csv"])
@pytest.mark.parametrize("content", [b"", b"\n", b"\n\n\n", b"\r" * 400, b"x" * 400, b"a\rb\r" * 100])
def test_texts_with_hardly_a_line_end(name: str, content: bytes) -> None:
    try:
        assert_alike(name, content, 100)
    except ParseError:
        assert name == "csv"  # that is no table


@pytest.mark.parametrize("name", ["jsonl", "syslog", "weblog"])
def test_a_line_longer_than_any_piece_stays_one(name: str) -> None:
    line = SYSLOG_LINES[0] if name == "syslog" else WEB_LINES[9] if name == "weblog" else JSON_LINES[0]
    long = b"y" * (LINE_LIMIT + 5)
    content = b"\n".join([*[line] * 50, long, line, long[:-10], *[line] * 50])
    assert assert_alike(name, content, 1000) > 3


def test_the_cells_of_one_row_are_never_parted() -> None:
    row = b'2024-03-01T08:15:32Z,"' + b"line\n" * 300 + b'",host,x\n'
    head = FORMATS["csv"][1]
    assert assert_alike("csv", head + row * 20, 700) > 10


def test_quotes_that_are_never_closed_are_followed_beyond_the_piece() -> None:
    """What is read again for one is bounded, over all pieces together."""
    head = FORMATS["csv"][1]
    plain = b"2024-03-01T08:15:30Z,one,host,x\n" * 20
    content = head + (plain + b'2024-03-01T08:15:33Z,"never closed,host,x\n' + plain) * 300
    assert assert_alike("csv", content, 20_000) > 10


def test_samples_in_pieces() -> None:
    logs = [path for path in sorted((SAMPLES / "evtx").rglob("*.evtx")) if path.stat().st_size < 2_000_000]
    if not logs:
        pytest.skip(f"no event logs at {SAMPLES}; set DATAMORTEM_SAMPLES")
    for path in logs[:6]:
        assert assert_alike("evtx", path.read_bytes(), 100_000) >= 1
