"""What must be agreed to before a plan that destroys anything is carried out.

Asked first, then backed up, then done, all under the migration lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions import loss
from datamortem.revisions.backup import Backup, backup, is_durable
from datamortem.revisions.errors import RevisionError
from datamortem.revisions.graph import Plan, RevisionGraph
from datamortem.revisions.output import Talk, typed_yes


class ConsentMissing(RevisionError):
    """The plan destroys something and nobody agreed to it."""


class CannotBeUndone(RevisionError):
    """A migration of the way back has no way back."""


@dataclass(frozen=True, slots=True)
class Consent:
    """Asks for a plan before anything has changed."""

    connection: BaseDatabaseWrapper
    directory: Path
    #: `--yes` was given.
    agreed: bool
    talk: Talk

    def __call__(self, plan: Plan) -> Backup | None:
        """Return at once if a plan destroys nothing, else when it is agreed to and backed up.

        Raises CannotBeUndone, ConsentMissing, and what a failing backup raises.
        """
        if not self.announce(plan):
            return None
        require_yes(self.talk, agreed=self.agreed)
        return keep(self.connection, self.directory, self.talk)

    def announce(self, plan: Plan) -> bool:
        """Say what a plan destroys; return whether it is anything. Raises CannotBeUndone."""
        stuck = loss.irreversible(self.connection, plan)
        if stuck:
            raise CannotBeUndone(
                f"No way back leads past: {'; '.join(stuck)}. Nothing was changed. Restore a backup "
                "instead: python manage.py db restore FILE"
            )
        losses = loss.measure(self.connection, plan)
        if losses:
            self.talk.say("This destroys:", *(f"  {lost}" for lost in losses))
        return bool(losses)


def require_yes(talk: Talk, *, agreed: bool) -> None:
    """Return if it is agreed to, with `--yes` or a yes typed on the terminal. Raises ConsentMissing."""
    if agreed:
        return
    if talk.ask is None:
        raise ConsentMissing("Nothing was changed. Repeat with --yes to accept; a backup is taken first.")
    if not typed_yes(talk.ask, "Type yes to go on, a backup is taken first: "):
        raise ConsentMissing("Nothing was changed.")


def keep(connection: BaseDatabaseWrapper, directory: Path, talk: Talk) -> Backup | None:
    """Back up the database and say how to get back; None if it ends with this process."""
    if not is_durable(connection):
        talk.say("The database is in memory and ends with this process: no backup is made.")
        return None
    made = backup(connection, directory, revision=label(RevisionGraph(connection)), progress=talk.say)
    talk.say(str(made))
    return made


def label(graph: RevisionGraph) -> str:
    """Return where the database stands, as part of a file's name."""
    return "+".join(revision.id for revision in graph.current()) or "base"
