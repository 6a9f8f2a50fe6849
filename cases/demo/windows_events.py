"""The events of Windows that the demo writes, with the names and types Windows gives their data."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from cases.demo import world
from cases.demo.evtx_template import Template


class Event(NamedTuple):
    """One event: its template, the process, thread and account that logged it, and its data."""

    template: Template
    process: int
    thread: int
    account: str | None
    values: tuple[Any, ...]


def _fields(text: str) -> tuple[tuple[str, str], ...]:
    """Return names and kinds; a name without a kind is a string."""
    pairs = (word.partition(":") for word in text.split())
    return tuple((name, kind or "string") for name, _, kind in pairs)


def _security(number: int, fields: str, task: int, *, version: int = 0, failed: bool = False) -> Template:
    return Template(
        "Microsoft-Windows-Security-Auditing",
        "54849625-5478-4994-a5ba-3e3b0328c30d",
        "Security",
        number,
        _fields(fields),
        version=version,
        level=0,
        task=task,
        keywords=0x8010000000000000 if failed else 0x8020000000000000,
    )


def _sysmon(number: int, fields: str, version: int) -> Template:
    return Template(
        "Microsoft-Windows-Sysmon",
        "5770385f-c22a-43e0-bf4c-06f5698ffbd9",
        "Microsoft-Windows-Sysmon/Operational",
        number,
        _fields(f"RuleName UtcTime {fields}"),
        version=version,
        task=number,
    )


_SUBJECT: Final = "SubjectUserSid:sid SubjectUserName SubjectDomainName SubjectLogonId:hex64"
_TARGET: Final = "TargetUserSid:sid TargetUserName TargetDomainName TargetLogonId:hex64"

LOGON: Final = _security(
    4624,
    f"{_SUBJECT} {_TARGET} LogonType:uint32 LogonProcessName AuthenticationPackageName WorkstationName "
    "LogonGuid:guid TransmittedServices LmPackageName KeyLength:uint32 ProcessId:hex64 ProcessName "
    "IpAddress IpPort ImpersonationLevel",
    12544,
    version=1,
)
LOGON_FAILED: Final = _security(
    4625,
    f"{_SUBJECT} TargetUserSid:sid TargetUserName TargetDomainName Status:hex32 FailureReason "
    "SubStatus:hex32 LogonType:uint32 LogonProcessName AuthenticationPackageName WorkstationName "
    "TransmittedServices LmPackageName KeyLength:uint32 ProcessId:hex64 ProcessName IpAddress IpPort",
    12544,
    failed=True,
)
LOGOFF: Final = _security(4634, f"{_TARGET} LogonType:uint32", 12545)
PRIVILEGES: Final = _security(4672, f"{_SUBJECT} PrivilegeList", 12548)
PROCESS_CREATED: Final = _security(
    4688,
    f"{_SUBJECT} NewProcessId:hex64 NewProcessName TokenElevationType ProcessId:hex64 CommandLine "
    f"{_TARGET} ParentProcessName MandatoryLabel:sid",
    13312,
    version=2,
)
PROCESS_EXITED: Final = _security(4689, f"{_SUBJECT} Status:hex32 ProcessId:hex64 ProcessName", 13313)
SERVICE_INSTALLED: Final = _security(
    4697,
    f"{_SUBJECT} ServiceName ServiceFileName ServiceType:hex32 ServiceStartType:uint32 ServiceAccount",
    12289,
)
ACCOUNT_CREATED: Final = _security(
    4720, f"TargetUserName TargetDomainName TargetSid:sid {_SUBJECT} PrivilegeList SamAccountName", 13824
)
MEMBER_ADDED: Final = _security(
    4728,
    f"MemberName MemberSid:sid TargetUserName TargetDomainName TargetSid:sid {_SUBJECT} PrivilegeList",
    13826,
)
TICKET: Final = _security(
    4768,
    "TargetUserName TargetDomainName TargetSid:sid ServiceName ServiceSid:sid TicketOptions:hex32 "
    "Status:hex32 TicketEncryptionType:hex32 PreAuthType:uint32 IpAddress IpPort",
    14339,
)
SERVICE_TICKET: Final = _security(
    4769,
    "TargetUserName TargetDomainName ServiceName ServiceSid:sid TicketOptions:hex32 "
    "TicketEncryptionType:hex32 IpAddress IpPort Status:hex32",
    14337,
)
SHARE: Final = _security(
    5140,
    f"{_SUBJECT} ObjectType IpAddress IpPort ShareName ShareLocalPath AccessMask:hex32 AccessList",
    12808,
    version=1,
)
LOG_CLEARED: Final = Template(
    "Microsoft-Windows-Eventlog",
    "fc65ddd8-d6ef-4962-83d5-6e5cfe9ce148",
    "Security",
    1102,
    _fields(_SUBJECT),
    task=104,
    keywords=0x4020000000000000,
    payload=("LogFileCleared", "http://manifests.microsoft.com/win/2004/08/windows/eventlog"),
)

_PROCESS: Final = "ProcessGuid:guid ProcessId:uint32 Image"
SYSMON_PROCESS: Final = _sysmon(
    1,
    f"{_PROCESS} CommandLine CurrentDirectory User LogonGuid:guid LogonId:hex64 TerminalSessionId:uint32 "
    "IntegrityLevel Hashes ParentProcessGuid:guid ParentProcessId:uint32 ParentImage ParentCommandLine",
    5,
)
SYSMON_NETWORK: Final = _sysmon(
    3,
    f"{_PROCESS} User Protocol Initiated:boolean SourceIsIpv6:boolean SourceIp SourceHostname "
    "SourcePort:uint16 DestinationIsIpv6:boolean DestinationIp DestinationHostname DestinationPort:uint16",
    5,
)
SYSMON_END: Final = _sysmon(5, _PROCESS, 3)
SYSMON_ACCESS: Final = _sysmon(
    10,
    "SourceProcessGUID:guid SourceProcessId:uint32 SourceThreadId:uint32 SourceImage "
    "TargetProcessGUID:guid TargetProcessId:uint32 TargetImage GrantedAccess:hex32 CallTrace",
    3,
)
SYSMON_FILE: Final = _sysmon(11, f"{_PROCESS} TargetFilename CreationUtcTime", 2)
SYSMON_REGISTRY: Final = _sysmon(13, f"{_PROCESS} TargetObject Details", 2)
SYSMON_STREAM: Final = _sysmon(15, f"{_PROCESS} TargetFilename CreationUtcTime Hash Contents", 2)
SYSMON_DNS: Final = _sysmon(22, f"{_PROCESS} QueryName QueryStatus QueryResults", 5)

_NOBODY: Final = "S-1-0-0"
_NO_GUID: Final = "00000000-0000-0000-0000-000000000000"


def process_guid(moment: datetime, number: int) -> str:
    """Return a process's identifier as Sysmon forms them: machine, start, and a counter."""
    start = int(moment.timestamp())
    return f"a1b6c3d2-{start >> 16 & 0xFFFF:04x}-{start & 0xFFFF:04x}-0000-0010{number:08x}"


@lru_cache(maxsize=1024)
def hashes(image: str) -> str:
    """Return the hashes of a program: those of its name, for there are no bytes."""
    name = image.encode()
    return (
        f"SHA1={hashlib.sha1(name, usedforsecurity=False).hexdigest().upper()},"
        f"SHA256={hashlib.sha256(name).hexdigest().upper()}"
    )


def security(template: Template, *values: Any) -> Event:
    """Return an event of the Security log."""
    return Event(template, 780, 824, None, values)


def _subject(name: str) -> tuple[Any, ...]:
    if name == "SYSTEM":
        return ("S-1-5-18", "SRV-DC1$", "NORDLICHT", 0x3E7)
    return (world.SIDS[name], name, "NORDLICHT", 0x8C2F41 if name == world.SERVICE else 0x3A9F1)


def logon(
    name: str, domain: str, sid: str, session: int, kind: int, address: str, station: str, by: str, host: str
) -> Event:
    """Return 4624 for a session of a kind (3 network, 5 service, 7 unlock, 10 remote desktop)."""
    package = "Kerberos" if by == "Kerberos" else "Negotiate"
    subject = (_NOBODY, "-", "-", 0) if host == "-" else ("S-1-5-18", host, "NORDLICHT", 0x3E7)
    port = "0" if address == "127.0.0.1" else "-" if address == "-" else "49811"
    return security(
        LOGON, *subject, sid, name, domain, session, kind, by, package, station, _NO_GUID, "-", "-", 0,
        0x2FC, r"C:\Windows\System32\services.exe" if kind == 5 else "-", address, port, "%%1833",
    )  # fmt: skip


def logon_failed(name: str, address: str, kind: int, *, known: bool = True) -> Event:
    """Return 4625: a wrong password, or a user that does not exist."""
    sub_status = 0xC000006A if known else 0xC0000064
    return security(
        LOGON_FAILED, _NOBODY, "-", "-", 0, _NOBODY, name, "NORDLICHT", 0xC000006D, "%%2313", sub_status,
        kind, "NtLmSsp ", "NTLM", "WS-017" if address == world.WORKSTATION_IP else "-", "-", "-", 0, 0, "-",
        address, "50122",
    )  # fmt: skip


def privileges(name: str, domain: str, sid: str, session: int) -> Event:
    """Return 4672."""
    held = "SeDebugPrivilege\r\n\t\t\tSeBackupPrivilege\r\n\t\t\tSeRestorePrivilege"
    return security(PRIVILEGES, sid, name, domain, session, held)


def process_created(name: str, image: str, command: str, parent: str, number: int) -> Event:
    """Return 4688."""
    return security(
        PROCESS_CREATED, *_subject(name), number, image, "%%1938", 0x1A4, command, _NOBODY, "-", "-", 0,
        parent, "S-1-16-8192",
    )  # fmt: skip


def service_installed(name: str, service: str, path: str) -> Event:
    """Return 4697."""
    return security(SERVICE_INSTALLED, *_subject(name), service, path, 0x10, 3, "LocalSystem")


def account_created(name: str, by: str) -> Event:
    """Return 4720."""
    return security(ACCOUNT_CREATED, name, "NORDLICHT", world.SIDS[name], *_subject(by), "-", name)


def member_added(name: str, group: str, by: str) -> Event:
    """Return 4728 for the group of domain administrators or another."""
    path = f"CN={name},CN=Users,DC=nordlicht,DC=example"
    return security(
        MEMBER_ADDED,
        path,
        world.SIDS[name],
        group,
        "NORDLICHT",
        f"{world.DOMAIN_SID}-512",
        *_subject(by),
        "-",
    )


def share_accessed(name: str, address: str, share: str) -> Event:
    """Return 5140."""
    return security(SHARE, *_subject(name), "File", address, "49811", share, r"\??\C:", 0x1, "%%4416")


def log_cleared(name: str) -> Event:
    """Return 1102."""
    return Event(LOG_CLEARED, 1_244, 3_020, None, _subject(name))


def _watched(template: Template, moment: datetime, *values: Any) -> Event:
    return Event(template, 2_904, 3_312, "S-1-5-18", ("-", stamp(moment), *values))


def stamp(moment: datetime) -> str:
    """Return a time as Sysmon writes it."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def sysmon_process(
    moment: datetime, image: str, command: str, parent: str, number: int, *, called: str = ""
) -> Event:
    """Return Sysmon's event 1; `called` is how the parent was called."""
    return _watched(
        SYSMON_PROCESS, moment, process_guid(moment, number), number, image, command,
        "C:\\Windows\\system32\\", f"NORDLICHT\\{world.VICTIM}", _NO_GUID, 0x3A9F1, 1, "Medium",
        hashes(image), process_guid(moment, number // 2), number // 2, parent, called or parent,
    )  # fmt: skip


def sysmon_network(
    moment: datetime, image: str, port: int, address: str, host: str, number: int, *, to_port: int = 443
) -> Event:
    """Return Sysmon's event 3."""
    return _watched(
        SYSMON_NETWORK, moment, process_guid(moment, number), number, image, f"NORDLICHT\\{world.VICTIM}",
        "tcp", True, False, world.WORKSTATION_IP, world.WORKSTATION, port, False, address, host, to_port,
    )  # fmt: skip


def sysmon_end(moment: datetime, image: str, number: int) -> Event:
    """Return Sysmon's event 5."""
    return _watched(SYSMON_END, moment, process_guid(moment, number), number, image)


def sysmon_access(moment: datetime, image: str, target: str, access: int, number: int) -> Event:
    """Return Sysmon's event 10."""
    trace = (
        r"C:\Windows\SYSTEM32\ntdll.dll+9d1e4|C:\Windows\System32\KERNELBASE.dll+2bcbe|UNKNOWN(000001D4A7)"
    )
    guid = process_guid(moment, number)
    return _watched(SYSMON_ACCESS, moment, guid, number, 4_412, image, guid, 648, target, access, trace)


def sysmon_file(moment: datetime, image: str, path: str, number: int) -> Event:
    """Return Sysmon's event 11."""
    return _watched(SYSMON_FILE, moment, process_guid(moment, number), number, image, path, stamp(moment))


def sysmon_registry(moment: datetime, image: str, key: str, details: str, number: int) -> Event:
    """Return Sysmon's event 13."""
    return _watched(SYSMON_REGISTRY, moment, process_guid(moment, number), number, image, key, details)


def sysmon_stream(moment: datetime, image: str, path: str, contents: str, number: int) -> Event:
    """Return Sysmon's event 15: where a file was loaded from, among others."""
    guid = process_guid(moment, number)
    return _watched(SYSMON_STREAM, moment, guid, number, image, path, stamp(moment), hashes(path), contents)


def sysmon_dns(moment: datetime, image: str, host: str, address: str, number: int) -> Event:
    """Return Sysmon's event 22."""
    guid = process_guid(moment, number)
    return _watched(SYSMON_DNS, moment, guid, number, image, host, "0", f"::ffff:{address};")
