"""What the messages of well-known programs say: who, from where, how, and what kind of event.

Only messages whose wording is fixed by their program are taken apart; every other one stays
text. Names come from the message, so what an attacker chose as a user name is data.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

#: Longer messages are none of those below, and stay text.
_LENGTH: Final = 8192


class Meaning(NamedTuple):
    """What a message says; `user` is who acts, or whom it is about where nobody acts."""

    category: str
    user: str | None = None
    attributes: dict[str, Any] | None = None


#: In sshd a user name may hold anything, so the last "from ADDRESS port NUMBER" counts.
_SSH_TRIED: Final = re.compile(
    r"(Accepted|Failed|Postponed|Partial) (\S{1,64}) for (invalid user )?(.*) from (\S+) port (\d{1,5})(.*)",
    re.DOTALL,
)
_SSH_KEY: Final = re.compile(r" +ssh2: (\S+) (\S+)")
_SSH_INVALID: Final = re.compile(r"(?:Invalid|Illegal) user (.*) from (\S+)(?: port (\d{1,5}))?", re.DOTALL)
_SSH_LIMIT: Final = re.compile(
    r"error: maximum authentication attempts exceeded for (invalid user )?(.*) from (\S+) port (\d{1,5}).*",
    re.DOTALL,
)
_SSH_FROM: Final = re.compile(r"Connection from (\S+) port (\d{1,5}).*", re.DOTALL)
_SSH_ENDED: Final = re.compile(
    r"(?:Connection (?:closed|reset) by|Disconnected from|Received disconnect from|Disconnecting|"
    r"Timeout, client not responding from) ?(authenticating user |invalid user |user )?"
    r"(?:(.*) )?([0-9A-Fa-f:.]{2,45}(?:%\w{1,16})?|UNKNOWN) port (\d{1,5}).*",
    re.DOTALL,
)
_PAM_SESSION: Final = re.compile(
    r"pam_\w+\(([\w.-]+):session\): session (opened|closed) for user (\S+?)(?=\(uid=|\s|$)(?:\(uid=(\d+)\))?"
    r"(?: by (\S*?)\(uid=(\d+)\))?\s*"
)
_PAM_FAILED: Final = re.compile(r"pam_\w+\(([\w.-]+):auth\): authentication failure; (.*)", re.DOTALL)
_PAM_PASSWORD: Final = re.compile(r"pam_\w+\(([\w.-]+):chauthtok\): password changed for (\S+)")
_PAIR: Final = re.compile(r"(?<!\S)([A-Za-z][\w-]{0,63})=(\S*)")

_SUDO: Final = re.compile(
    r"(\S+) : (?:([^;=]{1,200}) ; )?"
    r"((?:(?:HOST|TTY|PWD|GROUP|TSID|ENV|USER)=[^;]* ; ?){0,8})(?:COMMAND=(.*))?",
    re.DOTALL,
)
_SUDO_PAIR: Final = re.compile(r"([A-Z]+)=([^;]*?) ;")
_SU: Final = re.compile(
    r"(?:(Successful|FAILED) su for|FAILED SU \(to|\(to) (\S+?)\)? (?:by )?(\S+)(?: on (\S+))?"
)
_SU_OLD: Final = re.compile(r"([+-]) (\S+) (\S+?)[:-](\S+)")
_CRON: Final = re.compile(
    r"\((\S+)\) (CMD|RELOAD|BEGIN EDIT|END EDIT|REPLACE|LIST|DELETE|ERROR|INFO) ?\((.*)\)", re.DOTALL
)
_NEW_ACCOUNT: Final = re.compile(
    r"new (user|group|account)(?: added)?: (?:name|account)=([^,\s]+)(?:, (.*))?", re.DOTALL
)
_CHANGED: Final = re.compile(
    r"(delete user|remove(?:d)? (?:shadow )?group|change user|lock user|unlock user|add|delete|password for|"
    r"changed password for) '([^']+)'(?: (.*))?",
    re.DOTALL,
)
_SESSION: Final = re.compile(r"(New|Removed) session (\S+?)(?: of user (\S+?))?\.|Session (\S+) logged out\.")
_LOGIN: Final = re.compile(
    r"(?:(FAILED LOGIN) \(\d+\) on '([^']*)' FOR '([^']*)'|"
    r"(?:ROOT )?LOGIN ON (\S+)(?: BY (\S+))?(?: FROM (\S+))?)"
)
_UNIT: Final = re.compile(
    r"(Started|Stopped|Failed to start|Starting|Stopping|Reloaded|Reloading) (.*?)\.{0,3}", re.DOTALL
)
_CISCO: Final = re.compile(r"%([A-Z0-9_]{1,32})-(?:([A-Z0-9_]{1,32})-)?([0-7])-([A-Z0-9_]{1,48})")


def _endpoint(address: str, port: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"source_ip": address}
    if port:
        found["source_port"] = int(port)
    return found


def _sshd(body: str) -> Meaning | None:
    if match := _SSH_TRIED.fullmatch(body):
        outcome, method, is_invalid, user, address, port, more = match.groups()
        found = {"method": method, **_endpoint(address, port)}
        if is_invalid:
            found["invalid_user"] = True
        if key := _SSH_KEY.match(more):
            found["key_type"], found["key_fingerprint"] = key.groups()
        return Meaning(
            {"Accepted": "logon", "Failed": "logon_failed"}.get(outcome, "authentication"), user, found
        )
    if match := _SSH_INVALID.fullmatch(body):
        user, address, port = match.groups()
        return Meaning("logon_failed", user, {"invalid_user": True, **_endpoint(address, port)})
    if match := _SSH_LIMIT.fullmatch(body):
        is_invalid, user, address, port = match.groups()
        extra = {"invalid_user": True} if is_invalid else {}
        return Meaning("logon_failed", user, {**extra, **_endpoint(address, port)})
    if match := _SSH_FROM.fullmatch(body):
        return Meaning("connection", None, _endpoint(*match.groups()))
    if match := _SSH_ENDED.fullmatch(body):
        kind, user, address, port = match.groups()
        return Meaning(
            "logoff" if kind == "user " else "connection", user if kind else None, _endpoint(address, port)
        )
    return None


def _pam(body: str) -> Meaning | None:
    if match := _PAM_SESSION.match(body):
        service, what, user, uid, by, by_uid = match.groups()
        found = {"pam_service": service, "uid": uid, "by": by or None, "by_uid": by_uid}
        return Meaning(f"session_{what}", user, _given(found))
    if match := _PAM_FAILED.match(body):
        pairs = dict(_PAIR.findall(match[2]))
        found = {"pam_service": match[1], **pairs}
        if address := pairs.get("rhost"):
            found["source_ip"] = address
        return Meaning("logon_failed", pairs.get("user") or None, _given(found))
    if match := _PAM_PASSWORD.match(body):
        return Meaning("account", match[2], {"pam_service": match[1], "action": "password changed"})
    return None


def _sudo(body: str) -> Meaning | None:
    match = _SUDO.match(body)
    if match is None or not (match[3] or match[4] is not None):
        return None
    user, complaint, pairs, command = match.groups()
    found: dict[str, Any] = {name: value.strip() for name, value in _SUDO_PAIR.findall(pairs)}
    if command is not None:
        found["COMMAND"] = command
    if complaint:
        found["reason"] = complaint.strip()
    return Meaning("privilege_failed" if complaint else "privilege", user, found)


def _su(body: str) -> Meaning | None:
    if match := _SU.match(body):
        target, user, terminal = match[2], match[3], match[4]
        category = "privilege_failed" if "FAILED" in body[:10] else "privilege"
        return Meaning(category, user, _given({"target_user": target, "tty": terminal}))
    if match := _SU_OLD.match(body):
        category = "privilege" if match[1] == "+" else "privilege_failed"
        return Meaning(category, match[3], {"target_user": match[4], "tty": match[2]})
    return None


def _cron(body: str) -> Meaning | None:
    match = _CRON.match(body)
    if match is None:
        return None
    name = "command" if match[2] == "CMD" else "detail"
    return Meaning("scheduled_task", match[1], {"action": match[2], name: match[3].strip()})


def _accounts(body: str) -> Meaning | None:
    if match := _NEW_ACCOUNT.match(body):
        pairs = dict(_PAIR.findall((match[3] or "").replace(",", " ")))
        return Meaning("account", match[2], {"action": f"new {match[1]}", **pairs})
    if match := _CHANGED.match(body):
        return Meaning("account", match[2], _given({"action": match[1], "detail": match[3]}))
    return None


def _logind(body: str) -> Meaning | None:
    match = _SESSION.match(body)
    if match is None:
        return None
    what, session, user, ended = match.groups()
    category = "session_opened" if what == "New" else "session_closed"
    return Meaning(category, user, {"session": session or ended})


def _login(body: str) -> Meaning | None:
    match = _LOGIN.match(body)
    if match is None:
        return None
    failed, failed_tty, failed_user, tty, user, origin = match.groups()
    if failed:
        return Meaning("logon_failed", failed_user, {"tty": failed_tty})
    return Meaning("logon", user or "root", _given({"tty": tty, "source_ip": origin}))


def _systemd(body: str) -> Meaning | None:
    match = _UNIT.fullmatch(body)
    return Meaning("service", None, {"action": match[1], "unit": match[2]}) if match else None


_BY_PROGRAM: Final[dict[str, Callable[[str], Meaning | None]]] = {
    "sshd": _sshd, "sshd-session": _sshd, "sshd-auth": _sshd, "sudo": _sudo, "su": _su,
    "cron": _cron, "crond": _cron, "crontab": _cron, "anacron": _cron,
    "useradd": _accounts, "userdel": _accounts, "usermod": _accounts, "groupadd": _accounts,
    "groupdel": _accounts, "groupmod": _accounts, "gpasswd": _accounts, "passwd": _accounts,
    "chpasswd": _accounts, "adduser": _accounts, "chage": _accounts,
    "systemd-logind": _logind, "login": _login, "systemd": _systemd,
}  # fmt: skip


@lru_cache(maxsize=1024)
def _known(program: str) -> tuple[str, Callable[[str], Meaning | None] | None]:
    """Return the plain name of a program and what reads its messages."""
    name = program.lower()
    if "(" in name:  # sshd(pam_unix), (systemd)
        name = name.strip("()").partition("(")[0]
    name = name.rpartition("/")[2] or name
    return name, _BY_PROGRAM.get(name)


def meaning_of(program: str | None, body: str) -> Meaning | None:
    """Return what a message says if its program's wording is known, else None."""
    if program is None or len(body) > _LENGTH:
        return None
    if body.startswith("pam_") and (found := _pam(body)):
        return found
    name, read = _known(program)
    if read is not None:
        return read(body)
    if name == "kernel" and " SRC=" in body and " DST=" in body:
        return Meaning("firewall", None, _given(dict(_PAIR.findall(body))))
    if name[:1] == "%" and (match := _CISCO.match(program)):
        facility, _, level, mnemonic = match.groups()
        return Meaning(
            "device", None, {"cisco_facility": facility, "level": int(level), "mnemonic": mnemonic}
        )
    return None


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not there."""
    return {name: value for name, value in values.items() if value not in (None, "")}


_DPKG: Final = re.compile(
    r"(?:(startup) (.*)|(status) (\S+) (\S+)(?: (\S+))?|(conffile) (\S+) (\S+)|"
    r"(install|upgrade|configure|trigproc|triggers|triggers-awaited|triggers-pending|remove|purge|disappear) "
    r"(\S+) (\S+)(?: (\S+))?)",
    re.DOTALL,
)
_VSFTPD: Final = re.compile(
    r'\[pid (\d{1,10})\] (?:\[([^\]]{0,256})\] )?(?:(OK|FAIL) )?([A-Z]{3,16}): Client "([^"]*)"'
    r'(?:, "([^"]*)")?(?:, (\d{1,18}) bytes)?(?:, ([\d.]{1,24})Kbyte/sec)?.*',
    re.DOTALL,
)
_FTP_LOGIN: Final = {
    ("LOGIN", "OK"): "logon",
    ("LOGIN", "FAIL"): "logon_failed",
    ("CONNECT", None): "connection",
}


def plain_meaning(body: str) -> tuple[str, Meaning] | None:
    """Return program and meaning of a line that names no program, where its wording tells: dpkg, vsftpd."""
    if len(body) > _LENGTH:
        return None
    if body.startswith("[pid ") and (match := _VSFTPD.fullmatch(body)):
        pid, user, outcome, action, client, path, size, rate = match.groups()
        found = _given({"pid": int(pid), "action": action, "outcome": outcome, "source_ip": client})
        if path is not None:
            found["path" if action != "LOGIN" else "detail"] = path
        if size:
            found["bytes"] = int(size)
        if rate:
            found["rate"] = f"{rate}Kbyte/sec"
        return "vsftpd", Meaning(_FTP_LOGIN.get((action, outcome), "file_transfer"), user, found)
    if match := _DPKG.fullmatch(body):
        return "dpkg", _dpkg(match)
    return None


def _dpkg(match: re.Match[str]) -> Meaning:
    startup, what, status, state, package, version, conffile, path, decision, action, name, old, new = (
        match.groups()
    )
    if startup:
        found = {"action": startup, "detail": what}
    elif status:
        found = {"action": status, "state": state, "package": package, "version": version}
    elif conffile:
        found = {"action": conffile, "path": path, "decision": decision}
    else:
        found = {"action": action, "package": name, "version_old": old, "version": new}
    return Meaning("package", None, _given(found))
