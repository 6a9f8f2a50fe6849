"""`manage.py demo`: made once, by the real path, finished after any interruption."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from accounts.models import Role, User
from cases import custody
from cases.demo.evidence import RECIPES
from cases.engines import engine
from cases.index.query import parse
from cases.models import Case, CaseRole, CustodyEntry, Evidence, RunStatus, TaskRun
from cases.tests.cast import indexed
from cases.tests.worker_process import call, running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = 20_050
STORY = django_settings.BASE_DIR / "docs" / "demo.md"


def demo(*arguments: str) -> str:
    out = io.StringIO()
    call_command("demo", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def state() -> dict[str, Any]:
    """Return everything that a second call must not change."""
    return {
        "evidence": list(Evidence.objects.order_by("pk").values()),
        "runs": list(TaskRun.objects.order_by("pk").values()),
        "custody": list(CustodyEntry.objects.order_by("pk").values_list("hash", flat=True)),
        "users": list(User.objects.order_by("pk").values("email", "password", "role")),
    }


def documented() -> list[tuple[str, int]]:
    """Return the queries of docs/demo.md, and how many events each is said to find."""
    rows = re.findall(r"^\|.*\| `(.+)` \| (\d+) \|$", STORY.read_text(), re.MULTILINE)
    return [(query, int(count)) for query, count in rows]


def test_the_demo_shows_the_main_job_and_a_second_call_changes_nothing(settings: Any) -> None:
    said = demo()
    assert f"read={EVENTS} indexed={EVENTS} duplicate=0 rejected=0 undated=0" in said
    assert f"{settings.PUBLIC_URL}/cases/demo/timeline/" in said
    assert f"{settings.PUBLIC_URL}/admin/" in said

    case = Case.objects.get(case_id="demo")
    assert len(indexed(case)) == EVENTS
    assert custody.verify("demo") == []
    facts = Evidence.objects.values_list("original_name", "host", "time_zone")
    assert sorted(facts) == sorted((recipe.name, recipe.host, recipe.time_zone) for recipe in RECIPES)

    password = json.loads((settings.DEMO_ROOT / "demo.json").read_text())["password"]
    assert password in said
    assert stat.S_IMODE((settings.DEMO_ROOT / "demo.json").stat().st_mode) == 0o600
    lead, analyst, reader, admin = (
        User.objects.get(email=f"{n}@demo.example") for n in ("lead", "analyst", "reader", "admin")
    )
    assert all(user.check_password(password) for user in (lead, analyst, reader, admin))
    assert (lead.role, analyst.role, reader.role) == (Role.ANALYST, Role.ANALYST, Role.VIEWER)
    assert admin.is_staff
    assert not case.members.filter(user=admin).exists()
    assert case.owner == lead
    assert case.members.get(user=analyst).role == CaseRole.ANALYST
    assert case.members.get(user=reader).role == CaseRole.READER

    queries = documented()
    assert len(queries) == 16
    for query, count in queries:
        assert engine().count(case_ids=["demo"], query=parse(query)) == count, query
    for line in said.splitlines():
        if found := re.search(r"manage\.py search demo '(.+)'", line):
            assert engine().count(case_ids=["demo"], query=parse(found[1])) > 0, line

    before, started = state(), time.monotonic()
    again = demo()
    assert "Making" not in again
    assert said.endswith(again)
    assert time.monotonic() - started < 3
    assert state() == before

    with pytest.raises(CommandError, match="scale 1"):
        demo("--scale", "2")
    assert state() == before


@pytest.mark.parametrize("scale", ["0", "-1", "5001"])
def test_a_scale_that_makes_no_sense_is_refused(scale: str) -> None:
    with pytest.raises(CommandError, match="scale"):
        demo("--scale", scale)
    assert not Case.objects.exists()


def test_what_is_kept_between_calls_must_be_readable(settings: Any) -> None:
    settings.DEMO_ROOT.mkdir()
    (settings.DEMO_ROOT / "demo.json").write_text("{")
    with pytest.raises(CommandError, match=r"demo\.json"):
        demo()


def test_a_demo_killed_on_the_way_is_finished_by_the_next_call(settings: Any) -> None:
    settings.RUN_LEASE = 2
    settings.DEMO_ROOT.mkdir()
    with running("demo") as process:
        wait_until(lambda: some_run_has_begun() or process.poll() is not None, seconds=60)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = call("demo", timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"read={EVENTS} indexed={EVENTS} duplicate=0 rejected=0 undated=0" in done.stdout
    runs = TaskRun.objects.filter(status=RunStatus.SUCCEEDED)
    assert sorted(run.evidence.original_name for run in runs) == sorted(recipe.name for recipe in RECIPES)
    assert len(indexed(Case.objects.get(case_id="demo"))) == EVENTS
    assert not list(Path(settings.DEMO_ROOT).rglob("*.part"))


def some_run_has_begun() -> bool:
    return TaskRun.objects.filter(attempt__gt=0).exists()
