"""How passwords are stored: Argon2 as strong as this machine bears, and bcrypt of the old system to read.

A hash takes tens of megabytes and all of a core for a while. So its memory is chosen for the
machine, and no more hashes run at once than PASSWORD_CONCURRENCY: who asks beyond that waits in
line, and is told to come back when the line does not move.

The old system stored raw bcrypt ("$2b$12$…") where Django expects "algorithm$…"; adoption puts
"bcrypt$" before them. A login that succeeds stores the password anew with the preferred hasher.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn

import bcrypt
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher, BCryptPasswordHasher

from datamortem.common.errors import Unavailable

#: Memory of one hash in KiB. The least is that of the OWASP Password Storage Cheat Sheet for two
#: passes in one lane; more than the most costs the machine more than it costs an attacker.
LEAST: Final = 19 * 1024
MOST: Final = 64 * 1024
_BETWEEN: Final = (MOST, 46 * 1024, 32 * 1024, LEAST)
#: The part of the machine's memory that the hashes of one process may fill.
_SHARE: Final = 16
#: How long somebody waits in line for a hash, in seconds.
PATIENCE: Final = 10.0
#: Where the kernel says how much memory this process and its neighbours may use.
_LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class TooBusy(Unavailable):
    """More passwords are being checked than this machine can check at once."""

    code = "busy"
    retry_after = 5


@cache
def machine_memory() -> int:
    """Return how many bytes of memory there are for us: the machine's, or less where a cgroup says so."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for place in map(Path, _LIMITS):
        text = place.read_text("ascii").strip() if place.is_file() else ""
        if text.isdecimal():  # "max" where there is no limit
            found.append(int(text))
    return min(found)


def memory_cost(*, memory: int, at_once: int) -> int:
    """Return the KiB of one hash, so that so many at once fit into so many bytes of a machine."""
    each = memory // _SHARE // at_once // 1024
    return next((size for size in _BETWEEN if size <= each), LEAST)


@cache
def _line(at_once: int) -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(at_once)


@contextmanager
def _turn() -> Iterator[None]:
    """Wait for a turn to hash. Raises TooBusy."""
    line = _line(settings.PASSWORD_CONCURRENCY)
    if not line.acquire(timeout=PATIENCE):
        raise TooBusy("Too many people sign in at this moment: try again in a few seconds.")
    try:
        yield
    finally:
        line.release()


class MachineArgon2Hasher(Argon2PasswordHasher):
    """Argon2id with two passes, one lane, and the memory that suits this machine.

    A password whose hash has other parameters is hashed anew when it is next given.
    """

    time_cost = 2
    parallelism = 1

    @property
    def memory_cost(self) -> int:  # type: ignore[override]  # a constant in Django
        """Return the KiB of one hash: PASSWORD_MEMORY, or what was chosen for the machine."""
        chosen = memory_cost(memory=machine_memory(), at_once=settings.PASSWORD_CONCURRENCY)
        return settings.PASSWORD_MEMORY or chosen

    def encode(self, password: str, salt: str) -> str:
        """Return the hash. Raises TooBusy."""
        with _turn():
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        """Return whether they match; a hash that cannot be read matches nothing. Raises TooBusy."""
        with _turn():
            try:
                return super().verify(password, encoded)
            except ValueError:
                return False

    def must_update(self, encoded: str) -> bool:
        """Return whether the hash was made with other parameters, or cannot be read."""
        try:
            return super().must_update(encoded)
        except ValueError:
            return True


class LegacyBCryptPasswordHasher(BCryptPasswordHasher):
    """bcrypt as the old system used it: nothing beyond the 72nd byte counts. It only checks."""

    algorithm = "bcrypt"
    rounds = 12  # otherwise every old hash would look outdated before it is checked

    def salt(self) -> NoReturn:
        """Refuse: no new password is stored like this."""
        raise NotImplementedError("bcrypt is there to check the hashes of the old system.")

    def encode(self, password: str, salt: Any) -> str:
        """Return "bcrypt$" and the hash that the salt, an old hash, asks for. Raises TooBusy.

        bcrypt 5 refuses what bcrypt 4 cut, so it is cut here.
        """
        salt = salt.encode("ascii") if isinstance(salt, str) else salt
        with _turn():
            hashed = bcrypt.hashpw(password.encode()[:72], salt)
        return f"{self.algorithm}${hashed.decode('ascii')}"

    def verify(self, password: str, encoded: str) -> bool:
        """Return whether they match; a hash that the library cannot read matches nothing."""
        try:
            return bool(super().verify(password, encoded))
        except ValueError:
            return False
