"""The files of the demo: what each is, where it comes from, and how they are made."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from cases.demo import tables, unix, windows, world

#: Raised whenever the same scale would give other bytes.
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Recipe:
    """One file: how it is written, how many ordinary events it has, and what is known about it."""

    name: str
    write: Callable[[BinaryIO, int], int]
    noise: int
    host: str
    time_zone: str = "UTC"


RECIPES: Final = (
    Recipe("WS-017_Sysmon.evtx", windows.write_workstation_sysmon, 5_600, world.WORKSTATION),
    Recipe("WS-017_Security.evtx", windows.write_workstation_security, 3_000, world.WORKSTATION),
    Recipe("WS-017_browser.jsonl", tables.write_browser_history, 700, world.WORKSTATION),
    Recipe("SRV-DC1_Security.evtx", windows.write_server_security, 4_800, world.SERVER),
    Recipe("web-01_auth.log", unix.write_auth_log, 1_400, world.WEB, "Europe/Berlin"),
    Recipe("web-01_access.log", unix.write_access_log, 3_000, world.WEB, "Europe/Berlin"),
    Recipe("firewall_traffic.csv", tables.write_firewall_log, 1_500, "fw-01"),
)


def make_file(recipe: Recipe, root: Path, *, scale: int) -> Path:
    """Return where the file is; it is made if it is not there. What is there is complete.

    The bytes depend on the scale alone, by which the ordinary events are multiplied.
    """
    path = root / f"evidence-{VERSION}-x{scale}" / recipe.name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _make(recipe, path, scale)
    return path


def _make(recipe: Recipe, path: Path, scale: int) -> None:
    """Write beside and rename: a kill in the middle leaves no half file under the name."""
    part = path.with_suffix(f"{path.suffix}.part")
    with part.open("wb") as file:
        recipe.write(file, recipe.noise * scale)
        file.flush()
        os.fsync(file.fileno())
    # Collected when the week was over: the log that names no year is read by this.
    collected = world.LAST.timestamp()
    os.utime(part, (collected, collected))
    part.rename(path)
