"""The record of who did what to a case: written with the act, in its transaction.

Each entry's hash covers its content and the hash before it, so that nothing can be changed,
put in between or taken out without a trace. `docs/custody.md` tells others how to check it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from cases.models import Case, CustodyEntry

#: What stands before the first entry of every case.
GENESIS: Final = "0" * 64

#: What the hash covers, beside `previous_hash`; exactly what an export shows.
HASHED: Final = ("case_id", "sequence", "at", "actor", "action", "evidence_uid", "details", "previous_hash")

_actor: ContextVar[str] = ContextVar("custody_actor", default="system")


@contextmanager
def acting_as(actor: str) -> Iterator[None]:
    """Name who acts when no user does, such as a worker or an operator's command."""
    token = _actor.set(storable(actor)[:255])
    try:
        yield
    finally:
        _actor.reset(token)


@transaction.atomic
def record(
    *,
    case_id: str,
    by: User | None,
    action: str,
    evidence_uid: str = "",
    details: dict[str, Any] | None = None,
) -> CustodyEntry:
    """Append an act to the record of a case.

    Whoever appends holds the row of the case until the end of the transaction, so that the
    sequence has no gaps and no forks. (SQLite: transactions of writers do not overlap at all.)
    """
    Case.objects.select_for_update(no_key=True).filter(case_id=case_id).first()
    last = CustodyEntry.objects.filter(case_id=case_id).order_by("-sequence").first()
    entry = CustodyEntry(
        case_id=case_id,
        sequence=last.sequence + 1 if last else 1,
        at=timezone.now(),
        actor=storable(f"{by.username} <{by.email}>")[:255] if by else _actor.get(),
        user=by,
        action=action,
        evidence_uid=evidence_uid,
        details=_plain(details or {}),
        previous_hash=last.hash if last else GENESIS,
    )
    entry.hash = hash_of(content(entry))
    entry.save(force_insert=True)
    return entry


def content(entry: CustodyEntry) -> dict[str, Any]:
    """Return what the hash covers, as an export shows it."""
    shown = {name: getattr(entry, name) for name in HASHED}
    shown["at"] = entry.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return shown


def hash_of(covered: dict[str, Any]) -> str:
    """Return SHA-256 over canonical JSON: sorted names, no spaces, UTF-8."""
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def verify(case_id: str) -> list[str]:
    """Return what is wrong with the record of a case, the first bad entry first; empty if intact.

    Entries cut off at the end cannot be missed from inside: compare the last hash with one
    that was noted elsewhere.
    """
    previous = GENESIS
    entries = CustodyEntry.objects.filter(case_id=case_id).order_by("sequence")
    for sequence, entry in enumerate(entries.iterator(), start=1):
        if entry.sequence != sequence:
            return [f"Entry {sequence} of case {case_id} is missing: the next one is {entry.sequence}."]
        if entry.previous_hash != previous:
            return [f"Entry {sequence} of case {case_id} does not follow the entry before it."]
        if hash_of(content(entry)) != entry.hash:
            return [f"Entry {sequence} of case {case_id} was changed after it was written."]
        previous = entry.hash
    return []


def storable(text: str) -> str:
    """Return the text as every database can keep it, with nothing dropped.

    NUL becomes its Unicode picture and a lone surrogate (a file name that is not UTF-8) its
    escape: PostgreSQL stores neither.
    """
    return text.replace("\x00", "\u2400").encode("utf-8", "backslashreplace").decode()


def _plain(value: Any) -> Any:
    """Return JSON that reads back from any database exactly as it was hashed.

    PostgreSQL rewrites floats (1e22 comes back as an integer), so they are kept as text.
    """
    match value:
        case dict():
            return {storable(str(name)): _plain(held) for name, held in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(held) for held in value]
        case str():
            return storable(value)
        case float():
            return repr(value)
        case datetime():
            return value.astimezone(UTC).isoformat()
        case bool() | int() | None:
            return value
        case _:
            return storable(str(value))
