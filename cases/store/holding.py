"""Who may remove content, and who may begin to hold it: one at a time, on all machines.

The database says which evidence holds what, so it also decides. Whoever registers content takes
its lock within the transaction, and looks that the content is there; whoever removes content
takes the same lock within a transaction, and looks that nobody holds it. The lock ends with the
transaction, also when its process, its machine or the network dies.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from django.db import DatabaseError, connection, transaction

from cases.store.content import Stored, StoreDown, key_of
from cases.store.places import place
from datamortem.common.errors import DomainError

logger = logging.getLogger(__name__)

#: Tells our locks from other advisory locks of the database.
_OURS: Final = 0x45564944


def hold(stored: Stored) -> None:
    """Keep content from being removed until the transaction ends; what was just removed comes back.

    For the block of an intake, while its draft is there. Raises StoreDown.
    """
    _lock(stored.sha256)
    there = place()
    if there.size(stored.key) == stored.size:
        return
    if stored.draft is not None:
        there.settle(stored.draft, stored)
    if there.size(stored.key) != stored.size:
        raise StoreDown("The evidence store does not keep what is put into it.")


def discard(sha256: str, is_held: Callable[[str], bool]) -> bool:
    """Remove content unless somebody holds it; return whether it is gone now.

    A place that does not answer keeps it, which is logged: `finish_discards` tries again.
    """
    with transaction.atomic():
        _lock(sha256)
        if is_held(sha256):
            return False
        try:
            place().remove(key_of(sha256))
        except DomainError as error:
            logger.error("The bytes of %s could not be removed yet: %s", sha256, error)
            return False
    return True


def withdraw(stored: Stored, is_held: Callable[[str], bool]) -> None:
    """Remove content whose registration failed, unless it was registered nevertheless.

    A commit may have been done and its answer lost.
    """
    try:
        discard(stored.sha256, is_held)
    except (DatabaseError, StoreDown) as error:
        logger.error("Content %s may be held by no evidence: %s", stored.sha256, type(error).__name__)


def _lock(sha256: str) -> None:
    """Wait for the lock of content; on SQLite a transaction excludes all others from its begin."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("Content is held within a transaction.")
    if connection.vendor == "postgresql":
        number = int.from_bytes(bytes.fromhex(sha256[:8]), signed=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_OURS, number])
