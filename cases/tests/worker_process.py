"""`manage.py` or `celery` in a process of its own, on the database and directories of a test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).parents[2]
_OVERRIDES = (
    "DEMO_ROOT",
    "EVIDENCE_ROOT",
    "EVIDENCE_URL",
    "EVIDENCE_S3_ENDPOINT",
    "EVIDENCE_S3_ACCESS_KEY",
    "EVIDENCE_S3_SECRET_KEY",
    "INDEX_ROOT",
    "WORK_ROOT",
    "EVIDENCE_RESERVE",
    "PARSERS_MODULE",
    "SEARCH_URL",
    "SEARCH_CA",
    "SEARCH_API_KEY",
    "SEARCH_SHARDS",
    "RUN_LEASE",
    "RUN_SECONDS",
    "RUN_MEMORY",
    "WORKER_MEMORY",
    "TASKS",
    "EMAIL_BACKEND",
    "EMAIL_HOST",
    "EMAIL_PORT",
    "EMAIL_FILE_PATH",
)


def start(*arguments: str | Path, attempts: int = 3) -> subprocess.Popen[str]:
    """Start a command; `attempts` workers may be lost over one run. Leaves its ending to the caller."""
    from django.conf import settings
    from django.db import connection

    held = connection.settings_dict
    if connection.vendor == "sqlite":
        database = f"sqlite:///{held['NAME']}"
    else:
        user = ":".join(quote(str(held[part]), safe="") for part in ("USER", "PASSWORD") if held[part])
        database = f"postgres://{user}@{held['HOST']}:{held['PORT']}/{held['NAME']}"
    facts = {
        "database": database,
        "home": str(settings.HOME),
        "attempts": attempts,
        "settings": {name: str(getattr(settings, name)) for name in _OVERRIDES if hasattr(settings, name)},
    }
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", __name__, json.dumps(facts), *map(str, arguments)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@contextmanager
def running(*arguments: str | Path, attempts: int = 3) -> Iterator[subprocess.Popen[str]]:
    """Start a command, and kill it at the end of the block if it still lives."""
    with start(*arguments, attempts=attempts) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()


def call(*arguments: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    with running(*arguments) as process:
        out, err = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def children(pid: int) -> list[int]:
    """Return the reading processes that a process has started."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"cases.child" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
    return found


def wait_until(what: Callable[[], Any], *, seconds: float = 60) -> Any:
    """Return what is found to be true; fail when that takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError("This did not happen in time.")


def main(facts: dict[str, Any], arguments: list[str]) -> None:
    """Do what `manage.py` or `celery` does."""
    os.environ |= {
        "DATABASE_URL": facts["database"],
        "DATAMORTEM_HOME": facts["home"],
        "DJANGO_SETTINGS_MODULE": "datamortem.settings",
    }
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs behind
    import django
    from celery.__main__ import main as celery
    from django.conf import settings
    from django.core.management import execute_from_command_line

    for name, value in facts["settings"].items():
        kept = int(value) if value.isdecimal() else value
        setattr(settings, name, Path(value) if name.endswith("_ROOT") else kept)
    django.setup()
    from cases import leases

    leases.MAX_ATTEMPTS = facts["attempts"]  # type: ignore[misc]
    if arguments[0] == "celery":
        sys.argv = arguments
        sys.exit(celery())
    execute_from_command_line(["manage.py", *arguments])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
