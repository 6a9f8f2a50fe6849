"""One event of a Windows log, from the JSON of the `evtx` library to a record.

The names are those of the event schema (MS-EVEN6, and "Event Schema" in the Windows SDK). What
System says goes by its own names; EventData and UserData join it on the same level, and take
their section's name in front where System has used a name.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from cases.parsers.evtx_messages import CATEGORIES, SENTENCES, TARGET_FIRST, Segment
from cases.records import EPOCH, FIRST_INSTANT, LAST_INSTANT, MICROSECOND, Record

_ATTRIBUTES: Final = "#attributes"
_TEXT: Final = "#text"
#: An element's XML attributes go by their own names; these would not be understood alone.
_QUALIFIED: Final = frozenset(("Provider", "Correlation"))
_UNQUALIFIED: Final = frozenset(("TimeCreated", "Execution", "Security"))
#: What Windows writes for "nobody" and "nothing".
_NOTHING: Final = frozenset(("", "-", None))
#: No sentence repeats more than this of one value; attributes hold all of it.
_SHOWN: Final = 256
#: Below this a listing is given as it is.
_MESSAGE: Final = 2048
_SPOKEN: Final = frozenset((str, int))

Attributes = dict[str, Any]


def make_record(data: str, *, position: str, span: tuple[int, int], filetime: int) -> Record:
    """Return the event as a record. Raises ValueError with the reason when it cannot be one.

    `filetime` is when it was written by its header; usually that is the event's own time,
    and more exact than the text that comes in JSON.
    """
    event = _event(data)
    attributes: Attributes = {}
    _add_system(attributes, event["System"])
    number = attributes.get("EventID")
    if type(number) is str and number.isdecimal():
        attributes["EventID"] = number = int(number)
    said = len(attributes)
    for section, content in event.items():
        if section not in ("System", _ATTRIBUTES):
            _add_section(attributes, section, content)
    timestamp = _time(attributes, filetime)
    provider = str(attributes.get("Provider"))
    known = SENTENCES.get((provider, number)) if type(number) is int else None
    category = known.category if known else CATEGORIES.get(provider)
    message = _sentence(known.segments, attributes, number) if known else _listing(attributes, said)
    if "\n" in message:
        message = " ".join(message.split())
    computer = attributes.get("Computer")
    return Record(
        position,
        message,
        timestamp,
        "Event logged",
        "none" if timestamp is None else "100ns",
        str(computer) if computer else None,
        _account(attributes, category),
        category,
        None if number is None else str(number),
        attributes=attributes,
        span=span,
    )


def _event(data: str) -> dict[str, Any]:
    """Return the content of the root element. Raises ValueError."""
    root = orjson.loads(data)
    event = root.get("Event") if isinstance(root, dict) else None
    if not isinstance(event, dict) or not isinstance(event.get("System"), dict):
        raise ValueError("It has no System section.")
    return event


def _add_system(attributes: Attributes, system: dict[str, Any]) -> None:
    """Add what every event has. Runs for each event: the common shapes come first."""
    for name, value in system.items():
        if type(value) is not dict:
            if value is not None:
                attributes[name] = value
        elif len(value) == 1 and name in _UNQUALIFIED and _ATTRIBUTES in value:
            attributes.update(value[_ATTRIBUTES])
        else:
            _add_system_element(attributes, name, value)


def _add_system_element(attributes: Attributes, name: str, element: dict[str, Any]) -> None:
    marks = element.get(_ATTRIBUTES) or {}
    qualifier = f"{name}." if name in _QUALIFIED else ""
    for key, value in marks.items():
        attributes[name if qualifier and key == "Name" else qualifier + key] = value
    if (text := element.get(_TEXT)) is not None:
        attributes[name] = text
    if len(element) > (_ATTRIBUTES in element) + (_TEXT in element):
        _add_children(attributes, element, f"{name}.", "System")


def _add_section(attributes: Attributes, section: str, content: Any) -> None:
    """Add EventData, UserData or what else there is."""
    if type(content) is not dict:
        if content is not None:
            _add(attributes, section, content, "Event")
        return
    if dict not in map(type, content.values()) and attributes.keys().isdisjoint(content):
        attributes.update(content)
        return
    for name, value in content.items():
        if type(value) is not dict:
            _add(attributes, name, value, section)
        elif section == "UserData" and name != _ATTRIBUTES:
            _add_payload(attributes, section, name, value)
        else:
            _add_element(attributes, name, value, section)


def _add_payload(attributes: Attributes, section: str, name: str, content: dict[str, Any]) -> None:
    """Add the one element of UserData: its name tells what happened, its children are the fields."""
    _add(attributes, section, name, "Event")
    for key, value in (content.get(_ATTRIBUTES) or {}).items():
        if not key.startswith("xmlns"):
            _add(attributes, key, value, section)
    if content.get(_TEXT) is not None:
        _add(attributes, name, content[_TEXT], section)
    _add_children(attributes, content, "", section)


def _add_children(attributes: Attributes, content: dict[str, Any], prefix: str, section: str) -> None:
    for key, value in content.items():
        if key in (_ATTRIBUTES, _TEXT):
            continue
        if type(value) is dict:
            _add_element(attributes, prefix + key, value, section)
        else:
            _add(attributes, prefix + key, value, section)


def _add_element(attributes: Attributes, name: str, element: dict[str, Any], section: str) -> None:
    """Add an element that has attributes or children; a Name attribute is what it is called."""
    if name == _ATTRIBUTES:
        for key, value in element.items():
            if not key.startswith("xmlns"):
                _add(attributes, f"{section}.{key}", value, section)
        return
    marks = element.get(_ATTRIBUTES) or {}
    called = marks.get("Name")
    if type(called) is str and called:
        name = called
    for key, value in marks.items():
        if key != "Name" and not key.startswith("xmlns"):
            _add(attributes, f"{name}.{key}", value, section)
    children = [key for key in element if key not in (_ATTRIBUTES, _TEXT)]
    if _TEXT in element or not children:
        _add(attributes, name, element.get(_TEXT), section)
    _add_children(attributes, element, f"{name}.", section)


def _add(attributes: Attributes, name: str, value: Any, section: str) -> None:
    """Add a value under its name; under a longer one if it is taken, so that nothing is lost."""
    if name in attributes:
        name = f"{section}.{name}"
    number, free = 1, name
    while free in attributes:
        number += 1
        free = f"{name}_{number}"
    attributes[free] = value


def _time(attributes: Attributes, filetime: int) -> int | None:
    """Return the event's own time, and put back the seventh digit that JSON has cut.

    A time that was never set, or that no calendar has, gives None.
    """
    text = attributes.get("SystemTime")
    if type(text) is not str:
        return None
    try:
        moment = datetime.fromisoformat(text)
        timestamp = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) // MICROSECOND
    except (ValueError, OverflowError):
        return None
    if not FIRST_INSTANT < timestamp <= LAST_INSTANT:
        return None
    whole, digit = divmod(filetime, 10)
    written = whole + FIRST_INSTANT
    if timestamp == written:
        if digit and len(text) == 27 and text.endswith("Z"):
            attributes["SystemTime"] = f"{text[:-1]}{digit}Z"
    elif FIRST_INSTANT < written <= LAST_INSTANT:
        stamp = (EPOCH + written * MICROSECOND).strftime("%Y-%m-%dT%H:%M:%S.%f")
        attributes["WrittenTime"] = f"{stamp.zfill(26)}{digit}Z"
    return timestamp


def _account(attributes: Attributes, category: str | None) -> str | None:
    """Return who it is about: whom a logon was for, else who did it, else the process's account."""
    get = attributes.get
    if category in TARGET_FIRST and (name := get("TargetUserName")) not in _NOTHING:
        return str(name).partition("@")[0] or str(name)  # Kerberos writes user@REALM (4769)
    name = get("SubjectUserName")
    if name in _NOTHING:
        name = get("User")
        if name in _NOTHING:
            name = get("TargetUserName")
            if name in _NOTHING:
                name = get("UserID")
    if type(name) is not str or name in _NOTHING:
        return None
    return name.rpartition("\\")[2] or name


def _sentence(segments: tuple[Segment, ...], attributes: Attributes, number: Any) -> str:
    """Return the known sentence; a part whose value is missing is left out."""
    parts = [f"{number} "]
    for before, name, after, always in segments:
        value = attributes.get(name)
        if value is None or value in ("", "-"):
            if always:
                parts.append(before.rstrip(" :"))
            continue
        parts.append(before)
        parts.append(_shown(value))
        parts.append(after)
    return "".join(parts)


def _listing(attributes: Attributes, said: int) -> str:
    """Return number, provider and all the data of an event without a sentence of its own."""
    head = f"{attributes.get('EventID', '?')} {attributes.get('Provider') or 'unknown provider'}"
    if len(attributes) == said:
        return head
    names = tuple(attributes)[said:]
    values = tuple(attributes.values())[said:]
    if _SPOKEN.issuperset(map(type, values)):
        text = _pattern(names) % values
        if len(text) <= _MESSAGE:
            return f"{head}: {text}"
    pairs = zip(names, values, strict=True)
    return f"{head}: " + " ".join(f"{name}={_shown(value)}" for name, value in pairs if value is not None)


@lru_cache(maxsize=4096)
def _pattern(names: tuple[str, ...]) -> str:
    """Return `name=%s name=%s` for the fields of an event; most events repeat those of others."""
    return " ".join(name.replace("%", "%%") + "=%s" for name in names)


def _shown(value: Any) -> str:
    text = value if type(value) is str else _spelled(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _spelled(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_shown(element) for element in value)
    return str(value) if type(value) is int else orjson.dumps(value).decode()
