"""What must be agreed to before a plan that destroys anything is carried out.

Asked first, then backed up, then done, all under the migration lock: what was counted is what goes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions import loss
from datamortem.revisions.backup import backup
from datamortem.revisions.errors import RevisionError
from datamortem.revisions.graph import Plan, RevisionGraph
from datamortem.revisions.lock import is_in_memory


class ConsentMissing(RevisionError):
    """The plan destroys something and nobody agreed to it."""


@dataclass(frozen=True, slots=True)
class Consent:
    """Asks for a plan; raises ConsentMissing, and what a failing backup raises. Nothing has changed then."""

    connection: BaseDatabaseWrapper
    directory: Path
    #: `--yes` was given.
    agreed: bool
    say: Callable[[str], Any]
    #: Asks on a terminal and returns what was typed; None where there is none.
    ask: Callable[[str], str] | None

    def __call__(self, plan: Plan) -> None:
        """Agree to a plan that destroys nothing at once, to any other as described above."""
        irreversible = [
            f"{migration}: {operation.describe()}"
            for migration, back in plan
            for operation in migration.operations
            if back and not operation.reversible
        ]
        if irreversible:
            raise ConsentMissing(
                f"This cannot be undone: {'; '.join(irreversible)}. Restore a backup instead: "
                "python manage.py db restore FILE"
            )
        losses = loss.measure(self.connection, plan)
        if not losses:
            return
        self.say("This would be destroyed:")
        for lost in losses:
            self.say(f"  {lost}")
        if not self.agreed:
            self._have_typed()
        if is_in_memory(self.connection):
            self.say("The database is in memory: no backup is made.")
            return
        current = RevisionGraph(self.connection).current()
        revision = "+".join(r.id for r in current) or "base"
        made = backup(self.connection, self.directory, revision=revision, progress=self.say)
        self.say(f"Backup: {made.path}\nTo return to it: python manage.py db restore {made.path}")

    def _have_typed(self) -> None:
        if self.ask is None:
            raise ConsentMissing("Nothing was changed. Repeat with --yes to accept; a backup is taken first.")
        if self.ask("Type yes to go on (a backup is taken first): ").strip() != "yes":
            raise ConsentMissing("Nothing was changed.")
