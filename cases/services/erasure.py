"""Deleted text leaves the disk of the index, and the custody record says when.

The embedded index removes files, at once. A search server writes its segments anew, which takes
a while: what is due is remembered in rows, and workers go on with it.
"""

from __future__ import annotations

import logging
from typing import Final

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from cases import custody
from cases.engines import engine
from cases.index.engine import IndexUnavailable
from cases.models import Erasure

logger = logging.getLogger(__name__)

#: Erasures that one call goes on with.
_AT_ONCE: Final = 50


def expect_erasure(*, case_id: str, evidence_uid: str = "") -> None:
    """Have the custody record say when the text of a deletion has left the disk.

    Joins the transaction of the deletion. Without evidence it is the whole case.
    """
    if engine().erases_at_once:
        _record(case_id, evidence_uid)
    else:
        Erasure.objects.create(case_id=case_id, evidence_uid=evidence_uid)


def finish_erasures() -> int:
    """Go on with what is due, the longest untouched first; return how much has left the disk.

    One query when nothing is due. An index that does not answer is asked again at the next call.
    """
    due = Erasure.objects.filter(erased_at=None).order_by(F("tried_at").asc(nulls_first=True), "pk")
    done = 0
    for erasure in due[:_AT_ONCE]:
        try:
            gone = engine().erase(case_id=erasure.case_id, shard=erasure.evidence_uid)
        except IndexUnavailable as error:
            logger.warning("Deleted text cannot be removed from the index now: %s", error)
            break
        done += _tried(erasure, gone=gone)
    return done


@transaction.atomic
def _tried(erasure: Erasure, *, gone: bool) -> bool:
    """Note what became of a try; say whether this call is the one that finished it."""
    now = timezone.now()
    held = Erasure.objects.filter(pk=erasure.pk, erased_at=None)
    finished = bool(held.update(tried_at=now, erased_at=now if gone else None)) and gone
    if finished:
        _record(erasure.case_id, erasure.evidence_uid)
    return finished


def _record(case_id: str, evidence_uid: str) -> None:
    action = "evidence.erased" if evidence_uid else "case.erased"
    custody.record(case_id=case_id, by=None, action=action, evidence_uid=evidence_uid)
