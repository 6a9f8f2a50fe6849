"""The forms in which system logs write a line, and what each part of a line is.

BSD syslog (RFC 3164) with its many variants, RFC 5424, rsyslog's ISO forms, and plain
"time and text". Every expression here takes linear time: no repetition stands beside another
that could take the same characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from cases.parsers.civil import CUT, Instant, day_start, make_instant
from cases.parsers.syslog_year import YearWalk
from cases.parsers.times import read_time

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], start=1
    )
}
_ZONES: Final = r"Z|UTC|GMT|[ECMP][SD]T|CES?T|WES?T|EES?T|[+-][0-9]{2}(?::?[0-9]{2})?"

_LEVELS: Final = (
    "TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERR|ERROR|CRIT|CRITICAL|ALERT|EMERG|EMERGENCY|FATAL|PANIC"
)

#: Octet count (RFC 6587, section 3.4.1) and priority (RFC 5424, section 6.2.1), of which both may be missing.
_FRAME: Final = r"(?:(?:[0-9]{1,6} )?<([0-9]{1,3})>)?"
#: Month, day, year, clock, fraction, year again, zone. A point or star before the month is how
#: Cisco marks a clock that is not set; a number before it is its sequence number.
_BSD: Final = re.compile(
    _FRAME + r"(?:[0-9]{1,10}: )?[*.\[]?(?:(Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?"
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([ 0-3]?[0-9]) (?:([0-9]{4}) )?"
    r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]{1,9}))?"
    rf"(?: ((?:19|20)[0-9]{{2}})(?=[ :\]]|$))?(?: ?({_ZONES})(?=[ :\]]|$))?(\]?:?)(?: |$)"
)
#: The most common of them, "Mar  1 09:00:00 host program[12]: message", all at once: for speed alone.
_PLAIN: Final = re.compile(
    r"((Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([ 0-3][0-9])) "
    rf"([0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}) (?!(?:{_ZONES}|(?:19|20)[0-9]{{2}}) )"
    r"([A-Za-z0-9_][^\s\[\]<>(){}\"'`:]{0,254}) ([^\s:\[\]<>]{1,128})(?:\[([0-9]{1,10})\])?: "
)
#: The same as _BSD without a year, as far as counting New Years needs it.
_YEARLESS: Final = re.compile(
    rb"(?:(?:[0-9]{1,6} )?<[0-9]{1,3}>)?(?:[0-9]{1,10}: )?[*.\[]?(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?"
    rb"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([ 0-3]?[0-9]) "
    rb"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?(?! (?:19|20)[0-9]{2}(?:[ :\]]|$))"
)
#: Version (RFC 5424), a word before the time, the time.
_ISO: Final = re.compile(
    _FRAME + r"(?:([1-9][0-9]?) |([a-z][a-z-]{0,40}) )?\[?"
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?"
    rf"(?: ?(?:{_ZONES})(?=[ :\]]|$))?)(\]?:?)(?:[ \t]+|$)"
)
#: The most common of them, all at once: for speed alone.
_PLAIN_ISO: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})) "
    rf"(?!(?:{_LEVELS}):? )"
    r"([A-Za-z0-9_][^\s\[\]<>(){}\"'`:]{0,254}) ([^\s:\[\]<>]{1,128})(?:\[([0-9]{1,10})\])?: "
)
_ZONE: Final = re.compile(rf"(?:{_ZONES})\]?:?")
_FRACTION: Final = re.compile(r"[.,]([0-9]+)")
#: RFC 5424 with the nil value for a time.
_TIMELESS: Final = re.compile(r"(?:[0-9]{1,6} )?<([0-9]{1,3})>1 - ")
#: Host, application, process id, message id of RFC 5424; what follows is "-" or elements.
_HEADER: Final = re.compile(r"(\S{1,255}) (\S{1,255}) (\S{1,128}) (\S{1,128}) (?=-(?: |$)|\[)")
_ELEMENT: Final = re.compile(
    r'\[([^\s=\]"]{1,64})((?: +[^\s=\]"]{1,64}="[^"\\]*(?:\\.[^"\\]*)*")*) *\]', re.DOTALL
)
_PARAM: Final = re.compile(r'([^\s=\]"]{1,64})="([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_ESCAPED: Final = re.compile(r'\\(["\\\]])')

#: "name[12]:", "name:", "name[12] <Error>:" and launchd's "name[12] (other[13]):".
_PROGRAM: Final = re.compile(
    r"([^\s:\[\]<>]{1,128})(?:\[([0-9]{1,10})\](?: <(\w{1,16})>|(?= \())?:?|:)(?: |$)"
)
_HOST: Final = re.compile(r"([A-Za-z0-9_][^\s\[\]<>(){}\"'`]{0,254})(?: +|$)")
_NO_HOST: Final = re.compile(r" *<([^<>\s\[]{1,64})\[([0-9]{1,10})\]> ")  # macOS wifi.log
#: Characters of the names of hosts that can be handed on.
_CARRIED: Final = 64 * 1024
_LEVEL: Final = re.compile(rf"\[?({_LEVELS})\]?:? +")

#: RFC 5424, tables 1 and 2, by the names that syslog.conf(5) has for them.
_FACILITIES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
)  # fmt: skip
_SEVERITIES: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


class Parts(NamedTuple):
    """A line taken apart. `text` is what a person reads, `body` the same without the program."""

    instant: Instant | None
    note: str
    host: str | None
    program: str | None
    text: str
    body: str
    attributes: dict[str, Any]


class Tag(NamedTuple):
    """Who says something: the part of a line between its time and its message."""

    host: str | None
    program: str | None
    pid: str | None
    level: str | None
    text: str
    body: str


class Reader:
    """Reads lines of one log in any of the forms, whichever each line has."""

    def __init__(
        self,
        zone: ZoneInfo,
        find_first_year: Callable[[], int | None],
        state: dict[str, Any] | None = None,
    ) -> None:
        """`find_first_year` is asked once, for the first line that needs it.

        `state` is that of a reading up to the place where this one begins.
        """
        self._zone = zone
        self.first_year = lru_cache(maxsize=1)(find_first_year)
        self._walk = YearWalk(*state["walk"]) if state else YearWalk()
        self.hosts: set[str] = set(state["hosts"]) if state else set()
        self._is_iso = False
        self._date = ""
        self._moments: dict[str, tuple[Instant | None, str]] = {}

    def state(self) -> dict[str, Any] | None:
        """Return what goes on to later lines, as JSON; None if there are too many hosts."""
        if sum(map(len, self.hosts)) > _CARRIED:
            return None
        return {"walk": self._walk.place, "hosts": sorted(self.hosts)}

    def counted_last(self, date: tuple[int, int] | None) -> bool:
        """Say whether this month and day are those that New Years were counted by last."""
        return date is not None and self._walk.is_at(*date)

    def read(self, text: str) -> Parts | None:
        """Return the parts of a line, None if it has no known form. Raises ValueError."""
        # No line has two of these forms, so the order is a matter of speed.
        if self._is_iso:
            if (match := _PLAIN_ISO.match(text)) and (parts := self._plain_iso(match, text)):
                return parts
            if match := _ISO.match(text):
                return self._iso(match, text)
        if match := _PLAIN.match(text):
            self._is_iso = False
            return self._plain(match, text)
        if match := _BSD.match(text):
            self._is_iso = False
            return self._bsd(match, text)
        if match := _ISO.match(text):
            self._is_iso = True
            return self._iso(match, text)
        if match := _TIMELESS.match(text):
            parts = self._structured(text[match.end() :], None, "no time is given")
            return parts and _with_priority(parts, match[1])
        return None

    def _plain(self, match: re.Match[str], text: str) -> Parts:
        date, month_name, day, clock, host, program, pid = match.groups()
        if date != self._date:
            self._date, self._moments = date, {}
        moment = self._moments.get(clock)
        if moment is None:
            moment = self._moment(_MONTHS[month_name], int(day), clock.split(":"), None, None, None)
            self._moments[clock] = moment
        instant, note = moment
        attributes: dict[str, Any] = {"program": program}
        if pid:
            attributes["pid"] = int(pid)
        if note:
            attributes["time_note"] = note
        body = text[match.end() :].lstrip(" ")
        return Parts(instant, note, host, program, text[match.start(6) :], body, attributes)

    def _plain_iso(self, match: re.Match[str], text: str) -> Parts | None:
        stamp, host, program, pid = match.groups()
        instant = read_time(stamp, zone=self._zone)
        if instant.notes:
            return None
        self._add_host(host)
        attributes: dict[str, Any] = {"program": program}
        if pid:
            attributes["pid"] = int(pid)
        body = text[match.end() :].lstrip(" ")
        return Parts(instant, "", host, program, text[match.start(3) :], body, attributes)

    def _add_host(self, host: str) -> None:
        if len(self.hosts) < 4096:
            self.hosts.add(host)

    def _moment(
        self,
        month: int,
        day: int,
        clock: list[str],
        fraction: str | None,
        zone: str | None,
        written_year: str | None,
    ) -> tuple[Instant | None, str]:
        """Return when a line was written and what had to be assumed. Raises ValueError."""
        year = int(written_year) if written_year else self._year(month, day)
        if year is None:
            return None, "the year is missing, and nothing tells it"
        try:
            start = day_start(year, month, day)
        except ValueError:
            raise ValueError(f"the calendar has no such day in {year}") from None
        hour, minute, second = clock
        instant = make_instant(start, (int(hour), int(minute), int(second)), fraction, zone, self._zone)
        return instant, _noted(instant.notes, None if written_year else year)

    def _bsd(self, match: re.Match[str], text: str) -> Parts:
        pri, weekday, month_name, day_text, year_text, *clock, fraction, late_year, zone, mark = (
            match.groups()
        )
        written = year_text or late_year
        self._date = ""  # what was remembered for one date may belong to another year now
        instant, note = self._moment(_MONTHS[month_name], int(day_text), clock, fraction, zone, written)
        rest = text[match.end() :]
        if (weekday and (written or rest.startswith("<"))) or mark:
            tag = _split_program(rest)  # asctime(3) and "last message repeated": no host
        else:
            tag = _split_host(rest)
        parts = _parts(instant, note, tag)
        if instant is not None and CUT in instant.notes:
            parts.attributes["fraction"] = f"0.{fraction}"
        return _with_priority(parts, pri) if pri else parts

    def _year(self, month: int, day: int) -> int | None:
        passed = self._walk.step(month, day)
        first_year = self.first_year()
        return None if first_year is None else first_year + passed

    def _iso(self, match: re.Match[str], text: str) -> Parts:
        parts = self._iso_parts(match, text)
        if (
            parts.instant is not None
            and CUT in parts.instant.notes
            and (fraction := _FRACTION.search(match[4]))
        ):
            parts.attributes["fraction"] = f"0.{fraction[1]}"
        return _with_priority(parts, match[1]) if match[1] else parts

    def _iso_parts(self, match: re.Match[str], text: str) -> Parts:
        pri, version, word, time_text, mark = match.groups()
        instant = read_time(time_text, zone=self._zone)
        note = _noted(instant.notes, None)
        rest = text[match.end() :]
        if version and (parts := self._structured(rest, instant, note)):
            return parts
        if word:
            return _parts(instant, note, Tag(None, word, None, None, f"{word}: {rest}", rest))
        if level := _LEVEL.match(rest):
            return _parts(instant, note, _split_program(rest[level.end() :])._replace(level=level[1]))
        if mark or rest[:1] == "[":
            return _parts(instant, note, _split_program(rest))
        return _parts(instant, note, self._plain_tag(rest, bool(pri)))

    def _plain_tag(self, rest: str, is_forwarded: bool) -> Tag:
        """Tell whether the first word is a host: it is where the line has a priority or a program.

        "2024-01-01T00:00:00Z Starting up" is no host named Starting; but a host that other lines
        of this log name is one.
        """
        tag = _split_host(rest)
        if tag.host is None:
            return tag
        if tag.program:
            self._add_host(tag.host)
            return tag
        if is_forwarded or tag.host in self.hosts:
            return tag
        return Tag(None, None, None, None, rest, rest)

    @staticmethod
    def _structured(rest: str, instant: Instant | None, note: str) -> Parts | None:
        """Read what follows the time in RFC 5424; None if it is nothing of the kind."""
        header = _HEADER.match(rest)
        if header is None:
            return None
        host, program, pid, message_id = (None if part == "-" else part for part in header.groups())
        attributes: dict[str, Any] = {}
        if message_id:
            attributes["msgid"] = message_id
        place = header.end()
        if rest[place] == "-":
            place += 1
        else:
            while element := _ELEMENT.match(rest, place):
                _add_element(attributes, element)
                place = element.end()
        body = rest[place:].removeprefix(" ").removeprefix("\ufeff").removeprefix(" ")
        shown = f"{program}[{pid}]" if program and pid else program
        tag = Tag(host, program, pid, None, f"{shown}: {body}" if shown else body, body)
        return _parts(instant, note, tag, attributes)


def is_zone(word: str) -> bool:
    """Say whether a word may be a time zone behind a time."""
    return _ZONE.fullmatch(word) is not None


def yearless_date(raw: bytes, place: int = 0) -> tuple[int, int] | None:
    """Return month and day of a message that writes a date without a year, else None."""
    match = _YEARLESS.match(raw, place)
    return (_MONTHS[match[1].decode("ascii")], int(match[2])) if match else None


def _add_element(attributes: dict[str, Any], element: re.Match[str]) -> None:
    """Keep the parameters of an SD-ELEMENT (RFC 5424, section 6.3) as `sd-id.name`."""
    found = _PARAM.findall(element[2])
    if not found:
        attributes[element[1]] = ""
    for name, value in found:
        add_value(attributes, f"{element[1]}.{name}", _ESCAPED.sub(r"\1", value))


def add_value(attributes: dict[str, Any], name: str, value: Any) -> None:
    """Set an attribute; of a name that comes again all values are kept, as a list."""
    if name not in attributes:
        attributes[name] = value
    elif isinstance(before := attributes[name], list):
        before.append(value)
    else:
        attributes[name] = [before, value]


def _split_host(rest: str) -> Tag:
    """Split "host program[12]: message", of which host and program may be missing."""
    if match := _PROGRAM.match(rest):
        return _tagged(None, match, rest, 0)
    host = _HOST.match(rest)
    if host is None:
        return _split_program(rest)
    place = host.end()
    if match := _PROGRAM.match(rest, place):
        return _tagged(host[1], match, rest, place)
    body = rest[place:].removeprefix(": ")
    return Tag(host[1], None, None, None, body, body)


def _split_program(rest: str) -> Tag:
    if match := _PROGRAM.match(rest):
        return _tagged(None, match, rest, 0)
    if match := _NO_HOST.match(rest):
        return Tag(None, match[1], match[2], None, rest.lstrip(), rest[match.end() :])
    return Tag(None, None, None, None, rest, rest)


def _tagged(host: str | None, match: re.Match[str], rest: str, place: int) -> Tag:
    program, pid, level = match.groups()
    return Tag(host, program, pid, level, rest[place:] if place else rest, rest[match.end() :].lstrip(" "))


def _parts(instant: Instant | None, note: str, tag: Tag, attributes: dict[str, Any] | None = None) -> Parts:
    host, program, pid, level, text, body = tag
    found: dict[str, Any] = {}
    if program:
        found["program"] = program
    if pid:
        # RFC 5424 lets anything stand for a process; beyond 18 digits nothing counts processes.
        found["pid"] = int(pid) if pid.isdecimal() and pid.isascii() and len(pid) <= 18 else pid
    if level:
        found["level"] = level
    if attributes:
        found.update(attributes)
    if note:
        found["time_note"] = note
    return Parts(instant, note, host, program, text, body, found)


def _with_priority(parts: Parts, pri: str) -> Parts:
    priority = int(pri)
    parts.attributes["priority"] = priority
    if priority <= 191:  # RFC 5424, section 6.2.1
        parts.attributes["facility"] = _FACILITIES[priority >> 3]
        parts.attributes["severity"] = _SEVERITIES[priority & 7]
    return parts


@lru_cache(maxsize=256)
def _noted(notes: tuple[str, ...], year: int | None) -> str:
    return "; ".join((f"year assumed: {year}", *notes) if year is not None else notes)
