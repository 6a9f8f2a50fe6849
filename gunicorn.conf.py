"""How the web server runs; gunicorn reads this by itself, and its command line wins.

The processes of one server add up what they count in files of a directory of their own, from which
any of them answers /metrics.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import environ

worker_class = "gthread"
threads = 8
limit_request_line = 8190
control_socket_disable = True
graceful_timeout = 60  # seconds for a download or an export to end when the server is stopped

_ROOT = Path(__file__).resolve().parent
environ.Env.read_env(_ROOT / ".env")  # as the settings do
_HOME = Path(os.environ.get("DATAMORTEM_HOME") or _ROOT / "var").expanduser()
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def _directory() -> Path:
    """Return a new directory for what is counted; those of servers that were killed go."""
    host, parent = os.uname().nodename, _HOME / "metrics"
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in parent.glob(f"{host}.*"):
        if not Path("/proc", left.name.rpartition(".")[2]).exists():
            shutil.rmtree(left, ignore_errors=True)
    place = parent / f"{host}.{os.getpid()}"
    shutil.rmtree(place, ignore_errors=True)  # a container gives the same number each time
    place.mkdir(mode=0o700)
    return place


_COUNTED = _directory()
os.environ[_VARIABLE] = str(_COUNTED)

from prometheus_client import mmap_dict  # noqa: E402 (the library reads the variable here)

_Counts: Any = mmap_dict.MmapedDict


def child_exit(server: Any, worker: Any) -> None:
    """Keep the sums of a worker that ended in one file, however many follow it."""
    for kind in ("counter", "histogram"):
        ended = _COUNTED / f"{kind}_{worker.pid}.db"
        if not ended.exists():
            continue
        kept = _Counts(str(_COUNTED / f"{kind}_ended.db"))
        for key, value, at, _ in _Counts.read_all_values_from_file(str(ended)):
            kept.write_value(key, kept.read_value(key)[0] + value, at)
        kept.close()
        ended.unlink()


def on_exit(server: Any) -> None:
    """Remove the directory."""
    shutil.rmtree(_COUNTED, ignore_errors=True)
