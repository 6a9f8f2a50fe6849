"""`/metrics` for Prometheus: what the processes count, and what the database, index and workers say.

Whoever has METRICS_TOKEN may read it; without one, whoever asks from this machine, by a loopback
name and through no proxy. For everybody else it is not there.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.core.cache import caches
from django.db import DatabaseError
from django.db.models import Count, Min, Q, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import split_domain_port
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from accounts.models.mail import OutgoingMail
from accounts.views.page import half_open
from cases.leases import INDEX_POSTED, READ
from cases.models import Evidence, RunStatus, TaskRun
from datamortem.checks import is_loopback
from datamortem.common.measures import REGISTRY
from datamortem.health import look

#: Seconds that what the database said is good for.
_FRESH: Final = 10
#: The runs of the last minute are read each time: a smaller number may be committed after a larger one.
_LATE: Final = timedelta(minutes=1)
_UNFINISHED: Final = (RunStatus.QUEUED, RunStatus.RUNNING)
_KINDS: Final = {READ: "evidence", INDEX_POSTED: "posted"}
_COUNTS: Final = ("indexed", "duplicate", "rejected", "undated", "index_retries")
#: Headers by which a proxy says that it asks for somebody else.
_FORWARDED: Final = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-Ip",
)


@half_open
@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer in the form that is asked for. Raises Http404 for whoever may not know."""
    if not _may_read(request):
        raise Http404
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(_registry()), content_type=content_type)


def _may_read(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        matches = hmac.compare_digest(given.strip().encode(), settings.METRICS_TOKEN.encode())
        return matches and kind.lower() == "bearer"
    return (
        is_loopback(str(request.META.get("REMOTE_ADDR", "")))
        and is_loopback(split_domain_port(request.get_host())[0])
        and not any(name in request.headers for name in _FORWARDED)
    )


def _registry() -> CollectorRegistry:
    """Return what is counted by all processes of this server, with what is asked now."""
    together = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    else:
        together.register(REGISTRY)
    together.register(_Asked())
    return together


class _Asked:
    """What is asked when somebody scrapes."""

    def collect(self) -> Iterator[Metric]:
        """Yield each family; what a part that is down would say is left out."""
        parts = look()
        up = GaugeMetricFamily("datamortem_up", "Whether a part answers.", labels=["part"])
        for name, state in parts.items():
            up.add_metric([name], float(state["ok"]))
        yield up
        workers = parts["worker"].get("workers", 0)
        yield GaugeMetricFamily("datamortem_workers", "Workers that are alive.", value=workers)
        yield from _of_index(parts["index"])
        yield from _of_lag(parts["lag"])
        if stock := _stock():
            yield from _of_stock(stock)


def _of_index(state: Mapping[str, object]) -> Iterator[Metric]:
    for name, fact, told in (
        ("datamortem_index_documents", "documents", "Events in the index."),
        ("datamortem_index_bytes", "bytes", "Bytes of the index on its disks."),
        ("datamortem_index_disk_free_bytes", "disk_free", "Bytes free on the fullest disk of the index."),
    ):
        if str(state.get(fact, "")).isdecimal():
            yield GaugeMetricFamily(name, told, value=float(str(state[fact])))


def _of_lag(state: Mapping[str, object]) -> Iterator[Metric]:
    for fact, told in (
        ("waiting_runs", "Runs that wait for a worker."),
        ("oldest_run_seconds", "Age of the run that has waited longest."),
        ("lapsed_runs", "Runs whose worker fell silent."),
        ("waiting_events", "Posted events that wait for the index."),
        ("erasures", "Deletions whose text has not left the disk."),
        ("oldest_erasure_seconds", "Age of the oldest of them."),
    ):
        if isinstance(number := state.get(fact), int):
            yield GaugeMetricFamily(f"datamortem_{fact}", told, value=number)


@dataclass
class _Stock:
    """What the database holds. `ended` and `counts` cover the runs below `upto` for good."""

    upto: int = 0
    ended: dict[tuple[str, str], int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    evidence: int = 0
    evidence_bytes: int = 0
    mails_waiting: int = 0
    mails_failed: int = 0


def _stock() -> _Stock | None:
    """Return what the database said some seconds ago or says now; None if it does not answer.

    The runs that have ended are added up once: a scrape reads those since the oldest unfinished.
    The sums stay when evidence is deleted, as counters should.
    """
    cache = caches["metrics"]
    stock: _Stock | None = cache.get("stock")
    if stock is None:
        try:
            stock = _asked(cache.get("base") or _Stock())
        except DatabaseError:
            return None
        cache.set("stock", stock, _FRESH)
    return stock


def _asked(base: _Stock) -> _Stock:
    ours = TaskRun.objects.filter(task_name__in=_KINDS).order_by()
    unfinished = ours.filter(status__in=_UNFINISHED)
    young = Q(status__in=_UNFINISHED) | Q(created_at_utc__gt=timezone.now() - _LATE)
    since = ours.filter(pk__gte=base.upto)
    first = since.filter(young).aggregate(first=Min("pk"))["first"]
    newest = since.order_by("-pk").values_list("pk", flat=True).first() or base.upto - 1
    upto = newest + 1 if first is None else first
    base = _plus(base, ours.filter(pk__gte=base.upto, pk__lt=upto), upto=upto)
    caches["metrics"].set("base", base, None)
    stock = _plus(base, ours.filter(pk__gte=upto).exclude(status__in=_UNFINISHED), upto=upto)
    running = unfinished.filter(status=RunStatus.RUNNING).values_list("task_name").annotate(Count("pk"))
    stock.running = {_KINDS[name]: number for name, number in running}
    evidence = Evidence.objects.aggregate(number=Count("pk"), size=Sum("size"))
    stock.evidence, stock.evidence_bytes = evidence["number"], evidence["size"] or 0
    mails = OutgoingMail.objects.aggregate(
        waiting=Count("pk", filter=Q(sent_at=None, failed_at=None)),
        failed=Count("pk", filter=~Q(failed_at=None)),
    )
    stock.mails_waiting, stock.mails_failed = mails["waiting"], mails["failed"]
    return stock


def _plus(base: _Stock, runs: QuerySet[TaskRun], *, upto: int) -> _Stock:
    """Return the base with the ended ones of some runs added."""
    ended, counts = dict(base.ended), dict(base.counts)
    sums = [Sum(name) for name in _COUNTS]
    for name, status, number, *added in runs.values_list("task_name", "status").annotate(Count("pk"), *sums):
        key = (_KINDS[name], status)
        ended[key] = ended.get(key, 0) + number
        for count, more in zip(_COUNTS, added, strict=True):
            counts[count] = counts.get(count, 0) + more
    return _Stock(upto, ended, counts)


def _of_stock(stock: _Stock) -> Iterator[Metric]:
    ended = CounterMetricFamily("datamortem_runs_ended", "Runs by how they ended.", labels=["kind", "status"])
    for key, number in sorted(stock.ended.items()):
        ended.add_metric(key, number)
    running = GaugeMetricFamily("datamortem_runs_running", "Runs that are being done.", labels=["kind"])
    for kind in _KINDS.values():
        running.add_metric([kind], stock.running.get(kind, 0))
    events = CounterMetricFamily(
        "datamortem_events", "Records of ended runs, by what became of them.", labels=["outcome"]
    )
    for name in _COUNTS[:4]:
        events.add_metric([name], stock.counts.get(name, 0))
    retries = CounterMetricFamily("datamortem_index_retries", "Batches that were sent to the index again.")
    retries.add_metric([], stock.counts.get("index_retries", 0))
    yield from (ended, running, events, retries)
    for name, told, value in (
        ("datamortem_evidence_files", "Evidence in all cases.", stock.evidence),
        (
            "datamortem_evidence_bytes",
            "Bytes of evidence in all cases, each case counted.",
            stock.evidence_bytes,
        ),
        ("datamortem_mails_waiting", "Mails to be sent.", stock.mails_waiting),
        ("datamortem_mails_failed", "Mails that were given up.", stock.mails_failed),
    ):
        yield GaugeMetricFamily(name, told, value=value)
