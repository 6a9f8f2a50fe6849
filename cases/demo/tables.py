"""The workstation's browser timeline as JSON lines, and the firewall's traffic as CSV."""

from __future__ import annotations

import csv
import heapq
import io
import json
import random
from collections.abc import Iterator
from datetime import datetime
from typing import BinaryIO, Final

from cases.demo import world

Visit = tuple[datetime, dict[str, object]]
Row = tuple[datetime, tuple[object, ...]]

_SITES: Final = (
    ("https://www.nordlicht.example/", "Nordlicht Logistik"),
    ("https://mail.nordlicht.example/owa/", "Outlook"),
    ("https://dispo.nordlicht.example/touren/%d", "Disposition – Tour %d"),
    ("https://maps.example.net/route?to=%d", "Route planen"),
    ("https://news.example.org/artikel/%d", "Nachrichten"),
    ("https://wiki.nordlicht.example/seite/%d", "Wiki"),
)
_COLUMNS: Final = (
    "timestamp", "action", "protocol", "src_ip", "src_port", "dst_ip", "dst_port", "bytes_sent",
    "bytes_received", "rule",
)  # fmt: skip
_OUTSIDE: Final = ("192.0.2.14", "192.0.2.31", "192.0.2.77", "192.0.2.120", "192.0.2.200")


def write_browser_history(target: BinaryIO, count: int) -> int:
    """Write what WS-017's browser remembers; return the lines."""
    visits = heapq.merge(_browser_noise(count), _browser_story(), key=lambda found: found[0])
    written = 0
    for moment, visit in visits:
        stamp = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06}+00:00"
        target.write(json.dumps({"datetime": stamp, **visit}, ensure_ascii=False).encode() + b"\n")
        written += 1
    return written


def write_firewall_log(target: BinaryIO, count: int) -> int:
    """Write the traffic that passed the firewall or did not; return the rows."""
    rows = heapq.merge(_firewall_noise(count), _firewall_story(), key=lambda found: found[0])
    text = io.TextIOWrapper(target, encoding="utf-8", newline="", write_through=True)
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(_COLUMNS)
    written = 0
    for moment, row in rows:
        table.writerow((f"{moment:%Y-%m-%dT%H:%M:%SZ}", *row))
        written += 1
    text.flush()
    text.detach()
    return written


def _visited(url: str, title: str, *, typed: int = 0) -> dict[str, object]:
    return {
        "timestamp_desc": "Last Visited Time",
        "message": f"{title} ({url})",
        "data_type": "chrome:history:page_visited",
        "url": url,
        "title": title,
        "typed_count": typed,
        "user": world.VICTIM,
        "hostname": world.WORKSTATION,
    }


def _browser_noise(count: int) -> Iterator[Visit]:
    chance = world.chance_for("browser")
    for moment in world.moments(chance, count):
        url, title = world.pick(chance, _SITES)
        number = int(chance.random() * 90_000)
        yield moment, _visited(_numbered(url, number), _numbered(title, number))


def _numbered(text: str, number: int) -> str:
    return text % number if "%d" in text else text


def _browser_story() -> list[Visit]:
    archive = f"https://{world.PHISHING}/files/Invoice_4471.zip"
    saved = rf"C:\Users\{world.VICTIM}\Downloads\Invoice_4471.zip"
    mail = "https://mail.nordlicht.example/owa/#path=/mail/inbox/id/4471"
    downloaded = _visited(archive, "Invoice_4471.zip") | {
        "timestamp_desc": "File Downloaded",
        "message": f"{archive} downloaded to {saved}",
        "data_type": "chrome:history:file_downloaded",
        "full_path": saved,
        "received_bytes": 48_213,
    }
    return [
        (world.at("08:41:07.204"), _visited(mail, "Offene Rechnung 4471 - Outlook")),
        (world.at("08:41:52.690"), _visited(f"https://{world.PHISHING}/invoice/4471", "Rechnung 4471")),
        (world.at("08:42:05.931"), downloaded),
    ]


def _firewall_noise(count: int) -> Iterator[Row]:
    chance = world.chance_for("firewall")
    for moment in world.moments(chance, count):
        yield moment, _connection(chance)


def _connection(chance: random.Random) -> tuple[object, ...]:
    port = 49_152 + int(chance.random() * 16_000)
    sent, received = int(chance.random() * 9_000), int(chance.random() * 400_000)
    kind = chance.random()
    if kind < 0.70:
        source = world.pick(chance, tuple(world.ADDRESSES.values()))
        return "allow", "tcp", source, port, world.pick(chance, _OUTSIDE), 443, sent, received, "clients-web"
    if kind < 0.85:
        visitor = f"192.0.2.{130 + int(chance.random() * 120)}"
        return "allow", "tcp", visitor, port, world.WEB_IP, 443, sent, received, "dmz-web"
    stranger = f"203.0.113.{40 + int(chance.random() * 60)}"
    return (
        "deny",
        "tcp",
        stranger,
        port,
        world.WEB_IP,
        world.pick(chance, (22, 23, 3389, 445)),
        60,
        0,
        "default",
    )


def _firewall_story() -> list[Row]:
    out = world.ATTACKER_IP
    return [
        (
            world.at("08:43:17"),
            ("allow", "tcp", world.WORKSTATION_IP, 51_544, out, 443, 18_204, 912_377, "clients-web"),
        ),
        (
            world.at("09:46:02"),
            ("allow", "tcp", out, 40_118, world.WEB_IP, 443, 2_114, 3_902, "dmz-web"),
        ),
        (
            world.at("10:05:03"),
            ("allow", "tcp", world.WEB_IP, 40_992, out, 443, 734_003_200, 48_112, "dmz-out"),
        ),
        (
            world.at("10:14:27"),
            ("allow", "tcp", world.WEB_IP, 41_004, out, 443, 612_368_384, 40_031, "dmz-out"),
        ),
    ]
