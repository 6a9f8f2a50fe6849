"""What tests of access share: what somebody may do in a case, and doing things at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from django.db import connections

from accounts.models import User
from cases import services
from cases.models import Case
from datamortem.common.errors import DomainError


def in_team(case: Case, user: User, role: str) -> None:
    """Let a user work on a case through a team."""
    team = services.create_team(name=f"{user} on {case}", by=None)
    services.add_to_team(team=team, user=user, by=None)
    services.add_team(case=case, team=team, role=role, by=None)


def rights(user: User, case_id: str) -> str:
    """Return what the user may do in a case, by the first letters of see, write, manage and guard."""
    found = Case.objects.filter(case_id=case_id)
    ways = (found.visible_to, found.writable_by, found.managed_by, found.guarded_by)
    return "".join(letter if way(user).exists() else "-" for letter, way in zip("swmg", ways, strict=True))


def at_once(*acts: Callable[[], object]) -> list[str]:
    """Do everything at the same time; return the codes of what was refused, and "" for what was done."""
    start, outcomes = threading.Barrier(len(acts)), []

    def work(act: Callable[[], object]) -> None:
        start.wait()
        try:
            act()
            outcomes.append("")
        except DomainError as refusal:
            outcomes.append(refusal.code)
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work, args=(act,)) for act in acts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sorted(outcomes)
