"""Requests made from the OpenAPI document: none fails inside, and every answer is as it says.

The quick run is part of the suite; `make test-api` tries some 5,000 (DATAMORTEM_CASES), with the
bounds of every value beside random ones. Each request is undone, so that the next one finds the
same world.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, Final

import pytest
import schemathesis
from django.core import signals
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, connections, transaction
from django.test import Client
from pytest_django import Settings
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from datamortem.tests.world import World, make_world

pytestmark = pytest.mark.django_db

#: How many requests are tried in all, and how many of a hundred as whom.
WANTED: Final = int(os.environ.get("DATAMORTEM_CASES", "400"))
IS_LONG: Final = WANTED > 1000
ACTORS: Final = {"lead": 60, "superadmin": 25, "anonymous": 15}
#: What is asked of every answer. Whether a request makes sense is more than its document can say.
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
#: Ids that are put into most of the addresses; the others are made up.
IDS: Final = (
    "case_id", "evidence_uid", "run_id", "user_id", "event_id", "team_id", "invitation_id", "key",
    "session_id", "token_id",
)  # fmt: skip
_NUMBERS: Final = ("run_id", "user_id", "team_id", "invitation_id", "token_id")

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


@pytest.fixture
def site(settings: Settings) -> Iterator[Application]:
    """Yield the site as a server calls it; what a request wrote is gone when it was answered."""
    settings.ALLOWED_HOSTS = ["localhost"]
    settings.SECURE_SSL_REDIRECT = False
    application, shared = get_wsgi_application(), connections["default"]
    edges = (signals.request_started, signals.request_finished)
    shared.inc_thread_sharing()

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        connections["default"] = shared  # requests come from a thread of their own
        for edge in edges:
            edge.disconnect(close_old_connections)
        undone: Any = transaction.atomic()
        undone._from_testcase = True  # the site may ask for a transaction that is the outermost
        with undone:
            response = application(environ, start)
            body = b"".join(response)
            response.close()
            transaction.set_rollback(True)
        return [body]

    yield answer
    shared.dec_thread_sharing()
    for edge in edges:
        edge.connect(close_old_connections)


@cache
def _document() -> dict[str, Any]:
    """Return the document as it is served."""
    client = Client(SERVER_NAME="localhost", headers={"accept": "application/json"})
    document: dict[str, Any] = json.loads(client.get("/api/v1/schema/").content)
    return document


def _config(world: World, actor: str, examples: int) -> SchemathesisConfig:
    ids = {name: value for name, value in world.ids_of(actor).items() if name in IDS}
    bearer = world.keys[actor].bearer
    return SchemathesisConfig.from_dict(
        {
            "seed": 7 if not IS_LONG else int.from_bytes(os.urandom(4), "big"),
            "headers": {"Authorization": f"Bearer {bearer}"} if bearer else {},
            "dictionaries": {
                name: {"values": [int(value) if name in _NUMBERS else value]} for name, value in ids.items()
            },
            "parameters": {f"path.{name}": {"dictionary": name, "probability": 0.8} for name in ids},
            "generation": {"max-examples": examples, "no-shrink": True, "database": "none"},
            "phases": {
                "coverage": {"enabled": IS_LONG},
                "examples": {"enabled": False},
                "stateful": {"enabled": False},
            },
            "checks": {"enabled": False, **{name: {"enabled": True} for name in CHECKS}},
            "continue-on-failure": True,
        }
    )


def _findings(recorder: Any) -> Iterator[str]:
    """Yield what was found wrong with an answer, and how to ask for it again."""
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                response = recorder.interactions[case_id].response
                said = f"{response.status_code} {response.content[:300]!r}" if response else "no answer"
                failure, code = check.failure_info.failure, check.failure_info.code_sample
                yield f"{recorder.label}: {check.name}: {failure}\n{code[:600]}\n{said}"


@pytest.mark.parametrize("actor", ACTORS)
def test_no_request_fails_inside_and_every_answer_is_as_the_document_says(
    actor: str, site: Application
) -> None:
    served = _document()
    operations = sum(len(methods) for methods in served["paths"].values())
    wanted = WANTED * ACTORS[actor] // 100
    config = _config(make_world(), actor, max(1, -(-wanted // operations)))
    document = schemathesis.openapi.from_dict(served, config=config)
    document.app = site
    statuses: Counter[int] = Counter()
    found: list[str] = []
    for event in from_schema(document).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            found.append(str(event))
        if isinstance(event, events.ScenarioFinished):
            answers = event.recorder.interactions.values()
            statuses.update(answer.response.status_code for answer in answers if answer.response)
            found += _findings(event.recorder)
    print(f"{actor}: {statuses.total()} requests for {operations} operations: {dict(statuses)}")
    assert not found, "\n\n".join(found[:20])
    assert statuses.total() >= wanted
    assert not [status for status in statuses if status >= 500]
    if actor == "anonymous":
        assert statuses[401] > statuses.total() / 2


def test_options_of_every_route_tells_the_methods_and_nothing_else() -> None:
    world = make_world()
    client = Client(headers={"authorization": f"Bearer {world.keys['superadmin'].bearer}"})
    ids = world.ids_of("superadmin")
    for path, methods in _document()["paths"].items():
        answer = client.options(path.format_map(ids))
        assert answer.status_code in (200, 403), path
        assert set(answer["Allow"].split(", ")) >= {method.upper() for method in methods}, path
        assert answer.status_code == 403 or answer.json() == {}
