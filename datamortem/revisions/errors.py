"""What the schema history may refuse. Each says what was wrong, where, and the command that mends it."""

from __future__ import annotations

from datamortem.common.errors import Conflict


class RevisionError(Conflict):
    """The schema history forbids it. Abstract: raise one of the heirs."""

    code = "schema_history"


class UnknownRevision(RevisionError):
    """No revision, or more than one, goes by that name; the candidates are in the message."""


class NoSuchStep(RevisionError):
    """Fewer revisions are there than steps were asked for."""


class SeveralHeads(RevisionError):
    """The history ends in several heads, so "the newest" means nothing until they are merged."""


class Interleaved(RevisionError):
    """The migrations of one revision lie on both sides of another, so neither can be walked alone."""


class NotAdopted(RevisionError):
    """The database belongs to the old system."""


class LockHeld(RevisionError):
    """Another process is changing the schema of this database."""


class Blocked(RevisionError):
    """Sessions that use a table kept a statement waiting for its lock until it gave up."""


class Unfit(RevisionError):
    """What is there of a table is something else than the migrations expect."""


class RowsInTheWay(RevisionError):
    """Rows break a constraint that is to be added; the first of them are in the message."""


class WouldLose(RevisionError):
    """A table of SQLite cannot be made anew without losing something of it."""


class NotAllowed(RevisionError):
    """The user of the database lacks a privilege; the statement that gives it is in the message."""
