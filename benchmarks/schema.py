"""Schema: `migrate` against Django's own, several at once, adoption of each sample, locks of a large one.

On SQLite; `.ci/with-postgres python -m benchmarks schema` on PostgreSQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from statistics import median

from django.db import connection

from benchmarks.installation import timed
from datamortem.tests.revisions import legacy
from datamortem.tests.revisions.old_postgresql import grow
from datamortem.tests.revisions.processes import Ended, Process
from datamortem.tests.revisions.scratch import Scratch, scratch_database
from datamortem.tests.revisions.sessions import Repeated
from datamortem.tests.revisions.states import original

ROUNDS = 5
AT_ONCE = 5
STOCK = ("--stock",)
#: A database whose `events` get as many rows as are asked for.
LARGE = "alembic_8f6e0f2be8d2"


def run(*, events: int) -> Iterator[str]:
    """Yield figures on the database of the installation's kind."""
    yield connection.vendor
    yield from _fresh()
    yield from _at_once()
    yield from _samples()
    if connection.vendor == "postgresql":
        yield from _large(events)


def _fresh() -> Iterator[str]:
    """`migrate` on an empty database, ours and stock in turn; the command alone, without imports."""
    seconds: dict[str, list[float]] = {"ours": [], "stock": []}
    with scratch_database() as scratch, original(scratch) as empty:
        for _ in range(ROUNDS):
            for name, lab in (("stock", STOCK), ("ours", ())):
                empty.put_back()
                ended = Process(scratch, "migrate", lab=["--time", *lab]).wait()
                assert ended.status == 0, ended
                seconds[name].append(_time_of(ended))
    ours, stock = median(seconds["ours"]), median(seconds["stock"])
    yield f"fresh migrate: {ours:.2f} s, stock {stock:.2f} s, ratio {ours / stock:.2f} (medians of {ROUNDS})"


def _time_of(ended: Ended) -> float:
    found = re.search(r"^lab: ([\d.]+) s$", ended.said, re.MULTILINE)
    assert found, ended
    return float(found[1])


def _at_once() -> Iterator[str]:
    """Several `migrate` on an empty database: how many fail."""
    with scratch_database() as scratch, original(scratch) as empty:
        for name, lab in (("stock", ["--stock"]), ("ours", ["--time"])):
            failed = []
            for _ in range(ROUNDS):
                empty.put_back()
                running = [Process(scratch, "migrate", lab=lab) for _ in range(AT_ONCE)]
                failed.append(sum(process.wait().status != 0 for process in running))
            yield f"{AT_ONCE} migrate at once, {ROUNDS} rounds, {name}: {', '.join(map(str, failed))} failed"


def _samples() -> Iterator[str]:
    """Adoption of each sample, the whole command with its backup, and the upgrade after it."""
    for name in legacy.names(connection.vendor):
        with scratch_database() as scratch:
            if not legacy.fill(scratch, name):
                yield "no samples of old databases here"
                return
            adopted = timed(lambda: scratch.manage("adopt", "--yes"))
            upgraded = timed(lambda: scratch.manage("db", "upgrade"))
        yield f"{name}: adopted in {adopted:.1f} s, upgraded to the head in {upgraded:.1f} s"


def _large(rows: int) -> Iterator[str]:
    """Adoption and upgrade of a large database, in use."""
    with scratch_database() as scratch:
        if not legacy.fill(scratch, LARGE):
            return
        grow(scratch, rows)
        yield f"events: {rows:,} rows"
        for command in (("adopt", "--yes"), ("db", "upgrade")):
            yield from _in_use(scratch, command)


def _in_use(scratch: Scratch, command: tuple[str, ...]) -> Iterator[str]:
    """One command, while rows are added to and read from `events` every 5 ms."""
    adding = Repeated(
        scratch.url,
        "INSERT INTO events (ts, source, message, case_id, created_at_utc)"
        " SELECT 'now', 'log', 'written meanwhile', min(case_id), now() FROM cases",
    )
    reading = Repeated(scratch.url, "SELECT message FROM events LIMIT 1", name="a reader")
    with adding, reading:
        ended: list[Ended] = []
        seconds = timed(lambda: ended.append(Process(scratch, *command).wait(3600)))
    assert ended[0].status == 0, ended[0]
    for who in (adding, reading):
        assert who.error is None, who.error
    yield (
        f"{' '.join(command)}: {seconds:.1f} s; longest wait of a writer {adding.longest_stall:.2f} s,"
        f" of a reader {reading.longest_stall:.2f} s; waits over 0.1 s together"
        f" {adding.stalled():.2f} and {reading.stalled():.2f} s"
    )
    for line in ended[0].said.splitlines():
        if re.search(r"kept from others|OK \((?!0\.[01])", line):
            yield f"  {line.strip()}"
