"""Intake: bytes copied, hashed, read back and hashed again, against cp and sha256sum."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.installation import home, lead, new_case, peak_memory, timed
from cases import services

SIZE = 1024**3


def run(*, events: int) -> Iterator[str]:
    """Yield the rates and their ratio, medians of three."""
    del events
    source = home() / "source.bin"
    with source.open("wb") as file:
        for _ in range(SIZE // 2**20):
            file.write(os.urandom(2**20))
    case, by = new_case(), lead()

    def take_in() -> None:
        with source.open("rb") as content:
            received = services.receive_evidence(case=case, by=by, content=content, name="source.bin")
        services.delete_evidence(evidence=received.evidence, by=by)

    with peak_memory() as peak:
        ours, theirs = zip(
            *((timed(take_in), timed(lambda: _copy_and_hash(source))) for _ in range(3)), strict=True
        )
    mine, plain = sorted(ours)[1], sorted(theirs)[1]
    yield f"intake {SIZE / mine / 1e6:,.0f} MB/s, cp + sha256sum {SIZE / plain / 1e6:,.0f} MB/s"
    yield f"ratio of times {mine / plain:.2f} (intake reads back and hashes a second time)"
    yield f"peak memory {peak[0] / 1e6:,.0f} MB for {SIZE / 1e6:,.0f} MB"


def _copy_and_hash(source: Path) -> None:
    copy = source.with_suffix(".copy")
    subprocess.run(["cp", source, copy], check=True)
    subprocess.run(["sync", copy], check=True)
    subprocess.run(["sha256sum", copy], check=True, stdout=subprocess.DEVNULL)
    copy.unlink()
