"""Lines of the Linux audit daemon: type=… msg=audit(seconds:serial): key=value …

Values that the daemon wrote in hexadecimal, because they may hold anything, are kept as written
and decoded beside (`proctitle`, `proctitle_decoded`). Sources: audit-userspace,
specs/fields/field-dictionary.csv, and audit_log_untrustedstring of the kernel.
"""

from __future__ import annotations

import re
from typing import Any, Final
from zoneinfo import ZoneInfo

from cases.parsers.civil import FINENESS, SECOND, Instant, within_range
from cases.parsers.syslog_forms import add_value
from cases.parsers.syslog_messages import Meaning
from cases.parsers.times import read_time

_LINE: Final = re.compile(r"(?:node=(\S+) )?(?:type=(\S{0,64}) )?msg=audit\(([^)]{0,64})\) ?: ?", re.ASCII)
#: Inside a syslog message: "audit: type=1400 audit(1337845201.174:94983): …".
_INSIDE: Final = re.compile(
    r"(?:type=(\S{0,64}) )?(?:msg=)?audit\(([0-9.]{1,32}):([0-9]{1,20})\): ?", re.ASCII
)
_STAMP: Final = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,9}))?")
#: Behind 0x1D the daemon repeats numbers as names (log_format = ENRICHED).
_PAIR: Final = re.compile(
    r"(?<![^\s'\x1d{(,])((?:(?:old|new) )?[A-Za-z][\w-]{0,63})="
    r"""(?:"([^"]*)"|'([^']*)'|([^\s\x1d'"][^\s\x1d]*|))""",
    re.ASCII,
)
_HEX: Final = re.compile(r"(?:[0-9A-F]{2})+")
_UNTRUSTED: Final = frozenset(
    [
        "acct",
        "cmd",
        "comm",
        "cwd",
        "data",
        "dir",
        "exe",
        "file",
        "grp",
        "key",
        "name",
        "new-disk",
        "old-disk",
        "ocomm",
        "path",
        "proctitle",
        "vm",
    ]
)
_ARGUMENT: Final = re.compile(r"a[0-9]{1,5}(?:\[[0-9]{1,5}\])?")
_AVC: Final = re.compile(r"avc: +(\w+) +\{ ([^}]*) \}")

_CATEGORIES: Final = {
    "USER_AUTH": "authentication", "USER_LOGIN": "logon", "LOGIN": "session_opened",
    "USER_START": "session_opened", "USER_END": "session_closed", "USER_LOGOUT": "logoff",
    "USER_CMD": "privilege", "ADD_USER": "account", "DEL_USER": "account", "ADD_GROUP": "account",
    "DEL_GROUP": "account", "USER_MGMT": "account", "USER_CHAUTHTOK": "account", "GRP_MGMT": "account",
    "EXECVE": "process", "AVC": "access", "USER_AVC": "access", "SERVICE_START": "service",
    "SERVICE_STOP": "service", "SYSTEM_BOOT": "system", "SYSTEM_SHUTDOWN": "system",
}  # fmt: skip
_FAILED: Final = frozenset(("failed", "0", "no"))


class AuditLine:
    """One line taken apart."""

    def __init__(self, match: re.Match[str], text: str, zone: ZoneInfo) -> None:
        self.node, self.type, stamp = match.groups()
        self.attributes: dict[str, Any] = {}
        self.instant, note = _instant(stamp, self.attributes, zone)
        if note:
            self.attributes["time_note"] = note
        self.meaning = meaning_of_pairs(self.type or "", text[match.end() :], self.attributes)


def read_audit(text: str, zone: ZoneInfo) -> AuditLine | None:
    """Return an audit line taken apart, None if it is none."""
    match = _LINE.match(text)
    return AuditLine(match, text, zone) if match else None


def audit_inside(body: str) -> Meaning | None:
    """Return what an audit record says that syslog carries, else None."""
    match = _INSIDE.search(body, 0, 256)
    if match is None:
        return None
    found: dict[str, Any] = {"audit_serial": int(match[3][:18])}
    return meaning_of_pairs(match[1] or "", body[match.end() :], found)


def _instant(stamp: str, attributes: dict[str, Any], zone: ZoneInfo) -> tuple[Instant | None, str]:
    """Return when; a stamp without milliseconds is read too, an empty one leaves an undated record."""
    time_text, _, serial = stamp.rpartition(":")
    if not time_text:
        time_text, serial = serial, ""
    if serial.isdigit():
        attributes["audit_serial"] = int(serial[:18])
    try:
        if match := _STAMP.fullmatch(time_text):
            fraction = match[2] or ""
            timestamp = int(match[1]) * SECOND + int(fraction[:6].ljust(6, "0"))
            return Instant(within_range(timestamp), FINENESS[min(len(fraction), 8)]), ""
        instant = read_time(time_text, zone=zone)  # ausearch --interpret
    except ValueError as error:
        return None, str(error)
    return instant, "; ".join(instant.notes)


def meaning_of_pairs(kind: str, text: str, attributes: dict[str, Any]) -> Meaning:
    """Add the pairs of a record to the attributes and return what they say."""
    if match := _AVC.search(text, 0, 256):
        attributes["avc"], attributes["permissions"] = match.groups()
    _add_pairs(kind, text, attributes)
    category = _CATEGORIES.get(kind, "audit")
    if kind == "SYSCALL" and attributes.get("SYSCALL") in ("execve", "execveat"):
        category = "process"
    result = attributes.get("res", attributes.get("success"))
    if category in ("authentication", "logon") and result in _FAILED:
        category = "logon_failed"
    elif category == "privilege" and result in _FAILED:
        category = "privilege_failed"
    if isinstance(address := attributes.get("addr"), str) and address not in ("?", ""):
        attributes["source_ip"] = address
    return Meaning(category, _user(attributes), attributes)


def _add_pairs(kind: str, text: str, attributes: dict[str, Any]) -> None:
    for match in _PAIR.finditer(text):
        name, quoted, nested, bare = match.groups()
        if nested is not None:
            _add_pairs(kind, nested, attributes)
            continue
        value = bare if quoted is None else quoted
        if name in attributes:
            add_value(attributes, name, value)
        else:
            attributes[name] = value
        if bare and (name in _UNTRUSTED or (kind == "EXECVE" and _ARGUMENT.fullmatch(name))):
            decoded = _decoded(bare)
            if decoded is not None:
                add_value(attributes, f"{name}_decoded", decoded)


def _decoded(text: str) -> str | None:
    """Return what hexadecimal stands for; arguments of a command line are parted by NUL."""
    if not _HEX.fullmatch(text):
        return None
    return bytes.fromhex(text).rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "backslashreplace")


def _user(attributes: dict[str, Any]) -> str | None:
    """Return whom the record is about: the account, else the name of the login user."""
    for name in ("acct_decoded", "acct", "AUID"):
        value = attributes.get(name)
        if isinstance(value, str) and value not in ("", "?", "unset", "(unknown)"):
            return value
    return None
