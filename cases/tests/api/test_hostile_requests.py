"""Every route of the OpenAPI document, asked with what makes no sense: refused, and never a 500."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import pytest
from drf_spectacular.generators import SchemaGenerator

from cases.tests.api.cast import V1, client_of, errors, events, record, staffed_case

pytestmark = pytest.mark.django_db

_TEXTS: Final = (
    "", "*", "((((", "[* TO", "a" * 3000, "-1", "0", "2", "1001", "00000001" + "9" * 40, "abc",
    "\x00", "a\x00b", "%", "\\", "٣", "1e5", "NaN", "9" * 40, "0001-01-01", "9999-12-31T23:59:59.999999Z",
    "2024-03-01T08:15:30+99:99", "/(a|a)*b/", "/x{1,1000}/", "a~9", '"a b"~99999999999', "_exists_:",
    "n:[1 TO", "n:>=", "n:>" + "9" * 400, "timestamp:>9999-12-31", "starred:maybe", 'attributes."":x', "😀",
    "(" * 500 + "a" + ")" * 500, "NOT " * 500 + "a", "*?*?*", "n:1e999", "jsonl", "csv", "timestamp",
    "0000-01-01", "\ufffd", "message", "attributes", "second", "../../etc/passwd", "<script>", "ir-2024-001",
)  # fmt: skip
_BODIES: Final[tuple[Any, ...]] = (
    {}, [], "x", 1, None, True, {"message": "x"}, [{"message": "\x00\ud800"}],
    {"message": "x", "score": True},
    {"message": "x", "n": 10**400}, {"message": "x", "timestamp": "9999-12-31T23:59:59-01:00"},
    {"message": "x", "attributes": {"": 1, ".": 2, "a.": {"b": [[[1]]]}}}, {"title": "\x00"}, {"title": None},
    {"tags": [None]}, {"case_id": []}, {"case_id": "\ud800"}, {"note": {"a": 1}}, {"user": "alice\x00"},
    {"user": "999999999999"}, {"role": None}, {"module": "\x00"}, {"options": {"\x00": "\x00"}},
    {"email": "\x00", "password": "\x00"}, {"refresh": "x.y.z"}, {"time_zone": "\x00"}, {"time_zone": "/etc"},
    {"clock_offset_seconds": 10**400}, {"clock_offset_seconds": "inf"}, {"description": "\ud800"},
    {"full_name": "\x00"}, {"locale": "xx"},
)  # fmt: skip
_ROUNDS: Final = 6


def _operations() -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """Yield method, path and parameters of every operation; logins cost a hash and are left out."""
    document = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path != f"{V1}/auth/login/":
                yield method, path, operation.get("parameters", [])


def _body(chance: random.Random) -> bytes:
    body = json.dumps(chance.choice(_BODIES)).encode()
    return body[: len(body) // 2] if chance.random() < 0.1 else body


@pytest.mark.parametrize("seed", range(3))
def test_nothing_that_is_asked_breaks_a_route(seed: int) -> None:
    chance = random.Random(seed)
    case = staffed_case()
    evidence = events(case, [record(0)])
    known = {"case_id": case.case_id, "evidence_uid": evidence.evidence_uid, "event_id": "0" * 64}
    client = client_of("dana")  # who may write, and not end the case
    asked = 0
    for _ in range(_ROUNDS):
        for method, path, parameters in _operations():
            address = path
            for each in (each for each in parameters if each["in"] == "path"):
                good = known.get(each["name"], "1")
                value = good if chance.random() < 0.8 else chance.choice(_TEXTS)
                address = address.replace(f"{{{each['name']}}}", quote(value or "x", safe=""))
            names = [each["name"] for each in parameters if each["in"] == "query" and chance.random() < 0.4]
            query = "&".join(f"{name}={quote(chance.choice(_TEXTS))}" for name in names)
            body = _body(chance) if method in ("post", "patch") else b""
            answer = client.generic(method.upper(), f"{address}?{query}", body, "application/json")
            told = (method, address, query, body)
            assert answer.status_code < 500, told
            if answer.status_code >= 400:
                assert errors(answer), told
            if answer.streaming:
                b"".join(answer.streaming_content)  # a download is closed once it is read
            asked += 1
    assert asked > 100
