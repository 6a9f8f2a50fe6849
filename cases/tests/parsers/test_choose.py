"""The right parser is chosen by content alone, and what none reads is refused clearly."""

from __future__ import annotations

import gzip
import json
import os
import random
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings

from cases.parsers import PARSERS, by_name, choose
from cases.parsers.base import HEAD_SIZE, Context
from cases.parsers.source import FileSource
from cases.records import ParseError

SAMPLES = Path(os.environ.get("DATAMORTEM_SAMPLES") or settings.BASE_DIR.parent / "shared" / "samples")
#: Which parser reads a family; of a mixed one the name's end tells. Others are read by none of these.
FAMILIES = {"evtx": "evtx", "syslog": "syslog", "weblog": "weblog"}
ENDS = {
    ".jsonl": "jsonl",
    ".csv": "csv",
    "psort_json_line.log": "jsonl",
    "psort_json.log": "jsonl",
    "psort_l2tcsv.log": "csv",
    "psort_dynamic.log": "csv",
}


def samples() -> list[tuple[Path, str]]:
    found = [(path, FAMILIES[family]) for family in FAMILIES for path in (SAMPLES / family).glob("*")]
    for family in ("csv_jsonl_parquet", "plaso"):
        for path in (SAMPLES / family).glob("*"):
            found.extend((path, parser) for end, parser in ENDS.items() if path.name.endswith(end))
    return sorted(found)


def stored(folder: Path, content: bytes) -> FileSource:
    path = folder / "evidence"
    path.write_bytes(content)
    return FileSource(path, "evidence.txt", Context())


@pytest.mark.parametrize(
    ("path", "parser"),
    samples() or [pytest.param(SAMPLES, "", marks=pytest.mark.skip(f"no samples under {SAMPLES}"))],
    ids=lambda value: value.name if isinstance(value, Path) else value,
)
def test_each_sample_is_read_by_the_parser_of_its_format(path: Path, parser: str) -> None:
    assert choose(FileSource(path, "name tells nothing")).name == parser


@pytest.mark.parametrize(
    ("content", "parser"),
    [
        ("Mar  3 01:02:03 web-01 sshd[7]: Accepted password for bob from 10.0.0.9 port 5 ssh2\n", "syslog"),
        ("<13>1 2024-03-01T08:15:30Z web-01 app 7 - - hello\n", "syslog"),
        ("type=LOGIN msg=audit(1337845201.174:94983): pid=25443 uid=0\n", "syslog"),
        ("__CURSOR=s=1\n__REALTIME_TIMESTAMP=1709280930123456\nMESSAGE=x\n\n", "syslog"),
        ("2016-08-06 17:35:39 install base-passwd:amd64 <none> 3.5.33\n", "syslog"),
        ('10.0.0.7 - - [13/Jan/2016:19:31:20 +0200] "GET / HTTP/1.1" 200 694\n', "weblog"),
        ("#Software: Microsoft Internet Information Services 10.0\n#Fields: date time c-ip\n", "weblog"),
        ("[Fri Sep 09 10:42:29 2011] [error] [client 1.2.3.4] File does not exist\n", "weblog"),
        ("2021/03/06 04:07:33 [error] 12#34: *5 open() failed, client: 10.0.0.9\n", "weblog"),
        ('{"timestamp": "2024-03-01T08:15:30Z", "message": "x"}\n', "jsonl"),
        ("message,datetime,timestamp_desc\nx,2024-03-01T08:15:30Z,y\n", "csv"),
        ("datetime,message\n2024-03-01 08:15:30,Mar  3 01:02:03 h p: x\n", "csv"),
        ("time;host;text\n2024-03-01 08:15:30;h;a\n2024-03-01 08:15:31;h;b\n", "csv"),
    ],
)  # fmt: skip
def test_a_few_lines_are_enough_also_packed(tmp_path: Path, content: str, parser: str) -> None:
    assert choose(stored(tmp_path, content.encode())).name == parser
    assert choose(stored(tmp_path, gzip.compress(content.encode() * 50))).name == parser


def test_a_log_that_begins_with_the_nul_bytes_of_a_crash_is_still_recognised(tmp_path: Path) -> None:
    lines = b"Mar  3 01:02:03 h p: x\n" * 5
    assert choose(stored(tmp_path, b"\0" * 3000 + lines)).name == "syslog"


PROSE = (
    "The committee met on the 3rd of March, at nine, and heard what had been found: nothing.\n"
    "It was said that on Mar 3 somebody had been there; others, who knew better, said otherwise.\n\n"
    "Mar 3 is a day like any other, and 2024-03-01 too.\n"
) * 20
HTML = (
    "<!DOCTYPE html>\n<html><head><title>Log</title></head>\n"
    "<body><p>Mar  3 01:02:03 h p: x</p>\n</body></html>\n"
)
XML = '<?xml version="1.0"?>\n<Events>\n <Event time="2024-03-01T08:15:30Z">a, b</Event>\n</Events>\n'
INI = "# a comment, of two parts\n[section]\nkey = value\nother = 1,2,3\n"
DIFF = "--- a/x\t2024-03-01 08:15:30\n+++ b/x\t2024-03-01 08:15:31\n@@ -1,2 +1,2 @@\n-a, b\n+a, c\n"
REFUSED = {
    "prose": PROSE.encode(),
    "html": HTML.encode(),
    "xml": XML.encode(),
    "ini": INI.encode(),
    "diff": DIFF.encode(),
    "python": Path(__file__).read_bytes(),
    "python of the library": Path(json.__file__).read_bytes(),
    "elf": Path(os.path.realpath(sys.executable)).read_bytes()[:200_000],
    "png": b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(5000),
    "random": random.Random(2).randbytes(200_000),
    "nul": b"\0" * 100_000,
    "one byte": b"x",
    "one line": b"hello world\n",
    "spaces": b" \n\t\n" * 1000,
    "one long line": b"x" * (2 * HEAD_SIZE),
    "a number": b"42\n",
    "sqlite": b"SQLite format 3\0" + bytes(5000),
    "zip": b"PK\x03\x04" + random.Random(3).randbytes(5000),
    "pdf": b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n",
    "broken gzip": b"\x1f\x8b\x08" + bytes(100),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_parser_reads_is_refused_with_a_clear_reason(tmp_path: Path, name: str) -> None:
    with pytest.raises(ParseError) as refused:
        choose(stored(tmp_path, REFUSED[name]))
    assert str(refused.value).startswith(
        ("No parser recognises this content", "The file is empty", "The gzip")
    )


def test_an_empty_file_is_refused_as_such(tmp_path: Path) -> None:
    with pytest.raises(ParseError, match=r"^The file is empty\.$"):
        choose(stored(tmp_path, b""))


def test_a_json_document_is_never_taken_for_a_log(tmp_path: Path) -> None:
    document = json.dumps({"name": "x", "log": ["Mar  3 01:02:03 h p: x"] * 30}, indent=1).encode()
    source = stored(tmp_path, document)
    assert not by_name("syslog").accepts(source)
    assert not by_name("weblog").accepts(source)
    assert not by_name("csv").accepts(source)


HOSTILE = {
    "commas": b"," * HEAD_SIZE,
    "quotes": b'"' * HEAD_SIZE,
    "braces": b"{" * HEAD_SIZE,
    "brackets": b"[" * HEAD_SIZE,
    "nul": b"\0" * HEAD_SIZE,
    "lines": b"\n" * HEAD_SIZE,
    "short lines": b"a\n" * (HEAD_SIZE // 2),
    "priorities": b"<1>" * (HEAD_SIZE // 3),
    "directives": b"#Fields:\n" * (HEAD_SIZE // 9),
    "fields": b"#Fields: " + b"a " * (HEAD_SIZE // 2),
    "backslashes": b'1.1.1.1 - - [13/Jan/2016:19:31:20 +0200] "' + b"\\" * HEAD_SIZE,
    "a journal without end": b"A=" + b"B=\n" * (HEAD_SIZE // 3),
    "upper case": b"A_" * (HEAD_SIZE // 2),
    "spaces": b"Mar  3" + b" " * HEAD_SIZE,
    "months": b"Jan " * (HEAD_SIZE // 4),
    "half a mark": b"\xff\xfe\xff",
    "surrogates": b"\xff\xfe" + b"\x00\xd8" * (HEAD_SIZE // 2),
    "random": random.Random(9).randbytes(HEAD_SIZE),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_looking_at_a_hostile_head_is_quick_and_never_raises(tmp_path: Path, parser, name: str) -> None:
    source = stored(tmp_path, HOSTILE[name])
    begun = time.process_time()
    assert parser.accepts(source) in (True, False)
    assert time.process_time() - begun < 1.5


def test_looking_reads_the_head_alone(tmp_path: Path) -> None:
    source = stored(tmp_path, b"Mar  3 01:02:03 h p: x\n" * 100_000)
    source.path.unlink()  # whoever opens it again fails
    assert choose(source).name == "syslog"
