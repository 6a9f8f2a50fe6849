"""Logs in W3C's extended format: IIS, HTTPERR, CloudFront, proxies, the Windows firewall, Exchange.

A directive `#Fields:` names the values of the lines below it, and may come again with others.
Source: W3C, Extended Log File Format (WD-logfile-960323). Times are UTC unless a directive
`#Time Format: Local` says otherwise.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from typing import Any, Final
from zoneinfo import ZoneInfo

from cases.parsers.civil import Instant
from cases.parsers.lines import Line
from cases.parsers.times import read_time, zone_named
from cases.parsers.weblog_text import is_given, number, summary
from cases.records import Damage, Record

#: A hostile head may name millions.
_MOST_FIELDS: Final = 512
#: Directives that wait for the date of their block.
_MOST_DIRECTIVES: Final = 64
_DIRECTIVE: Final = re.compile(
    r"#\s?(Version|Fields|Software|Start-Date|End-Date|Date|Remark|Time Format|Log-type)\s*:\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)
_FIELDS: Final = re.compile(rb"#Fields:[ \t]*[A-Za-z]")
_WORD: Final = re.compile(r'"((?:[^"]|"")*)"(?=\s|$)|(\S+)')
_NUMERIC: Final = re.compile(
    r"(?:sc|cs|rs|sr)-(?:status|substatus|win32-status|bytes|uri-port|status-code)|time-taken|(?:[sc]|cs|src|dst)-?port|"
    r"size|bytes|cached|s-siteid"
)
#: Fields in which a sender's text stands; where a line has too many values they are to blame.
_FREE: Final = re.compile(r"cs-?\(|cs-uri|cs-url|x-|s-reason|info", re.IGNORECASE)
_TIME_FIELDS: Final = ("date-time", "datetime", "x-timestamp", "timestamp", "gmttime", "localtime")
_HOSTS: Final = ("s-computername", "cs-host", "cs(Host)", "x-host-header", "server-hostname")
_USERS: Final = ("cs-username", "cs-userdn", "x-auth-user")
_TARGETS: Final = ("cs-uri-stem", "cs-uri-path", "cs-uri", "cs-url")
_LEAD: Final = ("c-ip", "src-ip", "client-ip")


def is_w3c(head: bytes) -> bool:
    """Say whether content begins with directives of which one names fields."""
    return head.lstrip(b"\xef\xbb\xbf\0\r\n")[:1] == b"#" and _FIELDS.search(head[:8192]) is not None


class W3C:
    """Follows the directives of one log and reads the lines by the newest."""

    def __init__(self, zone: ZoneInfo, state: dict[str, Any] | None = None) -> None:
        """`state` is that of a reading up to the place where this one begins."""
        self._utc = zone_named("UTC")
        self._local = zone
        self._zone = self._utc
        self._fields: list[str] = []
        self._numeric: set[str] = set()
        self._hosts: list[str] = []
        self._users: list[str] = []
        self._separator = " "
        self._date = ""
        self._waiting: list[Record] = []
        self._last: tuple[str, ZoneInfo, Instant] | None = None
        if state:
            self._separator, self._date = state["separator"], state["date"]
            self._zone = self._local if state["local"] else self._utc
            self._set_fields(state["fields"])

    def state(self) -> dict[str, Any]:
        """Return what the directives so far have said, as JSON."""
        return {
            "fields": self._fields,
            "separator": self._separator,
            "date": self._date,
            "local": self._zone is not self._utc,
        }

    def takes(self, text: str) -> bool:
        """Say whether a line is a directive; below named fields every line with # is one."""
        return text[0] == "#" and (bool(self._fields) or _DIRECTIVE.match(text) is not None)

    @property
    def is_set(self) -> bool:
        """Whether lines can be read: fields were named."""
        return bool(self._fields)

    def directive(self, line: Line, text: str) -> list[Record]:
        """Take a directive; return those that waited, if they waited long enough."""
        if match := _DIRECTIVE.match(text):
            self._take(match[1].lower(), match[2].strip())
        record = Record(line.position, text, category="web", type="directive", attributes={}, span=line.span)
        self._waiting.append(record)
        return self.flush() if len(self._waiting) >= _MOST_DIRECTIVES else []

    def _take(self, name: str, value: str) -> None:
        if name in ("date", "start-date"):
            self._date = value
        elif name == "time format":
            self._zone = self._local if value.lower() == "local" else self._utc
        elif name == "fields":
            self._separator = "\t" if "\t" in value else "," if "," in value else " "
            names = value.replace(",", " ").split() if self._separator != "\t" else value.split("\t")
            self._set_fields([field.strip() for field in names[:_MOST_FIELDS]])

    def _set_fields(self, names: list[str]) -> None:
        self._fields = names
        self._numeric = {name for name in names if _NUMERIC.fullmatch(name)}
        self._hosts = [name for name in _HOSTS if name in names]
        self._users = [name for name in _USERS if name in names]

    def flush(self) -> list[Record]:
        """Return the directives that waited, dated by their `#Date:` if there was one."""
        waiting, self._waiting = self._waiting, []
        if waiting and self._date:
            try:
                instant = read_time(self._date, zone=self._zone)
            except ValueError as error:
                for record in waiting:
                    record.attributes["time_note"] = f"#Date: {error}"
                return waiting
            for record in waiting:
                record.timestamp, record.time_precision = instant.timestamp, instant.precision
                record.timestamp_desc = "Log begun"
        return waiting

    def read(self, line: Line, text: str) -> Record | Damage:
        """Return the record of a line. Raises ValueError for a time that is none."""
        values = self._values(text)
        fields = self._fields
        note = ""
        if len(values) != len(fields):
            note = f"{len(values)} values for {len(fields)} fields"
            if len(values) < min(3, len(fields)):
                return line.damage(f"No line of this log: {note}.")
            if len(values) > len(fields):
                fields = self._clear_fields()
        attributes: dict[str, Any] = {}
        for name, value in zip(fields, values, strict=False):
            if value not in ("-", ""):
                whole = number(value) if name in self._numeric else None
                attributes[name] = value if whole is None else whole
        message = _message(attributes, values) if not note else text
        record = Record(
            line.position, message, category="web", type="w3c", attributes=attributes, span=line.span
        )
        self._set_time(record)
        if note:
            attributes["read_note"] = note
        record.host = _first(attributes, self._hosts)
        record.user = _first(attributes, self._users)
        return record

    def _values(self, text: str) -> list[str]:
        # CloudFront parts its values by tabs, and the names of the fields by spaces.
        if self._separator == "\t" or text.count("\t") == len(self._fields) - 1 > 0:
            return text.split("\t")
        if self._separator == ",":
            return self._by_commas(text)
        values = text.rstrip(" ").split(" ")
        if '"' in text and len(values) != len(self._fields):
            values = [quoted.replace('""', '"') or bare for quoted, bare in _WORD.findall(text)]
        return values

    def _by_commas(self, text: str) -> list[str]:
        try:
            values = next(csv.reader([text]), [])
        except csv.Error:  # a CR within, or a very long value
            return text.split(",")
        if len(values) != len(self._fields) == text.count(",") + 1:
            return text.split(",")  # a quote that does not end
        return values

    def _clear_fields(self) -> list[str]:
        """Return the fields before the first that holds a sender's text: the others may be shifted."""
        for place, name in enumerate(self._fields):
            if _FREE.match(name):
                return self._fields[:place]
        return self._fields

    def _set_time(self, record: Record) -> None:
        attributes = record.attributes
        text = ""
        if "time" in attributes:
            date = attributes.get("date") or self._date[:10]
            if not date:
                attributes["time_note"] = "a clock time without a date"
                return
            text = f"{date} {attributes['time']}"
        else:
            text = str(next((attributes[name] for name in _TIME_FIELDS if name in attributes), ""))
        if not text:
            attributes["time_note"] = "no field holds a time"
            return
        zone = self._local if "localtime" in attributes else self._zone
        if self._last is None or self._last[0] != text or self._last[1] is not zone:
            self._last = (text, zone, read_time(text.strip("[]"), zone=zone))
        instant = self._last[2]
        record.timestamp, record.time_precision = instant.timestamp, instant.precision
        record.timestamp_desc = "Request logged"
        notes = instant.notes if self._zone is not self._utc else ()
        if "date" not in attributes and "time" in attributes:
            notes = ("date taken from #Date", *notes)
        if notes:
            attributes["time_note"] = "; ".join(notes)


def _message(attributes: dict[str, Any], values: list[str]) -> str:
    """Return client, request, status and size; of a log of something else all its values."""
    target = _first(attributes, _TARGETS)
    if target is None and "cs-method" not in attributes:
        return " ".join(value for value in values if is_given(value))
    if query := attributes.get("cs-uri-query"):
        target = f"{target}?{str(query).removeprefix('?')}"
    client = _first(attributes, _LEAD)
    return summary(
        client, attributes.get("cs-method"), target, attributes.get("sc-status"), attributes.get("sc-bytes")
    )


def _first(attributes: dict[str, Any], names: Iterable[str]) -> str | None:
    """Return the first of these that is there."""
    for name in names:
        if name in attributes:
            return str(attributes[name])
    return None
