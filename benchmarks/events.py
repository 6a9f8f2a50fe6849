"""Realistic documents in any number: what the benchmarks of the index write and search.

Deterministic: the same shard number gives the same documents. Three of four shards are a Windows
host (file table, security log, Sysmon), the fourth a Linux host (auth log, web server).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

from cases.index.document import Document, Origin, make_document
from cases.records import Record

#: Events of one shard.
SHARD: Final = 100_000
#: The last instant of all events, 2024-06-01.
END: Final = 1_717_200_000_000_000
DAY: Final = 86_400_000_000

_WORDS: Final = [
    "service",
    "update",
    "driver",
    "manager",
    "client",
    "system",
    "account",
    "process",
    "network",
    "security",
    "local",
    "policy",
    "cache",
    "report",
    "session",
    "module",
    "print",
    "backup",
    "remote",
    "agent",
    "config",
    "spool",
    "profile",
    "kernel",
    "runtime",
    "engine",
    "helper",
    "broker",
    "crypto",
    "event",
    "license",
    "media",
    "shell",
    "sync",
    "cloud",
    "office",
    "chrome",
    "install",
    "setup",
    "scan",
    "query",
    "index",
]
_PROGRAMS: Final = [
    "svchost.exe",
    "lsass.exe",
    "services.exe",
    "explorer.exe",
    "chrome.exe",
    "winword.exe",
    "outlook.exe",
    "powershell.exe",
    "cmd.exe",
    "conhost.exe",
    "rundll32.exe",
    "regsvr32.exe",
    "wmiprvse.exe",
    "msiexec.exe",
    "schtasks.exe",
    "net.exe",
    "net1.exe",
    "whoami.exe",
    "certutil.exe",
]
_ENDINGS: Final = [
    "dll",
    "exe",
    "dat",
    "log",
    "tmp",
    "ini",
    "xml",
    "json",
    "png",
    "docx",
    "xlsx",
    "pdf",
    "lnk",
    "pf",
    "evtx",
    "db",
]
_NAMES: Final = [
    "anna",
    "bruno",
    "carla",
    "david",
    "elena",
    "felix",
    "greta",
    "hugo",
    "irina",
    "jonas",
    "laura",
    "mateo",
    "vera",
    "zoe",
]


class Host:
    """One machine whose records are made."""

    def __init__(self, shard: int) -> None:
        self.chance = random.Random(1000 + shard)
        self.shard = shard
        self.linux = shard % 4 == 3
        self.name = f"srv-{shard:03d}.corp.example" if self.linux else f"WS-{shard:04d}.corp.example"
        self.users = [f"{self.chance.choice(_NAMES)}.{self.chance.choice(_WORDS)}" for _ in range(6)]
        self.users += ["administrator", "svc_backup"]
        self.sid = f"S-1-5-21-{self.hexadecimal(8)}-{self.hexadecimal(8)}"
        self.start = END - self.chance.randrange(60, 120) * DAY

    def hexadecimal(self, digits: int) -> str:
        """Return so many random hexadecimal digits."""
        return f"{self.chance.getrandbits(4 * digits):0{digits}x}"

    def address(self) -> str:
        """Return an address of the internal network."""
        chance = self.chance
        return f"10.{chance.randrange(4)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"

    def path(self) -> str:
        """Return a path on a Windows disk; 6 of 100 lie in a Temp directory."""
        chance = self.chance
        name = (
            f"{chance.choice(_WORDS)}{chance.choice(_WORDS)}_{self.hexadecimal(6)}.{chance.choice(_ENDINGS)}"
        )
        kind = chance.random()
        if kind < 0.3:
            return rf"C:\Windows\WinSxS\amd64_{chance.choice(_WORDS)}_{self.hexadecimal(16)}\{name}"
        if kind < 0.6:
            return rf"C:\Windows\System32\{chance.choice(_WORDS)}\{name}"
        if kind < 0.64:
            return rf"C:\Users\{chance.choice(self.users)}\AppData\Local\Temp\{name}"
        if kind < 0.66:
            return rf"C:\Windows\Temp\{name}"
        return rf"C:\Program Files\{chance.choice(_WORDS).title()}\{name}"

    def guid(self) -> str:
        """Return a random GUID in braces."""
        digits = self.hexadecimal(32)
        return f"{{{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}}}"


def documents(shard: int, *, case_id: str = "bench", count: int = SHARD) -> Iterator[Document]:
    """Yield the documents of a shard in the order a parser would."""
    host = Host(shard)
    origin = Origin(case_id, evidence(shard), f"{shard:064x}", "syslog" if host.linux else "evtx", host.name)
    for number, record in enumerate(_linux(host, count) if host.linux else _windows(host, count)):
        if number % 20_000 == 777:
            record.message += " -- staged lateral tool transfer marker"
        if number % 50_000 == 4242:
            record.message += " mimikatz sekurlsa::logonpasswords"
        if number % 33_333 == 11:
            record.message += rf" C:\ProgramData\qzbackdoorx_setup_{host.hexadecimal(4)}.exe"
        yield make_document(record, origin)


def evidence(shard: int) -> str:
    """Return the uid of the evidence of a shard."""
    return f"ev-{shard:016x}"


def _windows(host: Host, count: int) -> Iterator[Record]:
    instant, step = host.start, (END - host.start) // count
    for number in range(count):
        kind = host.chance.random()
        instant += host.chance.randrange(1, 2 * step)
        make = _file if kind < 0.35 else _security if kind < 0.8 else _sysmon
        yield make(host, number, min(instant, END))


def _file(host: Host, number: int, _: int) -> Record:
    chance, path = host.chance, host.path()
    inode, size = chance.randrange(900_000), chance.getrandbits(22)
    facts: dict[str, Any] = {
        "path": path,
        "inode": inode,
        "sequence": chance.randrange(30),
        "attribute_type": chance.choice(("$STANDARD_INFORMATION", "$FILE_NAME")),
        "size": size,
        "is_allocated": chance.random() < 0.9,
        "md5": host.hexadecimal(32) if size < 400_000 else None,
    }
    return Record(
        position=f"entry {number}",
        message=f"{path} Type: file Attribute: {facts['attribute_type']} MFT entry: {inode} Size: {size}",
        timestamp=END - chance.randrange(1100 * 86_400) * 1_000_000 - chance.randrange(1_000_000),
        timestamp_desc="Creation Time",
        time_precision="100ns",
        category="file",
        type="file_timestamp",
        attributes=facts,
    )


def _security(host: Host, number: int, instant: int) -> Record:
    chance, user = host.chance, host.chance.choice(host.users)
    number_of_event = chance.choices((4624, 4625, 4688, 4672), (50, 15, 20, 15))[0]
    failed = number_of_event == 4625
    facts: dict[str, Any] = {
        "EventID": number_of_event,
        "Channel": "Security",
        "Computer": host.name,
        "EventRecordID": 1_000_000 + number,
        "Provider": "Microsoft-Windows-Security-Auditing",
        "ProcessID": chance.randrange(400, 900),
        "ThreadID": chance.randrange(400, 9000),
        "TargetUserSid": f"{host.sid}-{chance.randrange(1000, 1200)}",
        "TargetUserName": user,
        "TargetDomainName": "CORP",
        "TargetLogonId": f"0x{host.hexadecimal(7)}",
    }
    if number_of_event in (4624, 4625):
        facts |= {
            "LogonType": chance.choices((3, 5, 2, 10, 7), (60, 25, 6, 2, 7))[0],
            "IpAddress": host.address(),
            "IpPort": chance.randrange(49_152, 65_535),
            "AuthenticationPackageName": "Negotiate",
            "WorkstationName": f"WS-{chance.randrange(200):04d}",
        }
        message = (
            f"An account {'failed to log' if failed else 'was successfully logged'} on. Account Name: {user}"
            f" Account Domain: CORP Logon ID: {facts['TargetLogonId']} Logon Type: {facts['LogonType']}"
            f" Source Network Address: {facts['IpAddress']} Source Port: {facts['IpPort']}"
        )
    else:
        image = rf"C:\Windows\System32\{chance.choice(_PROGRAMS)}"
        facts |= {"NewProcessName": image, "CommandLine": f'"{image}" /c {host.path()}'}
        message = f"A new process has been created: {image} by {user} Command Line: {facts['CommandLine']}"
    return Record(
        position=f"record {number}",
        message=f"{number_of_event} {message}",
        timestamp=instant,
        timestamp_desc="Event logged",
        time_precision="100ns",
        user=user,
        category="logon" if number_of_event != 4688 else "process",
        type=str(number_of_event),
        attributes=facts,
    )


def _sysmon(host: Host, number: int, instant: int) -> Record:
    chance, user = host.chance, host.chance.choice(host.users)
    image = rf"C:\Windows\System32\{chance.choice(_PROGRAMS)}"
    command = f'{image} -NoProfile -File "{host.path()}" -Id {host.hexadecimal(8)}'
    facts: dict[str, Any] = {
        "EventID": 1,
        "Channel": "Microsoft-Windows-Sysmon/Operational",
        "Computer": host.name,
        "EventRecordID": number,
        "ProcessGuid": host.guid(),
        "ProcessId": chance.randrange(99_999),
        "Image": image,
        "CommandLine": command,
        "User": f"CORP\\{user}",
        "IntegrityLevel": "High",
        "Hashes": f"SHA1={host.hexadecimal(40).upper()},SHA256={host.hexadecimal(64).upper()}",
        "ParentProcessGuid": host.guid(),
        "ParentImage": rf"C:\Windows\{chance.choice(_PROGRAMS)}",
    }
    return Record(
        position=f"record {number}",
        message=f"Process Create: Image: {image} CommandLine: {command} User: CORP\\{user}"
        f" MD5={host.hexadecimal(32).upper()} ParentImage: {facts['ParentImage']}",
        timestamp=instant,
        timestamp_desc="Event logged",
        time_precision="100ns",
        user=user,
        category="process",
        type="1",
        attributes=facts,
    )


def _linux(host: Host, count: int) -> Iterator[Record]:
    instant, step = host.start, (END - host.start) // count
    for number in range(count):
        instant += host.chance.randrange(1, 2 * step)
        make = _auth if host.chance.random() < 0.6 else _web
        yield make(host, number, min(instant, END))


def _auth(host: Host, number: int, instant: int) -> Record:
    chance, user = host.chance, host.chance.choice(host.users)
    process = chance.randrange(99_999)
    failed = chance.random() < 0.6
    said = "Failed password for invalid user" if failed else "Accepted publickey for"
    return Record(
        position=f"line {number}",
        message=f"sshd[{process}]: {said} {user} from {host.address()} port {chance.randrange(65_535)} ssh2",
        timestamp=instant // 1_000_000 * 1_000_000,
        timestamp_desc="Logged",
        time_precision="s",
        user=user,
        category="logon",
        type="sshd",
        attributes={"program": "sshd", "pid": process, "facility": "auth", "severity": chance.randrange(8)},
    )


def _web(host: Host, number: int, instant: int) -> Record:
    chance = host.chance
    status = chance.choices((200, 302, 404, 500), (85, 5, 8, 2))[0]
    path = f"/{chance.choice(_WORDS)}/{chance.choice(_WORDS)}.php?session={host.hexadecimal(16)}"
    address, size = host.address(), chance.randrange(99_999)
    return Record(
        position=f"line {number}",
        message=f'{address} - - "GET {path} HTTP/1.1" {status} {size} "Mozilla/5.0 (X11; Linux x86_64)"',
        timestamp=instant // 1_000_000 * 1_000_000,
        timestamp_desc="Logged",
        time_precision="s",
        category="web",
        type="http",
        attributes={
            "remote_ip": address,
            "method": "GET",
            "path": path,
            "status": status,
            "bytes": size,
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
        },
    )
