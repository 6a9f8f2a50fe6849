"""An authenticator app as people carry it, and the clock that tests set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django_otp.oath import hotp

from accounts import second_factor, tokens
from accounts.models import TotpDevice, User
from accounts.models.second_factor import PERIOD, key_of

PASSWORD = "correct horse battery"


@dataclass
class Clock:
    """The time as the devices see it, in seconds."""

    now: float = 1_700_000_010.0

    def wait(self, periods: int = 1) -> None:
        """Let so many codes go by."""
        self.now += periods * PERIOD


@dataclass
class Phone:
    """Shows the codes of a secret; `off` is by how many periods its own clock is wrong."""

    secret: str
    clock: Clock
    off: int = 0

    def code(self) -> str:
        """Return what it shows now."""
        return f"{hotp(key_of(self.secret), int(self.clock.now // PERIOD) + self.off):06d}"

    def next_code(self) -> str:
        """Return what it shows half a minute later, which is now then."""
        self.clock.wait()
        return self.code()

    def wrong_code(self) -> str:
        """Return one that it does not show for a while."""
        near = {f"{hotp(key_of(self.secret), int(self.clock.now // PERIOD) + n):06d}" for n in range(-5, 5)}
        return next(code for code in ("000000", "111111", "222222", "333333") if code not in near)


@dataclass(frozen=True)
class Owner:
    """Somebody who has enrolled: the account, the phone, and the sheet of recovery codes."""

    user: User
    phone: Phone
    codes: list[str]


def set_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a clock that stands still until the test moves it."""
    clock = Clock()
    monkeypatch.setattr("accounts.models.second_factor.time", lambda: clock.now)
    return clock


def person(name: str = "alice", **facts: Any) -> User:
    """Return a new user who signed in by password."""
    user = User.objects.create_user(f"{name}@example.org", name, PASSWORD, **facts)
    tokens.issue(user)
    return user


def enrolled(clock: Clock, name: str = "alice", **facts: Any) -> Owner:
    """Return a new user who signed in and set up a second factor just now."""
    user = person(name, **facts)
    phone = Phone(second_factor.enrol(user).secret, clock)
    session = user.access.session if user.access else None
    codes = second_factor.confirm(user, phone.code(), keep=session)
    clock.wait()
    return Owner(User.objects.get(pk=user.pk), phone, codes)


def is_consistent(user: User) -> bool:
    """Whether the account's column and its device say the same."""
    held = User.objects.get(pk=user.pk)
    confirmed: bool = TotpDevice.objects.filter(user=user, confirmed=True).exists()
    return held.otp_enabled == confirmed
