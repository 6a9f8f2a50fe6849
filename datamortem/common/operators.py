"""Who runs a command, for the records."""

from __future__ import annotations

import getpass
import os


def operator() -> str:
    """Return the operator by the name of their account on this machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in containers
        name = str(os.getuid())
    return f"command line ({name})"
