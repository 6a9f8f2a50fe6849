"""Naming a user as people do: by username, address or id."""

from __future__ import annotations

from django.db.models import Q

from accounts.models import User
from datamortem.common.errors import Invalid

_LONGEST_ID = 9


def active_user(name: str) -> User:
    """Return the one active user of this name. Raises Invalid.

    A name that fits two is refused: somebody may have taken another's address as username.
    """
    named = Q(username=name) | Q(email__iexact=name)
    if name.isascii() and name.isdecimal() and len(name) <= _LONGEST_ID:
        named |= Q(pk=int(name))
    found = list(User.objects.filter(named, is_active=True)[:2]) if "\x00" not in name else []
    if not found:
        raise Invalid("No active user has this username or address.", field="user")
    if len(found) > 1:
        raise Invalid(
            "More than one user goes by this name: say another of username, address, id.", field="user"
        )
    return found[0]
