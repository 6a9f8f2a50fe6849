"""What `manage.py doctor` says of the index, the broker and the work that waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings

from cases import carrier, tasks
from cases.engines import engine
from cases.index.document import VERSION
from cases.lag import lag
from cases.queues import READING
from datamortem.management.commands._finding import Finding

#: So many seconds may a run wait, or a deletion, before it is worth a word.
_LONG: Final = 1800
_LATE: Final = 3600
#: Where OpenSearch stops giving a node more shards, in per cent; at 95 it takes no events.
_HIGH: Final = 90
_WANTED: Final[tuple[tuple[str, Callable[[str], bool], str], ...]] = (
    (
        "action.auto_create_index",
        lambda told: told == "false" or "-dm-" in told,
        'Set it to "-dm-*,+*": then an index of ours is made by nobody but us.',
    ),
    (
        "action.destructive_requires_name",
        lambda told: told == "true",
        "Set it to true: then nobody deletes indices by a pattern.",
    ),
)


def of_index() -> Iterator[Finding]:
    """Say whether the engine answers, and all it says of itself."""
    health = engine().health()
    told = "; ".join(f"{name} {value}" for name, value in health.facts.items())
    detail = f"{health.detail} Documents are of version {VERSION}. {told}"
    remedy = "" if health.ok else "Check SEARCH_URL; `manage.py reindex --all` builds the index anew."
    yield Finding("Index", detail, remedy)
    yield from _server(health.facts)


def _server(facts: Mapping[str, str]) -> Iterator[Finding]:
    """Look at what a search server should be told; the embedded engine has no such facts."""
    for name, is_right, remedy in _WANTED:
        if name in facts and not is_right(facts[name]):
            yield Finding(f"Search server, {name}", facts[name], remedy, note=True)
    used = facts.get("disk_used_percent", "")
    if used.isdecimal() and int(used) >= _HIGH:
        remedy = "Make room: it gives the node no more shards now, and takes no events at 95 %."
        yield Finding("Search server, disk", f"{used} % used on the fullest node", remedy)


def of_broker() -> Iterator[Finding]:
    """Say whether what carries runs answers; its host, never its password."""
    host = urlsplit(settings.TASKS).hostname
    if not carrier.has_broker():
        yield Finding("Broker", "none is used: workers look into the database")
    elif (waiting := carrier.depth(READING)) is None:
        remedy = "Start it, or check TASKS. Runs wait in the database, and are sent when it is back."
        yield Finding("Broker", f"{host} does not answer", remedy)
    else:
        yield Finding("Broker", f"{host} answers; {waiting} ids wait there")


def of_work() -> Iterator[Finding]:
    """Say who works, what waits and for how long."""
    state, behind = tasks.worker_state(), lag()
    remedy = "Start one: manage.py worker" if behind.waiting_runs and not state.alive else ""
    yield Finding("Worker", f"{state.detail}; {behind.waiting_runs} runs wait", remedy)
    if state.alive and behind.oldest_run_seconds > _LONG:
        remedy = "Start more workers, or some for large evidence alone: manage.py worker --help"
        detail = f"the oldest has waited {behind.oldest_run_seconds // 60} minutes"
        yield Finding("Waiting runs", detail, remedy, note=True)
    yield Finding("Posted events", f"{behind.waiting_events} wait for the index")
    late = behind.oldest_erasure_seconds > _LATE
    remedy = "Workers finish them: see that one runs and that the index answers." if late else ""
    minutes = behind.oldest_erasure_seconds // 60
    detail = f"{behind.erasures} deletions have not left the disk of the index"
    yield Finding(
        "Erasures", f"{detail}, the oldest of {minutes} minutes" if behind.erasures else "none due", remedy
    )
