"""Access logs of Apache, nginx and others: common, combined, with a virtual host, with more behind.

Sources: Apache 2.4, mod_log_config; nginx, ngx_http_log_module. What stands in a request was
sent by anybody: quotes that a server left unescaped, binary and cut lines are read as far as
they are clear, and `read_note` says what was not.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from cases.parsers.civil import Instant, day_start, make_instant
from cases.parsers.weblog_text import QUOTED, is_given, number, split_request, summary, tokens
from cases.records import Record

_MONTHS: Final = {
    name: place
    for place, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
#: The time, as %t writes it, and the quote that opens the request.
_TIME: Final = re.compile(
    r"\[([0-9]{2})/(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)/([0-9]{4}):"
    r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?(?: ([+-][0-9]{4}))?\] \""
)
_OUTCOME: Final = re.compile(r" ([0-9]{3}|-) ([0-9]{1,18}|-)(?= |$)")
_REQUEST: Final = re.compile(QUOTED + r"(?= (?:[0-9]{3}|-) (?:[0-9]{1,18}|-)(?: |$))", re.DOTALL)
_LOOSE_REQUEST: Final = re.compile(r'"(?= (?:[0-9]{3}|-) (?:[0-9]{1,18}|-)(?: |$))')
_REFERENCE: Final = re.compile(rf" ({QUOTED}) ({QUOTED})(?= |$)", re.DOTALL)
_NAMED: Final = re.compile(r"([A-Za-z_][\w.-]{0,63})=(.+)", re.DOTALL)
_PORT: Final = re.compile(r":[0-9]{1,5}$")

#: A line of which nothing needs a closer look: for speed alone.
_CLEAN: Final = re.compile(
    r"([^\s\"\[]+) - ([^\s\"\[\\]+) (\[[^\]]{20,40}\] \")([A-Z]{3,10}) ([^\s\"\\?]+)(?:\?([^\s\"\\]*))? "
    r"([A-Z]{2,8}/[0-9](?:\.[0-9])?)\" ([0-9]{3}) ([0-9]{1,18}|-)(?: \"([^\"\\]+)\" \"([^\"\\]+)\")?"
)

DESCRIPTION: Final = "Request logged"


def read_access(text: str, position: str, span: tuple[int, int], zone: ZoneInfo) -> Record | None:
    """Return the record of an access log's line, None if it is none. Raises ValueError."""
    if (clean := _CLEAN.fullmatch(text)) and (moment := _clean_moment(clean[3], zone)):
        return _clean_record(clean, moment, position, span)
    time = _TIME.search(text)
    if time is None:
        return None
    attributes: dict[str, Any] = {}
    before = _who(text[: time.start()], attributes)
    if before is None:
        return None
    vhost, user = before
    notes: list[str] = []
    shown = _request(text, time.end() - 1, attributes, notes)
    if shown is None:
        return None
    instant = _moment(time, zone)
    if instant.notes:
        attributes["time_note"] = "; ".join(instant.notes)
    if notes:
        attributes["read_note"] = "; ".join(notes)
    return _record(position, span, attributes, shown, instant, vhost, user)


def _record(
    position: str,
    span: tuple[int, int],
    attributes: dict[str, Any],
    shown: str,
    instant: Instant,
    vhost: str | None,
    user: str | None,
) -> Record:
    return Record(
        position,
        summary(attributes.get("clientip"), shown, attributes.get("status"), attributes.get("bytes")),
        timestamp=instant.timestamp,
        timestamp_desc=DESCRIPTION,
        time_precision=instant.precision,
        host=_PORT.sub("", vhost) if vhost else None,
        user=user,
        category="web",
        type="access",
        attributes=attributes,
        span=span,
    )


def _clean_record(clean: re.Match[str], instant: Instant, position: str, span: tuple[int, int]) -> Record:
    client, user, _, method, path, query, protocol, status, size, referer, agent = clean.groups()
    attributes: dict[str, Any] = {"clientip": client}
    if user != "-":
        attributes["auth"] = user
    attributes["method"], attributes["path"] = method, path
    target = path
    if query is not None:
        attributes["query"] = query
        target = f"{path}?{query}"
    attributes["protocol"], attributes["status"] = protocol, int(status)
    shown = f"{client} {method} {target} {status}"
    if size != "-":
        attributes["bytes"] = int(size)
        shown = f"{shown} {size}"
    if referer is not None and referer != "-":
        attributes["referer"] = referer
    if agent is not None and agent != "-":
        attributes["user_agent"] = agent
    if instant.notes:
        attributes["time_note"] = "; ".join(instant.notes)
    return Record(
        position,
        shown,
        timestamp=instant.timestamp,
        timestamp_desc=DESCRIPTION,
        time_precision=instant.precision,
        user=None if user == "-" else user,
        category="web",
        type="access",
        attributes=attributes,
        span=span,
    )


@lru_cache(maxsize=1024)
def _clean_moment(text: str, zone: ZoneInfo) -> Instant | None:
    match = _TIME.fullmatch(text)
    return _moment(match, zone) if match else None


def _moment(time: re.Match[str], zone: ZoneInfo) -> Instant:
    day, month, year, hour, minute, second, fraction, zone_text = time.groups()
    try:
        start = day_start(int(year), _MONTHS[month], int(day))
    except ValueError:
        raise ValueError("the calendar has no such day") from None
    return make_instant(start, (int(hour), int(minute), int(second)), fraction, zone_text, zone)


def _who(before: str, attributes: dict[str, Any]) -> tuple[str | None, str | None] | None:
    """Read what stands before the time; return virtual host and user, None if it is nothing of the kind."""
    if not before.endswith(" "):
        return None
    words = before[:-1].split(" ")
    vhost = None
    if len(words) > 3 and words[1] != "-" and words[2] == "-":
        vhost, words = words[0], words[1:]
    if len(words) < 3 or not all(words[:2]):
        return None
    client, ident, user = words[0], words[1], " ".join(words[2:])
    attributes["clientip"] = client
    if ident != "-":
        attributes["ident"] = ident
    if is_given(vhost):
        attributes["vhost"] = vhost
    if user in ("-", '""', ""):
        return vhost, None
    attributes["auth"] = user
    return vhost, user


def _request(text: str, quote: int, attributes: dict[str, Any], notes: list[str]) -> str | None:
    """Read from the quote that opens the request to the end; return the request for people."""
    found = _REQUEST.match(text, quote)
    if found:
        end = found.end()
    elif loose := _LOOSE_REQUEST.search(text, quote + 1):
        end = loose.end()
        notes.append("quotes within the request are not escaped")
    else:
        return _cut_request(text, quote, attributes, notes)
    outcome = _OUTCOME.match(text, end)
    if outcome is None:
        return None
    shown = split_request(text[quote + 1 : end - 1], attributes)
    for name, value in zip(("status", "bytes"), outcome.groups(), strict=True):
        if value != "-":
            attributes[name] = int(value)
    _reference(text, outcome.end(), attributes, notes)
    return shown


def _cut_request(text: str, quote: int, attributes: dict[str, Any], notes: list[str]) -> str:
    """Read a line that ends within the request or right behind it."""
    notes.append("the line ends without status and size")
    request, _, rest = text[quote + 1 :].rpartition('"')
    if not request:
        request, rest = text[quote + 1 :], ""
    if rest.strip():
        attributes["extra"] = tokens(rest)
    return split_request(request, attributes)


def _reference(text: str, place: int, attributes: dict[str, Any], notes: list[str]) -> None:
    """Read referer and user agent, and keep whatever else a server was told to log."""
    if match := _REFERENCE.match(text, place):
        referer, agent = match[1][1:-1], match[2][1:-1]
        place = match.end()
    elif text.startswith(' "', place):
        # A quote is not escaped, or the line was cut.
        referer, _, agent = text[place + 2 :].partition('" "')
        notes.append("the user agent does not end" if agent[-1:] != '"' else "quotes are not escaped")
        agent, place = agent.removesuffix('"'), len(text)
    else:
        referer = agent = "-"
    if is_given(referer):
        attributes["referer"] = referer
    if is_given(agent):
        attributes["user_agent"] = agent
    if place < len(text):
        _add_extra(tokens(text[place:]), attributes)


def _add_extra(found: list[str], attributes: dict[str, Any]) -> None:
    """Keep fields whose names the log does not say in order; those it names (rt=0.012) by name."""
    extra = []
    for token in found:
        named = _NAMED.fullmatch(token)
        if named and named[1] not in attributes:
            value = named[2].strip('"')
            whole = number(value)
            attributes[named[1]] = value if whole is None else whole
        else:
            extra.append(token)
    if extra:
        attributes["extra"] = extra
