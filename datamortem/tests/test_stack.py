"""What docker/compose.yml starts works, and goes on working when its parts are killed one by one.

Real processes: the commands and health checks are those of the file. `make test-services` runs it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any, Final

import pytest

from datamortem.tests import stack
from datamortem.tests.stack import Stack, until

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(bool(stack.missing()), reason=f"the stack of compose: {stack.missing()}"),
]

ENDED: Final = ("succeeded", "failed", "cancelled")
_CASE: Final = "/api/v1/cases/stack"
_MAKE_USER: Final = """
from accounts.models import User
User.objects.create_user("dana@example.org", "dana", "correct horse battery", email_verified=True)
"""


def some_events(number: int, name: str) -> bytes:
    """Return lines of JSON that no other file has."""
    times = (f"2024-03-01T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z" for n in range(number))
    return b"".join(
        json.dumps({"timestamp": time, "message": f"{name} event {n}"}).encode() + b"\n"
        for n, time in enumerate(times)
    )


class Team:
    """Somebody who works on one case of the stack."""

    def __init__(self, site: Stack) -> None:
        self.site = site
        answer = self.ask(
            "POST", "/api/v1/auth/login/", email="dana@example.org", password="correct horse battery"
        )
        self.token = answer["access"]
        self.ask("POST", "/api/v1/cases/", case_id="stack", title="Stack")

    token = ""

    def ask(self, method: str, path: str, *, status: int = 0, **body: object) -> Any:
        """Return the body of an answer that must be as expected."""
        code, said, _ = self.site.ask(method, path, body or None, token=self.token)
        assert code == status if status else code < 300, (method, path, code, said)
        return said

    def add(self, number: int, name: str) -> int:
        """Add a file of events and return its run."""
        code, said, _ = self.site.ask(
            "POST", f"{_CASE}/evidence/", token=self.token, file=some_events(number, name)
        )
        assert code == 201, said
        return int(said["runs"][0]["id"] if isinstance(said["runs"][0], dict) else said["runs"][0])

    def run(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"{_CASE}/runs/{number}/")
        return found

    def wait_for_run(self, number: int, seconds: float = 90) -> None:
        """Wait until a run has succeeded."""
        until(lambda: self.run(number)["status"] in ENDED, seconds, lambda: self.site.log("worker"))
        assert self.run(number)["status"] == "succeeded", f"{self.run(number)}\n{self.site.log('worker')}"

    def found(self, q: str) -> int:
        """Return how many events a query finds."""
        return int(self.ask("GET", f"{_CASE}/events/count/?q={q}")["total"])


def parts(site: Stack) -> tuple[int, dict[str, Any]]:
    code, said, _ = site.ask("GET", "/readyz")
    return code, said


def wait_for_part(site: Stack, name: str, ok: bool, seconds: float = 60) -> dict[str, Any]:
    """Wait until /readyz says that a part is up, or down."""
    until(lambda: parts(site)[1][name]["ok"] is ok, seconds, lambda: str(parts(site)))
    return parts(site)[1]


@pytest.fixture
def site() -> Iterator[Stack]:
    """The whole stack, started in the order of `depends_on`."""
    started = Stack()
    try:
        for name in ("db", "redis", "search"):
            started.start(name)
        for name in ("db", "redis"):
            started.wait_for(name)
        createdb = [f"{stack.postgres_bin()}/createdb", "-h", "127.0.0.1", "-p", str(started.ports["db"])]
        subprocess.run([*createdb, "-U", "datamortem", "datamortem"], check=True)
        started.start("migrate")
        assert started.running.pop("migrate").wait(120) == 0, started.log("migrate")
        started.start("web")
        started.wait_for("web")
        started.wait_for("search")
        started.start("worker")
        started.wait_for("worker")
        yield started
    finally:
        started.end()


def test_the_stack_reads_and_finds_and_every_part_can_be_killed(site: Stack) -> None:
    site.manage("shell", "-v0", "-c", _MAKE_USER)
    team = Team(site)
    team.wait_for_run(team.add(300, "first"))
    assert team.found("first") == 300
    code, ready = parts(site)
    assert (code, ready["status"]) == (200, "ok")
    assert (ready["database"]["engine"], ready["broker"]["kind"]) == ("postgresql", "redis")
    assert ready["worker"]["workers"] >= 1
    assert "opensearch" in ready["index"]["engine"].lower()
    measured = site.ask("GET", "/metrics")[1]
    assert 'datamortem_events_total{outcome="indexed"} 300.0' in measured
    assert "datamortem_http_request_seconds_count" in measured

    _without_search(site, team)
    _without_broker(site, team)
    _without_worker(site, team)
    _without_database(site, team)

    assert "PROBLEM" not in site.manage("doctor")
    for name in ("worker", "web", "redis", "db", "search"):
        site.stop(name)
    for name in ("worker", "web"):
        assert "Traceback" not in site.log(name)[-500:], site.log(name)


def _without_search(site: Stack, team: Team) -> None:
    """What asks the index says why not; what does not ask it goes on."""
    site.kill("search")
    code, said, headers = site.ask("GET", f"{_CASE}/events/", token=team.token)
    assert (code, said["errors"][0]["code"]) == (503, "index_unavailable")
    assert headers["Retry-After"]
    ready = wait_for_part(site, "index", False)
    assert (parts(site)[0], ready["database"]["ok"], ready["worker"]["ok"]) == (503, True, True)
    assert len(team.ask("GET", f"{_CASE}/evidence/")["results"]) == 1
    until(lambda: 'datamortem_up{part="index"} 0.0' in site.ask("GET", "/metrics")[1], 10, lambda: "still up")
    added = team.add(200, "second")
    site.start("search")
    site.wait_for("search")
    until(lambda: team.run(added)["status"] in ENDED, 90, lambda: site.log("worker"))
    if team.run(added)["status"] == "failed":  # it may give up, and then says why and can be retried
        assert "search server" in team.run(added)["error_message"]
        added = team.ask("POST", f"{_CASE}/runs/{added}/retry/")["id"]
    team.wait_for_run(added)
    assert (team.found("first"), team.found("second")) == (300, 200)


def _without_broker(site: Stack, team: Team) -> None:
    """Uploads are taken, and read once a broker is there again, which remembers nothing."""
    site.kill("redis")
    added = team.add(100, "third")
    assert wait_for_part(site, "broker", False)["status"] == "ok"
    assert team.found("first") == 300
    site.start("redis")
    site.wait_for("redis")
    team.wait_for_run(added)
    assert team.found("third") == 100
    wait_for_part(site, "broker", True)


def _without_worker(site: Stack, team: Team) -> None:
    """What comes in waits, and is said to."""
    site.kill("worker")
    added = team.add(50, "fourth")
    assert team.run(added)["status"] == "queued"
    ready = wait_for_part(site, "worker", False)
    assert (ready["status"], ready["lag"]["waiting_runs"]) == ("ok", 1)
    assert team.found("third") == 100
    site.start("worker")
    team.wait_for_run(added)
    assert team.found("fourth") == 50


def _without_database(site: Stack, team: Team) -> None:
    """The site says so within seconds, and needs no restart afterwards; neither do workers."""
    site.kill("db")
    ready = wait_for_part(site, "database", False)
    assert (parts(site)[0], ready["status"]) == (503, "unavailable")
    assert site.ask("GET", "/healthz")[0] == 200
    code, said, _ = site.ask("GET", "/api/v1/cases/", token=team.token)
    assert code >= 500
    assert "password" not in str(said)
    site.start("db")
    site.wait_for("db")
    until(lambda: site.ask("GET", "/api/v1/cases/", token=team.token)[0] == 200, 30, lambda: site.log("web"))
    team.wait_for_run(team.add(25, "fifth"))
    assert (team.found("fifth"), team.found("*")) == (25, 675)
