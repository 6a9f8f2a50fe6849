"""What it costs to know who asks: small answers with and without authentication, in turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median
from typing import Any, Final

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from benchmarks.installation import lead, new_case

# isort: split
from accounts import api_tokens, tokens  # once Django is set up

ROUNDS: Final = 400
TRUSTED: Final = "nobody is asked"


def run(*, events: int) -> Iterator[str]:
    """Yield times, ratios and queries of two small objects for each way to say who asks."""
    del events
    case = new_case()
    clients = _clients()
    for name, address in (("me/", "/api/v1/me/"), ("cases/{id}/", f"/api/v1/cases/{case.case_id}/")):
        queries = {way: _queries(client, address) for way, client in clients.items()}
        times = _times(clients, address)
        without, without_cpu = times[TRUSTED]
        for way, (seconds, cpu) in times.items():
            yield (
                f"{name} {connection.vendor}, {way}: {seconds * 1000:.2f} ms ({seconds / without:.2f}), "
                f"processor {cpu * 1000:.2f} ms ({cpu / without_cpu:.2f}), {queries[way]} queries"
            )


def _times(clients: dict[str, Any], address: str) -> dict[str, tuple[float, float]]:
    """Return medians of the seconds and of the seconds of processor that an answer took."""
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in clients}
    for _ in range(ROUNDS):
        for way, client in clients.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            client.get(address)
            times[way].append((time.perf_counter() - start, time.process_time() - start_cpu))
    return {
        way: (median(seconds for seconds, _ in found), median(cpu for _, cpu in found))
        for way, found in times.items()
    }


def _clients() -> dict[str, Any]:
    """Return a client for each way; the first is let in without being asked."""
    trusted, signed_in, program = (APIClient(SERVER_NAME="localhost") for _ in range(3))
    trusted.force_authenticate(lead())
    signed_in.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.issue(lead()).access}")
    program.credentials(HTTP_AUTHORIZATION=f"Bearer {api_tokens.create(lead(), name='bench').text}")
    browser = Client(SERVER_NAME="localhost")
    browser.force_login(lead())
    return {
        TRUSTED: trusted,
        "access token": signed_in,
        "API token": program,
        "browser": browser,
    }


def _queries(client: Any, address: str) -> int:
    assert client.get(address).status_code == 200  # what is written once a minute is written now
    with CaptureQueriesContext(connection) as captured:
        client.get(address)
    return len(captured)
