"""Mail: written down with the act it speaks of, made and sent by the worker after that.

Whoever asks for a mail writes a row and waits for nothing, so that no answer tells by its time
whether an address is known, and no mail speaks of what was rolled back. Tokens are made when the
mail is (`accounts.letters`): none ever lies in the database. A worker that dies over a mail leaves
a lease that ends: a mail goes out at least once, and the token of the last one counts.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import datetime, timedelta
from smtplib import SMTPDataError, SMTPRecipientsRefused, SMTPSenderRefused
from threading import Event
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts import letters
from accounts.models import OutgoingMail
from accounts.sealing import CannotUnseal, seal, unseal

logger = logging.getLogger(__name__)

#: How long a worker has a mail for itself; beyond that it is taken for dead.
LEASE: Final = timedelta(minutes=3)
#: How long a mail is tried, and the first and the longest pause between two tries.
GIVE_UP: Final = timedelta(days=1)
_FIRST_PAUSE: Final = timedelta(minutes=1)
_LONGEST_PAUSE: Final = timedelta(hours=3)
#: How long the rows of mails that went out, or never will, can be looked at.
KEPT: Final = timedelta(days=30)
#: What a mail server may quote of a mail in its refusal, and nobody should read in a table.
_LONG_WORDS: Final = re.compile(r"[\w-]{32,}")


def post(kind: str, recipient: str, locale: str, **context: Any) -> None:
    """Have a mail sent, once the transaction is over. What it speaks of must be JSON, and no token."""
    if kind not in letters.KINDS:
        raise ValueError(f"There is no mail of the kind {kind!r}.")
    OutgoingMail.objects.create(
        kind=kind, recipient=recipient, locale=locale or "", sealed=seal(json.dumps(context))
    )


def due() -> QuerySet[OutgoingMail]:
    """Return the mails that may be sent now, oldest first."""
    now = timezone.now()
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    return OutgoingMail.objects.filter(free, sent_at=None, failed_at=None, due_at__lte=now).order_by("pk")


def deliver_due(limit: int = 20, *, stop: Event | None = None) -> int:
    """Send what is due, as much as `limit` and until `stop`; return how many mails went out.

    Where the mail server does not answer, the others wait with the one that found out.
    """
    taken, sent = list(due()[:limit]), 0
    silence: OSError | None = None
    for mail in taken:
        if stop is not None and stop.is_set():
            break
        if not _claim(mail):
            continue
        if silence is not None:
            _put_off(mail, silence)
            continue
        try:
            sent += _deliver(mail)
        except OSError as error:  # what smtplib raises, too
            silence = error
            logger.warning("The mail server does not take mail: %s", _reason(error))
            _put_off(mail, error)
    if taken:
        OutgoingMail.objects.filter(created_at__lt=timezone.now() - KEPT, sealed=None).delete()
    return sent


def _claim(mail: OutgoingMail) -> bool:
    """Take a mail for this worker; False when another one has it. `attempts` tells the two apart."""
    free = due().filter(pk=mail.pk, attempts=mail.attempts)
    mail.attempts += 1
    return free.update(lease_until=timezone.now() + LEASE, attempts=mail.attempts) == 1


def _deliver(mail: OutgoingMail) -> bool:
    """Make a mail and send it; say whether it went out. Raises OSError while the server is away."""
    try:
        message = letters.write(mail.kind, mail.recipient, mail.locale, json.loads(unseal(mail.sealed or "")))
        if message is None:  # nobody is to get it: closed like one that went out
            return not _close(mail, sent_at=timezone.now())
        message.send()
    except (CannotUnseal, ValueError) as error:  # ValueError: no address, or one that holds a line break
        _close(mail, failed_at=timezone.now(), error=_reason(error))
        return False
    except SMTPRecipientsRefused as error:
        if all(code >= 500 for code, _ in error.recipients.values()):
            _close(mail, failed_at=timezone.now(), error=_reason(error))
        else:
            _put_off(mail, error)
        return False
    except (SMTPSenderRefused, SMTPDataError) as error:
        _put_off(mail, error)
        return False
    _close(mail, sent_at=timezone.now())
    return True


def _close(mail: OutgoingMail, **facts: Any) -> bool:
    """Be done with a mail: what it spoke of goes. True when it was still this worker's."""
    mine = OutgoingMail.objects.filter(pk=mail.pk, attempts=mail.attempts, sent_at=None, failed_at=None)
    return mine.update(sealed=None, lease_until=None, **facts) == 1


def _put_off(mail: OutgoingMail, error: OSError) -> None:
    """Have a mail tried again later; after a day of that it has failed."""
    now = timezone.now()
    if now - mail.created_at >= GIVE_UP:
        _close(mail, failed_at=now, error=_reason(error))
        return
    mine = OutgoingMail.objects.filter(pk=mail.pk, attempts=mail.attempts, sent_at=None, failed_at=None)
    mine.update(due_at=_next_try(now, mail.attempts), lease_until=None, error=_reason(error))


def _next_try(now: datetime, attempts: int) -> datetime:
    doubled: int = 2 ** min(attempts - 1, 10)
    return now + min(_FIRST_PAUSE * doubled, _LONGEST_PAUSE)


def _reason(error: Exception) -> str:
    """Return what went wrong, without what may be a token."""
    return _LONG_WORDS.sub("…", f"{type(error).__name__}: {error}")[:500]
