"""The password hashes of the old system, readable by Django.

It stored raw bcrypt ("$2b$12$…") where Django expects "algorithm$…"; adoption puts "bcrypt$"
before them. A login that succeeds stores the password anew with the preferred hasher.
"""

import bcrypt
from django.contrib.auth.hashers import BCryptPasswordHasher


class LegacyBCryptPasswordHasher(BCryptPasswordHasher):
    """bcrypt as the old system used it: 12 rounds, and nothing beyond the 72nd byte counts."""

    algorithm = "bcrypt"
    rounds = 12  # otherwise every old hash would look outdated before it is checked

    def encode(self, password: str, salt: str | bytes) -> str:
        """Return "bcrypt$" and the hash. bcrypt 5 refuses what bcrypt 4 cut, so it is cut here."""
        salt = salt.encode("ascii") if isinstance(salt, str) else salt
        hashed = bcrypt.hashpw(password.encode()[:72], salt)
        return f"{self.algorithm}${hashed.decode('ascii')}"

    def verify(self, password: str, encoded: str) -> bool:
        """Return whether they match. A hash that the library cannot read matches nothing."""
        try:
            return bool(super().verify(password, encoded))
        except ValueError:
            return False
