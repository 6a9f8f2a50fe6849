"""`manage.py second_factor`: how second factors stand, a lost one taken away, secrets sealed."""

from __future__ import annotations

import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import audit, second_factor
from accounts.models import User
from accounts.second_factor_upkeep import Standing, rotate, standings
from datamortem.common.operators import operator
from datamortem.common.terminal import printable

_OVERVIEW: Final = """\
examples:
  manage.py second_factor status                    every account that has one or must have one
  manage.py second_factor status ada@example.org    one account
  manage.py second_factor reset ada@example.org     she lost her phone and her recovery codes: she is
                                                    signed out, and enrols again after her password
  manage.py second_factor seal                      seal what an old database holds in clear
  manage.py second_factor rotate                    after a new key was put first in FIELD_KEYS and all
                                                    was restarted: seal everything with the new key;
                                                    the old one may go then

`status` exits 1 when an account wants mending. What is changed is in the audit record, under your
name on this machine. Make sure that it is the person who asks before you reset anything.
"""


class Command(BaseCommand):
    """Reads what to do, and does it on record."""

    help = "Look after second factors: status, reset (a lost phone), seal, rotate (a new key)."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what to do, and for whom."""
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = _OVERVIEW
        verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
        status = verbs.add_parser("status", help="how they stand, and what wants mending")
        status.add_argument("email", nargs="?", metavar="EMAIL")
        status.set_defaults(act=self._status)
        reset = verbs.add_parser("reset", help="take a lost one away; the account is signed out")
        reset.add_argument("email", metavar="EMAIL")
        reset.add_argument("--yes", action="store_true", help="do not ask")
        reset.set_defaults(act=self._reset)
        verbs.add_parser("seal", help="seal secrets that lie in clear").set_defaults(act=self._seal)
        verbs.add_parser("rotate", help="seal all secrets with the newest key").set_defaults(act=self._rotate)

    def handle(self, *args: Any, act: Callable[..., str], **options: Any) -> str:
        """Do it in the operator's name, and print the outcome."""
        with audit.acting_as(operator()):
            try:
                return act(**options)
            except User.DoesNotExist:
                raise CommandError(f"There is no account {printable(options['email'])}.") from None

    def _status(self, email: str | None, **options: Any) -> str:
        found = list(standings(email))
        for standing in found:
            self.stdout.write(f"{printable(standing.user.email)}: {_words(standing)}")
            for fault in standing.faults:
                self.stdout.write(self.style.ERROR(f"  {fault}"))
        faulty = sum(bool(standing.faults) for standing in found)
        enabled = sum(standing.enabled for standing in found)
        missing = sum(standing.missing for standing in found)
        line = f"enabled={enabled} missing={missing} faulty={faulty}"
        if faulty:
            self.stdout.write(line)
            raise CommandError("A second factor wants mending.")
        return line

    def _reset(self, email: str, *, yes: bool, **options: Any) -> str:
        user = User.objects.get_by_natural_key(email)
        name = printable(user.email)
        if not yes:
            self._ask(f"Take the second factor of {name} away, and sign them out?")
        if second_factor.reset(user, by=None):
            return f"{name} has no second factor now, and was signed out."
        return f"{name} had no second factor, and was signed out."

    def _ask(self, question: str) -> None:
        if not sys.stdin.isatty():
            raise CommandError("There is nobody to ask here: add --yes.")
        try:
            answer = input(f"{question} Type yes: ")
        except (EOFError, KeyboardInterrupt):
            answer = ""
        if answer.strip() != "yes":
            raise CommandError("Nothing was changed.")

    def _seal(self, **options: Any) -> str:
        return f"sealed={second_factor.seal_all()}"

    def _rotate(self, **options: Any) -> str:
        done = rotate()
        for name in done.unreadable:
            self.stdout.write(f"{printable(name)}: what is sealed there cannot be unsealed")
        line = f"sealed={done.sealed} unreadable={len(done.unreadable)}"
        if done.unreadable:
            self.stdout.write(line)
            raise CommandError("Keep the old keys: there are secrets that no key in FIELD_KEYS opens.")
        return line


def _words(standing: Standing) -> str:
    if not standing.enabled:
        words = "begun, not confirmed" if standing.begun else "none"
        return f"{words}, and the role must have one" if standing.missing else words
    codes = standing.recovery_codes
    used = standing.last_used_at
    seen = f"last used {used:%Y-%m-%d %H:%M} UTC" if used else "not used yet"
    return f"enabled, {codes} recovery code{'' if codes == 1 else 's'} left, {seen}"
