"""A worker in a process of its own, on the database and directories of a test."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(facts: dict[str, Any]) -> None:
    """Work until killed, or until nothing waits."""
    os.environ["DATABASE_URL"] = facts["database"]
    os.environ["DJANGO_SETTINGS_MODULE"] = "datamortem.settings"
    os.environ["DATAMORTEM_HOME"] = facts["home"]
    import django
    from django.conf import settings

    for name, value in facts["settings"].items():
        setattr(settings, name, Path(value) if name.endswith("_ROOT") else value)
    django.setup()
    from cases import leases, tasks

    leases.MAX_ATTEMPTS = facts["attempts"]  # type: ignore[misc]
    tasks.work(concurrency=2, once=facts["once"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
