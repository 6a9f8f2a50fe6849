"""How the times of one evidence are read: its zone, the order of day and month, what was chosen.

One clock serves one reading of one evidence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final
from zoneinfo import ZoneInfo

from cases.parsers.base import Context
from cases.parsers.civil import CUT, ZONE_ASSUMED
from cases.parsers.fields import Plan, TimeField, dig
from cases.parsers.times import (
    AMBIGUOUS,
    UNITS,
    Instant,
    find_day_order,
    read_format,
    read_number,
    read_time,
    zone_named,
)
from cases.records import ParseError

#: What an investigator may choose for files whose fields have to be guessed.
FIELD_OPTIONS: Final = ("timestamp", "message", "host", "user", "timestamp_desc")
TIME_OPTIONS: Final = ("day_first", "time_unit", "time_format")

_YES: Final = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
#: Directives of strptime that read a year.
_YEAR: Final = re.compile(r"%[YyGcx]")
#: What .NET's JSON has for a time, as PowerShell 5 writes it: milliseconds in UTC, whatever the
#: offset behind them says (Microsoft, "Stand-Alone JSON Serialization", DateTime wire format).
_TICKS: Final = re.compile(r"/Date\((-?[0-9]{1,15})(?:[+-][0-9]{4})?\)/")
#: Before this a number under a name that only may mean a time is no time: 1990 in seconds.
_PLAUSIBLE: Final = range(631_152_000_000_000, 4_102_444_800_000_000)
#: The time of a record, the field it was read from, and what is to be said about it. The instant
#: is None when no field holds a readable time; then the notes say why.
Reading = tuple[Instant | None, str, tuple[str, ...]]

_FROM_FILE: Final = {
    True: "day and month are ambiguous: read as day, month, like others of the file",
    False: "day and month are ambiguous: read as month, day, like others of the file",
}


def check_options(options: Mapping[str, str], allowed: Iterable[str]) -> None:
    """Refuse a choice that would change nothing. Raises ParseError."""
    names = tuple(allowed)
    for name in options:
        if name not in names:
            raise ParseError(f"There is no option {name[:64]!r}; there are {', '.join(names)}.")


class Clock:
    """Reads the times of one evidence and says what it had to assume.

    `texts` gives the texts of the evidence's times anew, for a look at the order of day and month;
    it is asked at most once, when the first ambiguous date is met.
    """

    def __init__(self, context: Context, texts: Callable[[], Iterable[str]]) -> None:
        options = context.options
        try:
            self._zone = zone_named(context.time_zone)
        except ValueError as error:
            raise ParseError(f"The time zone of the evidence is none: {error}.") from error
        self._utc = zone_named("UTC")
        self._reference = context.reference
        self._texts = texts
        self._order: bool | None = None
        self._looked = False
        self._day_first = _yes_or_no(options)
        self._unit = options.get("time_unit")
        if self._unit is not None and self._unit not in (*UNITS, "filetime"):
            raise ParseError(f"The option time_unit is one of {', '.join(UNITS)}, filetime.")
        self._format = options.get("time_format")
        if self._format is not None and not _YEAR.search(self._format):
            raise ParseError("The option time_format needs a date with its year, such as %d/%m/%Y %H:%M.")

    def read(self, holder: Mapping[str, Any], plan: Plan) -> Reading:
        """Return the time of a record from the best field that holds a readable one."""
        faults: list[str] = []
        for field in plan.time:
            value = holder.get(field.path[0])
            if len(field.path) > 1 or field.clock is not None or isinstance(value, dict):
                value = _value(holder, field)
            if value is None or value == "":
                continue
            try:
                if isinstance(value, str) and field.is_certain and plan.zone is None and self._format is None:
                    instant = self._text(value, field, plan)
                else:
                    instant = self._instant(value, field, holder, plan)
            except ValueError as error:
                if field.is_certain:
                    faults.append(f"{field.name}: {error}")
                continue
            notes = instant.notes
            if notes:
                notes = tuple(note for note in notes if note is not CUT)
            if faults:
                notes = (*faults, f"taken from {field.name}", *notes)
            return instant, field.name, notes
        return None, "", tuple(faults) or ("no field holds a time",)

    def can_read(self, text: str) -> bool:
        """Whether a text is a time by itself: a date in words or digits, or a plausible count."""
        try:
            instant = read_time(text, zone=self._zone, reference=self._reference)
        except ValueError:
            return False
        if instant.precision in ("month", "year"):
            return False
        return not text.strip().isdigit() or (len(text.strip()) >= 10 and instant.timestamp in _PLAUSIBLE)

    def _instant(self, value: Any, field: TimeField, holder: Mapping[str, Any], plan: Plan) -> Instant:
        if plan.zone is None:
            return self._spelled(value, field, plan)
        zone_text = holder.get(plan.zone)
        if not isinstance(zone_text, str) or zone_text.strip() in ("", "-"):
            return self._spelled(value, field, plan)
        if field.clock is None:
            instant = self._spelled(value, field, plan)
            if not any(note.startswith(ZONE_ASSUMED) for note in instant.notes):
                return instant
        return self._zoned(value, zone_text.strip(), field, plan)

    def _zoned(self, value: Any, zone_text: str, field: TimeField, plan: Plan) -> Instant:
        """Read a naive time in the zone that stands beside it."""
        try:
            return self._spelled(f"{value} {zone_text}", field, plan)
        except ValueError:
            with suppress(ValueError):
                return self._spelled(value, field, plan, zone_named(zone_text))  # such as EST5EDT
            instant = self._spelled(value, field, plan)
        return instant._replace(notes=(*instant.notes, f"time zone {zone_text[:16]} is not clear"))

    def _spelled(self, value: Any, field: TimeField, plan: Plan, zone: ZoneInfo | None = None) -> Instant:
        if self._format is not None:
            instant = read_format(str(value), self._format, zone=zone or self._zone_of(field))
        elif isinstance(value, str):
            instant = self._text(value, field, plan, zone)
        elif isinstance(value, int | float):
            instant = read_number(value, unit=self._unit or field.unit)
        else:
            raise ValueError("neither text nor a number")
        if not field.is_certain and instant.timestamp not in _PLAUSIBLE:
            raise ValueError("no plausible time")
        return _known_zone(instant) if zone or field.is_utc else instant

    def _zone_of(self, field: TimeField) -> ZoneInfo:
        return self._utc if field.is_utc else self._zone

    def _text(self, value: str, field: TimeField, plan: Plan, zone: ZoneInfo | None = None) -> Instant:
        if value.startswith("/Date(") and (ticks := _TICKS.fullmatch(value)):
            return read_number(int(ticks[1]), unit="ms")
        zone, unit = zone or self._zone_of(field), self._unit or field.unit
        told = self._day_first if self._day_first is not None else plan.day_first
        instant = read_time(value, zone=zone, day_first=told, reference=self._reference, unit=unit)
        if not instant.notes:
            return instant
        if field.is_utc:
            instant = _known_zone(instant)
        if AMBIGUOUS not in instant.notes:
            return instant
        order = self._order_of_file()
        if order is None:
            return instant
        found = read_time(value, zone=zone, day_first=order, reference=self._reference, unit=unit)
        found = _known_zone(found) if field.is_utc else found
        return found._replace(notes=(*found.notes, _FROM_FILE[order]))

    def _order_of_file(self) -> bool | None:
        if not self._looked:
            self._looked = True
            self._order = find_day_order(_as_far_as_readable(self._texts()))
        return self._order


def _as_far_as_readable(texts: Iterable[str]) -> Iterator[str]:
    """A look ahead ends where the reading will end; the reading says why."""
    with suppress(ParseError):
        yield from texts


def _known_zone(instant: Instant) -> Instant:
    """Nothing was assumed where the name of the field says UTC, or a zone stands beside it."""
    return instant._replace(notes=tuple(note for note in instant.notes if not note.startswith(ZONE_ASSUMED)))


def _yes_or_no(options: Mapping[str, str]) -> bool | None:
    text = options.get("day_first")
    if text is None:
        return None
    if text.lower() not in _YES:
        raise ParseError("The option day_first is yes or no.")
    return _YES[text.lower()]


def _value(holder: Mapping[str, Any], field: TimeField) -> Any:
    value = holder.get(field.path[0]) if len(field.path) == 1 else dig(holder, field.path)
    if field.clock is not None:
        clock = holder.get(field.clock)
        if not (isinstance(value, str) and isinstance(clock, str) and value.strip() and clock.strip()):
            return None
        return f"{value.strip()} {clock.strip()}"
    if isinstance(value, dict):  # MongoDB's extended JSON
        value = value.get("$date")
        value = value.get("$numberLong") if isinstance(value, dict) else value
    return value


def time_texts(
    holders: Iterable[Mapping[str, Any]], plan_of: Callable[[Mapping[str, Any]], Plan]
) -> Iterator[str]:
    """Yield what stands in the best time field of each record, where it is text."""
    for holder in holders:
        for field in plan_of(holder).time:
            value = _value(holder, field)
            if isinstance(value, str) and value:
                yield value
                break
