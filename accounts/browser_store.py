"""Sessions of browsers, in the database under digests of their keys: who reads the table takes over none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.sessions.backends import db
from django.utils import timezone

from accounts.sealing import digest

if TYPE_CHECKING:
    from django.contrib.sessions.base_session import AbstractBaseSession


class SessionStore(db.SessionStore):
    """Django's own, but for what stands in the column `session_key`."""

    def exists(self, session_key: str) -> bool:
        """Whether there is a session of this key."""
        return super().exists(_stored(session_key))

    def delete(self, session_key: str | None = None) -> None:
        """Remove the session of a key, or this one."""
        if key := session_key or self.session_key:
            super().delete(_stored(key))

    def create_model_instance(self, data: dict[str, object]) -> AbstractBaseSession:
        """Return the row that holds the data."""
        row = super().create_model_instance(data)
        row.session_key = _stored(row.session_key)
        return row

    def _get_session_from_db(self) -> AbstractBaseSession | None:
        found = self.model.objects.filter(
            session_key=_stored(self.session_key or ""), expire_date__gt=timezone.now()
        ).first()
        if found is None:
            self._session_key = None
        return found


def _stored(key: str) -> str:
    """Return 160 bits of the key's digest; the column holds 40 characters."""
    return digest(key)[:40]
