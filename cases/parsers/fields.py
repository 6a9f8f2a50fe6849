"""Well-known names: which field of a record holds its time, message, host and user.

Records of any shape are read by the names that products give their fields. A plan is made once for
a set of names and says where to look, best first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

#: A field's own name, then the plain names of what to look for inside it.
Path = tuple[str, ...]


class TimeField(NamedTuple):
    """Where a time may stand: in one field, or the day in one and the clock in another.

    `unit` is what a number counts, where the name says so; `is_utc` that the name says UTC;
    `is_certain` that the name means a time and nothing else.
    """

    path: Path
    clock: str | None = None
    unit: str | None = None
    is_utc: bool = False
    is_certain: bool = True

    @property
    def name(self) -> str:
        """The name for people."""
        return ".".join(self.path) if self.clock is None else f"{self.path[0]} + {self.clock}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Where to look for what, best first. `zone` names the field with the zone of the times."""

    time: tuple[TimeField, ...] = ()
    zone: str | None = None
    day_first: bool | None = None
    message: tuple[Path, ...] = ()
    headline: tuple[Path, ...] = ()
    host: tuple[Path, ...] = ()
    user: tuple[Path, ...] = ()
    timestamp_desc: tuple[Path, ...] = ()
    category: tuple[Path, ...] = ()
    type: tuple[Path, ...] = ()
    tags: tuple[Path, ...] = ()
    score: tuple[Path, ...] = ()
    spaced_tags: bool = False


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_TIMES: Final = _listed(
    "datetime timestamp eventtime eventtimestamp eventdatetime timecreated timegenerated "
    "realtimetimestamp systemtime event.system.timecreated.attributes.systemtime "
    "event.system.timecreated.systemtime time ts eventdate creationtime createddatetime "
    "activitydatetime logtime logdate timelogged logged utc starttime startdatetime start date epoch "
    "unixtime timet published sourcerealtimetimestamp id.time event.created receivetimestamp receivetime "
    "receivedtime timereceived generatedtime firstseen created createdat creationdate modified "
    "lastmodified lastwritetime mtime lastwritetimestamp lastvisittime visittime lastseen endtime "
    "zeitstempel zeit datum horodatage dateheure fecha fechahora"
)
_DAYS: Final = _listed("date eventdate logdate datum fecha day")
_CLOCKS: Final = _listed("time eventtime logtime clock timeofday uhrzeit zeit heure hora")
_ZONES: Final = _listed("timezone tz utcoffset gmtoffset timezoneoffset")

_NAMES: Final = {
    "message": _listed(
        "message msg eventmessage messagetext shortmessage fullmessage log raw rawlog rawmessage "
        "description details text summary logmessage event.original renderedmessage "
        "textpayload jsonpayload.message content nachricht filename"
    ),
    "headline": _listed(
        "eventname operation operationname.value operationname methodname protopayload.methodname "
        "event.action action activity activitydisplayname eventtype event.system.eventid eventid datatype"
    ),
    "host": _listed(
        "hostname host.name host.hostname host computername computer winlog.computername "
        "event.system.computer agent.hostname beat.hostname devicehostname devicename device.hostname "
        "machinename machine workstation workstationname dvchost dvc nodename rechner systemname server"
    ),
    "user": _listed(
        "username user.name user accountname account userid useremail userprincipalname "
        "useridentity.username useridentity.arn actor.email actor.alternateid actoremail caller "
        "protopayload.authenticationinfo.principalemail initiatedby.user.userprincipalname "
        "targetusername event.eventdata.targetusername subjectusername login logonname srcuser benutzer "
        "utilisateur initiatedby principal"
    ),
    "timestamp_desc": ("timestampdesc", "timestampdescription"),
}
#: Names that mean what they say only as they stand: "__type__" is a class, not a type.
_LITERAL: Final = {"category": ("category",), "type": ("type",), "tags": ("tag", "tags"), "score": ("score",)}

_UNITS: Final = {
    unit: code
    for code, units in {
        "ms": "ms msec msecs millis millisec milliseconds",
        "us": "us usec usecs micros microseconds",
        "ns": "ns nsec nanos nano nanoseconds",
        "s": "sec secs seconds",
    }.items()
    for unit in units.split()
}
_TIME_WORDS: Final = frozenset(_listed("time date timestamp datetime ts utc when created modified epoch"))
#: Words beside which "time" means a span, a setting, or an instant that is not the event's.
_OTHER_WORDS: Final = frozenset(
    _listed(
        "zone out taken elapsed duration format offset interval live expires expiration expiry expire "
        "until delta total cpu run up response request processing delay ttl type desc description note source"
    )
)
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_a-zA-Z]+")
_CHOOSABLE: Final = {
    "timestamp": "time",
    "message": "message",
    "host": "host",
    "user": "user",
    "timestamp_desc": "timestamp_desc",
}
#: journald counts microseconds, whatever the size.
_FIXED_UNITS: Final = {"realtimetimestamp": "us", "sourcerealtimetimestamp": "us"}


@lru_cache(maxsize=8192)
def plain(name: str) -> str:
    """Return a name as names are compared: letters and digits in lower case, and points."""
    return "".join(char for char in name.lower() if char.isalnum() or char == ".").strip(".")


def dig(holder: Mapping[str, Any], path: Path) -> Any:
    """Return what stands at a path; None if nothing does."""
    value = holder.get(path[0])
    for step in path[1:]:
        if not isinstance(value, dict):
            return None
        value = next((held for name, held in value.items() if plain(name) == step), None)
    return value


@lru_cache(maxsize=1024)
def plan_for(names: tuple[str, ...]) -> Plan:
    """Return where the well-known fields of a record with these names stand."""
    known = _Names(names)
    roles: dict[str, Any] = {role: known.paths(wanted) for role, wanted in _NAMES.items()}
    roles |= {role: known.literal(wanted) for role, wanted in _LITERAL.items()}
    zone = known.first(_ZONES)
    if {"macb", "sourcetype", "short", "desc"} <= known.plain.keys():
        # plaso, l2t_csv: MM/DD/YYYY; "type" says what the time means, "desc" is the long message.
        roles |= {"message": known.paths(["desc", "short"]), "timestamp_desc": known.paths(["type"])}
        return Plan(time=known.times(), zone=zone, day_first=False, **_without(roles, "type"))
    if {"meta", "filename", "mode", "size"} <= known.plain.keys():  # Sleuth Kit, mactime -d
        roles |= {"message": known.paths(["filename"]), "timestamp_desc": known.paths(["type"])}
        return Plan(time=known.times(), zone=zone, **_without(roles, "type"))
    spaced = {"sourcelong", "displayname"} <= known.plain.keys()  # psort dynamic
    return Plan(time=known.times(), zone=zone, spaced_tags=spaced, **roles)


def _without(roles: dict[str, Any], name: str) -> dict[str, Any]:
    return {role: paths for role, paths in roles.items() if role != name}


def choose_fields(
    plan: Plan, names: Iterable[str], options: Mapping[str, str], *, must_be_there: bool
) -> Plan:
    """Return the plan with what the investigator chose.

    A chosen field that is not there is a KeyError with its name if it must be, else nothing is
    taken in its place.
    """
    there = set(names)
    chosen: dict[str, Any] = {}
    for role, place in _CHOOSABLE.items():
        if role not in options:
            continue
        try:
            if role == "timestamp":
                chosen[place] = (_time_field(options[role], there),)
            else:
                chosen[place] = (_path(options[role], there),)
        except KeyError:
            if must_be_there:
                raise
            chosen[place] = ()
    return replace(plan, **chosen) if chosen else plan


def _time_field(text: str, there: set[str]) -> TimeField:
    day, plus, clock = text.partition("+")
    if text not in there and plus and {day.strip(), clock.strip()} <= there:
        return TimeField((day.strip(),), clock.strip())
    return TimeField(_path(text, there))


def _path(text: str, there: set[str]) -> Path:
    if text in there:
        return (text,)
    same = [name for name in there if plain(name) == plain(text)]
    if len(same) == 1:
        return (same[0],)
    first, *inner = text.split(".")
    if inner and first in there:
        return (first, *map(plain, inner))
    raise KeyError(text)


class _Names:
    """The names of one record, found by their plain forms."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.plain: dict[str, str] = {}
        for name in sorted(names, key=lambda name: not name.startswith("@")):  # Elastic's own first
            self.plain.setdefault(plain(name), name)
        self._order = names

    def first(self, wanted: Iterable[str]) -> str | None:
        return next((self.plain[name] for name in wanted if name in self.plain), None)

    def paths(self, wanted: Iterable[str]) -> tuple[Path, ...]:
        found = (self._path(name) for name in wanted)
        return tuple(path for path in found if path)

    def literal(self, wanted: Iterable[str]) -> tuple[Path, ...]:
        return tuple((name,) for name in self._order if name.lower() in wanted)

    def _path(self, wanted: str) -> Path | None:
        if wanted in self.plain:
            return (self.plain[wanted],)
        first, point, inner = wanted.partition(".")
        if point and first in self.plain:
            return (self.plain[first], *inner.split("."))
        return None

    def times(self) -> tuple[TimeField, ...]:
        """Return where a time may stand: known names first, then names with a word for time."""
        fields: list[TimeField] = []
        day, clock = self.first(_DAYS), self.first(_CLOCKS)
        if day and clock and day != clock:
            fields.append(TimeField((day,), clock, is_utc=_says_utc(day) or _says_utc(clock)))
        # The audit log of Microsoft 365 writes UTC and does not say so (its schema does).
        audit = {"creationtime", "recordtype", "userkey"} <= self.plain.keys()
        for wanted in _TIMES:
            path = self._path(wanted) or self._path(wanted + "utc")
            if path:
                unit = _FIXED_UNITS.get(wanted)
                utc = _says_utc(path[0]) or (audit and wanted == "creationtime")
                fields.append(TimeField(path, unit=unit, is_utc=utc))
        taken = {field.path[0] for field in fields if len(field.path) == 1}
        fields += [_by_words(name) for name in self._order if name not in taken and _tells_time(name)]
        return tuple(fields)


@lru_cache(maxsize=8192)
def _words(name: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(name[:256]))


def _says_utc(name: str) -> bool:
    return bool({"utc", "gmt"} & set(_words(name)))


def _tells_time(name: str) -> bool:
    words = set(_words(name))
    if words & _OTHER_WORDS:
        return False
    return bool(words & _TIME_WORDS) or (len(words) > 1 and _words(name)[-1] == "at")


def _by_words(name: str) -> TimeField:
    unit = _UNITS.get(_words(name)[-1])
    return TimeField((name,), unit=unit, is_utc=_says_utc(name), is_certain=unit is not None)
