# ruff: noqa: E501 - lines of logs are long
"""Web logs; samples are plaso's (test_data, Apache-2.0), checked line by line by hand."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard
from django.conf import settings
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cases.index.document import format_time
from cases.parsers import weblog_access
from cases.parsers.base import ParseError
from cases.parsers.source import FileSource, compression_of
from cases.parsers.weblog import Weblog
from cases.records import Damage, Record

SAMPLES = Path(os.environ.get("DATAMORTEM_SAMPLES") or settings.BASE_DIR.parent / "shared" / "samples")
REFERENCE = datetime(2026, 1, 1, tzinfo=UTC)
PARSER = Weblog()
Items = list[Any]


def when(record: Record) -> str:
    return format_time(record.timestamp) or "undated"


# Access logs


def test_the_combined_form_is_taken_apart(one) -> None:
    record = one(
        '10.0.0.7 - bob [13/Jan/2016:19:31:20 +0200] "GET /evil.php?cmd=uname+-a HTTP/1.1" 200 694 "http://localhost/" "Mozilla/5.0 (X11)"\n'
    )
    assert when(record) == "2016-01-13T17:31:20.000000Z"
    assert (record.message, record.user, record.host) == (
        "10.0.0.7 GET /evil.php?cmd=uname+-a 200 694",
        "bob",
        None,
    )
    assert (record.category, record.type, record.time_precision) == ("web", "access", "s")
    assert record.attributes == {
        "clientip": "10.0.0.7",
        "auth": "bob",
        "method": "GET",
        "path": "/evil.php",
        "query": "cmd=uname+-a",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 694,
        "referer": "http://localhost/",
        "user_agent": "Mozilla/5.0 (X11)",
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "GET /x HTTP/1.1" 200 494', {"status": 200, "bytes": 494}),
        ('10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "GET /x HTTP/1.1" 304 -', {"status": 304}),
        ('10.0.0.1 id - [13/Jan/2016:19:31:16 +0000] "GET /x HTTP/1.1" 200 1', {"ident": "id"}),
        ('10.0.0.1 - a b c [13/Jan/2016:19:31:16 +0000] "GET /x HTTP/1.1" 200 1', {"auth": "a b c"}),
        ('h.example:443 10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "GET /x HTTP/1.1" 200 1 "-" "-"', {"vhost": "h.example:443", "clientip": "10.0.0.1"}),
        ('::1 - - [13/Jan/2016:19:31:16 +0000] "OPTIONS * HTTP/1.0" 200 1 "-" "-"', {"clientip": "::1", "method": "OPTIONS", "path": "*"}),
        ('10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "GET /x HTTP/1.1" 200 1 "-" "curl" "1.2.3.4, 5.6.7.8" 0.012', {"user_agent": "curl", "extra": ["1.2.3.4, 5.6.7.8", "0.012"]}),
        ('10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "GET /x HTTP/1.1" 200 1 "-" "curl" rt=0.012 uct="0.1" n=7', {"rt": "0.012", "uct": "0.1", "n": 7}),
        ('10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "GET /x HTTP/1.1" 200 1 0.012 [up stream]', {"extra": ["0.012", "[up", "stream]"]}),
        (r'10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "GET /\"q\" HTTP/1.1" 404 1 "a\"b" "c\\"', {"path": r"/\"q\"", "referer": r"a\"b", "user_agent": r"c\\"}),
        (r'10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "\x16\x03\x01\x02" 400 226 "-" "-"', {"request": r"\x16\x03\x01\x02", "status": 400}),
        ('10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "-" 408 - "-" "-"', {"status": 408}),
        ('10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "" 400 0 "-" "-"', {"status": 400, "bytes": 0}),
        ('10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "GET /no protocol" 400 0', {"method": "GET", "path": "/no protocol"}),
        ('10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "GET /a b HTTP/1.1" 200 3', {"path": "/a b", "protocol": "HTTP/1.1"}),
    ],
)  # fmt: skip
def test_variants_and_hostile_requests_lose_nothing(one, line: str, expected: dict[str, object]) -> None:
    record = one(line)
    assert expected.items() <= record.attributes.items()
    assert when(record) == "2016-01-13T19:31:16.000000Z"
    assert "read_note" not in record.attributes


@pytest.mark.parametrize(
    ("line", "expected", "note"),
    [
        ('1.2.3.4 - - [25/Apr/2021:06:15:33 +0000] "GET /S?a=<script>alert("t")</script> HTTP/1.0" 404 1164', {"query": 'a=<script>alert("t")</script>', "status": 404}, "not escaped"),
        ('1.2.3.4 - - [25/Apr/2021:06:15:33 +0000] "GET /x HTTP/1.1" 200 235 "-" "Mozilla/5.0 (comp', {"user_agent": "Mozilla/5.0 (comp"}, "does not end"),
        ('1.2.3.4 - - [25/Apr/2021:06:15:33 +0000] "GET /x HTTP/1.1" 200 235 "-" "a "b" c"', {"user_agent": 'a "b" c'}, "not escaped"),
        ('1.2.3.4 - - [25/Apr/2021:06:15:33 +0000] "GET /very/long', {"path": "/very/long"}, "without status"),
        ('1.2.3.4 - - [25/Apr/2021:06:15:33 +0000] "GET /x HTTP/1.1"', {"path": "/x"}, "without status"),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_read_as_far_as_it_goes_and_said(one, line: str, expected, note: str) -> None:
    record = one(line)
    assert expected.items() <= record.attributes.items()
    assert note in record.attributes["read_note"]


def test_the_virtual_host_is_the_host(one) -> None:
    record = one('h.example:443 10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "GET / HTTP/1.1" 200 1')
    assert record.host == "h.example"


def test_an_escaped_quote_cannot_forge_a_status(one) -> None:
    record = one(r'10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "GET /\" 200 5 \"x HTTP/1.1" 403 7 "-" "-"')
    assert (record.attributes["status"], record.attributes["bytes"]) == (403, 7)


def test_times_without_a_zone_with_a_fraction_and_on_days_that_are_none(read) -> None:
    form = '10.0.0.1 - - [{}] "GET / HTTP/1.1" 200 1\n'
    first, second, third = read(
        form.format("03/Jul/2016:19:31:16")
        + form.format("13/Jan/2016:19:31:16.123456 +0000")
        + form.format("31/Feb/2016:19:31:16 +0000"),
        time_zone="Europe/Berlin",
    )
    assert when(first) == "2016-07-03T17:31:16.000000Z"
    assert first.attributes["time_note"] == "time zone assumed: Europe/Berlin"
    assert (when(second), second.time_precision) == ("2016-01-13T19:31:16.123456Z", "us")
    assert isinstance(third, Damage)
    assert third.reason == "Its time cannot be read: the calendar has no such day."


def test_a_leap_second_and_clock_changes_are_said(one) -> None:
    leap = one('1.1.1.1 - - [31/Dec/2016:23:59:60 +0000] "GET / HTTP/1.1" 200 1')
    assert when(leap) == "2017-01-01T00:00:00.000000Z"
    assert "leap second" in leap.attributes["time_note"]
    twice = one('1.1.1.1 - - [26/Oct/2025:02:30:00] "GET / HTTP/1.1" 200 1', time_zone="Europe/Berlin")
    assert "ambiguous" in twice.attributes["time_note"]


PART = st.lists(st.sampled_from([*'ab?/%"\\ -=[]', "HTTP/1.1", " 200 5", "é"]), max_size=12).map("".join)


@hypothesis_settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(user=PART, target=PART, agent=PART, tail=PART, is_combined=st.booleans())
def test_the_fast_way_reads_exactly_what_the_careful_way_reads(
    read, monkeypatch: pytest.MonkeyPatch, user: str, target: str, agent: str, tail: str, is_combined: bool
) -> None:
    behind = f' "{agent}" "{agent}"{tail}' if is_combined else tail
    line = f'1.1.1.1 - {user} [13/Jan/2016:19:31:16 +0000] "GET /{target} HTTP/1.1" 200 1{behind}'
    fast = read(line)
    with monkeypatch.context() as patch:
        patch.setattr(weblog_access, "_CLEAN", re.compile(r"(?!)"))
        assert read(line) == fast


# W3C


FIELDS = "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) sc-status sc-bytes time-taken\n"


def test_iis_lines_are_read_by_their_fields_with_the_names_they_have(read) -> None:
    directive, record = read(
        FIELDS + "2021-04-01 00:00:21 10.0.0.1 GET /a.asp id=1 80 bob 10.0.0.9 Mozilla/5.0+(X) 200 532 65\n"
    )
    assert (directive.type, directive.message) == ("directive", FIELDS.strip())
    assert (when(record), record.user, record.host) == ("2021-04-01T00:00:21.000000Z", "bob", None)
    assert record.message == "10.0.0.9 GET /a.asp?id=1 200 532"
    assert record.attributes == {
        "date": "2021-04-01",
        "time": "00:00:21",
        "s-ip": "10.0.0.1",
        "cs-method": "GET",
        "cs-uri-stem": "/a.asp",
        "cs-uri-query": "id=1",
        "s-port": 80,
        "cs-username": "bob",
        "c-ip": "10.0.0.9",
        "cs(User-Agent)": "Mozilla/5.0+(X)",
        "sc-status": 200,
        "sc-bytes": 532,
        "time-taken": 65,
    }


def test_a_dash_is_nothing(read) -> None:
    _, record = read(FIELDS + "2021-04-01 00:00:21 10.0.0.1 GET /a.asp - 80 - 10.0.0.9 - 200 - -\n")
    assert record.user is None
    assert not {"cs-uri-query", "cs-username", "cs(User-Agent)", "sc-bytes"} & set(record.attributes)


def test_fields_may_change_midway(read) -> None:
    items = read(
        "#Fields: date time c-ip sc-status\n2021-04-01 00:00:21 10.0.0.9 200\n"
        "#Software: X\n#Date: 2021-04-01 00:00:22\n#Fields: date time sc-status c-ip cs-host\n2021-04-01 00:00:23 404 10.0.0.8 web-01\n"
    )
    assert [item.type for item in items] == ["directive", "w3c", "directive", "directive", "directive", "w3c"]
    assert (items[1].attributes["sc-status"], items[5].attributes["sc-status"]) == (200, 404)
    assert items[5].host == "web-01"


def test_directives_are_dated_by_their_block(read) -> None:
    software, date, fields = read("#Software: X\n#Date: 2015-10-16 00:02:19\n#Fields: date time\n")
    assert {when(item) for item in (software, date, fields)} == {"2015-10-16T00:02:19.000000Z"}
    assert fields.timestamp_desc == "Log begun"


def test_a_log_without_any_date_is_undated_and_says_why(read) -> None:
    *_, record = read("#Fields: time c-ip cs-method cs-uri-stem sc-status\n00:04:01 10.0.0.9 GET /x 200\n")
    assert (record.timestamp, record.message) == (None, "10.0.0.9 GET /x 200")
    assert record.attributes["time_note"] == "a clock time without a date"


def test_a_log_without_a_date_column_takes_the_date_of_its_directive(read) -> None:
    *_, record = read(
        "#Date: 2015-10-16 00:02:19\n#Fields: time c-ip cs-method cs-uri-stem sc-status\n00:04:01 10.0.0.9 GET /x 200\n"
    )
    assert when(record) == "2015-10-16T00:04:01.000000Z"
    assert record.attributes["time_note"] == "date taken from #Date"


def test_cloudfront_is_parted_by_tabs(read) -> None:
    *_, record = read(
        "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status\n"
        "2014-05-23\t01:13:11\tFRA2\t182\t192.0.2.10\tGET\td111111.cloudfront.net\t/view/my file.html\t200\n"
    )
    assert (record.host, record.attributes["cs-uri-stem"]) == ("d111111.cloudfront.net", "/view/my file.html")
    assert record.message == "192.0.2.10 GET /view/my file.html 200 182"


def test_quoted_values_may_hold_spaces(read) -> None:
    _, record = read(
        '#Fields: date time c-ip cs(User-Agent) sc-status\n2021-04-01 00:00:21 10.0.0.9 "Mozilla/4.0 (a ""b"" c)" 200\n'
    )
    assert record.attributes["cs(User-Agent)"] == 'Mozilla/4.0 (a "b" c)'
    assert record.attributes["sc-status"] == 200


def test_a_windows_firewall_log_is_in_local_time(read) -> None:
    *_, record = read(
        "#Version: 1.5\n#Software: Microsoft Windows Firewall\n#Time Format: Local\n#Fields: date time action protocol src-ip dst-ip src-port dst-port\n\n"
        "2021-07-01 10:00:00 DROP TCP 10.0.0.9 10.0.0.1 5 22\n",
        time_zone="Europe/Berlin",
    )
    assert when(record) == "2021-07-01T08:00:00.000000Z"
    assert record.attributes["time_note"] == "time zone assumed: Europe/Berlin"
    assert record.attributes["dst-port"] == 22
    assert "DROP TCP 10.0.0.9" in record.message


def test_exchange_logs_are_parted_by_commas(read) -> None:
    _, record = read(
        '#Fields: date-time,client-ip,event-id,subject\n2021-07-01T10:00:00.123Z,10.0.0.9,RECEIVE,"Re: a, b"\n'
    )
    assert (when(record), record.attributes["subject"]) == ("2021-07-01T10:00:00.123000Z", "Re: a, b")


@pytest.mark.parametrize("value", ["x" * 500_000, "a\rb", '"open', "a\0b"])
def test_values_that_no_csv_may_hold_are_read_too(read, value: str) -> None:
    _, record = read(f"#Fields: date-time,a,b\n2021-07-01T10:00:00Z,{value},y\n")
    assert isinstance(record, Record)
    assert value.strip('"') in record.message


def test_an_option_that_would_change_nothing_is_refused(make) -> None:
    with pytest.raises(ParseError, match="no option 'year'"):
        list(Weblog().parse(make("x", options={"year": "2020"})))


def test_values_too_many_or_too_few_are_never_given_a_wrong_name(read) -> None:
    _, more, fewer, none = read(
        f"{FIELDS}"
        "2021-04-01 00:00:21 10.0.0.1 GET /a b c 80 - 10.0.0.9 X 200 532 65 66\n"
        "2021-04-01 00:00:22 10.0.0.1 GET /a\n"
        "garbage\n"
    )
    assert "sc-status" not in more.attributes
    assert (more.attributes["cs-method"], more.attributes["read_note"]) == ("GET", "15 values for 13 fields")
    assert "/a b c" in more.message
    assert fewer.attributes["cs-uri-stem"] == "/a"
    assert isinstance(none, Damage)


def test_lines_before_any_fields_are_damage(read) -> None:
    (item,) = read("2021-04-01 00:00:21 10.0.0.1 GET /a 200\n")
    assert isinstance(item, Damage)


# Load balancers and error logs


def test_an_application_load_balancer_is_read_by_the_names_that_aws_documents(one) -> None:
    record = one(
        'h2 2020-01-11T16:55:34.397124Z app/lb/1 192.168.1.10:55753 10.0.0.3:80 0.005 0.008 0.000 301 200 35 290 "GET https://www.domain.name:443/t.png?v=5 HTTP/2.0" '
        '"Mozilla/5.0 (\\"x\\")" ECDHE TLSv1.2 arn:aws:x "Root=1" "www.domain.name" "arn:c" 2 2020-01-11T16:55:34.384000Z "waf,forward" "-" "-" "10.0.0.3:80" "200" "-" "-" TID_1 more'
    )
    assert (when(record), record.host) == ("2020-01-11T16:55:34.397124Z", "www.domain.name")
    assert record.message == "192.168.1.10 GET https://www.domain.name:443/t.png?v=5 301 290"
    assert record.attributes.items() >= {
        "type": "h2", "client_ip": "192.168.1.10", "client_port": 55753, "target_ip": "10.0.0.3", "elb_status_code": 301,
        "target_status_code": 200, "query": "v=5", "user_agent": 'Mozilla/5.0 (\\"x\\")', "conn_trace_id": "TID_1",
    }.items()  # fmt: skip
    assert record.attributes["extra"] == ["more"]


def test_classic_and_network_load_balancers_are_read(read) -> None:
    classic, empty, network = read(
        '2021-05-13T23:39:43.945958Z my-lb 192.168.131.39:2817 10.0.0.1:80 0.000073 0.001048 0.000057 200 200 0 29 "GET http://www.example.com:80/ HTTP/1.1" "curl/7.38.0" - -\n'
        '2021-05-13T23:39:46.945958Z my-lb 192.168.131.39:2817 - -1 -1 -1 - - -1 -1 "- - - " "-" ECDHE TLSv1.2\n'
        'tls 2.0 2022-04-01T08:51:42 net/lb/1 g3d 72.21.218.154:51341 172.100.100.185:443 5 2 98 246 - arn - ECDHE tlsv12 - lb.example h2 h2 "h2"\n'
    )
    assert (classic.attributes["method"], classic.attributes["sent_bytes"]) == ("GET", 29)
    assert empty.attributes["sent_bytes"] == -1
    assert (when(network), network.host, network.attributes["connection_time"]) == (
        "2022-04-01T08:51:42.000000Z",
        "lb.example",
        5,
    )


def test_error_logs_of_apache_and_nginx_are_read_in_local_time(read) -> None:
    new, old, nginx = read(
        "[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708:tid 4328636416] [client 72.15.99.187:1] File does not exist: /x\n"
        "[Fri Sep 09 10:42:29 2011] [error] [client 72.15.99.187] attempt to invoke directory\n\tas script\n"
        '2021/03/06 04:07:33 [error] 1234#5678: *9 open() "/x" failed (2: No such file), client: 10.0.0.9, server: s.example, request: "GET /x?y HTTP/1.1", host: "h.example"\n',
        time_zone="Europe/Berlin",
    )
    assert (when(new), new.time_precision) == ("2011-09-09T08:42:29.902022Z", "us")
    assert (
        new.attributes.items()
        >= {"module": "core", "level": "error", "pid": 35708, "client": "72.15.99.187:1"}.items()
    )
    assert (old.message, when(old)) == (
        "attempt to invoke directory\n\tas script",
        "2011-09-09T08:42:29.000000Z",
    )
    assert (when(nginx), nginx.host) == ("2021-03-06T03:07:33.000000Z", "h.example")
    assert (
        nginx.attributes.items()
        >= {"client": "10.0.0.9", "method": "GET", "path": "/x", "query": "y", "connection": 9}.items()
    )


# Hostile content, packed content, places


LOG = (
    '10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "GET /x HTTP/1.1" 200 494\n'
    'h:1 10.0.0.1 - - [13/Jan/2016:19:31:17 +0000] "GET /ä?€ HTTP/1.1" 200 494 "-" "x"\n'
    "#Fields: date time c-ip sc-status\n2021-04-01 00:00:21 10.0.0.9 200\n"
    "[Fri Sep 09 10:42:29 2011] [error] [client 1.1.1.1] x\n"
).encode()


def test_every_truncation_is_survived(read) -> None:
    whole = [item.message for item in read(LOG)]
    for cut in range(len(LOG)):
        items = read(LOG[:cut])
        complete = LOG[:cut].count(b"\n")
        assert [item.message for item in items[:complete]] == whole[:complete]
        assert len(items) <= complete + 1


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_packed_logs_are_read(read, pack) -> None:
    assert len(read(pack(LOG))) == 5


def test_what_was_read_before_a_fault_is_given_out(make) -> None:
    reading = Weblog().parse(make(gzip.compress(LOG) + b"\x1f\x8b\x08broken"))
    assert [next(reading).position for _ in range(5)] == [f"line {number}" for number in range(1, 6)]
    with pytest.raises(ParseError, match="gzip"):
        next(reading)


def test_places_hold_exactly_their_lines(make) -> None:
    source = make(LOG.replace(b"\n", b"\r\n"))
    for number, item in enumerate(Weblog().parse(source)):
        line = LOG.split(b"\n")[number]
        assert Weblog().locate(source, item.position, item.span) == line
        assert Weblog().locate(source, item.position, None) == line


ALPHABET = [b'10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "', b"GET /x HTTP/1.1", b'" 200 5', b' "-" "x"', b'"', b"\\", b" ", b"#Fields: date time c-ip\n",
            b"#Date: ", b"2021-04-01 00:00:21 ", b"1.1.1.1 ", b"\n", b"\t", b"\0", b"\xff", b",", b"tls 2.0 2022-04-01T08:51:42 ", b"[error] ",
            b"2021/03/06 04:07:33 [error] 1#2: "]  # fmt: skip


@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.lists(st.sampled_from(ALPHABET) | st.binary(max_size=6), max_size=30).map(b"".join))
def test_any_content_is_read_without_a_fault_and_every_line_is_accounted_for(make, content: bytes) -> None:
    assume(compression_of(content) is None)
    source = make(content)
    Weblog().accepts(source)
    items: Items = list(Weblog().parse(source))
    assert len({item.position for item in items}) == len(items)
    if not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        covered = bytearray(content)
        for item in items:
            offset, length = item.span
            covered[offset : offset + length] = b" " * length
        assert bytes(covered).removeprefix(b"\xef\xbb\xbf").strip() == b""


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        " ",
        '"',
        '\\"',
        "\\",
        '" 200 5',
        '" "',
        "[",
        "] ",
        "- ",
        "=",
        "x=1 ",
        ", client: ",
        '"" ',
        "[13/Jan/2016:",
        "(",
        ": ",
        "#",
    ],
)
@pytest.mark.parametrize(
    "start",
    [
        "", '10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "', '10.0.0.1 - - [13/Jan/2016:19:31:16 +0000] "GET / HTTP/1.1" 200 5 "', "10.0.0.1 - ",
        "#Fields: date time c-ip cs(User-Agent)\n2021-04-01 00:00:21 ", "[Fri Sep 09 10:42:29 2011] [error] (", "2021/03/06 04:07:33 [error] 1#2: ",
        '2021-05-13T23:39:43.945958Z my-lb 192.168.131.39:2817 10.0.0.1:80 0 ', "#Fields: a,b\n",
    ],
)  # fmt: skip
def test_no_line_takes_more_than_linear_time(read, start: str, piece: str) -> None:
    begun = time.process_time()
    read((start + piece * (1_000_000 // len(piece)))[:1_000_000])
    assert time.process_time() - begun < 3.0


def test_random_bytes_are_not_accepted(make) -> None:
    chance = random.Random(5)
    for size in (0, 1, 100, 70_000):
        assert not Weblog().accepts(make(chance.randbytes(size)))


# Samples


@pytest.mark.parametrize(
    ("name", "lines"),
    [("apache_access.log", 15), ("aws_elb_access.log", 16), ("iis10.log", 5), ("iis7_sqli.log", 6)],
)
def test_of_samples_every_line_is_a_record(name: str, lines: int) -> None:
    path = SAMPLES / "weblog" / name
    if not path.exists():
        pytest.skip(f"no sample {name} under {SAMPLES}")
    source = FileSource(path, name)
    assert Weblog().accepts(source)
    items: Items = list(Weblog().parse(source))
    assert [item.position for item in items] == [f"line {number}" for number in range(1, lines + 1)]
    assert all(isinstance(item, Record) and item.timestamp is not None for item in items)
