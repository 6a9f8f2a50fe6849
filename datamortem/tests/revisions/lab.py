"""`manage.py` that dies at a chosen point, gives up sooner, or is Django's own.

python -m datamortem.tests.revisions.lab --die before-record:3 -- migrate
python -m datamortem.tests.revisions.lab --stock -- migrate
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import django
from django.core.management import execute_from_command_line
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "datamortem.settings")
django.setup()

from django.core.management.commands import migrate as stock  # noqa: E402

from datamortem.management.commands import migrate  # noqa: E402
from datamortem.revisions import executor  # noqa: E402
from datamortem.revisions.adoption import finishing, postgresql, sqlite, takeover  # noqa: E402


def main() -> None:
    """Change what was asked for, then run the command after `--`."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--die", metavar="POINT:N", help="POINT: before- or after- record, commit, fence or finish"
    )
    parser.add_argument("--attempts", type=int, help="how often a migration is tried")
    parser.add_argument("--large", type=int, help="from how many rows, or bytes, a table is large")
    parser.add_argument("--stock", action="store_true", help="Django's migrate and executor, without a lock")
    parser.add_argument("--time", action="store_true", help="say what the command took, without imports")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    if options.attempts:
        executor.ATTEMPTS = options.attempts  # type: ignore[misc]
    if options.large is not None:
        postgresql.LARGE = sqlite.LARGE = options.large  # type: ignore[misc]
    if options.die:
        _die(*options.die.split(":"), stock_too=options.stock)
    argv = ["manage.py", *options.command]
    start = time.monotonic()
    try:
        if options.stock:
            _stock(argv)
        else:
            execute_from_command_line(argv)
    finally:
        if options.time:
            sys.stdout.write(f"\nlab: {time.monotonic() - start:.4f} s\n")


def _stock(argv: list[str]) -> None:
    """Run Django's migrate with Django's executor and, on SQLite, Django's backend."""
    assert issubclass(migrate.Command, stock.Command)
    stock.MigrationExecutor = MigrationExecutor  # type: ignore[attr-defined]
    if connections.settings["default"]["ENGINE"] == "datamortem.sqlite3":
        connections.settings["default"]["ENGINE"] = "django.db.backends.sqlite3"
    stock.Command().run_from_argv(argv)


def _die(point: str, number: str, *, stock_too: bool) -> None:
    """Let the process kill itself at the Nth time it comes to a point, as kill -9 would."""
    moment, what = point.split("-")
    committing = MigrationExecutor if stock_too else executor.Executor
    owners: dict[str, tuple[Any, ...]] = {
        "record": (MigrationRecorder, "record_applied", "record_unapplied"),
        "commit": (committing, "apply_migration", "unapply_migration"),
        "fence": (takeover, "_fence"),
        "finish": (finishing, "finish"),
    }
    owner, *names = owners[what]
    counted = count(1)
    for name in names:
        setattr(owner, name, _deadly(getattr(owner, name), counted, int(number), before=moment == "before"))


def _deadly(act: Callable[..., Any], counted: count[int], number: int, *, before: bool) -> Callable[..., Any]:
    def acting(*args: Any, **kwargs: Any) -> Any:
        last = next(counted) == number
        if last and before:
            _kill_myself()
        done = act(*args, **kwargs)
        if last:
            _kill_myself()
        return done

    return acting


def _kill_myself() -> None:
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
