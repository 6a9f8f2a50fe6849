"""Start-up checks: combinations of settings that are unsafe do not start.

Each has an id, the reason and the remedy. Loopback means this machine alone.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register

from datamortem.common.buckets import SCHEME, read_bucket_url

_LOOPBACK_NAMES = {"localhost", "testserver"}


def is_loopback(host: str) -> bool:
    host = host.strip("[]").lower()
    if host in _LOOPBACK_NAMES or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_public() -> bool:
    """Whether anybody but this machine may be answered."""
    hosts = [*settings.ALLOWED_HOSTS, urlsplit(settings.PUBLIC_URL).hostname or ""]
    return not all(is_loopback(host) for host in hosts)


@register(Tags.security)
def check_exposure(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse what is fine on a laptop and dangerous in front of others."""
    return list(_exposure()) if is_public() else []


def _exposure() -> Iterator[CheckMessage]:
    if settings.DEBUG:
        yield Error(
            "DEBUG is on and the site answers to a public host: error pages would show settings and data.",
            hint="Set DEBUG=false, or limit ALLOWED_HOSTS and PUBLIC_URL to loopback.",
            id="datamortem.E001",
        )
    if (
        len(settings.SECRET_KEY) < 50
        or len(set(settings.SECRET_KEY)) < 10
        or "insecure" in settings.SECRET_KEY
    ):
        yield Error(
            "SECRET_KEY is a default or too short for a public host: sessions and tokens could be forged.",
            hint="Set SECRET_KEY to 50 or more random characters, or leave it unset to have one made.",
            id="datamortem.E002",
        )
    if "*" in settings.ALLOWED_HOSTS:
        yield Error(
            "ALLOWED_HOSTS holds '*': links in mails could point to an attacker's host.",
            hint="List the host names of this site.",
            id="datamortem.E003",
        )
    if settings.PUBLIC_URL.startswith("http://"):
        yield Error(
            "PUBLIC_URL is plain HTTP on a public host: passwords and evidence would travel in clear.",
            hint="Put a TLS proxy in front, set PUBLIC_URL=https://… and BEHIND_PROXY=true.",
            id="datamortem.E004",
        )


@register(Tags.security)
def check_directories(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse directories with evidence, index or keys that other users of the machine can read."""
    found: list[CheckMessage] = []
    for number, path in ((5, settings.HOME), (6, settings.EVIDENCE_ROOT), (7, settings.INDEX_ROOT)):
        if _readable_by_others(path):
            found.append(
                Error(
                    f"{path} can be read by every user of this machine, and holds evidence or keys.",
                    hint=f"chmod o-rwx {path}",
                    id=f"datamortem.E00{number}",
                )
            )
    if settings.EVIDENCE_ROOT.is_relative_to(settings.STATIC_ROOT):
        found.append(
            Error(
                "The evidence lies inside the directory of static files, which is served to everybody.",
                hint="Move EVIDENCE_URL elsewhere.",
                id="datamortem.E008",
            )
        )
    return found


def _readable_by_others(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_mode & stat.S_IRWXO)


@register(Tags.security, deploy=True)
def check_bucket(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Tell a server that sends evidence in clear to another machine."""
    if not settings.EVIDENCE_URL.startswith(SCHEME):
        return []
    endpoint = read_bucket_url(settings.EVIDENCE_URL).endpoint or settings.EVIDENCE_S3_ENDPOINT
    parts = urlsplit(endpoint)
    if parts.scheme != "http" or is_loopback(parts.hostname or ""):
        return []
    return [
        checks.Warning(
            "The bucket of the evidence is asked in plain HTTP: whoever listens reads the evidence.",
            hint="Give EVIDENCE_S3_ENDPOINT as https://…, or see that this network is yours alone.",
            id="datamortem.W002",
        )
    ]


@register(Tags.security, deploy=True)
def check_laptop(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Tell a server that still runs on the embedded default."""
    if settings.DATABASES["default"]["ENGINE"] == "datamortem.sqlite3" and is_public():
        return [
            checks.Warning(
                "A public host runs on SQLite: one machine, one writer at a time.",
                hint="Set DATABASE_URL=postgres://… for a team.",
                id="datamortem.W001",
            )
        ]
    return []
