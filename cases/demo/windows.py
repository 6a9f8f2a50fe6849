"""The Windows machines: what their Security and Sysmon logs hold on ordinary days, and that day."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import BinaryIO, Final

from cases.demo import windows_events as events
from cases.demo import world
from cases.demo.evtx_writer import EvtxWriter
from cases.demo.windows_events import Event
from cases.demo.windows_story import on_server, on_workstation_security, on_workstation_sysmon

Moment = tuple[datetime, Event]

_PROGRAMS: Final = (
    (r"C:\Program Files\Google\Chrome\Application\chrome.exe", "chrome.exe --type=renderer --lang=de"),
    (r"C:\Program Files\Microsoft Office\root\Office16\OUTLOOK.EXE", "OUTLOOK.EXE /recycle"),
    (r"C:\Program Files\Microsoft Office\root\Office16\EXCEL.EXE", r"EXCEL.EXE /dde Touren_KW11.xlsx"),
    (r"C:\Windows\System32\svchost.exe", "svchost.exe -k netsvcs -p -s wlidsvc"),
    (r"C:\Windows\System32\taskhostw.exe", "taskhostw.exe SYSTEM"),
    (r"C:\Windows\System32\conhost.exe", "conhost.exe 0xffffffff -ForceV1"),
    (r"C:\Windows\System32\SearchProtocolHost.exe", r"SearchProtocolHost.exe Global\UsGthrPipe12"),
    (r"C:\Program Files\Nordlicht\Dispo\Dispo.exe", "Dispo.exe /tour:today"),
    (r"C:\Program Files\Windows Defender\MpCmdRun.exe", "MpCmdRun.exe SignatureUpdate -ScheduleJob"),
    (r"C:\Windows\System32\backgroundTaskHost.exe", "backgroundTaskHost.exe -ServerName:App.AppX"),
)  # fmt: skip
_PARENTS: Final = (
    r"C:\Windows\explorer.exe",
    r"C:\Windows\System32\services.exe",
    r"C:\Windows\System32\svchost.exe",
)
_SITES: Final = (
    ("www.nordlicht.example", "10.20.5.20"),
    ("mail.nordlicht.example", "10.20.1.12"),
    ("maps.example.net", "192.0.2.14"),
    ("cdn.example.net", "192.0.2.31"),
    ("updates.example.com", "192.0.2.77"),
    ("news.example.org", "192.0.2.120"),
)
_FILES: Final = (
    r"C:\Users\anna.berg\AppData\Local\Google\Chrome\User Data\Default\Cache\f_%06x",
    r"C:\Users\anna.berg\Documents\Touren\Tour_%06x.xlsx",
    r"C:\Windows\Prefetch\DISPO.EXE-%06X.pf",
    r"C:\Users\anna.berg\AppData\Local\Temp\~DF%06X.tmp",
)


def write_workstation_security(target: BinaryIO, count: int) -> int:
    """Write WS-017's Security log, which begins when somebody cleared it; return the events."""
    first = world.at("10:31:00")
    noise = _noise("ws security", count, first, world.LAST, (
        (30, _process), (25, _process_end), (15, _service_logon), (12, _privileges), (12, _logoff),
        (6, _unlock),
    ))  # fmt: skip
    return _write(target, world.WORKSTATION, 48_211, noise, on_workstation_security())


def write_workstation_sysmon(target: BinaryIO, count: int) -> int:
    """Write WS-017's Sysmon log; return the events."""
    noise = _noise("ws sysmon", count, world.FIRST, world.LAST, (
        (24, _sysmon_process), (20, _sysmon_end), (18, _sysmon_network), (18, _sysmon_file),
        (12, _sysmon_dns), (8, _sysmon_registry),
    ))  # fmt: skip
    return _write(target, world.WORKSTATION, 310_408, noise, on_workstation_sysmon())


def write_server_security(target: BinaryIO, count: int) -> int:
    """Write the server's Security log; return the events."""
    noise = _noise("server security", count, world.FIRST, world.LAST, (
        (30, _network_logon), (24, _network_logoff), (16, _ticket), (16, _service_ticket), (8, _share),
        (4, _privileges), (2, _mistyped),
    ))  # fmt: skip
    return _write(target, world.SERVER, 7_340_021, noise, on_server())


def _write(
    target: BinaryIO, computer: str, first: int, noise: Iterator[Moment], story: Iterable[Moment]
) -> int:
    written = 0
    with EvtxWriter(target, first_number=first) as writer:
        for moment, event in heapq.merge(noise, story, key=lambda found: found[0]):
            system = (event.process, event.thread, event.account, None, computer)
            writer.write(event.template, world.filetime(moment), system, event.values)
            written += 1
    return written


def _noise(
    name: str,
    count: int,
    first: datetime,
    last: datetime,
    shares: tuple[tuple[int, Callable[[random.Random, datetime], Event]], ...],
) -> Iterator[Moment]:
    chance = world.chance_for(name)
    makers = [maker for share, maker in shares for _ in range(share)]
    for moment in world.moments(chance, count, first, last):
        yield moment, world.pick(chance, makers)(chance, moment)


def _id(chance: random.Random) -> int:
    return int(chance.random() * 4000) * 4 + 400


def _logon_id(chance: random.Random) -> int:
    return int(chance.random() * 0xFFFFFF) + 0x10000


def _process(chance: random.Random, moment: datetime) -> Event:
    image, command = world.pick(chance, _PROGRAMS)
    parent = world.pick(chance, _PARENTS)
    return events.process_created(world.VICTIM, image, command, parent, _id(chance))


def _process_end(chance: random.Random, moment: datetime) -> Event:
    image, _ = world.pick(chance, _PROGRAMS)
    sid = world.SIDS[world.VICTIM]
    return events.security(
        events.PROCESS_EXITED, sid, world.VICTIM, "NORDLICHT", 0x3A9F1, 0, _id(chance), image
    )


def _service_logon(chance: random.Random, moment: datetime) -> Event:
    return events.logon("SYSTEM", "NT AUTHORITY", "S-1-5-18", 0x3E7, 5, "-", "-", "Advapi  ", "WS-017$")


def _unlock(chance: random.Random, moment: datetime) -> Event:
    sid = world.SIDS[world.VICTIM]
    return events.logon(
        world.VICTIM, "NORDLICHT", sid, _logon_id(chance), 7, "127.0.0.1", "WS-017", "User32 ", "WS-017$"
    )


def _privileges(chance: random.Random, moment: datetime) -> Event:
    return events.privileges("SYSTEM", "NT AUTHORITY", "S-1-5-18", 0x3E7)


def _logoff(chance: random.Random, moment: datetime) -> Event:
    return events.security(
        events.LOGOFF, world.SIDS[world.VICTIM], world.VICTIM, "NORDLICHT", _logon_id(chance), 7
    )


def _network_logon(chance: random.Random, moment: datetime) -> Event:
    name = world.pick(chance, world.PEOPLE)
    return events.logon(
        name, "NORDLICHT", world.SIDS[name], _logon_id(chance), 3, world.ADDRESSES[name], "-", "Kerberos", "-"
    )


def _network_logoff(chance: random.Random, moment: datetime) -> Event:
    name = world.pick(chance, world.PEOPLE)
    return events.security(events.LOGOFF, world.SIDS[name], name, "NORDLICHT", _logon_id(chance), 3)


def _ticket(chance: random.Random, moment: datetime) -> Event:
    name = world.pick(chance, world.PEOPLE)
    return events.security(
        events.TICKET, name, "NORDLICHT.EXAMPLE", world.SIDS[name], "krbtgt", f"{world.DOMAIN_SID}-502",
        0x40810010, 0, 0x12, 2, f"::ffff:{world.ADDRESSES[name]}", str(49152 + _id(chance) % 16000),
    )  # fmt: skip


def _service_ticket(chance: random.Random, moment: datetime) -> Event:
    name = world.pick(chance, world.PEOPLE)
    return events.security(
        events.SERVICE_TICKET, f"{name}@NORDLICHT.EXAMPLE", "NORDLICHT.EXAMPLE", "SRV-DC1$",
        f"{world.DOMAIN_SID}-1000", 0x40810000, 0x12, f"::ffff:{world.ADDRESSES[name]}",
        str(49152 + _id(chance) % 16000), 0,
    )  # fmt: skip


def _share(chance: random.Random, moment: datetime) -> Event:
    name = world.pick(chance, world.PEOPLE)
    share = world.pick(chance, (r"\\*\SYSVOL", r"\\*\Touren", r"\\*\IPC$"))
    return events.share_accessed(name, world.ADDRESSES[name], share)


def _mistyped(chance: random.Random, moment: datetime) -> Event:
    name = world.pick(chance, world.PEOPLE)
    return events.logon_failed(name, world.ADDRESSES[name], 3)


def _sysmon_process(chance: random.Random, moment: datetime) -> Event:
    image, command = world.pick(chance, _PROGRAMS)
    return events.sysmon_process(moment, image, command, world.pick(chance, _PARENTS), _id(chance))


def _sysmon_end(chance: random.Random, moment: datetime) -> Event:
    image, _ = world.pick(chance, _PROGRAMS)
    return events.sysmon_end(moment, image, _id(chance))


def _sysmon_network(chance: random.Random, moment: datetime) -> Event:
    image, _ = world.pick(chance, _PROGRAMS)
    host, address = world.pick(chance, _SITES)
    return events.sysmon_network(moment, image, 49_152 + _id(chance) % 16_000, address, host, _id(chance))


def _sysmon_file(chance: random.Random, moment: datetime) -> Event:
    image, _ = world.pick(chance, _PROGRAMS)
    path = world.pick(chance, _FILES) % int(chance.random() * 0xFFFFFF)
    return events.sysmon_file(moment, image, path, _id(chance))


def _sysmon_dns(chance: random.Random, moment: datetime) -> Event:
    image, _ = world.pick(chance, _PROGRAMS)
    host, address = world.pick(chance, _SITES)
    return events.sysmon_dns(moment, image, host, address, _id(chance))


def _sysmon_registry(chance: random.Random, moment: datetime) -> Event:
    recent = r"Software\Microsoft\Office\16.0\Excel\Place MRU"
    key = rf"HKU\{world.SIDS[world.VICTIM]}\{recent}\Item {_id(chance) % 20}"
    return events.sysmon_registry(moment, r"C:\Windows\explorer.exe", key, "Binary Data", _id(chance))
