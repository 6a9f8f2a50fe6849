"""Fields that only the server sets, sent by everybody with everything: refused, or without any effect."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import pytest
from pytest_django import Settings

from datamortem.tests.asks import Ask, ask_of
from datamortem.tests.matrix import Line, Shown, lines, openapi, send
from datamortem.tests.policy import ACTORS, CASE, OK, PUBLIC, answer_for
from datamortem.tests.stored import Row, everything
from datamortem.tests.world import FOREIGN, World, make_world

pytestmark = pytest.mark.django_db

LONG_AGO: Final = "2001-02-03T04:05:06Z"
#: What a client may say of each, in vain. Names are those of the API, of columns, and of forms.
FIELDS: Final[dict[str, Any]] = {
    "id": 424242,
    "pk": 424242,
    "owner": "stranger",
    "owner_id": 2,
    "user_id": 2,
    "case": FOREIGN,
    "case_id": FOREIGN,
    "case_ref": 2,
    "evidence_uid": "ev-chosen",
    "role": "superadmin",
    "is_superuser": True,
    "is_staff": True,
    "is_active": True,
    "email_verified": True,
    "otp_enabled": True,
    "otp_secret": "JBSWY3DPEHPK3PXP",
    "otp_time": LONG_AGO,
    "token_epoch": 99,
    "hashed_password": "chosen",
    "created_at": LONG_AGO,
    "created_at_utc": LONG_AGO,
    "added_at": LONG_AGO,
    "last_login": LONG_AGO,
    "added_by": "stranger",
    "requested_by": "stranger",
    "closed_by": "stranger",
    "closed_at": LONG_AGO,
    "sealed_at": LONG_AGO,
    "status": "succeeded",
    "restricted": True,
    "sha256": "f" * 64,
    "hash": "f" * 64,
    "size": 1,
    "kind": "chosen",
    "local_path": "/etc/passwd",
    "original_name": "chosen",
    "progress": 1,
    "fence": 99,
    "attempt": 99,
    "indexed": 99,
    "digest": "f" * 64,
    "prefix": "chosen",
    "case_ids": [FOREIGN],
    "bound_cases": [FOREIGN],
    "groups": [1],
    "user_permissions": [1],
}
#: What of a new row is random, or is the time of the act.
_OF_ACT: Final = {
    "id", "created_at", "updated_at", "added_at", "created_at_utc", "added_at_utc", "ended_at_utc",
    "rotated_at", "undone_at",
    "auth_time", "otp_time", "due_at", "expires_at", "closed_at", "revoked_at", "used_at", "accepted_at",
    "sealed_at", "modified_at", "email_verification_sent_at", "evidence_uid", "event_id", "evidence_id",
    "invitation_id", "device_id", "run_id", "digest", "prefix", "refresh_jti", "previous_jti", "jti",
    "password", "otp_secret", "sealed", "last_t", "raw",
}  # fmt: skip
#: What would stand in a row that took one of these for its own.
_CHOSEN: Final = {424242, "chosen", "ev-chosen", "f" * 64, "JBSWY3DPEHPK3PXP", "/etc/passwd"}
_YEARS: Final = (2001, 2031)
_AT_ONCE: Final = 10

Rows = dict[str, list[Row]]


@pytest.fixture
def world(settings: Settings) -> World:
    settings.REGISTRATION = "open"
    return make_world()


def writing() -> Iterator[tuple[Line, set[str]]]:
    """Yield every line of the API that takes a body, and the fields that the OpenAPI document names."""
    document = openapi()
    shapes = document["components"]["schemas"]
    for line in lines(" api/v1/"):
        if line.method in ("POST", "PUT", "PATCH"):
            path = "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", line.route)
            body = document["paths"].get(path, {}).get(line.method.lower(), {}).get("requestBody", {})
            named = [content["schema"].get("$ref", "") for content in body.get("content", {}).values()]
            fields = [shapes.get(name.rpartition("/")[2], {}).get("properties", {}) for name in named]
            yield (
                line,
                {name for named in fields for name, shape in named.items() if not shape.get("readOnly")},
            )


def test_what_only_the_server_sets_is_refused_or_without_effect(world: World) -> None:
    wrong = []
    for line, documented in writing():
        people = ("lead", "superadmin", "not_shown", "anonymous")
        allowed = [name for name in people if answer_for(name, line.level, line.method) == OK]
        for actor in allowed[-1:] if line.level == PUBLIC else allowed[:1]:
            wrong += [f"{names} in {line} as {actor}" for names in taken(world, actor, line, documented)]
    assert wrong == []


def taken(world: World, actor: str, line: Line, documented: set[str]) -> Iterator[list[str]]:
    """Yield the fields that had an effect. Those that a refusal does not name are sent once more, alone."""
    usual = ask_of(line.method, line.route)
    sent = [name for name in FIELDS if name not in documented and name not in usual.body]
    _, plain = effect(world, actor, line, usual)
    for start in range(0, len(sent), _AT_ONCE):
        some = sent[start : start + _AT_ONCE]
        shown, rows = effect(world, actor, line, _saying(usual, some))
        if shown.status < 400 and differs(rows, plain):
            yield some
        for name in set(some) - attributes(shown) if shown.status >= 400 else ():
            shown, rows = effect(world, actor, line, _saying(usual, [name]))
            if shown.status >= 500 or (shown.status < 400 and differs(rows, plain)):
                yield [name]


def test_nobody_sets_them_all_at_once(world: World) -> None:
    wrong = []
    for line, documented in writing():
        usual = ask_of(line.method, line.route)
        asked = _saying(usual, set(FIELDS) - documented - set(usual.body))
        allowed = [name for name in ACTORS if answer_for(name, line.level, line.method) == OK]
        for actor in set(allowed) - line.absent if line.level != PUBLIC else ():
            shown, rows = effect(world, actor, line, asked)
            if shown.status >= 500 or (shown.status < 400 and chosen(rows)):
                wrong.append(f"{line} as {actor}: {shown.status} {chosen(rows)}")
    assert wrong == []


def effect(world: World, actor: str, line: Line, asked: Ask) -> tuple[Shown, Rows]:
    """Return the answer, and all rows as they stood before the request was undone."""
    found: Rows = {}

    def keep(shown: Shown) -> None:
        if shown.status < 400:
            found.update(everything())

    return send(world, actor, line, asked, then=keep), found


def _saying(asked: Ask, names: Iterable[str]) -> Ask:
    return replace(asked, body={**asked.body, **{name: FIELDS[name] for name in names}})


def attributes(shown: Shown) -> set[str]:
    """Return the fields that a refusal names."""
    return {error["attr"] for error in json.loads(shown.body)["errors"]} if shown.code else set()


def differs(rows: Rows, plain: Rows) -> bool:
    """Whether anything but what is random or the time of the act is not as without the fields."""
    return bool(chosen(rows)) or _settled(rows) != _settled(plain)


def chosen(rows: Rows) -> list[str]:
    """Return the columns in which something stands that a client chose."""
    return [
        f"{model}.{name}"
        for model, held in rows.items()
        for row in held
        for name, value in row.items()
        if (isinstance(value, datetime) and value.year in _YEARS)
        or (isinstance(value, str | int) and value in _CHOSEN)
    ]


def _settled(rows: Rows) -> dict[str, list[str]]:
    return {
        model: sorted(
            str({name: _sizeless(value) for name, value in row.items() if name not in _OF_ACT})
            for row in held
        )
        for model, held in rows.items()
    }


def _sizeless(value: object) -> object:
    """Leave out how large the body was, which the run of posted events notes."""
    return (
        {name: held for name, held in value.items() if name != "bytes"} if isinstance(value, dict) else value
    )


def test_a_field_that_is_taken_is_seen(world: World) -> None:
    """What these tests look for is there to be found: a title is taken, and so the rows differ."""
    line = next(line for line in lines() if str(line) == f"PATCH {CASE}")
    _, plain = effect(world, "lead", line, Ask({"title": "one"}))
    _, other = effect(world, "lead", line, Ask({"title": "chosen"}))
    assert differs(other, plain)
    assert chosen(other) == ["Case.title"]
