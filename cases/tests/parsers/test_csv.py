"""Delimited evidence: rows confirmed by the csv module of the standard library or by hand.

Samples (origin and licence in their README): log2timeline/plaso, DFIRArtifactMuseum.
"""

from __future__ import annotations

import csv
import io
import random
import time
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest

from cases.parsers.delimited import Delimited, describe
from cases.parsers.lines import LINE_LIMIT
from cases.parsers.rows import COLUMN_LIMIT, QUOTED_LIMIT
from cases.parsers.source import FileSource
from cases.records import Damage, ParseError, Record
from cases.tests.parsers.reading import (
    PACKERS,
    expected_count,
    read_all,
    read_records,
    read_until_error,
    sample,
    source_of,
    when,
)

PARSER = Delimited()
HEADER = "datetime,timestamp_desc,message,host,user\n"
ROW = "2024-03-01T08:15:30Z,Event Logged,hello,web-1,bob\n"
MOMENT = "2024-03-01T08:15:30.000000Z"


@pytest.fixture
def read(tmp_path):
    def read(data, **context):
        raw = data.encode() if isinstance(data, str) else data
        return read_records(PARSER, source_of(tmp_path, raw, **context))

    return read


@pytest.fixture
def read_any(tmp_path):
    def read_any(data, **context):
        raw = data.encode() if isinstance(data, str) else data
        return read_all(PARSER, source_of(tmp_path, raw, **context))

    return read_any


@pytest.fixture
def source(tmp_path):
    def source(data, **context):
        return source_of(tmp_path, data.encode() if isinstance(data, str) else data, **context)

    return source


def plain(record: Record) -> dict[str, Any]:
    """The attributes without what the parser added."""
    return {
        name: value for name, value in record.attributes.items() if name not in ("time_note", "read_note")
    }


def expected_rows(text: str, delimiter: str = ",") -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))


# Profiles


@pytest.mark.parametrize(
    ("name", "delimiter"),
    [
        ("csv_jsonl_parquet/evtx_1000.csv", ","),
        ("plaso/psort_dynamic.log", ","),
        ("plaso/psort_l2tcsv.log", ","),
        ("plaso/psort_tln.log", "|"),
        ("plaso/psort_l2ttln.log", "|"),
    ],
)
def test_the_samples_are_read_with_every_cell(name, delimiter):
    source = FileSource(sample(name), name)
    assert PARSER.accepts(source)
    records = read_records(PARSER, source)
    rows = expected_rows(source.path.read_bytes().decode(), delimiter)
    # The manifest counts lines of psort's files, header included.
    assert len(records) == len(rows) == expected_count(name) - name.startswith("plaso/")
    assert [plain(record) for record in records] == rows
    assert all(record.timestamp is not None for record in records)


def test_the_times_of_the_samples_agree_with_the_standard_library():
    def records(name: str) -> list[Any]:
        return read_records(PARSER, FileSource(sample(name), name))

    for record in records("csv_jsonl_parquet/evtx_1000.csv"):
        moment = datetime.fromisoformat(record.attributes["datetime"].removesuffix(" UTC"))
        assert when(record) == moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert record.host == record.attributes["computer"]
    for record in records("plaso/psort_dynamic.log"):
        moment = datetime.fromisoformat(record.attributes["datetime"])
        assert when(record) == moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for record in records("plaso/psort_l2tcsv.log"):
        text = record.attributes["date"] + " " + record.attributes["time"]
        moment = datetime.strptime(text, "%m/%d/%Y %H:%M:%S").replace(tzinfo=UTC)
        assert when(record) == moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert "time_note" not in record.attributes
    for record in records("plaso/psort_l2ttln.log"):
        moment = datetime.fromtimestamp(int(record.attributes["Time"]), UTC)
        assert when(record) == moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_the_long_csv_of_plaso_is_mapped():
    name = "plaso/psort_l2tcsv.log"
    records = read_records(PARSER, FileSource(sample(name), name))
    third = records[2]
    assert third.message == "Cron ran: touch /var/run/crond.somecheck for user: root pid: 31051"
    assert (third.host, third.user, third.type) == ("myhostname.myhost.com", "root", None)
    assert third.timestamp_desc == "Content Modification Time"
    assert records[0].user is None


def test_the_day_never_comes_first_in_the_long_csv_of_plaso(read):
    header = (
        "date,time,timezone,MACB,source,sourcetype,type,user,host,short,desc,version,"
        "filename,inode,notes,format,extra\n"
    )
    row = "02/03/2024,10:00:00,{},M...,LOG,Log,Written,-,-,s,d,2,f,-,-,x,y\n"
    zones = ["UTC", "Europe/Paris", "EST5EDT", "W. Europe Time", "-"]
    found = read(header + "".join(row.format(zone) for zone in zones))
    assert [when(record) for record in found[:3]] == [
        "2024-02-03T10:00:00.000000Z",
        "2024-02-03T09:00:00.000000Z",
        "2024-02-03T15:00:00.000000Z",  # a name of the database of zones without a slash
    ]
    assert not any("time_note" in record.attributes for record in found[:3])
    assert "W. Europe Time is not clear" in found[3].attributes["time_note"]
    assert found[4].attributes["time_note"] == "time zone assumed: UTC"


def test_the_dynamic_output_of_psort_is_mapped():
    name = "plaso/psort_dynamic.log"
    records = read_records(PARSER, FileSource(sample(name), name))
    assert records[7].tags == ["exit1", "exit2"]
    assert records[0].tags == []
    assert records[16].time_precision == "ns"
    assert records[16].attributes["datetime"] == "2026-07-02T17:47:57.955519754+00:00"
    assert records[0].message == "[client  pid: 30840] INFO No change in [/etc/netgroup]. Done"


def test_the_csv_of_timesketch_is_mapped(read):
    text = (
        "message,datetime,timestamp_desc,timestamp,tag,extra\n"
        'hello,2024-03-01T08:15:30+00:00,Written,1709280930000000,"a,b",1\n'
        "hello,,Written,1709280930000000,,2\n"
    )
    found = read(text)
    assert [plain(record) for record in found] == expected_rows(text)
    assert [when(record) for record in found] == [MOMENT, MOMENT]
    assert (found[0].message, found[0].timestamp_desc, found[0].tags) == ("hello", "Written", ["a", "b"])


def test_the_csv_of_mactime_is_mapped(read):
    text = (
        "Date,Size,Type,Mode,UID,GID,Meta,File Name\n"
        'Fri Mar 01 2024 08:15:30,4096,m.c.,r/rrwxrwxrwx,0,0,42-128-1,"C:/Temp/evil.exe"\n'
        'Xxx Xxx 00 0000 00:00:00,0,macb,r/rrwxrwxrwx,0,0,43,"C:/Temp/never.txt"\n'
    )
    first, second = read(text)
    assert (when(first), first.message, first.timestamp_desc, first.type) == (
        MOMENT,
        "C:/Temp/evil.exe",
        "m.c.",
        None,
    )
    assert second.timestamp is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Date;Time;Source IP;Action\n2024-03-01;08:15:30;10.0.0.1;deny\n", [MOMENT]),
        ("date\ttime\tdevname\tmsg\n2024-03-01\t08:15:30\tfw-1\tdeny\n", [MOMENT]),
        ("ts|src|dst\n1709280930.000000|10.0.0.1|10.0.0.2\n", [MOMENT]),
        ("Time,Time Zone,Event\n2024-03-01 09:15:30,+01:00,x\n", [MOMENT]),
        ("TimeGenerated [UTC],Computer,Activity\n3/1/2024 8:15:30.000 AM,WS-1,4624\n", [MOMENT]),
        ("Level,Date and Time,Source,Event ID\nInformation,3/1/2024 8:15:30 AM,Kernel,12\n", [MOMENT]),
        ("epoch_ms,a,b\n1709280930000,1,2\n", [MOMENT]),
        ("Datum;Uhrzeit;Benutzer;Nachricht\n01.03.2024;08:15:30;bob;hallo\n", [MOMENT]),
        ("id,seen on,what\n1,2024-03-01 08:15:30,x\n2,2024-03-01 08:15:30,y\n", [MOMENT, MOMENT]),
        ("sep=;\nDate;What;Who\n2024-03-01 08:15:30;x;y\n", [MOMENT]),
        ('"Date", "Time", "What"\n"2024-03-01", "08:15:30", "a, b"\n', [MOMENT]),
        ("Created,Modified,Name\n2024-03-01 08:15:30,2024-03-02 08:15:30,x\n", [MOMENT]),
        ("utc_time,a,b\n2024-03-01 08:15:30,1,2\n", [MOMENT]),
        ("FirstSeen,a,b\n133537545300000000,1,2\n", [MOMENT]),
    ],
)
def test_tables_of_many_sorts_are_recognised(source, text, expected):
    evidence = source(text)
    assert PARSER.accepts(evidence)
    assert [when(record) for record in read_records(PARSER, evidence)] == expected


def test_a_table_without_a_header_is_read_by_its_values(source):
    text = "2024-03-01 08:15:30,10.0.0.1,deny\n2024-03-01 08:15:31,10.0.0.2,allow\n"
    evidence = source(text)
    assert PARSER.accepts(evidence)
    first, second = read_records(PARSER, evidence)
    assert (when(first), first.position) == (MOMENT, "line 1")
    assert plain(first) == {"column 1": "2024-03-01 08:15:30", "column 2": "10.0.0.1", "column 3": "deny"}
    assert plain(second)["column 3"] == "allow"


def test_a_clear_header_is_one_whatever_stands_below_it(source, read):
    text = "datetime,user,host,message\n2024-02-29 12:00:00,user,host,message\n"
    assert PARSER.accepts(source(text))
    (record,) = read(text)
    assert (when(record), record.user, record.host) == ("2024-02-29T12:00:00.000000Z", "user", "host")


def test_a_clear_header_above_messages_with_unquoted_commas_is_accepted(source, read):
    text = "datetime,host,message\n2024-02-29 12:00:00,h,a, b, c\n2024-02-29 12:00:01,h,a, b\n"
    assert PARSER.accepts(source(text))
    first, _ = read(text)
    assert (first.message, first.attributes["column 4"], first.attributes["column 5"]) == ("a", " b", " c")


def test_lines_before_the_header_are_rejected_and_not_lost(read_any):
    found = read_any(
        "Report of the firewall\nmade 2024-03-02\n\nDate,Time,Action\n2024-03-01,08:15:30,deny\n"
    )
    assert [entry.position for entry in found] == ["line 1", "line 2", "line 5"]
    assert [type(entry) for entry in found] == [Damage, Damage, Record]
    assert found[0].reason == "A line before the header."


# The mapping, shown and chosen


def test_the_mapping_is_shown(source):
    shown = describe(source(HEADER + ROW))
    assert shown["delimiter"] == ","
    assert shown["header_line"] == 1
    assert shown["columns"] == ["datetime", "timestamp_desc", "message", "host", "user"]
    assert shown["timestamp"] == ["datetime"]
    assert (shown["message"], shown["host"], shown["user"]) == (["message"], ["host"], ["user"])
    shown = describe(source("Date;Time;What\n2024-03-01;08:15:30;x\n"))
    assert (shown["delimiter"], shown["timestamp"][0]) == (";", "Date + Time")


def test_the_mapping_may_be_chosen(read):
    text = "a;b;c;d;e\n01/03/2024;08:15;one;two;three\n"
    options = {
        "timestamp": "a+b",
        "day_first": "yes",
        "message": "c",
        "host": "d",
        "user": "e",
        "delimiter": ";",
    }
    (record,) = read(text, options=options)
    assert when(record) == "2024-03-01T08:15:00.000000Z"
    assert (record.message, record.host, record.user) == ("one", "two", "three")
    (record,) = read("When,What\n1000,x\n", options={"timestamp": "When", "time_unit": "ms"})
    assert when(record) == "1970-01-01T00:00:01.000000Z"
    (record,) = read(
        "When,What\n01/03/2024 08:15,x\n", options={"timestamp": "when", "time_format": "%d/%m/%Y %H:%M"}
    )
    assert when(record) == "2024-03-01T08:15:00.000000Z"
    (record,) = read("x#2024-03-01 08:15:30#z\n", options={"delimiter": "#"})
    assert when(record) == MOMENT
    (record,) = read("when\tx\n2024-03-01 08:15:30\tz\n", options={"delimiter": "tab", "timestamp_desc": "x"})
    assert (when(record), record.timestamp_desc) == (MOMENT, "z")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"timestamp": "Wann"}, "no column 'Wann'; there are datetime, timestamp_desc, message, host, user"),
        ({"message": "text"}, "no column 'text'"),
        ({"delimiter": "ab"}, "one character"),
        ({"delimiter": '"'}, "one character"),
        ({"colour": "red"}, "no option 'colour'"),
        ({"day_first": "2"}, "yes or no"),
        ({"time_format": "%d/%m %H"}, "needs a date with its year"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(source, options, reason):
    with pytest.raises(ParseError, match=reason):
        list(PARSER.parse(source(HEADER + ROW, options=options)))
    with pytest.raises(ParseError, match=reason):
        describe(source(HEADER + ROW, options=options))


# Time


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2024-03-01T08:15:30Z UTC", MOMENT),
        ("2024-02-29 12:00:00", "2024-02-29T12:00:00.000000Z"),
        ("1601-01-01 00:00:00", "1601-01-01T00:00:00.000000Z"),
        ("1699-12-31 23:59:59", "1699-12-31T23:59:59.000000Z"),
        ("9999-12-31 23:59:59.9999999", "9999-12-31T23:59:59.999999Z"),
        ("1709280930", MOMENT),
        ("1709280930000", MOMENT),
        ("915148800000000", "1999-01-01T00:00:00.000000Z"),
        ("1709280930000000000", MOMENT),
        ("10:15", None),
        ("garbage date", None),
        ("", None),
        ("0000-00-00 00:00:00", None),
        ("1600-12-31 23:59:59", None),
    ],
)
def test_dates_that_others_lose_are_kept_and_no_date_becomes_today(read, cell, expected):
    first, second = read(HEADER + ROW + ROW.replace("2024-03-01T08:15:30Z", cell))
    assert when(first) == MOMENT
    assert when(second) == expected
    assert second.attributes["datetime"] == cell
    if expected is None:
        assert second.attributes["time_note"]


def test_the_order_of_day_and_month_is_that_of_the_whole_file(read):
    rows = ["02/03/2024 10:00:00,x,y\n"] * 5000
    found = read("Date,What,Who\n" + "".join(rows) + "25/03/2024 10:00:00,x,y\n")
    assert when(found[0]) == "2024-03-02T10:00:00.000000Z"
    assert "read as day, month, like others of the file" in found[0].attributes["time_note"]
    found = read("Date,What,Who\n" + "".join(rows[:3]) + "03/25/2024 10:00:00,x,y\n")
    assert when(found[0]) == "2024-02-03T10:00:00.000000Z"
    assert "read as month, day, like others of the file" in found[0].attributes["time_note"]
    found = read("Date,What,Who\n" + "".join(rows[:3]))
    assert when(found[0]) == "2024-02-03T10:00:00.000000Z"
    assert "ambiguous: read as month, day" in found[0].attributes["time_note"]
    found = read("Date,Time,What\n02/03/2024,10:00:00,x\n25/03/2024,10:00:00,x\n")
    assert when(found[0]) == "2024-03-02T10:00:00.000000Z"


def test_dates_that_contradict_each_other_decide_nothing(read):
    found = read("Date,What,Who\n02/03/2024,x,y\n25/03/2024,x,y\n03/26/2024,x,y\n")
    assert [when(record)[:10] for record in found] == ["2024-02-03", "2024-03-25", "2024-03-26"]
    assert "ambiguous: read as month, day" in found[0].attributes["time_note"]


def test_naive_times_are_those_of_the_zone_and_clock_changes_are_said(read):
    text = "Date,What,Who\n2024-07-01 10:00:00,x,y\n2024-10-27 02:30:00,x,y\n2024-03-31 02:30:00,x,y\n"
    found = read(text, time_zone="Europe/Paris")
    assert [when(record) for record in found] == [
        "2024-07-01T08:00:00.000000Z",
        "2024-10-27T00:30:00.000000Z",
        "2024-03-31T01:30:00.000000Z",
    ]
    assert found[0].attributes["time_note"] == "time zone assumed: Europe/Paris"
    assert "set back" in found[1].attributes["time_note"]
    assert "gap" in found[2].attributes["time_note"]


def test_a_column_named_utc_is_utc(read):
    (record,) = read("Time (UTC),What,Who\n2024-03-01 08:15:30,x,y\n", time_zone="Europe/Paris")
    assert when(record) == MOMENT
    assert "time_note" not in record.attributes


# Rows


def test_a_column_that_is_a_number_here_and_text_there_loses_nothing(read):
    values = [
        "1",
        "one",
        "1.50",
        "007",
        "1e5",
        "TRUE",
        "",
        "2024-03-01",
        "NaN",
        '=HYPERLINK("x")',
        "+1",
        "@SUM(A1)",
        "é🦊",
    ]
    rows = "".join(f'2024-03-01T08:15:30Z,"{value.replace(chr(34), chr(34) * 2)}",x\n' for value in values)
    found = read("datetime,v,w\n" + rows)
    assert [record.attributes["v"] for record in found] == values


def test_quoted_cells_may_hold_line_breaks_delimiters_and_quotes(read):
    text = (
        'datetime,message,n\n2024-03-01T08:15:30Z,"one, ""two""\n\n  \nthree",1\n2024-03-01T08:15:30Z,"",2\n'
    )
    first, second = read(text)
    assert first.message == 'one, "two"\n\n  \nthree'
    assert [plain(record) for record in (first, second)] == expected_rows(text)
    assert (first.position, second.position) == ("line 2", "line 6")
    assert text.encode()[first.span[0] : sum(first.span)].decode() == text[19:].rpartition("\n2024")[0]


def test_the_source_of_a_row_is_all_its_lines(source):
    evidence = source('datetime,message,n\r\n2024-03-01T08:15:30Z,"a\r\nb",1\r\n')
    (record,) = read_records(PARSER, evidence)
    assert PARSER.locate(evidence, record.position, record.span) == b'2024-03-01T08:15:30Z,"a\r\nb",1'


def test_rows_longer_and_shorter_than_the_header_lose_nothing_and_say_so(read):
    found = read(HEADER + ROW * 10 + ROW[:-1] + ",more,and more\n" + "2024-03-01T08:15:30Z,d,m\n" + ROW)
    longer, shorter = found[10:12]
    assert longer.attributes["column 6"] == "more"
    assert longer.attributes["column 7"] == "and more"
    assert longer.attributes["read_note"] == "7 cells in a table of 5 columns"
    assert plain(shorter) == {"datetime": "2024-03-01T08:15:30Z", "timestamp_desc": "d", "message": "m"}
    assert shorter.attributes["read_note"] == "3 cells in a table of 5 columns"
    assert "read_note" not in found[12].attributes


def test_names_that_stand_twice_or_are_empty_are_kept_distinct(read):
    (record,) = read("datetime,a,a,,a (2),,column 4,\n2024-03-01T08:15:30Z,1,2,3,4,5,6,7\n")
    assert plain(record) == {
        "datetime": "2024-03-01T08:15:30Z",
        "a": "1",
        "a (3)": "2",
        "column 4 (2)": "3",
        "a (2)": "4",
        "column 6": "5",
        "column 4": "6",
        "column 8": "7",
    }


def test_a_quote_that_is_never_closed_costs_its_line_alone(read_any):
    good = [ROW] * 20_000
    found = read_any(HEADER + ROW + '2024-03-01T08:15:30Z,"never closed,x,y,z\n' + "".join(good))
    assert [type(entry) for entry in found[:3]] == [Record, Damage, Record]
    assert found[1].position == "line 3"
    assert found[1].reason == "A quote is opened and never closed."
    assert len(found) == 20_002
    assert sum(isinstance(entry, Damage) for entry in found) == 1


def test_a_quote_that_is_never_closed_in_the_last_row_is_damage(read_any):
    found = read_any(HEADER + ROW + '2024-03-01T08:15:30Z,"cut off')
    assert [type(entry) for entry in found] == [Record, Damage]


def test_quotes_made_to_be_read_again_and_again_cost_little(source):
    begun = time.process_time()
    found, error = read_until_error(PARSER, source(HEADER + ROW + 'a"b,"c\n' * 100_000))
    assert error == ""
    assert len(found) == 100_001
    assert time.process_time() - begun < 30


def test_quotes_inside_of_cells_are_just_quotes(read):
    (record,) = read('datetime,message,n\n2024-03-01T08:15:30Z,a 5" disk and a 3" one,1\n')
    assert record.message == 'a 5" disk and a 3" one'


def test_carriage_returns_inside_of_cells_are_kept(read):
    first, second = read(b'datetime,message,n\n2024-03-01T08:15:30Z,a\rb,1\n2024-03-01T08:15:30Z,"c\rd",1\n')
    assert (first.message, second.message) == ("a\rb", "c\rd")


def test_bytes_that_are_no_utf_8_are_kept_as_hexadecimal(read):
    (record,) = read(HEADER.encode() + ROW.encode().replace(b"hello", b"caf\xe9 \xc3\xa9"))
    assert record.message == "caf\\xe9 é"


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_marked_unicode_is_read(source, coding):
    text = HEADER + ROW.replace("hello", "é 漢字 🦊")
    mark = b"\xfe\xff" if coding == "utf-16-be" else b""
    evidence = source(mark + text.encode(coding))
    assert PARSER.accepts(evidence)
    (record,) = read_records(PARSER, evidence)
    assert record.message == "é 漢字 🦊"
    assert list(record.attributes) == HEADER.strip().split(",")
    raw = PARSER.locate(evidence, record.position, record.span)
    name = "utf-8" if coding == "utf-8-sig" else "utf-16-be" if mark else "utf-16-le"
    assert raw.decode(name) == ROW.replace("hello", "é 漢字 🦊").strip()


def test_a_header_alone_holds_no_records(source):
    for text in (HEADER, HEADER.strip(), HEADER * 3):
        evidence = source(text)
        assert read_records(PARSER, evidence) == []
    assert PARSER.accepts(source(HEADER))


def test_a_header_that_comes_again_is_no_record(read):
    assert len(read(HEADER + ROW + HEADER + ROW)) == 2


def test_rows_of_nothing_are_kept_undated(read):
    found = read(HEADER + ROW + ",,,,\n" + ROW)
    assert [record.timestamp is None for record in found] == [False, True, False]
    assert found[1].message == "(empty)"


def test_nul_bytes_are_damage_or_kept(read_any):
    found = read_any(
        (HEADER + ROW).encode() + b"\0" * 100 + ROW.encode() + ROW.replace("hello", "a\0b").encode()
    )
    assert [type(entry) for entry in found] == [Record, Damage, Record, Record]
    assert found[3].message == "a\0b"


def test_a_row_of_ten_million_columns_is_damage_in_flat_memory(tmp_path):
    path = tmp_path / "wide"
    path.write_bytes(
        (HEADER + ROW).encode() + b"," * 10_000_000 + b"\n" + b"," * 1_000_000 + b"\n" + ROW.encode()
    )
    tracemalloc.start()
    begun = time.process_time()
    found = read_all(PARSER, FileSource(path, "wide"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [type(entry) for entry in found] == [Record, Damage, Damage, Record]
    assert f"up to {LINE_LIMIT} are read" in found[1].reason
    assert found[2].reason == f"A row of more than {COLUMN_LIMIT} columns."
    assert peak < 64 * 1024 * 1024
    assert time.process_time() - begun < 10


def test_a_header_of_ten_million_columns_is_refused_at_once(source):
    begun = time.process_time()
    evidence = source(b"a," * 10_000_000 + b"\n" + b"1," * 100 + b"\n")
    assert not PARSER.accepts(evidence)
    with pytest.raises(ParseError, match="columns"):
        list(PARSER.parse(evidence))
    assert time.process_time() - begun < 10


def test_a_quoted_cell_beyond_its_limit_is_damage(read_any):
    long = '2024-03-01T08:15:30Z,"' + ("x" * 1000 + "\n") * (QUOTED_LIMIT // 500) + '",x,y,z\n'
    found = read_any(HEADER + ROW + long + ROW)
    assert isinstance(found[1], Damage)
    assert when(found[-1]) == MOMENT


# Everything at once


@pytest.mark.parametrize("packer", PACKERS)
def test_packed_evidence_reads_the_same(tmp_path, packer):
    source = source_of(tmp_path, PACKERS[packer]((HEADER + ROW * 500).encode()))
    assert source.compression is not None
    assert PARSER.accepts(source)
    assert len(read_records(PARSER, source)) == 500


SEEN = (HEADER + ROW * 2 + '2024-03-01T08:15:30Z,d,"é ""x""\ny",w,z\n' + ROW).encode()


@pytest.mark.parametrize("cut", range(len(HEADER) + 1, len(SEEN) + 1))
def test_a_text_cut_anywhere_keeps_the_rows_before(tmp_path, cut):
    whole = read_records(PARSER, source_of(tmp_path, SEEN))
    found, error = read_until_error(PARSER, source_of(tmp_path, SEEN[:cut]))
    assert error == ""
    complete = [record for record in whole if sum(record.span) <= cut]
    for record, again in zip(complete, found, strict=False):
        assert (again.position, again.attributes) == (record.position, record.attributes)
    rest = found[len(complete) :]
    assert len(rest) <= 2  # the row that was cut; both its lines, if a quote stayed open


def test_random_damage_never_stops_the_reading(tmp_path):
    chance = random.Random(12)
    for _ in range(150):
        data = bytearray(SEEN * 5)
        for _ in range(chance.randrange(1, 20)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        source = source_of(tmp_path, bytes(data))
        PARSER.accepts(source)
        read_until_error(PARSER, source)


def test_random_tables_read_as_the_standard_library_reads_them(tmp_path):
    chance = random.Random(13)
    for number in range(200):
        delimiter = chance.choice(",;\t|")
        names = [f"name {index}" for index in range(chance.randrange(2, 8))]
        out = io.StringIO(newline="")
        writer = csv.writer(out, delimiter=delimiter, lineterminator=chance.choice(["\n", "\r\n"]))
        writer.writerow(["datetime", *names])
        for _ in range(chance.randrange(1, 40)):
            cells = ["".join(chance.choices('ab ,;|"\n\té🦊0', k=chance.randrange(12))) for _ in names]
            writer.writerow(["2024-03-01T08:15:30Z", *cells])
        source = source_of(tmp_path, out.getvalue().encode())
        assert PARSER.accepts(source), number
        records = read_records(PARSER, source)
        assert [plain(record) for record in records] == expected_rows(out.getvalue(), delimiter)
        assert {when(record) for record in records} == {MOMENT}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n\n",
        b"word\n",
        b"one,two\n",
        b"Dear all,\n\nit happened at that time, on that date, as you know.\nKind regards,\nBob\n",
        b"Mar  1 08:15:30 host sshd[1]: Failed password for root from 10.0.0.1 port 22 ssh2\n" * 30,
        b"Mar  1 08:15:30 host app: a=1, b=2, c=3\nMar  1 08:15:31 host app: a=1, b=2\n" * 20,
        b"<13>1 2024-03-01T08:15:30Z host app - - - a, b, c\n" * 30,
        b'10.0.0.1 - - [01/Mar/2024:08:15:30 +0000] "GET /a,b HTTP/1.1" 200 5\n' * 30,
        b'{"a":1,"b":2,"timestamp":"2024-03-01T08:15:30Z"}\n' * 30,
        b"[1,2,3]\n" * 10,
        b"CEF:0|Vendor|Product|1.0|100|Name|5|src=10.0.0.1\n" * 30,
        b"<?xml version='1.0'?>\n<a b='1,2,3'/>\n",
        b"#separator \\x09\n#fields\tts\tuid\n1709280930.0\tC1\n" * 3,
        b"#Software: IIS\n#Fields: date time c-ip\n2024-03-01 08:15:30 10.0.0.1\n",
        b"ElfFile\x00" + bytes(range(256)) * 50,
        bytes(random.Random(1).randbytes(5000)),
        b"import os, sys\n\n\ndef f(a, b):\n    return a, b\n" * 10,
        b"\xff\xfe",
        b"," * 70_000,
        b'"' * 70_000,
        b'"a,b\n' * 5000,
    ],
)
def test_other_contents_are_not_claimed(tmp_path, data):
    assert PARSER.accepts(source_of(tmp_path, data)) is False


def test_a_row_that_is_not_there_cannot_be_located(source):
    with pytest.raises(ParseError):
        PARSER.locate(source(HEADER), "line 9", (4000, 10))
    with pytest.raises(ParseError):
        PARSER.locate(source(HEADER), "line 9", None)
