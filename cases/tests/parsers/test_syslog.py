# ruff: noqa: E501 - lines of logs are long
"""System logs in every form; samples are plaso's (test_data, Apache-2.0), checked line by line by hand."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import re
import struct
import time
from collections.abc import Iterator
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
from cases.parsers import syslog_forms
from cases.parsers.base import Context, ParseError
from cases.parsers.following import RECORD_LIMIT
from cases.parsers.source import FileSource, compression_of
from cases.parsers.syslog import Syslog
from cases.records import Damage, Record

SAMPLES = Path(os.environ.get("DATAMORTEM_SAMPLES") or settings.BASE_DIR.parent / "shared" / "samples")
REFERENCE = datetime(2026, 11, 24, 12, tzinfo=UTC)
PARSER = Syslog()
Items = list[Any]


def sample(name: str) -> tuple[FileSource, Items]:
    path = SAMPLES / "syslog" / name
    if not path.exists():
        pytest.skip(f"no sample {name} under {SAMPLES}")
    source = FileSource(path, name, Context(reference=REFERENCE))
    return source, list(Syslog().parse(source))


def parsed(source: FileSource) -> Items:
    return list(Syslog().parse(source))


def when(record: Record) -> str:
    return format_time(record.timestamp) or "undated"


# The forms


def test_bsd_syslog_has_host_program_pid_and_the_latest_year_that_fits(one) -> None:
    record = one("Jan 22 07:52:33 web-01 client[30840]: INFO No new content in ímynd.dd.\n")
    assert when(record) == "2026-01-22T07:52:33.000000Z"
    assert (record.host, record.type, record.time_precision) == ("web-01", "client", "s")
    assert record.message == "client[30840]: INFO No new content in ímynd.dd."
    assert record.attributes == {
        "program": "client",
        "pid": 30840,
        "time_note": "year assumed: 2026; time zone assumed: UTC",
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Feb  6 15:16:30 victoria process[2085]: x", ("victoria", "process", 2085, "process[2085]: x")),
        ("Mar  3 01:02:03 h /usr/sbin/cron[7]: (root) CMD (x)", ("h", "/usr/sbin/cron", 7, "/usr/sbin/cron[7]: (root) CMD (x)")),
        ("Mar  3 01:02:03 fe80::1 sshd[7]: x", ("fe80::1", "sshd", 7, "sshd[7]: x")),
        ("Mar  3 01:02:03 h postfix/smtpd[7]: x", ("h", "postfix/smtpd", 7, "postfix/smtpd[7]: x")),
        ("Mar  3 01:02:03 h kernel: [  1.5] x", ("h", "kernel", None, "kernel: [  1.5] x")),
        ("Mar  3 01:02:03 kernel: [  1.5] x", (None, "kernel", None, "kernel: [  1.5] x")),
        ("Mar  3 01:02:03: --- last message repeated 5 times ---", (None, None, None, "--- last message repeated 5 times ---")),
        ("Mar  3 01:02:03 --- last message repeated 3 time ---", (None, None, None, "--- last message repeated 3 time ---")),
        ("Mar  3 01:02:03 h Job `cron.daily' terminated", ("h", None, None, "Job `cron.daily' terminated")),
        ("Mar  3 01:02:03 h app[7] <Info>: x", ("h", "app", 7, "app[7] <Info>: x")),
        ("Mar  3 01:02:03 secd[1] <Error> [user{} ]: x", (None, "secd", 1, "secd[1] <Error> [user{} ]: x")),
        ("Mar  3 01:02:03 h com.apple.xpc.launchd[1] (com.apple.x[9]): Service exited", ("h", "com.apple.xpc.launchd", 1, "com.apple.xpc.launchd[1] (com.apple.x[9]): Service exited")),
        ("Mon Mar  3 01:02:03.123 <airportd[88]> got it", (None, "airportd", 88, "<airportd[88]> got it")),
        ("Mar  3 01:02:03 asa : %ASA-6-302013: Built x", ("asa", None, None, "%ASA-6-302013: Built x")),
        ("Mar  3 2025 01:02:03: %ASA-6-302013: Built x", (None, "%ASA-6-302013", None, "%ASA-6-302013: Built x")),
        ("*Mar  3 01:02:03.123 UTC: %SYS-5-CONFIG_I: Configured", (None, "%SYS-5-CONFIG_I", None, "%SYS-5-CONFIG_I: Configured")),
        ("Mar  3 01:02:03 h", ("h", None, None, "")),
    ],
)  # fmt: skip
def test_every_variant_of_the_bsd_form_is_taken_apart(one, line: str, expected: tuple[object, ...]) -> None:
    record = one(line)
    host, program, pid, message = expected
    assert (record.host, record.message) == (host, message)
    assert (record.attributes.get("program"), record.attributes.get("pid")) == (program, pid)


@pytest.mark.parametrize(
    ("text", "expected", "precision"),
    [
        ("Mar  3 01:02:03.123 h p: m", "2026-03-03T01:02:03.123000Z", "ms"),
        ("Mar  3 01:02:03,123456 h p: m", "2026-03-03T01:02:03.123456Z", "us"),
        ("Mar  3 2019 01:02:03 h p: m", "2019-03-03T01:02:03.000000Z", "s"),
        ("Mar  3 01:02:03 2019 h p: m", "2019-03-03T01:02:03.000000Z", "s"),
        ("Mar  3 01:02:03 +02:00 h p: m", "2026-03-02T23:02:03.000000Z", "s"),
        ("Mar  3 01:02:03 -0800 h p: m", "2026-03-03T09:02:03.000000Z", "s"),
        ("Mar  3 01:02:03 PST h p: m", "2026-03-03T09:02:03.000000Z", "s"),
        ("Mon Jun  6 18:43:28 2016 [pid 2] text", "2016-06-06T18:43:28.000000Z", "s"),
        ("[Mon Jun  6 18:43:28 2016] usb 1-1: new device", "2016-06-06T18:43:28.000000Z", "s"),
        ("<34>Oct 11 22:14:15 mymachine su: m", "2026-10-11T22:14:15.000000Z", "s"),
        ("<189>29: *Apr 30 2003 12:00:00.001: %SYS-5-X: m", "2003-04-30T12:00:00.001000Z", "ms"),
        ("2003-10-11T22:14:15.003Z h p[1]: m", "2003-10-11T22:14:15.003000Z", "ms"),
        ("2003-08-24T05:14:15.000003-07:00 h p: m", "2003-08-24T12:14:15.000003Z", "us"),
        ("2003-08-24 05:14:15,003 INFO m", "2003-08-24T05:14:15.003000Z", "ms"),
        ("[2018-08-19T03:17:55.765Z] I santad: m", "2018-08-19T03:17:55.765000Z", "ms"),
        ("2022-04-12 00:16:06.526 UTC [17153] LOG:  m", "2022-04-12T00:16:06.526000Z", "ms"),
        ("2024-01-01 12:00:00+02 mac softwareupdated[123]: m", "2024-01-01T10:00:00.000000Z", "s"),
        ("update-alternatives 2021-03-06 04:07:33: run with x", "2021-03-06T04:07:33.000000Z", "s"),
        ("83 <30>1 2021-03-06T04:07:33Z h app 1 - - m", "2021-03-06T04:07:33.000000Z", "s"),
    ],
)  # fmt: skip
def test_times_are_read_in_every_form(one, text: str, expected: str, precision: str) -> None:
    record = one(text)
    assert (when(record), record.time_precision) == (expected, precision)
    assert record.timestamp_desc == "Event logged"


def test_rfc_5424_keeps_structured_data_under_its_own_names(one) -> None:
    record = one(
        "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 "
        '[exampleSDID@32473 iut="3" eventSource="Appli\\"ca\\]tion" eventID="1011"][examplePriority@32473 class="high"]'
        "[empty@1] \ufeffAn application event log entry...\n"
    )
    assert (record.host, record.type) == ("mymachine.example.com", "evntslog")
    assert record.message == "evntslog: An application event log entry..."
    assert record.attributes == {
        "program": "evntslog",
        "msgid": "ID47",
        "exampleSDID@32473.iut": "3",
        "exampleSDID@32473.eventSource": 'Appli"ca]tion',
        "exampleSDID@32473.eventID": "1011",
        "examplePriority@32473.class": "high",
        "empty@1": "",
        "priority": 165,
        "facility": "local4",
        "severity": "notice",
    }


def test_rfc_5424_without_a_time_is_undated_and_says_so(one) -> None:
    record = one("<13>1 - h app 12 - - hello")
    assert (record.timestamp, record.time_precision, record.timestamp_desc) == (None, "none", "")
    assert (record.message, record.attributes["pid"]) == ("app[12]: hello", 12)
    assert record.attributes["time_note"] == "no time is given"


def test_structured_data_that_never_ends_stays_text(one) -> None:
    record = one('<165>1 2003-10-11T22:14:15.003Z h app - - [id a="1" b="2 and no end')
    assert record.message == 'app: [id a="1" b="2 and no end'


def test_a_parameter_that_comes_again_keeps_all_its_values(one) -> None:
    record = one('<165>1 2003-10-11T22:14:15Z h app - - [origin ip="10.0.0.1" ip="10.0.0.2"] m')
    assert record.attributes["origin.ip"] == ["10.0.0.1", "10.0.0.2"]


def test_priorities_that_no_facility_has_are_kept_as_numbers(one) -> None:
    record = one("<999>Oct 11 22:14:15 h p: m")
    assert record.attributes["priority"] == 999
    assert "facility" not in record.attributes


def test_without_a_program_a_word_is_a_host_only_where_others_show_it(read) -> None:
    records = read(
        "2024-01-01T00:00:00Z Starting up\n2024-01-01T00:00:01Z web-01 app[1]: x\n2024-01-01T00:00:02Z web-01 plain words\n"
    )
    assert [record.host for record in records] == [None, "web-01", "web-01"]
    assert records[0].message == "Starting up"


FORMS = [
    "Mar  3 01:02:03 {}", "2024-03-01T08:15:30.123456+01:00 {}", "2024-03-01T08:15:30Z {}", "2024-03-01T08:15:30 {}",
]  # fmt: skip
WHO = st.lists(
    st.sampled_from(["h", "INFO", "UTC", "2024", "sshd", "a/b", "x:", ":", "[7]", "[7]:", "<Error>", "(x)", " ", " ", ": ", "ERROR:", "-", "fe80::1", "é"]),
    max_size=8,
).map("".join)  # fmt: skip


@hypothesis_settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(form=st.sampled_from(FORMS), who=WHO)
def test_the_fast_way_reads_exactly_what_the_careful_way_reads(
    read, monkeypatch: pytest.MonkeyPatch, form: str, who: str
) -> None:
    log = f"{form.format('h app[1]: first')}\n{form.format(who)}\n"
    fast = read(log)
    with monkeypatch.context() as patch:
        for name in ("_PLAIN", "_PLAIN_ISO"):
            patch.setattr(syslog_forms, name, re.compile(r"(?!)"))
        assert read(log) == fast


def test_a_log_whose_form_changes_midway_is_followed(read) -> None:
    records = read(
        "Mar  3 01:02:03 h sshd[1]: one\n"
        "2026-03-03T01:02:04.5+00:00 h sshd[1]: two\n"
        "<38>1 2026-03-03T01:02:05Z h sshd 1 - - three\n"
        "type=LOGIN msg=audit(1772499726.174:94983): pid=25443 uid=0\n"
        "2026-03-03 01:02:07 status installed base:amd64 1.0\n"
        "this is no line of any log\n"
        "Mar  3 01:02:08 h sshd[1]: seven\n"
    )
    assert [record.position for record in records] == [f"line {number}" for number in range(1, 8)]
    assert isinstance(records[5], Damage)
    dated = [record.timestamp for record in records if not isinstance(record, Damage)]
    assert dated == sorted(dated)
    assert len(dated) == 6


# Years


def years(items: Items) -> list[int]:
    return [int(when(item)[:4]) for item in items if isinstance(item, Record)]


def test_a_log_over_new_year_goes_on_with_the_next_year(read) -> None:
    log = "Dec 30 23:00:00 h p: a\nDec 31 23:59:59 h p: b\nJan  1 00:00:00 h p: c\nFeb  2 00:00:00 h p: d\n"
    assert years(read(log)) == [2025, 2025, 2026, 2026]
    assert years(read(log, reference=datetime(2020, 3, 1, tzinfo=UTC))) == [2019, 2019, 2020, 2020]


def test_the_last_line_never_passes_the_reference(read) -> None:
    log = "Jan  5 00:00:00 h p: a\nDec 24 00:00:00 h p: b\n"
    assert years(read(log, reference=datetime(2020, 12, 25, tzinfo=UTC))) == [2020, 2020]
    assert years(read(log, reference=datetime(2020, 12, 20, tzinfo=UTC))) == [2019, 2019]


def test_lines_out_of_order_around_new_year_keep_their_years(read) -> None:
    log = "".join(
        f"{day} h p: x\n"
        for day in (
            "Dec 31 23:59:58",
            "Jan  1 00:00:01",
            "Dec 31 23:59:59",
            "Jan  1 00:00:02",
            "Jan  3 00:00:00",
            "Jan  2 00:00:00",
        )
    )
    assert years(read(log)) == [2025, 2026, 2025, 2026, 2026, 2026]


def test_several_years_are_counted_back_from_the_reference(read) -> None:
    log = "".join(f"{month} 10 00:00:00 h p: x\n" for _ in range(3) for month in ("Jan", "Apr", "Jul", "Oct"))
    assert years(read(log)) == [2024] * 4 + [2025] * 4 + [2026] * 4


def test_a_29th_of_february_asks_for_a_leap_year(read) -> None:
    assert (
        years(read("Feb 28 00:00:00 h p: x\nFeb 29 00:00:00 h p: x\nMar  1 00:00:00 h p: x\n")) == [2024] * 3
    )
    # the leap year is the second of two
    assert years(read("Dec 29 00:00:00 h p: x\nFeb 29 00:00:00 h p: x\n")) == [2023, 2024]


def test_days_that_no_calendar_has_are_damage(read) -> None:
    items = read(
        "Feb 30 00:00:00 h p: x\nApr 31 00:00:00 h p: x\nApr 00 00:00:00 h p: x\nMar  1 25:00:00 h p: x\nMar  1 00:00:00 h p: x\n"
    )
    assert [type(item) for item in items] == [Damage] * 4 + [Record]
    assert "the calendar has no such day" in items[0].reason


def test_without_a_reference_a_line_without_a_year_is_undated_and_says_why(one) -> None:
    record = one("Mar  3 01:02:03 h p: m", reference=None)
    assert record.timestamp is None
    assert record.attributes["time_note"] == "the year is missing, and nothing tells it"


def test_the_investigator_may_name_the_year_of_the_first_line(read, make) -> None:
    log = "Dec 31 00:00:00 h p: x\nJan  1 00:00:00 h p: x\n"
    assert years(read(log, options={"year": "2011"})) == [2011, 2012]
    with pytest.raises(ParseError, match="four digits"):
        list(Syslog().parse(make(log, options={"year": "soon"})))


def test_lines_with_a_year_do_not_take_part_in_counting_years(read) -> None:
    log = "Dec 31 00:00:00 h p: x\nMar  1 2019 00:00:00 h p: x\nJan  1 00:00:00 h p: x\n"
    assert years(read(log)) == [2025, 2019, 2026]


# Zones and clocks


def test_naive_times_are_read_in_the_zone_of_the_evidence(one) -> None:
    record = one("Jul  3 01:02:03 h p: m", time_zone="Europe/Berlin")
    assert when(record) == "2026-07-02T23:02:03.000000Z"
    assert record.attributes["time_note"] == "year assumed: 2026; time zone assumed: Europe/Berlin"


def test_an_hour_that_clocks_showed_twice_or_never_is_said(one) -> None:
    twice = one("Oct 26 02:30:00 2025 h p: m", time_zone="Europe/Berlin")
    assert when(twice) == "2025-10-26T00:30:00.000000Z"
    assert "ambiguous" in twice.attributes["time_note"]
    never = one("Mar 30 02:30:00 2025 h p: m", time_zone="Europe/Berlin")
    assert when(never) == "2025-03-30T01:30:00.000000Z"
    assert "gap" in never.attributes["time_note"]


def test_a_leap_second_is_the_first_of_the_next_minute(one) -> None:
    record = one("2016-12-31T23:59:60Z h p: m")
    assert when(record) == "2017-01-01T00:00:00.000000Z"
    assert "leap second" in record.attributes["time_note"]


def test_nanoseconds_are_cut_and_kept(one) -> None:
    record = one("2024-03-01T08:15:30.123456789Z h p: m")
    assert (when(record), record.time_precision) == ("2024-03-01T08:15:30.123456Z", "ns")
    assert record.attributes["fraction"] == "0.123456789"


@pytest.mark.parametrize(
    "line", ["1600-12-31T23:59:59Z h p: m", "9999-12-31T23:59:59-01:00 h p: m", "0000-01-01T00:00:00Z h p: m"]
)
def test_times_outside_1601_to_9999_are_damage(read, line: str) -> None:
    (item,) = read(line)
    assert isinstance(item, Damage)
    assert item.reason.startswith("Its time cannot be read: ")


@pytest.mark.parametrize("line", ["1601-01-01T00:00:00Z h p: m", "9999-12-31T23:59:59.999999Z h p: m"])
def test_the_first_and_the_last_instant_are_read(one, line: str) -> None:
    assert when(one(line))[:19] == line[:19]


def test_a_zone_that_is_none_is_a_clear_refusal(make) -> None:
    with pytest.raises(ParseError, match="time zone"):
        list(Syslog().parse(make("Mar  3 01:02:03 h p: m", time_zone="Mars/Olympus")))


# What messages say


@pytest.mark.parametrize(
    ("program", "body", "category", "user", "expected"),
    [
        ("sshd[3]", "Accepted publickey for fred from 192.0.2.60 port 60594 ssh2: RSA SHA256:5xyQ", "logon", "fred",
         {"method": "publickey", "source_ip": "192.0.2.60", "source_port": 60594, "key_type": "RSA", "key_fingerprint": "SHA256:5xyQ"}),
        ("sshd[3]", "Failed password for root from 188.124.3.41 port 32889 ssh2", "logon_failed", "root",
         {"method": "password", "source_ip": "188.124.3.41", "source_port": 32889}),
        ("sshd[3]", "Failed password for invalid user oracle from 10.0.0.9 port 4 ssh2", "logon_failed", "oracle",
         {"invalid_user": True, "source_ip": "10.0.0.9"}),
        ("sshd[3]", "Failed password for invalid user a from 1.1.1.1 port 22 ssh2 from 10.0.0.9 port 4 ssh2", "logon_failed",
         "a from 1.1.1.1 port 22 ssh2", {"source_ip": "10.0.0.9"}),
        ("sshd[3]", "Invalid user  from 10.0.0.9 port 5", "logon_failed", "", {"source_ip": "10.0.0.9", "source_port": 5}),
        ("sshd[3]", "Connection from 188.124.3.41 port 32889", "connection", None, {"source_ip": "188.124.3.41"}),
        ("sshd[3]", "Connection closed by authenticating user root 10.0.0.9 port 5 [preauth]", "connection", "root", {"source_port": 5}),
        ("sshd[3]", "Disconnected from user bob 2001:db8::1 port 5", "logoff", "bob", {"source_ip": "2001:db8::1"}),
        ("sshd-session[3]", "Accepted password for bob from 10.0.0.9 port 5 ssh2", "logon", "bob", {"method": "password"}),
        ("sshd[3]", "error: maximum authentication attempts exceeded for root from 10.0.0.9 port 5 ssh2 [preauth]", "logon_failed", "root",
         {"source_ip": "10.0.0.9"}),
        ("sshd[3]", "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=10.0.0.9  user=root", "logon_failed",
         "root", {"pam_service": "sshd", "rhost": "10.0.0.9", "source_ip": "10.0.0.9"}),
        ("sshd[3]", "pam_unix(sshd:session): session opened for user bob(uid=1000) by (uid=0)", "session_opened", "bob", {"uid": "1000"}),
        ("su[3]", "pam_unix(su:session): session closed for user root", "session_closed", "root", {"pam_service": "su"}),
        ("sudo", "     bob : TTY=pts/0 ; PWD=/home/bob ; USER=root ; COMMAND=/bin/cat /etc/shadow", "privilege", "bob",
         {"TTY": "pts/0", "PWD": "/home/bob", "USER": "root", "COMMAND": "/bin/cat /etc/shadow"}),
        ("sudo", "bob : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/home/bob ; USER=root ; COMMAND=/bin/ls", "privilege_failed", "bob",
         {"reason": "3 incorrect password attempts", "COMMAND": "/bin/ls"}),
        ("su[3]", "Successful su for root by bob", "privilege", "bob", {"target_user": "root"}),
        ("su[3]", "FAILED su for root by bob", "privilege_failed", "bob", {"target_user": "root"}),
        ("su[3]", "FAILED SU (to root) bob on pts/1", "privilege_failed", "bob", {"target_user": "root", "tty": "pts/1"}),
        ("su[3]", "(to root) bob on pts/1", "privilege", "bob", {"target_user": "root"}),
        ("su[3]", "+ /dev/pts/1 bob:root", "privilege", "bob", {"target_user": "root"}),
        ("CRON[3]", "(root) CMD (   cd / && run-parts --report /etc/cron.hourly)", "scheduled_task", "root",
         {"command": "cd / && run-parts --report /etc/cron.hourly"}),
        ("useradd[3]", "new user: name=eve, UID=1001, GID=1001, home=/home/eve, shell=/bin/bash, from=/dev/pts/1", "account", "eve",
         {"action": "new user", "UID": "1001", "home": "/home/eve"}),
        ("usermod[3]", "add 'eve' to group 'sudo'", "account", "eve", {"action": "add", "detail": "to group 'sudo'"}),
        ("userdel[3]", "delete user 'eve'", "account", "eve", {"action": "delete user"}),
        ("passwd[3]", "pam_unix(passwd:chauthtok): password changed for eve", "account", "eve", {"action": "password changed"}),
        ("systemd-logind[3]", "New session 5 of user root.", "session_opened", "root", {"session": "5"}),
        ("systemd-logind[3]", "Removed session 5.", "session_closed", None, {"session": "5"}),
        ("login[3]", "FAILED LOGIN (1) on '/dev/tty1' FOR 'root', Authentication failure", "logon_failed", "root", {"tty": "/dev/tty1"}),
        ("systemd[1]", "Started Daily apt download activities.", "service", None, {"action": "Started", "unit": "Daily apt download activities"}),
        ("kernel", "[12.5] [UFW BLOCK] IN=eth0 OUT= MAC=00:11 SRC=10.0.0.9 DST=10.0.0.1 LEN=40 PROTO=TCP SPT=5 DPT=22", "firewall", None,
         {"SRC": "10.0.0.9", "DPT": "22"}),
        ("%SYS-5-CONFIG_I", "Configured from console", "device", None, {"mnemonic": "CONFIG_I", "level": 5}),
        ("nginx[1]", "Accepted password for nobody from 1.2.3.4 port 5 ssh2", None, None, {}),
    ],
)  # fmt: skip
def test_messages_say_who_from_where_and_how(one, program: str, body: str, category, user, expected) -> None:
    record = one(f"Mar  3 01:02:03 h {program}: {body}")
    assert (record.category, record.user) == (category, user)
    assert expected.items() <= record.attributes.items()
    assert record.message == f"{program}: {body}"


def test_vsftpd_and_dpkg_lines_are_told_by_their_wording(read) -> None:
    upload, login, install = read(
        'Mon Jun  6 18:43:59 2016 [pid 3] [jean] OK UPLOAD: Client "192.168.1.9", "/home/jean/a.png", 1884648 bytes, 41264.44Kbyte/sec\n'
        'Mon Jun  6 18:44:59 2016 [pid 3] [jean] FAIL LOGIN: Client "192.168.1.9"\n'
        "2016-08-06 17:35:39 install base-passwd:amd64 <none> 3.5.33\n"
    )
    assert (upload.type, upload.category, upload.user) == ("vsftpd", "file_transfer", "jean")
    assert (upload.attributes["path"], upload.attributes["bytes"]) == ("/home/jean/a.png", 1884648)
    assert (login.category, login.attributes["source_ip"]) == ("logon_failed", "192.168.1.9")
    assert (install.type, install.category) == ("dpkg", "package")
    assert (
        install.attributes.items()
        >= {"package": "base-passwd:amd64", "version_old": "<none>", "version": "3.5.33"}.items()
    )


# Audit


def test_audit_pairs_are_attributes_and_hexadecimal_is_decoded_beside(one) -> None:
    record = one(
        'node=web-01 type=EXECVE msg=audit(1783414661.350:487): argc=3 a0="/bin/sh" a1="-c" '
        "a2=67726570202D63202E202F6574632F686F73746E616D65\n"
    )
    assert (when(record), record.time_precision) == ("2026-07-07T08:57:41.350000Z", "ms")
    assert (record.host, record.type, record.category) == ("web-01", "EXECVE", "process")
    assert record.attributes == {
        "audit_serial": 487,
        "argc": "3",
        "a0": "/bin/sh",
        "a1": "-c",
        "a2": "67726570202D63202E202F6574632F686F73746E616D65",
        "a2_decoded": "grep -c . /etc/hostname",
    }


def test_nested_audit_messages_name_account_address_and_outcome(one) -> None:
    record = one(
        "type=USER_AUTH msg=audit(1783414613.119:441): pid=2124 uid=0 auid=4294967295 "
        'msg=\'op=pubkey acct="root" exe="/usr/sbin/sshd" hostname=? addr=172.23.112.1 terminal=ssh res=failed\'\x1dUID="root" AUID="unset"'
    )
    assert (record.category, record.user) == ("logon_failed", "root")
    assert record.attributes["source_ip"] == "172.23.112.1"
    assert record.attributes["AUID"] == "unset"
    assert record.attributes["res"] == "failed"


def test_an_audit_record_within_syslog_is_taken_apart_too(one) -> None:
    record = one(
        'Mar  3 01:02:03 h kernel: [12.5] audit: type=1400 audit(1337845201.174:94983): apparmor="DENIED" name="/etc/x" comm=7368'
    )
    assert (record.category, record.host) == ("audit", "h")
    assert (
        record.attributes.items()
        >= {"apparmor": "DENIED", "name": "/etc/x", "comm": "7368", "comm_decoded": "sh"}.items()
    )
    assert when(record) == "2026-03-03T01:02:03.000000Z"


# Lines that go on, and damage


def test_an_indented_line_goes_on_with_its_record_and_the_place_covers_both(make) -> None:
    content = b"Nov 18 01:15:20 h p[1]: first\n\tsecond\n  third\nNov 18 01:15:21 h p[1]: next\n"
    source = make(content)
    first, second = parsed(source)
    assert first.message == "p[1]: first\n\tsecond\n  third"
    assert (
        Syslog().locate(source, first.position, first.span)
        == b"Nov 18 01:15:20 h p[1]: first\n\tsecond\n  third"
    )
    assert second.position == "line 4"
    assert Syslog().locate(source, "line 4", None) == b"Nov 18 01:15:21 h p[1]: next"
    with pytest.raises(ParseError):
        Syslog().locate(source, "line 77", None)
    with pytest.raises(ParseError):
        Syslog().locate(source, "line 4", (len(content), 5))


def test_lines_that_cannot_go_on_with_anything_are_damage_and_nothing_is_lost(read) -> None:
    items = read("  orphan\nNov 18 01:15:20 h p: a\nwith another line\n  after damage\n")
    assert [(item.position, isinstance(item, Damage)) for item in items] == [
        ("line 1", True), ("line 2", False), ("line 3", True), ("line 4", True)
    ]  # fmt: skip
    assert items[2].raw == b"with another line"


def test_a_record_grows_to_a_bound_and_the_rest_is_damage(read) -> None:
    items = read("Nov 18 01:15:20 h p: a\n" + " more of it\n" * 100_000)
    (record,) = (item for item in items if isinstance(item, Record))
    assert len(record.message) < RECORD_LIMIT
    assert record.message.count("\n") + len(items) == 100_001
    assert "bytes already" in items[-1].reason


def test_a_stream_stored_without_line_ends_is_split_where_messages_begin(make) -> None:
    content = (
        b"<15>2021-03-06T04:07:33.194677+00:00 h tag a<14>2021-03-06T04:07:33.196352+00:00 h tag b\n"
        b"rest of b<30>2021-03-06T04:07:33.203756+00:00 h systemd[1]: c<30>2021-03-06T04:07:34+00:00 h systemd[1]: d\n"
    )
    source = make(content)
    items = parsed(source)
    assert [item.position for item in items] == [
        "line 1", "line 1, message 2", "line 2", "line 2, message 2", "line 2, message 3"
    ]  # fmt: skip
    assert b"".join(Syslog().locate(source, item.position, item.span) for item in items) == content.replace(
        b"\n", b""
    )
    assert isinstance(items[2], Damage)


def test_a_sender_cannot_make_up_a_record_inside_a_message(read) -> None:
    line = "<13>Mar  6 04:07:2{} h app: said <14>Mar  6 04:07:23 h sshd[1]: Accepted password for root from 1.1.1.1 port 1 ssh2\n"
    quiet = "<13>Mar  6 04:07:29 h app: ordinary\n"
    records = read(line.format(1) + quiet * 5)
    assert len(records) == 6
    assert records[0].category is None


def test_nul_bytes_invalid_utf8_and_escapes_are_data(read) -> None:
    nul, first, second = read(
        b"\0\0\0\0Mar  3 01:02:03 h p: after a crash\nMar  3 01:02:04 h p: \x1b[2J\xff\xfe\x00\n"
    )
    assert isinstance(nul, Damage)
    assert first.message == "p: after a crash"
    assert second.message == "p: \x1b[2J\\xff\\xfe\x00"


def test_utf16_is_read(read) -> None:
    (record,) = read("\ufeffMar  3 01:02:03 h p: naïve 😀\n".encode("utf-16-le"))
    assert record.message == "p: naïve 😀"
    assert years([record]) == [2026]


# The journal's export format


def entry(*fields: tuple[str, bytes], binary: tuple[str, ...] = ()) -> bytes:
    out = b""
    for name, value in fields:
        if name in binary or b"\n" in value:
            out += name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
        else:
            out += name.encode() + b"=" + value + b"\n"
    return out + b"\n"


FIRST = entry(
    ("__CURSOR", b"s=1"), ("__REALTIME_TIMESTAMP", b"1709280930123456"), ("PRIORITY", b"6"), ("_HOSTNAME", b"web-01"),
    ("SYSLOG_IDENTIFIER", b"sshd"), ("_PID", b"77"), ("MESSAGE", b"Accepted password for bob from 10.0.0.9 port 5 ssh2"),
)  # fmt: skip
SECOND = entry(
    ("__CURSOR", b"s=2"), ("__REALTIME_TIMESTAMP", b"1709280931000000"), ("_COMM", b"app"),
    ("MESSAGE", b"two\nlines \xff"), ("TAG", b"a"), ("TAG", b"b"),
)  # fmt: skip


def test_journal_export_is_read_with_binary_and_repeated_fields(make) -> None:
    source = make(FIRST + SECOND)
    assert Syslog().accepts(source)
    first, second = parsed(source)
    assert (when(first), first.time_precision, first.host) == ("2024-03-01T08:15:30.123456Z", "us", "web-01")
    assert (first.category, first.user, first.type) == ("logon", "bob", "sshd")
    assert first.message == "sshd[77]: Accepted password for bob from 10.0.0.9 port 5 ssh2"
    assert (first.attributes["PRIORITY"], first.attributes["__CURSOR"]) == (6, "s=1")
    assert second.message == "app: two\nlines \\xff"
    assert second.attributes["TAG"] == ["a", "b"]
    assert (first.position, second.position) == ("entry 1", "entry 2")
    assert Syslog().locate(source, "entry 2", second.span) == SECOND


def test_journal_entries_that_are_damaged_take_nothing_from_the_others(read) -> None:
    huge = b"__CURSOR=s=x\nMESSAGE\n" + struct.pack("<Q", 1 << 60) + b"rest\n\n"
    nameless = b"__CURSOR=s=y\nlower=1\nMESSAGE=x\n\n"
    undated = entry(("__CURSOR", b"s=z"), ("MESSAGE", b"no time"))
    items = read(FIRST + huge + nameless + undated + SECOND)
    assert [type(item) for item in items] == [Record, Damage, Damage, Record, Record]
    assert str(1 << 60) in items[1].reason
    assert items[3].timestamp is None


@pytest.mark.parametrize("cut", range(1, len(FIRST + SECOND)))
def test_a_journal_export_cut_anywhere_keeps_what_is_whole(read, cut: int) -> None:
    items = read((FIRST + SECOND)[:cut])
    if cut >= len(FIRST):
        assert isinstance(items[0], Record)
    assert len(items) <= 2


# Hostile content, packed content, speed


LOG = (
    "Dec 31 23:59:59 web-01 sshd[3]: Failed password for root from 188.124.3.41 port 32889 ssh2\n"
    "\tgoing on\n"
    '<165>1 2026-01-01T00:00:15.003Z h evntslog - ID47 [a@1 b="c"] text ä€😀\n'
    'type=USER_CMD msg=audit(1783414573.687:423): pid=2100 msg=\'cwd="/root" cmd=7375\'\x1dUID="root"\n'
    "Jan  1 00:00:59 web-01 CRON[3]: (root) CMD (x)\n"
).encode()


def test_every_truncation_is_survived(read) -> None:
    whole = [item.message for item in read(LOG)]
    for cut in range(len(LOG)):
        items = read(LOG[:cut])
        complete = LOG[:cut].count(b"\n") - (LOG[:cut].count(b"\n") >= 2)
        assert [item.message for item in items[: max(complete - 1, 0)]] == whole[: max(complete - 1, 0)]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_packed_logs_are_read_and_a_cut_one_keeps_what_came_before(make, read, pack) -> None:
    assert len(read(pack(LOG))) == 4
    many = b"".join(b"Mar  3 01:02:03 h p: line %d %d\n" % (n, n * 7919 % 10007) for n in range(30_000))
    content = pack(many)
    items, fault = until_fault(Syslog().parse(make(content[: len(content) // 2])))
    assert fault
    assert items == read(many)[: len(items)]


def until_fault(items: Iterator[Any]) -> tuple[Items, str]:
    """Return what is given out, and the fault that ended it."""
    found: Items = []
    try:
        found.extend(items)
    except ParseError as error:
        return found, str(error)
    return found, ""


def test_what_was_read_before_a_fault_is_given_out_to_the_last_record(make) -> None:
    content = gzip.compress(b"Mar  3 01:02:03 h p: a\nMar  3 01:02:03 h p: b\n") + b"\x1f\x8b\x08broken"
    items, fault = until_fault(Syslog().parse(make(content)))
    assert [item.message for item in items] == ["p: a", "p: b"]
    assert "gzip" in fault


ALPHABET = [b"Mar  3 01:02:03 ", b"<13>", b"1 ", b"2024-01-01T00:00:00Z ", b"h ", b"sshd[3]: ", b"Failed password for ", b"from ",
            b"type=X msg=audit(1.2:3): ", b'a="', b"'", b"[x@1 y=\"", b"\\", b"]", b"\n", b"\r\n", b"\t", b"\0", b"\xff", b"-", b"="]  # fmt: skip


@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.lists(st.sampled_from(ALPHABET) | st.binary(max_size=6), max_size=40).map(b"".join))
def test_any_content_is_read_without_a_fault_and_every_line_is_accounted_for(make, content: bytes) -> None:
    assume(compression_of(content) is None)  # a packing that is broken is a fault, elsewhere
    source = make(content)
    Syslog().accepts(source)
    items = parsed(source)
    positions = [item.position for item in items]
    assert len(positions) == len(set(positions))
    if not content.startswith((b"\xff\xfe", b"\xfe\xff")) and not content.lstrip().startswith(b"__"):
        covered = bytearray(content)
        for item in items:
            offset, length = item.span
            covered[offset : offset + length] = b" " * length
        assert bytes(covered).removeprefix(b"\xef\xbb\xbf").strip() == b""


@pytest.mark.parametrize(
    "piece",
    [
        "a", " ", "<1", "[", "]", ": ", "=", "'", '"', "\\", '\\"', "a=", "a='", 'a="', "from ", "port 1 ", "; ", "USER=x ; ", " : ", "(",
        "audit(", "[a b=\"c\"]", '[a b="', " b=\"\\", "\x1d", "A1", "session ", " SRC=1 DST=2",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "start",
    [
        "", "Mar  3 01:02:03 ", "Mar  3 01:02:03 h sshd[1]: Failed x for ", "Mar  3 01:02:03 h sudo: bob : ", "Mar  3 01:02:03 h kernel: ",
        "<13>1 2024-01-01T00:00:00Z h a 1 - ", "<13>1 2024-01-01T00:00:00Z h a 1 - [x y=\"", "type=EXECVE msg=audit(1.2:3): ",
        "2024-01-01 00:00:00 ", "Mar  3 01:02:03 h systemd[1]: Started ", "Mon Jun  6 18:43:28 2016 [pid 2] ",
    ],
)  # fmt: skip
def test_no_line_takes_more_than_linear_time(read, start: str, piece: str) -> None:
    line = (start + piece * (1_000_000 // len(piece)))[:1_000_000]
    begun = time.process_time()
    read(line)
    assert time.process_time() - begun < 3.0


# Samples


@pytest.mark.parametrize(
    ("name", "lines", "records", "damage"),
    [
        ("audit_enriched.log", 29, 29, 0),
        ("dpkg.log", 4, 4, 0),
        ("security.log", 9, 9, 0),
        ("selinux.log", 12, 11, 0),  # one line is empty
        ("syslog", 18, 16, 1),  # one goes on; "MMM 22" is no date
        ("syslog.gz", 15, 12, 2),  # one goes on; "Mar 23 Wrong line" has no clock
        ("syslog.bz2", 15, 12, 2),
        ("syslog.xz", 15, 12, 2),
        ("syslog_chromeos", 9, 8, 0),
        ("syslog_cron.log", 9, 9, 0),
        ("syslog_osx", 2, 2, 0),
        ("syslog_rsyslog", 5, 5, 0),
        ("syslog_rsyslog_SysklogdFileFormat", 10, 9, 1),  # "with another line" is not indented
        ("syslog_rsyslog_SyslogProtocol23Format", 10, 9, 1),
        ("syslog_rsyslog_traditional", 11, 8, 1),  # two go on
        ("syslog_ssh.log", 9, 9, 0),
        ("vsftpd.log", 25, 25, 0),
        ("syslog_rsyslog_ForwardFormat", 2, 9, 1),  # stored without line ends: nine messages on two lines
        ("syslog_rsyslog_TraditionalForwardFormat", 2, 9, 1),
    ],
)
def test_samples_are_read_and_every_line_is_accounted_for(
    name: str, lines: int, records: int, damage: int
) -> None:
    source, items = sample(name)
    assert Syslog().accepts(source)
    assert sum(isinstance(item, Record) for item in items) == records
    assert sum(isinstance(item, Damage) for item in items) == damage
    with source.open() as stream:
        content = stream.read()
    assert len(content.splitlines()) == lines
    left = bytearray(content)
    for item in items:
        assert item.span is not None
        offset, length = item.span
        left[offset : offset + length] = b" " * length
    assert bytes(left).strip() == b""


def test_the_years_of_a_sample_fit_its_leap_day_and_its_order() -> None:
    _, items = sample("syslog")
    assert years(items) == [2024] * 7 + [2024, 2025, 2025, 2025, 2025, 2026, 2026, 2026, 2026]


def test_random_bytes_are_not_accepted(make) -> None:
    chance = random.Random(5)
    for size in (1, 100, 70_000):
        assert not Syslog().accepts(make(chance.randbytes(size)))


def test_the_syslog_style_of_macos_has_two_spaces_before_the_host(one) -> None:
    record = one("2024-03-10 06:25:01.123456-0700  localhost trustd[12]: (Lib) hello")
    assert (when(record), record.host) == ("2024-03-10T13:25:01.123456Z", "localhost")
    assert (record.attributes["program"], record.message) == ("trustd", "trustd[12]: (Lib) hello")
