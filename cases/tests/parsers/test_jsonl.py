"""JSON evidence: values confirmed by the standard library or by hand, hostile lines accounted for.

Samples (origin and licence in their README): log2timeline/plaso, DFIRArtifactMuseum.
"""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from cases.index import text as index_text
from cases.parsers.jsonl import JsonLines
from cases.parsers.lines import LINE_LIMIT
from cases.parsers.source import FileSource
from cases.records import RAW_LIMIT, Damage, ParseError, Record
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

PARSER = JsonLines()
LINE = b'{"timestamp":"2024-03-01T08:15:30Z","message":"ok"}\n'
MOMENT = "2024-03-01T08:15:30.000000Z"


@pytest.fixture
def read(tmp_path):
    def read(data, **context):
        return read_records(PARSER, source_of(tmp_path, data, **context))

    return read


@pytest.fixture
def read_any(tmp_path):
    def read_any(data, **context):
        return read_all(PARSER, source_of(tmp_path, data, **context))

    return read_any


def one(read: Callable[..., list[Any]], value: Any, **context: Any) -> Any:
    (record,) = read(json.dumps(value).encode() + b"\n", **context)
    return record


# Times


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("/Date(1709208000123)/", "2024-02-29T12:00:00.123000Z"),
        ("/Date(1709208000123+0100)/", "2024-02-29T12:00:00.123000Z"),
        ("/Date(-1)/", "1969-12-31T23:59:59.999000Z"),
    ],
)
def test_dates_as_powershell_writes_them_are_read(read, written: str, shown: str) -> None:
    record = one(read, {"TimeCreated": written, "Message": "x"}, time_zone="Europe/Berlin")
    assert (when(record), record.time_precision) == (shown, "ms")
    assert "time_note" not in record.attributes


def test_the_first_moment_of_dotnet_is_no_time(read) -> None:
    record = one(read, {"TimeCreated": "/Date(-62135596800000)/", "Message": "x"})
    assert record.timestamp is None
    assert "outside 1601 to 9999" in record.attributes["time_note"]


# Shapes


def test_a_line_of_timesketch_is_read(read):
    record = one(
        read,
        {
            "message": "A user logged on",
            "timestamp": 1709280930123456,
            "datetime": "2024-03-01T08:15:30.123456+00:00",
            "timestamp_desc": "Logon Time",
            "hostname": "WS-1",
            "username": "alice",
            "tag": ["logon", "review"],
            "extra": 7,
        },
    )
    assert when(record) == "2024-03-01T08:15:30.123456Z"
    assert (record.timestamp_desc, record.time_precision) == ("Logon Time", "us")
    assert (record.message, record.host, record.user) == ("A user logged on", "WS-1", "alice")
    assert record.tags == ["logon", "review"]
    assert record.type is None
    assert record.attributes["extra"] == 7
    assert record.attributes["timestamp"] == 1709280930123456


def test_microseconds_of_old_times_are_not_taken_for_another_unit(read):
    record = one(read, {"message": "x", "timestamp": 915148800000000, "timestamp_desc": "y"})
    assert when(record) == "1999-01-01T00:00:00.000000Z"


@pytest.mark.parametrize("name", ["psort_json_line.log", "psort_json.log"])
def test_the_output_of_psort_is_read_with_every_field(name):
    source = FileSource(sample(f"plaso/{name}"), name)
    assert PARSER.accepts(source)
    records = read_records(PARSER, source)
    text = source.path.read_text()
    if name == "psort_json.log":
        expected = list(json.loads(text).values())
    else:
        expected = [json.loads(line) for line in text.splitlines()]
    assert len(records) == len(expected) == 20
    for record, event in zip(records, expected, strict=True):
        assert record.timestamp == event["timestamp"]
        assert record.message == event["message"]
        assert record.timestamp_desc == event["timestamp_desc"]
        assert record.host == event.get("hostname")
        assert record.user == event.get("username")
        assert record.type is None
        assert record.attributes == event
    assert {record.time_precision for record in records} == {"s", "ns"}
    assert records[0].position == ("record 1" if name == "psort_json.log" else "line 1")


def test_plaso_counts_microseconds_whatever_their_size_and_knows_when_there_is_no_time(read):
    event = {
        "__container_type__": "event",
        "__type__": "AttributeContainer",
        "message": "x",
        "timestamp_desc": "y",
    }
    early = {"__type__": "DateTimeValues", "__class_name__": "Filetime"}
    unset = {"__type__": "DateTimeValues", "__class_name__": "SemanticTime", "string": "Not set"}
    lines = [
        {**event, "timestamp": 31_536_000_000_000, "date_time": early},  # a year after 1970
        {**event, "timestamp": -11_644_473_600_000_000, "date_time": early},
        {**event, "timestamp": 0, "date_time": unset},
        {**event, "timestamp": 2**63 - 1, "date_time": early},
    ]
    found = read("\n".join(map(json.dumps, lines)).encode())
    assert [when(record) for record in found] == [
        "1971-01-01T00:00:00.000000Z",
        "1601-01-01T00:00:00.000000Z",
        None,
        None,
    ]
    assert found[0].time_precision == "100ns"
    assert found[2].attributes["time_note"] == "no time: Not set"
    assert "outside 1601 to 9999" in found[3].attributes["time_note"]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("aws_cloudtrail.jsonl", "EventTime"),
        ("azure_activity_log.jsonl", "event_timestamp"),
        ("gcp_logging.jsonl", "timestamp"),
        ("microsoft_audit_log.jsonl", "CreationTime"),
        ("evtx_1000.jsonl", "datetime"),
    ],
)
def test_the_samples_are_read_with_every_field_and_their_time(name, field):
    source = FileSource(sample(f"csv_jsonl_parquet/{name}"), name)
    assert PARSER.accepts(source)
    records = read_records(PARSER, source)
    expected = [json.loads(line) for line in source.path.read_text().splitlines()]
    assert len(records) == len(expected) == expected_count(f"csv_jsonl_parquet/{name}")
    for record, values in zip(records, expected, strict=True):
        assert record.attributes == values
        shown = values[field].removesuffix(" UTC")
        moment = datetime.fromisoformat(shown)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        assert when(record) == moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert record.type is None


def test_who_and_what_of_the_samples_is_found():
    def first(name: str) -> Any:
        return next(PARSER.parse(FileSource(sample(f"csv_jsonl_parquet/{name}"), name)))

    assert first("aws_cloudtrail.jsonl").user == "fakeusername"
    assert first("aws_cloudtrail.jsonl").message.startswith("EventName: DescribeInstances, EventId: 0828c0d2")
    assert first("azure_activity_log.jsonl").message.startswith(
        "operation_name.value: Microsoft.Compute/disks/"
    )
    assert first("gcp_logging.jsonl").user == "fakeemailxyz@gmail.com"
    assert first("gcp_logging.jsonl").message.startswith(
        "protoPayload.methodname: beta.compute.networks.insert"
    )
    assert first("microsoft_audit_log.jsonl").user == "NT AUTHORITY\\SYSTEM (Microsoft.Exchange.Servicehost)"
    assert first("evtx_1000.jsonl").host == "DESKTOP-23PS6ES.praivacymatrix.com"


FREE_SHAPES = [
    (
        {
            "@timestamp": "2024-03-01T08:15:30.000Z",
            "timestamp": "2020-01-01T00:00:00Z",
            "message": "m",
            "host": {"name": "web-1", "id": "7"},
            "user": {"name": "bob", "id": "1"},
            "event": {"action": "a"},
        },
        ("m", "web-1", "bob"),
    ),
    (
        {"@timestamp": "2024-03-01T08:15:30.000Z", "host.name": "web-1", "user.name": "bob", "log": "m"},
        ("m", "web-1", "bob"),
    ),
    (
        {
            "_index": "logs",
            "_id": "1",
            "_source": {"@timestamp": "2024-03-01T08:15:30Z", "message": "m", "agent": {"hostname": "web-1"}},
        },
        ("m", "web-1", None),
    ),
    (
        {
            "preview": False,
            "result": {"_time": "2024-03-01T08:15:30.000+00:00", "_raw": "m", "host": "web-1"},
        },
        ("m", "web-1", None),
    ),
    (
        {"timestamp": "2024-03-01T08:15:30.000000+0000", "event_type": "dns", "src_ip": "10.0.0.1"},
        ("event_type: dns, timestamp: 2024-03-01T08:15:30.000000+0000, src_ip: 10.0.0.1", None, None),
    ),
    (
        {"ts": 1709280930.0, "uid": "CXW2", "id.orig_h": "10.0.0.1", "proto": "udp"},
        ("ts: 1709280930.0, uid: CXW2, id.orig_h: 10.0.0.1, proto: udp", None, None),
    ),
    (
        {"ts": "2024-03-01T08:15:30.000000Z", "uid": "CXW2"},
        ("ts: 2024-03-01T08:15:30.000000Z, uid: CXW2", None, None),
    ),
    (
        {"__REALTIME_TIMESTAMP": "1709280930000000", "MESSAGE": "m", "_HOSTNAME": "web-1", "_UID": "0"},
        ("m", "web-1", None),
    ),
    ({"__REALTIME_TIMESTAMP": "1709280930000000", "MESSAGE": [104, 105, 255]}, ("hi\\xff", None, None)),
    (
        {"eventTime": "2024-03-01T08:15:30Z", "eventName": "GetUser", "userIdentity": {"userName": "bob"}},
        ("eventName: GetUser, eventTime: 2024-03-01T08:15:30Z, userIdentity.userName: bob", None, "bob"),
    ),
    (
        {
            "Event": {
                "System": {
                    "TimeCreated": {"#attributes": {"SystemTime": "2024-03-01T08:15:30.0000000Z"}},
                    "Computer": "WS-1",
                    "EventID": 4624,
                },
                "EventData": {"TargetUserName": "bob"},
            }
        },
        (None, "WS-1", "bob"),
    ),
    ({"time": "2024-03-01T08:15:30Z", "level": "info", "msg": "m"}, ("m", None, None)),
    (
        {"date": "2024-03-01", "time": "08:15:30", "tz": "+0000", "devname": "fw", "msg": "m"},
        ("m", None, None),
    ),
    ({"date": "2024-03-01", "time": "09:15:30", "tz": "+0100", "msg": "m"}, ("m", None, None)),
    (
        {"UtcTime": "2024-03-01 08:15:30.000", "Image": "a.exe", "User": "CORP\\bob"},
        (None, None, "CORP\\bob"),
    ),
    ({"createdAt": {"$date": "2024-03-01T08:15:30Z"}, "text": "m"}, ("m", None, None)),
    ({"createdAt": {"$date": {"$numberLong": "1709280930000"}}, "text": "m"}, ("m", None, None)),
    ({"epoch_ms": 1709280930000, "text": "m"}, ("m", None, None)),
    ({"last_login_at": "2024-03-01T08:15:30Z", "text": "m"}, ("m", None, None)),
    ({"TIMESTAMP": "1709280930", "MESSAGE": "m", "HOST": "web-1", "USER": "bob"}, ("m", "web-1", "bob")),
]


@pytest.mark.parametrize(("value", "expected"), FREE_SHAPES)
def test_free_shapes_are_read_by_the_names_of_their_fields(read, value, expected):
    record = one(read, value)
    assert when(record) == MOMENT
    message, host, user = expected
    assert message is None or record.message == message
    assert (record.host, record.user) == (host, user)
    assert {name: held for name, held in record.attributes.items() if name != "time_note"} == value


def test_fields_of_the_audit_log_of_microsoft_are_utc_in_any_zone(read):
    value = {"CreationTime": "2024-03-01T08:15:30", "RecordType": 1, "UserKey": "x", "Operation": "y"}
    record = one(read, value, time_zone="America/New_York")
    assert when(record) == MOMENT
    assert "time_note" not in record.attributes


def test_a_name_that_says_utc_is_believed(read):
    record = one(read, {"TimeCreatedUtc": "2024-03-01 08:15:30", "m": 1}, time_zone="Europe/Paris")
    assert when(record) == MOMENT
    assert "time_note" not in record.attributes


def test_type_category_score_and_tags_are_taken_only_where_they_stand(read):
    record = one(read, {"ts": 1709280930, "Type": "alert", "category": "net", "score": 3, "tags": "a, b"})
    assert (record.type, record.category, record.score, record.tags) == ("alert", "net", 3.0, ["a", "b"])
    record = one(
        read, {"ts": 1709280930, "__type__": "x", "event_type": "y", "score": True, "tags": [1, "z", "-"]}
    )
    assert (record.type, record.category, record.score, record.tags) == (None, None, None, ["z"])


def test_a_message_made_of_fields_is_bounded_and_holds_no_empty_ones(read):
    record = one(read, {"ts": 1709280930, "a": "", "b": None, "c": ["x", {"d": True}], "e": "y" * 5000})
    assert record.message.startswith("ts: 1709280930, c: x, c.d: true, e: yyy")
    assert len(record.message) == 2000
    assert record.message.endswith("…")
    assert record.attributes["e"] == "y" * 5000


def test_an_empty_object_is_an_event_without_a_time(read):
    (record,) = read(b"{}\n")
    assert (record.timestamp, record.message) == (None, "(empty)")


# Time


def test_an_unreadable_time_leaves_an_undated_event_that_says_why(read):
    found = read(
        b'{"timestamp":"garbage date","message":"a"}\n'
        b'{"timestamp":"10:15","message":"b"}\n'
        b'{"message":"c"}\n'
        b'{"timestamp":null,"message":"d"}\n'
        b'{"timestamp":{"a":1},"message":"e"}\n'
        b'{"timestamp":true,"message":"f"}\n'
        b'{"timestamp":"1600-01-01T00:00:00Z","message":"g"}\n'
    )
    assert [record.timestamp for record in found] == [None] * 7
    assert [record.attributes["time_note"] for record in found] == [
        "timestamp: no known spelling of a time",
        "timestamp: a clock time without a date",
        "no field holds a time",
        "no field holds a time",
        "no field holds a time",
        "timestamp: true or false is no time",
        "timestamp: the time is outside 1601 to 9999",
    ]


def test_another_time_is_taken_where_the_best_is_unreadable_and_this_is_said(read):
    record = one(read, {"datetime": "soon", "timestamp": 1709280930000000, "message": "x"})
    assert when(record) == MOMENT
    assert record.timestamp_desc == "timestamp"
    assert record.attributes["time_note"] == "datetime: no known spelling of a time; taken from timestamp"


def test_numbers_that_only_may_be_times_are_taken_if_plausible(read):
    record = one(read, {"response_time": 1709280930, "duration_ts": 5, "when": 12, "message": "x"})
    assert record.timestamp is None
    record = one(read, {"when": 1709280930, "message": "x"})
    assert when(record) == MOMENT


def test_a_naive_time_is_read_in_the_zone_of_the_evidence_and_says_so(read):
    record = one(read, {"datetime": "2024-02-29 12:00:00", "message": "x"}, time_zone="Europe/Paris")
    assert when(record) == "2024-02-29T11:00:00.000000Z"
    assert record.attributes["time_note"] == "time zone assumed: Europe/Paris"


def test_nanoseconds_are_cut_and_stay_in_the_attributes(read):
    found = read(
        b'{"timestamp":"2024-03-01T08:15:30.123456789Z"}\n{"timestamp":1709280930123456789}\n'
        b'{"timestamp":1709280930.123456789}\n'
    )
    assert [when(record) for record in found] == ["2024-03-01T08:15:30.123456Z"] * 3
    assert [record.time_precision for record in found] == ["ns"] * 3
    assert [str(record.attributes["timestamp"]) for record in found] == [
        "2024-03-01T08:15:30.123456789Z",
        "1709280930123456789",
        "1709280930.123456789",
    ]


def test_the_order_of_day_and_month_is_that_of_the_whole_file(read):
    lines = [b'{"time":"02/03/2024 10:00:00","message":"%d"}' % number for number in range(3000)]
    lines.append(b'{"time":"25/03/2024 10:00:00","message":"tells"}')
    found = read(b"\n".join(lines))
    assert when(found[0]) == "2024-03-02T10:00:00.000000Z"
    assert "read as day, month, like others of the file" in found[0].attributes["time_note"]
    assert when(found[-1]) == "2024-03-25T10:00:00.000000Z"


def test_without_help_an_ambiguous_date_is_month_first_and_says_so(read):
    record = one(read, {"time": "02/03/2024 10:00:00", "message": "x"})
    assert when(record) == "2024-02-03T10:00:00.000000Z"
    assert "day and month are ambiguous: read as month, day" in record.attributes["time_note"]


def test_a_note_does_not_overwrite_a_field_of_its_name(read):
    record = one(read, {"time": "soon", "time_note": "theirs"})
    assert record.attributes["time_note"] == "theirs"
    assert record.attributes["time_note (2)"] == "time: no known spelling of a time"


# Choices


def test_the_investigator_may_choose_fields_and_spellings(read):
    value = {"ts": 1, "a": {"Seen": "01/03/2024 08:15"}, "what": "m", "box": "b", "who": "w", "kind": "k"}
    options = {
        "timestamp": "a.Seen",
        "message": "what",
        "host": "box",
        "user": "who",
        "timestamp_desc": "kind",
        "time_format": "%d/%m/%Y %H:%M",
    }
    record = one(read, value, options=options)
    assert when(record) == "2024-03-01T08:15:00.000000Z"
    assert (record.message, record.host, record.user, record.timestamp_desc) == ("m", "b", "w", "k")
    record = one(read, {"b": "02/03/2024", "ts": 1709280930}, options={"timestamp": "b", "day_first": "yes"})
    assert when(record) == "2024-03-02T00:00:00.000000Z"
    record = one(read, {"n": 1000}, options={"timestamp": "n", "time_unit": "ms"})
    assert when(record) == "1970-01-01T00:00:01.000000Z"


def test_where_a_chosen_field_is_missing_no_other_is_taken(read):
    record = one(read, {"ts": 1709280930, "message": "x"}, options={"timestamp": "seen"})
    assert record.timestamp is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"day_frist": "yes"}, "no option 'day_frist'"),
        ({"day_first": "perhaps"}, "yes or no"),
        ({"time_unit": "fortnights"}, "time_unit is one of"),
        ({"time_format": "%H:%M"}, "needs a date with its year"),
    ],
)
def test_a_choice_that_means_nothing_is_refused(tmp_path, options, reason):
    with pytest.raises(ParseError, match=reason):
        list(PARSER.parse(source_of(tmp_path, LINE, options=options)))


def test_an_unknown_zone_is_refused(tmp_path):
    with pytest.raises(ParseError, match="time zone"):
        list(PARSER.parse(source_of(tmp_path, LINE, time_zone="Mars/Olympus")))


# Values


def test_a_field_that_is_a_number_here_and_text_there_loses_nothing(read):
    values = [1, "one", 1.5, True, None, {"a": 1}, [1, "x"], "2024-03-01", 2**80, "", -0.0]
    found = read(b"\n".join(json.dumps({"ts": 1709280930, "v": value}).encode() for value in values))
    assert [record.attributes["v"] for record in found] == values
    assert [type(record.attributes["v"]) for record in found] == list(map(type, values))


def test_numbers_that_a_float_cannot_hold_keep_every_digit(read):
    (record,) = read(
        b'{"big":123456789012345678901234567890,"nan":NaN,"inf":-Infinity,"huge":1e999,'
        b'"fine":0.12345678901234567890123,"plain":0.1,"long":' + b"7" * 5000 + b"}\n"
    )
    held = record.attributes
    assert held["big"] == 123456789012345678901234567890
    assert (held["nan"], held["inf"], held["huge"]) == ("NaN", "-Infinity", "1e999")
    assert Decimal(held["fine"]) == Decimal("0.12345678901234567890123")
    assert held["plain"] == 0.1
    assert held["long"] == "7" * 5000
    assert index_text.load(index_text.dump(held)) == held


def test_names_that_stand_twice_are_all_kept_and_this_is_said(read):
    (record,) = read(b'{"a":1,"a":2,"a (2)":3,"b":{"c":1,"c":2},"ts":1709280930}\n')
    assert record.attributes["a"] == 1
    assert record.attributes["a (2)"] == 3
    assert record.attributes["a (3)"] == 2
    assert record.attributes["b"] == {"c": 1, "c (2)": 2}
    assert record.attributes["read_note"] == "more than one value under the name: c, a"


def test_a_name_that_stands_ten_thousand_times_costs_little(read):
    begun = time.process_time()
    (record,) = read(b"{" + b",".join(b'"a":%d' % number for number in range(20_000)) + b"}\n")
    assert time.process_time() - begun < 5
    assert record.attributes["a (20000)"] == 19_999


def test_five_thousand_fields_are_kept(read):
    value = {f"field {number}": number for number in range(5000)} | {"ts": 1709280930}
    assert one(read, value).attributes == value


def test_unicode_stays_as_it_is(read):
    value = {"ts": 1709280930, "message": "é 漢字 🦊 \x00 \x1b \u202e", "ключ": "\ud800"}
    record = one(read, value)
    assert record.message == value["message"]
    assert record.attributes == value
    assert index_text.load(index_text.dump(record.attributes)) == value


def test_control_characters_are_kept_though_the_standard_forbids_them(read):
    (record,) = read(b'{"ts":1709280930,"message":"a\tb\x01\x00c"}\n')
    assert record.message == "a\tb\x01\x00c"


def test_bytes_that_are_no_utf_8_are_kept_as_hexadecimal(read):
    (record,) = read(b'{"ts":1709280930,"message":"caf\xe9 \xff\xc3\xa9"}\n')
    assert record.message == "caf\\xe9 \\xffé"


# Lines that are none


DAMAGED = [
    (b"not json", "No JSON: Expecting value at character 1."),
    (b'{"a":1,}', "No JSON: "),
    (b'{"a":1},', "No JSON: Extra data at character 8."),
    (b'{"a":', "No JSON: Expecting value"),
    (b'{"message":"cut', "No JSON: Unterminated string"),
    (b'{"a":1}{"b":2}', "No JSON: Extra data at character 8."),
    (b"[1,2]", "JSON, but no object: a list."),
    (b'"text"', "JSON, but no object: a text."),
    (b"17", "JSON, but no object: a number."),
    (b"null", "JSON, but no object: null."),
    (b"true", "JSON, but no object: true or false."),
    (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "JSON nested deeper than 100 levels."),
    (b"[" * 100_000, "JSON nested deeper than 100 levels."),
    (b"<xml/>", "No JSON: Expecting value"),
    (b"\xff\xfe\xfd", "No JSON: Expecting value"),
]


@pytest.mark.parametrize(("line", "reason"), DAMAGED)
def test_a_line_that_is_no_object_is_damage_and_reading_goes_on(read_any, line, reason):
    first, damage, last = read_any(LINE + line + b"\n" + LINE)
    assert isinstance(damage, Damage)
    assert damage.position == "line 2"
    assert damage.reason.startswith(reason)
    assert damage.raw == line[:RAW_LIMIT]
    assert damage.span == (len(LINE), len(line))
    assert (when(first), when(last)) == (MOMENT, MOMENT)


def test_a_cut_line_among_ten_thousand_costs_itself_alone(read_any):
    lines = [LINE] * 10_000
    lines[7000] = LINE[:30] + b"\n"
    lines[9000] = LINE[:-1] + b",\n"
    found = read_any(b"".join(lines))
    assert [entry.position for entry in found if isinstance(entry, Damage)] == ["line 7001", "line 9001"]
    assert len(found) == 10_000


def test_reasons_hold_nothing_of_the_content(read_any):
    (_, damage) = read_any(LINE + b'{"password": hunter2}\n')
    assert "hunter2" not in damage.reason


def test_nul_bytes_and_long_lines_are_damage(read_any):
    long = b'{"message":"' + b"x" * LINE_LIMIT + b'"}\n'
    found = read_any(LINE + b"\0" * 4096 + LINE + long + LINE)
    assert [type(entry) for entry in found] == [Record, Damage, Record, Damage, Record]
    assert found[1].reason == "4096 NUL bytes"
    assert len(found[3].raw) == RAW_LIMIT


def test_blank_lines_marks_and_windows_line_ends_are_no_records(read):
    found = read(b"\xef\xbb\xbf\r\n" + LINE[:-1] + b"\r\n   \r\n\n" + LINE[:-1])
    assert [record.position for record in found] == ["line 2", "line 5"]
    assert found[0].span == (5, len(LINE) - 1)


def test_utf_16_is_read(read):
    text = '{"ts":1709280930,"message":"é🦊"}\n'
    found = read((text + text).encode("utf-16"))
    assert [record.message for record in found] == ["é🦊", "é🦊"]


# Documents


RECORDS = [
    {"eventTime": "2024-03-01T08:15:30Z", "n": number, "in": {"x": [{"y": "}]{"}]}} for number in range(50)
]
DOCUMENTS = {
    "list": json.dumps(RECORDS),
    "list, pretty": json.dumps(RECORDS, indent=2),
    "list, one a line": "[\n" + ",\n".join(map(json.dumps, RECORDS)) + "\n]\n",
    "CloudTrail": json.dumps({"Records": RECORDS}),
    "CloudTrail, compact": json.dumps({"Records": RECORDS}, separators=(",", ":")),
    "CloudTrail, pretty": json.dumps({"Records": RECORDS}, indent=4),
    "Microsoft Graph": json.dumps(
        {"@odata.context": "https://graph/x", "value": RECORDS, "@odata.nextLink": "y"}
    ),
    "objects in a row": "".join(map(json.dumps, RECORDS)),
    "objects in a row, pretty": "\n".join(json.dumps(record, indent=2) for record in RECORDS),
    "psort": "{"
    + ", ".join(f'"event_{n}": {json.dumps(record)}\n' for n, record in enumerate(RECORDS))
    + "}",
    "two deliveries": json.dumps({"Records": RECORDS[:20]}) + json.dumps({"Records": RECORDS[20:]}),
}


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
def test_records_inside_a_document_are_found(tmp_path, name, coding):
    data = DOCUMENTS[name].encode(coding)
    source = source_of(tmp_path, data)
    assert PARSER.accepts(source)
    records = read_records(PARSER, source)
    held = [
        {key: value for key, value in record.attributes.items() if key != "envelope"} for record in records
    ]
    assert held == RECORDS
    assert {when(record) for record in records} == {MOMENT}
    assert [record.position for record in records] == [f"record {number}" for number in range(1, 51)]
    if coding != "utf-16":
        for record, expected in zip(records, RECORDS, strict=True):
            start, length = record.span
            assert json.loads(data[start : start + length]) == expected
            assert PARSER.locate(source, record.position, record.span) == data[start : start + length]


def test_what_stands_around_a_list_stays_with_its_records(read):
    (record,) = read(
        b'{"logGroup":"g","host":"web-1","logEvents":[{"timestamp":1709280930000,"message":"m"}]}'
    )
    assert (when(record), record.message, record.host) == (MOMENT, "m", "web-1")
    assert record.attributes["envelope"] == {"logGroup": "g", "host": "web-1"}


def test_an_object_with_a_time_of_its_own_is_an_event_whatever_it_lists(read):
    line = b'{"id":{"time":"2024-03-01T08:15:30Z"},"actor":{"email":"a@b.c"},"events":[{"n":1},{"n":2}]}\n'
    found = read(line * 2)
    assert [when(record) for record in found] == [MOMENT] * 2
    assert found[0].user == "a@b.c"
    line = b'{"time":"2024-03-01T08:15:30Z","items":[{"n":1},{"n":2}]}\n'
    assert len(read(line)) == 1
    line = b'{"items":[{"n":1},{"n":2}],"time":"2024-03-01T08:15:30Z"}\n'
    assert len(read(line)) == 1


def test_an_empty_document_holds_no_records(read):
    assert read(b"[]") == []
    assert read(b'{"Records":[]}') == []
    assert read(b"[\n]\n") == []


@pytest.mark.parametrize(
    ("broken", "position"),
    [
        ('{"eventTime": "x", "n": "unclosed}', "record 2"),
        ('{"eventTime": "x", "n": }', "record 2"),
        ('{"eventTime": "x", "n": [1, 2}', "record 2"),
        ('{"eventTime": "x"', "record 2"),
        ('17, "text"', "record 2"),
        ("[1, 2]", "record 2"),
        ('{"eventTime": "x", "n": "a"b"}', "record 2"),
        ("[" * 5000 + "]" * 5000, "record 2"),
    ],
)
@pytest.mark.parametrize("separator", [",\n", ", "])
def test_a_broken_record_of_a_document_costs_itself_alone(read_any, broken, position, separator):
    records = [json.dumps(record) for record in RECORDS]
    found = read_any(("[" + separator.join([records[0], broken, *records[1:]]) + "]").encode())
    damages = [entry for entry in found if isinstance(entry, Damage)]
    good = [entry for entry in found if isinstance(entry, Record)]
    assert damages[0].position == position
    assert len(damages) == 1
    assert [record.attributes["n"] for record in good] == list(range(50))


def test_a_record_of_a_hundred_megabytes_is_damage_in_flat_memory(tmp_path):
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.write(b'[{"a":"')
        for _ in range(100):
            file.write(b"x" * 1024 * 1024)
        file.write(b'"},\n{"a":"last","ts":1709280930}]')
    source = FileSource(path, "big")
    assert PARSER.accepts(source)
    tracemalloc.start()
    found = read_all(PARSER, source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [type(entry) for entry in found] == [Damage, Record]
    assert "more than" in found[0].reason
    assert peak < 64 * 1024 * 1024


@pytest.mark.parametrize(
    "data",
    [
        b'[{"a":' * 200_000,
        b'[{"a":"' * 100_000,
        b'{"Records":[' + b'{"a":"' * 100_000,
        b'{"Records":' + b"[" * 1_000_000,
        b'[{"a":1}' + b"}" * 300_000,
        b'[{"a":1},' + b"x" * (20 * 1024 * 1024),
        b"[{" + b'"a":{' * 300_000,
        b'{\n"a":[' * 100_000,
    ],
)
def test_documents_made_to_hurt_end_soon(tmp_path, data):
    begun = time.process_time()
    read_until_error(PARSER, source_of(tmp_path, data))
    assert time.process_time() - begun < 20


# Everything at once


@pytest.mark.parametrize("packer", PACKERS)
def test_packed_evidence_reads_the_same(tmp_path, packer):
    data = LINE * 500
    source = source_of(tmp_path, PACKERS[packer](data))
    assert source.compression is not None
    assert PARSER.accepts(source)
    assert len(read_records(PARSER, source)) == 500


SEEN = LINE * 3 + b'{"ts":1709280930,"m\xc3\xa9":"\xf0\x9f\xa6\x8a","n":[1,{"a":2}]}\n'


@pytest.mark.parametrize("cut", range(len(SEEN) + 1))
def test_a_text_cut_anywhere_loses_only_the_line_that_was_cut(tmp_path, cut):
    found, error = read_until_error(PARSER, source_of(tmp_path, SEEN[:cut]))
    assert error == ""
    whole = [line for line in SEEN[:cut].split(b"\n") if _is_object(line)]
    rest = [line for line in SEEN[:cut].split(b"\n") if line and not _is_object(line)]
    assert sum(isinstance(entry, Record) for entry in found) == len(whole)
    assert sum(isinstance(entry, Damage) for entry in found) == len(rest)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


@pytest.mark.parametrize("name", ["list, pretty", "CloudTrail, compact", "psort", "objects in a row, pretty"])
def test_a_document_cut_anywhere_keeps_the_records_before_and_says_that_it_was_cut(tmp_path, name):
    data = DOCUMENTS[name].encode()
    whole = read_records(PARSER, source_of(tmp_path, data))
    ends = [record.span[0] + record.span[1] for record in whole]
    last = data.rstrip().rfind(b"}" if name == "psort" else b"]")
    for cut in [*range(2, 400), *range(400, len(data), 97), *range(len(data) - 40, len(data))]:
        source = source_of(tmp_path, data[:cut])
        found, error = read_until_error(PARSER, source)
        assert error == ""
        expected = sum(end <= cut for end in ends)
        assert sum(isinstance(entry, Record) for entry in found) == expected, cut
        damages = sum(isinstance(entry, Damage) for entry in found)
        assert damages <= 2
        if name != "objects in a row, pretty" and expected and cut <= last:
            assert damages == 1, cut


def test_packed_evidence_cut_anywhere_ends_with_the_reason(tmp_path):
    data = PACKERS["gz"](LINE * 2000)
    for cut in range(20, len(data), 7):
        found, error = read_until_error(PARSER, source_of(tmp_path, data[:cut]))
        assert "damaged" in error
        assert all(when(entry) == MOMENT for entry in found if isinstance(entry, Record))


def test_random_damage_never_stops_the_reading(tmp_path):
    chance = random.Random(11)
    texts = [SEEN * 20, DOCUMENTS["list, pretty"].encode(), DOCUMENTS["psort"].encode()]
    for text in texts:
        for _ in range(60):
            data = bytearray(text)
            for _ in range(chance.randrange(1, 20)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            source = source_of(tmp_path, bytes(data))
            PARSER.accepts(source)
            found, _ = read_until_error(PARSER, source)
            assert found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"Mar  1 08:15:30 host sshd[1]: Failed password for root\n" * 30,
        b'[2024-03-01 08:15:30] local.ERROR: {"a":1}\n' * 30,
        b"a,b,c\n1,2,3\n",
        b"{ not json }\n" * 30,
        b"{}x\n" * 30,
        b"[1,2,3]\n",
        b"just words\n",
        b"\x00\x01\x02{}" * 100,
        b"ElfFile\x00" + b"\0" * 5000,
        b"\xff\xfe",
        b"{",
        b"[",
        b'"',
        b"{" * 70_000,
        b"[" * 70_000,
        b'10.0.0.1 - - [01/Mar/2024:08:15:30 +0000] "GET / HTTP/1.1" 200 5\n' * 30,
    ],
)
def test_other_texts_are_not_claimed(tmp_path, data):
    assert PARSER.accepts(source_of(tmp_path, data)) is False


def test_a_log_that_begins_with_a_damaged_line_is_still_recognised(tmp_path):
    assert PARSER.accepts(source_of(tmp_path, b'age":"cut"}\n' + LINE * 30))
    assert PARSER.accepts(source_of(tmp_path, LINE * 3000 + LINE[:10]))
    assert PARSER.accepts(source_of(tmp_path, b'{"message":"' + b"x" * 200_000 + b'"}\n' + LINE))


def test_a_record_that_is_not_there_cannot_be_located(tmp_path):
    source = source_of(tmp_path, LINE)
    with pytest.raises(ParseError):
        PARSER.locate(source, "line 9", (4000, 10))
    with pytest.raises(ParseError):
        PARSER.locate(source, "line 9", None)
