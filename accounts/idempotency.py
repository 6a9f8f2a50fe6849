"""`Idempotency-Key`: a POST that is repeated answers what it answered, and does nothing twice."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import orjson
from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import IdempotentAnswer, User
from datamortem.common.errors import Conflict, Invalid
from datamortem.common.wire import dump

#: How long an answer is kept.
KEPT: Final = timedelta(days=1)
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)

View = TypeVar("View", bound=APIView)
Rest = ParamSpec("Rest")


class KeyConflict(Conflict):
    """The key was used for another request."""

    code = "idempotency_conflict"


def key_of(request: Request) -> str | None:
    """Return the key of a request, if it brings one. Raises Invalid."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise Invalid("An Idempotency-Key has 1 to 255 visible ASCII characters.", field="Idempotency-Key")
    return key


def fingerprint_of(request: Request, content: Any) -> str:
    """Return what tells this request from others: method, address and content."""
    parts = [request.method, request.get_full_path(), content]
    try:
        text = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # lone surrogates, integers beyond 64 bits
        text = json.dumps(parts, sort_keys=True).encode("ascii")
    return hashlib.sha256(text).hexdigest()


def begin(user: User, key: str, fingerprint: str) -> IdempotentAnswer:
    """Return the answer kept under a key, else a new row to be filled within this transaction.

    A second request under the same key waits here until the first has ended: the row is unique.
    Raises KeyConflict.
    """
    IdempotentAnswer.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
    try:
        with transaction.atomic():
            return IdempotentAnswer.objects.create(user=user, key=key, fingerprint=fingerprint)
    except IntegrityError:
        answer = IdempotentAnswer.objects.get(user=user, key=key)
    if answer.fingerprint != fingerprint:
        raise KeyConflict("This Idempotency-Key was used for another request; take a new one.")
    return answer


def keep(answer: IdempotentAnswer, response: Response) -> None:
    """Keep what was answered. Refusals are not kept: they changed nothing and may be mended."""
    answer.status = response.status_code
    # As one text: PostgreSQL would put names in another order, and keeps no NUL (jsonb).
    answer.body = dump(response.data).decode("utf-8")
    answer.save(update_fields=["status", "body"])


def repeat(answer: IdempotentAnswer) -> Response:
    """Return what was answered the first time."""
    body = json.loads(str(answer.body))
    return Response(body, status=answer.status, headers={"Idempotent-Replayed": "true"})


def idempotent(
    handler: Callable[Concatenate[View, Request, Rest], Response],
) -> Callable[Concatenate[View, Request, Rest], Response]:
    """Let a handler do its work once for a key: answer and effect are one transaction."""

    @wraps(handler)
    def handle(view: View, request: Request, /, *args: Rest.args, **kwargs: Rest.kwargs) -> Response:
        key = key_of(request)
        if key is None or not isinstance(request.user, User):
            return handler(view, request, *args, **kwargs)
        with transaction.atomic():
            answer = begin(request.user, key, fingerprint_of(request, request.data))
            if answer.status is not None:
                return repeat(answer)
            response = handler(view, request, *args, **kwargs)
            keep(answer, response)
        return response

    return handle
