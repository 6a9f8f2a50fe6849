"""A large database of the old system is taken over while others add to it and read it; nothing is lost.

DATAMORTEM_EVENTS=10000000 for the real thing, which takes about 8 GB of disk.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Final

import pytest
from django.db import connection

from datamortem.tests.revisions.old_postgresql import faults, grow, load, rows
from datamortem.tests.revisions.processes import Process
from datamortem.tests.revisions.scratch import Scratch
from datamortem.tests.revisions.sessions import Repeated

pytestmark = [
    pytest.mark.schema,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite keeps writers out for a moment"),
]
EVENTS: Final = int(os.environ.get("DATAMORTEM_EVENTS", "500000"))


def test_a_large_database_in_use_is_taken_over_without_a_lost_row(
    scratch: Scratch, capsys: pytest.CaptureFixture[str]
) -> None:
    load(scratch, "alembic_8f6e0f2be8d2")
    ((events, digest),) = rows(scratch, _DIGEST)
    grow(scratch, EVENTS)
    adding = Repeated(
        scratch.url,
        "INSERT INTO events (ts, source, message, case_id, created_at_utc)"
        " SELECT 'now', 'log', 'written meanwhile {n}', min(case_id), now() FROM cases",
    )
    reading = Repeated(scratch.url, "SELECT message FROM events LIMIT 1", name="a reader")
    with adding, reading:
        process = Process(scratch, "adopt", "--yes", "--report", str(scratch.home / "report.json"))
        ended = process.wait(3600)
        seconds = process.age
    assert ended.status == 0, ended
    assert adding.error is None
    assert reading.error is None

    written = rows(scratch, "SELECT message FROM events WHERE message LIKE 'written meanwhile%'")
    assert {f"written meanwhile {n}" for n in range(len(adding.done))} == {message for (message,) in written}
    assert rows(scratch, "SELECT count(*) FROM events") == [(events + EVENTS + len(adding.done),)]
    assert rows(scratch, f"{_DIGEST} WHERE id <= {events}") == [(events, digest)]
    assert faults(scratch) == []
    report = json.loads((scratch.home / "report.json").read_text())
    of_events = next(f for f in report["fingerprints"] if f["table"] == "events")
    assert events + EVENTS <= of_events["rows"] <= events + EVENTS + len(adding.done)
    with capsys.disabled():
        sys.stdout.write(
            f"\n  {EVENTS:,} events: adopted in {seconds:.0f} s,"
            f" locks held for {report['locked_seconds']:.1f} s in all\n"
        )
        for who, what in ((adding, "writes"), (reading, "reads")):
            sys.stdout.write(
                f"  {len(who.done):,} {what}, the longest {who.longest_stall:.2f} s,"
                f" those over 0.1 s together {who.stalled():.2f} s\n"
            )


_DIGEST: Final = "SELECT count(*), md5(string_agg(md5(message), '' ORDER BY id)) FROM events"
