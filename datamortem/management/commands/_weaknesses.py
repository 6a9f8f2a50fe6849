"""What `manage.py doctor` looks at in who comes in, and by what: settings, keys, accounts.

On a public host a weakness is a problem; where nobody but this machine is answered it is a note.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet
from django.conf import settings
from django.contrib.auth.hashers import identify_hasher
from django.db.models import Q

from accounts import flags
from accounts.models import OutgoingMail, Role, User
from accounts.sealing import MARK, CannotUnseal, unseal
from accounts.second_factor_upkeep import standings
from datamortem.checks import is_public
from datamortem.common.terminal import printable
from datamortem.management.commands._finding import Finding

_SHORTEST_KEY: Final = 32
#: How many names one line has room for.
_NAMED: Final = 5
_ADMINS: Final = frozenset({Role.SUPERADMIN.value, Role.ADMIN.value})
#: Ways of Django to send mail that reach nobody.
_NOWHERE: Final = ("console", "dummy", "locmem", "filebased")


def of_settings() -> Iterator[Finding]:
    """Yield what the settings and keys say."""
    yield from _key_files()
    yield _finding("Keys of tokens", *_signing_keys())
    yield _finding("Keys of secrets", *_field_keys())
    lax = sorted(_ADMINS - set(settings.SECOND_FACTOR_ROLES))
    yield _finding(
        "Second factor",
        f"not asked of {', '.join(lax)}" if lax else "asked of every administrator",
        "Name superadmin and admin in SECOND_FACTOR_ROLES." if lax else "",
    )
    yield _finding("Mail", *_mail())
    yield _finding("Proxies", *_proxies())


def of_accounts() -> Iterator[Finding]:
    """Yield what the accounts say, and the secrets in the database."""
    is_open = settings.REGISTRATION == "open" and flags.is_on(flags.REGISTRATION)
    yield _finding(
        "Registration",
        "open to everybody who reaches this site" if is_open else f"{settings.REGISTRATION}, as set",
        "Set REGISTRATION to invitation or off, unless strangers may come in." if is_open else "",
    )
    yield from _administrators()
    yield _finding("Sealed secrets", *_sealed())
    yield from _passwords()


def _finding(name: str, detail: str, remedy: str = "") -> Finding:
    return Finding(name, detail, remedy, note=not is_public())


def _key_files() -> Iterator[Finding]:
    for name in ("secret.key", "field.key"):
        path: Path = settings.HOME / name
        if not path.exists():
            continue  # the key is in the environment
        others = path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        remedy = f"chmod 600 {path}" if others else ""
        yield _finding(name, "others on this machine can read it" if others else "read by its owner", remedy)


def _signing_keys() -> tuple[str, str]:
    keys = settings.SIGNING_KEYS
    if any(len(key) < _SHORTEST_KEY for key in keys):
        return "one of SIGNING_KEYS is short", f"Give each {_SHORTEST_KEY} or more random characters."
    if settings.SECRET_KEY in keys:
        return "SECRET_KEY is one of SIGNING_KEYS", "Give SIGNING_KEYS a random value of its own."
    return (f"{len(keys)} of their own" if keys else "made from SECRET_KEY"), ""


def _field_keys() -> tuple[str, str]:
    if not settings.FIELD_KEYS:
        return "there are none", "Set FIELD_KEYS: secrets cannot be sealed without."
    try:
        for key in settings.FIELD_KEYS:
            Fernet(key)
    except ValueError:
        return "one of FIELD_KEYS is no Fernet key", "Set keys of 32 random bytes in URL-safe base64."
    return f"{len(settings.FIELD_KEYS)}", ""


def _mail() -> tuple[str, str]:
    backend = settings.EMAIL_BACKEND.rpartition(".")[0].rpartition(".")[2]
    if backend in _NOWHERE:
        return f"goes to {backend}, to nobody", "Set EMAIL_URL=smtp+tls://user:password@host:587."
    return f"by {backend} over {settings.EMAIL_HOST}", ""


def _proxies() -> tuple[str, str]:
    declared, behind = settings.NUM_PROXIES, settings.SECURE_PROXY_SSL_HEADER is not None
    if behind and not declared:
        remedy = "Set NUM_PROXIES to how many proxies append to X-Forwarded-For."
        return "behind one, and all requests count as coming from it", remedy
    if declared and not behind:
        remedy = "Set NUM_PROXIES=0, or BEHIND_PROXY=true if there is a proxy."
        return "none, and X-Forwarded-For is believed: everybody chooses their address", remedy
    return f"{declared}", ""


def _administrators() -> Iterator[Finding]:
    active = User.objects.filter(is_active=True).order_by("email")
    admins = active.filter(Q(role__in=_ADMINS) | Q(is_superuser=True))
    number = active.filter(Q(role=Role.SUPERADMIN) | Q(is_superuser=True)).count()
    remedy = "" if number else "Make one: manage.py createsuperuser"
    yield _finding("Superadmins", f"{number} active", remedy)
    for name, found, remedy in (
        (
            "Administrators without a second factor",
            admins.filter(otp_enabled=False),
            "Have them enrol one, or lower their role: until then their password is all there is.",
        ),
        (
            "Administrators who never signed in",
            admins.filter(last_login=None),
            "Have them sign in, or make them inactive.",
        ),
    ):
        names = _some(found.values_list("email", flat=True))
        yield _finding(name, names or "none", remedy if names else "")


def _some(names: Iterable[str]) -> str:
    """Return as many of the names as there is room for."""
    found = [printable(name) for name in islice(names, _NAMED + 1)]
    return ", ".join(found[:_NAMED]) + (" and others" if len(found) > _NAMED else "")


def _sealed() -> tuple[str, str]:
    """Say whether everything that is sealed can be read, and is sealed."""
    faulty = [standing.user.email for standing in standings() if standing.faults]
    if faulty:
        return f"faults at {_some(faulty)}", "manage.py second_factor status says what mends them."
    waiting = OutgoingMail.objects.filter(sealed__startswith=MARK).values_list("sealed", flat=True)
    lost = sum(not _can_unseal(sealed or "") for sealed in waiting.iterator())
    if lost:
        return f"{lost} mails that wait cannot be read", "Give FIELD_KEYS their key again."
    return "all can be read", ""


def _can_unseal(sealed: str) -> bool:
    try:
        unseal(sealed)
    except CannotUnseal:
        return False
    return True


def _passwords() -> Iterator[Finding]:
    """Say how the passwords of active accounts are stored."""
    kinds = {"strong": 0, "weak": 0, "none": 0}
    active = User.objects.filter(is_active=True).values_list("password", flat=True)
    for encoded in active.iterator():
        kinds[_kind(encoded)] += 1
    yield _finding(
        "Password hashes",
        f"{kinds['strong']} strong, {kinds['weak']} of an older kind, {kinds['none']} accounts without",
        "They are hashed anew when their people sign in next: make inactive who does not come any more."
        if kinds["weak"]
        else "",
    )


def _kind(encoded: str) -> str:
    if encoded.startswith("$2"):
        return "weak"  # bcrypt as the old system wrote it
    try:
        algorithm = identify_hasher(encoded).algorithm
    except ValueError:
        return "none"
    return "strong" if algorithm == "argon2" else "weak"
