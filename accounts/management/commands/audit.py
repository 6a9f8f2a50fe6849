"""`manage.py audit`: the audit record on a terminal or as JSON lines, and the end of old entries."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from datetime import UTC, datetime, time
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_date, parse_datetime

from accounts import audit
from accounts.models import AuditEntry
from datamortem.common.operators import operator
from datamortem.common.terminal import printable, printable_json
from datamortem.common.wire import dump, format_moment

_OVERVIEW: Final = """\
examples:
  manage.py audit --since 2024-03-01                       what happened since, oldest first
  manage.py audit --action signin --outcome refused        wrong passwords and codes (signin.*)
  manage.py audit --case ir-2024-001 --actor ada           what Ada did about one case
  manage.py audit --format jsonl > audit.jsonl             all of it, one object a line
  manage.py audit prune                                    remove what is older than AUDIT_RETENTION days

Nothing secret is in it: no password, token or code. The worker prunes by itself; that it did is an
entry, too.
"""
_FACTS: Final = (
    "actor", "user_id", "session_id", "token_id", "address", "agent", "request_id",
    "action", "outcome", "target", "case_id", "details",
)  # fmt: skip


class Command(BaseCommand):
    """Shows entries; the last line of the table is their number."""

    help = "Show who did what on the platform, or remove what is too old."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what narrows, and the format."""
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = _OVERVIEW
        parser.add_argument("verb", nargs="?", choices=["prune"], help="remove what is too old")
        parser.add_argument("--since", metavar="TIME", help="a date, or RFC 3339")
        parser.add_argument("--until", metavar="TIME", help="a date (before it begins), or RFC 3339")
        parser.add_argument("--action", metavar="WORD", help="an action, or the words before its dot")
        parser.add_argument("--outcome", choices=AuditEntry.Outcome.values)
        parser.add_argument("--actor", metavar="TEXT", help="a part of name or address")
        parser.add_argument("--case", metavar="CASE")
        parser.add_argument("--format", choices=["table", "jsonl"], default="table")

    def handle(self, *args: Any, verb: str | None, **options: Any) -> str | None:
        """Print the entries, oldest first."""
        if verb == "prune":
            return _prune()
        number = 0
        for entry in _entries(options).iterator(chunk_size=1000):
            number += 1
            if options["format"] == "jsonl":
                self.stdout.write(printable_json(dump(_shown(entry)).decode()))
            else:
                self.stdout.write(_line(entry))
        return None if options["format"] == "jsonl" else f"entries={number}"


def _prune() -> str:
    if not settings.AUDIT_RETENTION:
        raise CommandError("AUDIT_RETENTION is 0: everything is kept. Set it to a number of days.")
    with audit.acting_as(operator()):
        return f"removed={audit.prune_expired()}"


def _entries(options: dict[str, Any]) -> QuerySet[AuditEntry]:
    found = AuditEntry.objects.order_by("pk")
    if options["since"]:
        found = found.filter(at__gte=_time(options["since"], "--since"))
    if options["until"]:
        found = found.filter(at__lt=_time(options["until"], "--until"))
    if action := options["action"]:
        found = found.filter(Q(action=action) | Q(action__startswith=f"{action}."))
    if options["outcome"]:
        found = found.filter(outcome=options["outcome"])
    if options["actor"]:
        found = found.filter(actor__icontains=options["actor"])
    if options["case"]:
        found = found.filter(case_id=options["case"])
    return found


def _time(text: str, option: str) -> datetime:
    """Return the moment that was written; a date is its beginning in UTC. Raises CommandError."""
    try:
        day = parse_date(text)
        moment = datetime.combine(day, time(), UTC) if day else parse_datetime(text)
    except ValueError as error:
        raise CommandError(f"{option}: {error}.") from error
    if moment is None or moment.tzinfo is None:
        raise CommandError(f"{option}: expected a date, or a time like 2024-03-01T08:15:30Z.")
    return moment


def _shown(entry: AuditEntry) -> dict[str, Any]:
    return {"at": format_moment(entry.at), **{name: getattr(entry, name) for name in _FACTS}}


def _line(entry: AuditEntry) -> str:
    at = entry.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    parts = [at, f"{entry.outcome:7}", entry.action, entry.actor, entry.address, entry.target]
    if entry.case_id:
        parts.append(f"case {entry.case_id}")
    if entry.details:
        parts.append(dump(entry.details).decode())
    return printable("  ".join(part for part in parts if part))
