"""Whether the process of this container is well: `probe.py URL` for web, `probe.py worker`.

The exit code says so. A worker is well while it keeps its file fresh, as `cases.tasks` has it do.
"""

import os
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

_SILENCE = 15.0


def web(url: str) -> bool:
    """Whether an address answers 200 within three seconds, asked for by the name of this site."""
    host = urlsplit(os.environ.get("PUBLIC_URL") or "http://127.0.0.1").netloc
    try:
        with urlopen(Request(url, headers={"Host": host}), timeout=3) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def worker() -> bool:
    """Whether a worker of this host has said something within the last seconds."""
    signs = Path(os.environ["DATAMORTEM_HOME"], "work", "workers").glob("*.json")
    return any(_is_ours(sign) for sign in signs)


def _is_ours(sign: Path) -> bool:
    try:
        is_fresh = time.time() - sign.stat().st_mtime < _SILENCE
        return is_fresh and f'"{socket.gethostname()[:100]}-' in sign.read_text("utf-8")
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(0 if (worker() if sys.argv[1] == "worker" else web(sys.argv[1])) else 1)
