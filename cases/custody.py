"""The record of who did what to a case: written with the act, in its transaction.

Each entry's hash covers its content and the hash before it, so that nothing can be changed,
put in between or taken out without a trace. `docs/custody.md` tells others how to check it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from datetime import UTC
from typing import Any, Final

from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from accounts import audit
from accounts.audit import acting_as
from accounts.models import User
from cases.models import Case, CustodyEntry
from datamortem.common.storable import plain, storable

__all__ = ["acting_as", "content", "hash_of", "record", "storable", "verify"]

#: What stands before the first entry of every case.
GENESIS: Final = "0" * 64

#: What the hash covers, beside `previous_hash`; exactly what an export shows.
HASHED: Final = ("case_id", "sequence", "at", "actor", "action", "evidence_uid", "details", "previous_hash")

#: Acts about people, access, and what leaves: they are in the platform's audit record, too.
_AUDITED: Final = re.compile(
    r"(member|team)\..+|case\.(owner|restricted|unrestricted|joined|deleted)|evidence\.deleted"
    r"|.+\.(exported|downloaded)"
)


@transaction.atomic
def record(
    *,
    case_id: str,
    by: User | None,
    action: str,
    evidence_uid: str = "",
    details: dict[str, Any] | None = None,
) -> CustodyEntry:
    """Append an act to the record of a case; one about people or access also to the audit record.

    Whoever appends holds the row of the case until the end of the transaction, so that the
    sequence has no gaps and no forks. (SQLite: transactions of writers do not overlap at all.)
    """
    hold([case_id])
    last = CustodyEntry.objects.filter(case_id=case_id).order_by("-sequence").first()
    entry = _next(
        last, case_id=case_id, by=by, action=action, evidence_uid=evidence_uid, details=details or {}
    )
    entry.save(force_insert=True)
    if _AUDITED.fullmatch(action):
        audit.record(action, by=by, target=_target(entry), case_id=case_id, details=details)
    return entry


@transaction.atomic
def record_each(case_ids: Collection[str], *, by: User | None, action: str, details: dict[str, Any]) -> None:
    """Append the same act to the records of several cases; more cases do not take more queries.

    A case that was deleted meanwhile gets no entry.
    """
    held = hold(case_ids)
    acts = CustodyEntry.objects.filter(case_id=OuterRef("case_id")).order_by("-sequence")
    newest = Case.objects.filter(case_id__in=held).values_list(Subquery(acts.values("pk")[:1]))
    last = {entry.case_id: entry for entry in CustodyEntry.objects.filter(pk__in=[pk for (pk,) in newest])}
    CustodyEntry.objects.bulk_create(
        _next(last.get(case_id), case_id=case_id, by=by, action=action, details=details) for case_id in held
    )


def hold(case_ids: Collection[str]) -> list[str]:
    """Hold the rows of cases to the end of the transaction, and return which of them there are.

    Always in the same order: two who hold several at once never wait in a circle.
    """
    rows = Case.objects.select_for_update(no_key=True).filter(case_id__in=case_ids).order_by("case_id")
    return list(rows.values_list("case_id", flat=True))


def _next(
    last: CustodyEntry | None,
    *,
    case_id: str,
    by: User | None,
    action: str,
    evidence_uid: str = "",
    details: dict[str, Any],
) -> CustodyEntry:
    """Return the entry that follows the last one, not stored yet; the case is held."""
    entry = CustodyEntry(
        case_id=case_id,
        sequence=last.sequence + 1 if last else 1,
        at=timezone.now(),
        actor=audit.actor(by),
        user=by,
        action=action,
        evidence_uid=evidence_uid,
        details=plain(details),
        previous_hash=last.hash if last else GENESIS,
    )
    entry.hash = hash_of(content(entry))
    return entry


def _target(entry: CustodyEntry) -> str:
    """Return what an act was done to, in a word: evidence, or a person or team."""
    about = (entry.details.get(name) for name in ("member", "team", "address", "after"))
    return entry.evidence_uid or next((str(one) for one in about if one), "")


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
