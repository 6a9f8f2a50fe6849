"""List endpoints: as many queries for ten thousand cases as for one."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from benchmarks.installation import lead, new_case, timed
from cases.models import Case


def run(*, events: int) -> Iterator[str]:
    """Yield queries and times for 1 and for 10,000 cases."""
    del events
    client = APIClient(SERVER_NAME="localhost")
    client.force_authenticate(lead())
    new_case()
    for wanted in (1, 10_000):
        have = Case.objects.count()
        Case.objects.bulk_create(
            [Case(case_id=f"bench-{n:05}", owner=lead()) for n in range(have, wanted)], batch_size=2000
        )
        with CaptureQueriesContext(connection) as captured:
            response = client.get("/api/v1/cases/", {"page_size": 100})
            queries = len(captured)  # the next request clears them
        assert response.status_code == 200, response.content
        times = sorted(timed(lambda: client.get("/api/v1/cases/", {"page_size": 100})) for _ in range(9))
        yield (
            f"{Case.objects.count():,} cases: {queries} queries, "
            f"{len(response.json()['results'])} rows in {times[4] * 1000:.0f} ms"
        )
