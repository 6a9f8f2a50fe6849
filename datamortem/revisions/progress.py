"""What an operator sees while migrations run: one line each, with its time."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import OutputWrapper
from django.core.management.color import Style
from django.db.migrations import Migration


class StepPrinter:
    """A progress callback of Django's executor that writes a line for each migration."""

    def __init__(self, out: OutputWrapper, style: Style) -> None:
        self._out = out
        self._style = style
        self._since = 0.0
        #: What is being executed, or failed.
        self.running: Migration | None = None

    def __call__(self, action: str, migration: Any = None, fake: bool = False) -> None:
        """Write the beginning of a line at the start of a migration, and its end at the end."""
        if action in ("apply_start", "unapply_start"):
            self._since = time.monotonic()
            self.running = migration
            verb = "Applying" if action == "apply_start" else "Undoing"
            self._out.write(f"  {verb} {migration}…", ending="")
            self._out.flush()
        elif action in ("apply_success", "unapply_success"):
            self.running = None
            taken = time.monotonic() - self._since
            self._out.write(self._style.SUCCESS(f" OK ({taken:.2f} s)"))
