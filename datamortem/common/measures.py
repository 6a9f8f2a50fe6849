"""What processes count for `/metrics`: requests, queries, and what could not be recorded.

Labels are names from our code alone, never a case, a user, a query or a file. Several processes
of one web server add up in files, whose directory `gunicorn.conf.py` names in the environment.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac
from prometheus_client import CollectorRegistry, Counter, Histogram

logger = logging.getLogger("datamortem.slow")

#: A search that took longer, in seconds, gets a line in the log.
SLOW: Final = 2.0
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

#: What is counted in this process.
REGISTRY: Final = CollectorRegistry()
REQUESTS: Final = Histogram(
    "datamortem_http_request_seconds",
    "Time from a request to the head of its answer, by route.",
    ("route", "method", "status"),
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 30),
    registry=REGISTRY,
)
QUERIES: Final = Histogram(
    "datamortem_query_seconds",
    "Time the index took for a question that it answered; of an export, to its last event.",
    ("kind",),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 20, 120),
    registry=REGISTRY,
)
QUERY_ERRORS: Final = Counter(
    "datamortem_query_errors",
    "Questions that ended without a whole answer, by the class of what was raised.",
    ("kind", "error"),
    registry=REGISTRY,
)
NOT_RECORDED: Final = Counter(
    "datamortem_not_recorded",
    "Answers that were refused because the audit or custody record could not be written.",
    registry=REGISTRY,
)


@contextmanager
def query(kind: str, asked: str = "", *, may_be_long: bool = False) -> Iterator[None]:
    """Time a question to the index; a slow one is logged by a hash that names it, never by its text.

    `may_be_long`: as an export is, however well the index does.
    """
    started = time.perf_counter()
    try:
        yield
    except GeneratorExit:  # whoever read an export went away
        raise
    except Exception as error:
        QUERY_ERRORS.labels(kind, type(error).__name__).inc()
        raise
    seconds = time.perf_counter() - started
    QUERIES.labels(kind).observe(seconds)
    if seconds > SLOW and not may_be_long:
        facts = {"kind": kind, "query_hash": name_of(asked), "seconds": round(seconds, 3)}
        logger.warning("A search took long.", extra=facts)


def name_of(asked: str) -> str:
    """Return a name for a query that is the same each time, and cannot be guessed back without our key."""
    return str(salted_hmac("datamortem.slow", asked, algorithm="sha256").hexdigest())[:16]


class Requests:
    """Counts every request under the pattern of its route."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request, and count it."""
        started = time.perf_counter()
        response = self.get_response(request)
        match = request.resolver_match
        method = request.method if request.method in _METHODS else "other"
        REQUESTS.labels(match.route if match else "none", method, response.status_code).observe(
            time.perf_counter() - started
        )
        return response
