"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from django.conf import settings

from datamortem.revisions.lock import WAIT


def lock_wait(parser: argparse.ArgumentParser) -> None:
    """Let the operator say how long to wait for the migration lock: `lock_wait`, in seconds."""
    parser.add_argument(
        "--lock-wait",
        type=_seconds,
        default=WAIT,
        metavar="SECONDS",
        help=f"how long to wait for another process that changes the schema ({WAIT:g})",
    )


def consent(parser: argparse.ArgumentParser, what: str = "what is listed is destroyed") -> None:
    """Let the operator agree, and say where the backup goes: `yes`, `backup_dir`."""
    parser.add_argument("--yes", action="store_true", help=f"accept that {what}; a backup is taken first")
    backup_dir(parser)


def backup_dir(parser: argparse.ArgumentParser) -> None:
    """Let the operator say where backups go: `backup_dir`."""
    parser.add_argument(
        "--backup-dir",
        type=Path,
        default=settings.BACKUP_ROOT,
        metavar="DIR",
        help="where the backup goes (%(default)s)",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds
