"""Run the benchmarks in a throw-away installation and print one line a figure."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path

BENCHMARKS = {
    "intake": "upload with hash against cp and sha256sum",
    "ingest": "evidence to searchable against bare tantivy with the same documents",
    "parts": "one evidence by one process and by two: JSON Lines and an event log",
    "search": "the queries of the search study, p50 and p95",
    "peer": "JSON Lines and CSV to a search server, against another tool's mapping",
    "cluster": "three search servers, one killed during import and search (needs a JDK; minutes)",
    "growth": "one engine with any number of events: writing, bytes, the standard questions, as Markdown",
    "export": "events per second, and memory",
    "lists": "list endpoints with 10,000 cases: number of queries",
    "posted": "events without files: 5,000 a second, a worker killed in between",
    "access": "small answers with and without authentication: times and queries",
    "schema": "migrate against Django's own, adoption of old databases, locks of a large one",
}


def main() -> None:
    """Set up an installation of its own, then run what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures what docs/benchmarks.md claims.",
        epilog="\n".join(f"{name}: {about}" for name, about in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run (default: all)")
    parser.add_argument(
        "--events", type=int, default=200_000, help="events in ingest, search, export and schema"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep everything there, and use again what lies there"
    )
    parser.add_argument(
        "--engine",
        default="embedded",
        metavar="embedded|URL",
        help="what growth measures (default: embedded)",
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    kept = nullcontext(str(options.keep.resolve())) if options.keep else None
    with kept or tempfile.TemporaryDirectory(prefix="datamortem-bench-") as home:
        os.environ |= {"DATAMORTEM_HOME": home, "DJANGO_SETTINGS_MODULE": "datamortem.settings"}
        for name in options.names or BENCHMARKS:
            sys.stdout.write(f"\n{name}: {BENCHMARKS[name]}\n")
            chosen = {"engine": options.engine} if name == "growth" else {}
            benchmark = import_module(f"benchmarks.{name}")
            for line in benchmark.run(events=options.events, **chosen):
                sys.stdout.write(f"{line}\n" if name == "growth" else f"  {line}\n")
                sys.stdout.flush()
            if name == "growth" and not options.keep:
                benchmark.clear(options.engine)


main()
