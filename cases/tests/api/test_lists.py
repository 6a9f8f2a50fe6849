"""Every list of the API, walked by pages of one in each of its orders."""

from __future__ import annotations

from typing import Any

import pytest

from cases.tests.api.cast import V1, client_of, staffed_case
from cases.tests.cast import a_case, receive

pytestmark = pytest.mark.django_db

CASE = f"{V1}/cases/ir-2024-001/"


def _walk(client: Any, address: str, direction: str = "next") -> tuple[list[Any], str]:
    """Return everything from a page on, and the address of the last page."""
    found: list[Any] = []
    while True:
        answer = client.get(address)
        assert answer.status_code == 200, answer.content
        page = answer.json()
        found += page["results"] if direction == "next" else page["results"][::-1]
        if page[direction] is None:
            return found, address
        address = page[direction]


@pytest.mark.parametrize(
    ("address", "field", "key"),
    [
        (f"{V1}/cases/", "created_at", "case_id"),
        (f"{V1}/cases/", "case_id", "case_id"),
        (f"{CASE}evidence/", "added_at", "evidence_uid"),
        (f"{CASE}evidence/", "evidence_uid", "evidence_uid"),
        (f"{CASE}runs/", "created_at", "id"),
        (f"{CASE}runs/", "id", "id"),
        (f"{CASE}members/", "username", "username"),
        (f"{CASE}custody/", "sequence", "sequence"),
        (f"{V1}/modules/", "name", "name"),
    ],
)
@pytest.mark.parametrize("sign", ["", "-"])
def test_pages_of_one_give_the_whole_list_forwards_and_back(
    address: str, field: str, key: str, sign: str
) -> None:
    case = staffed_case()
    for number in range(3):
        receive(case, str(number).encode())
        a_case(f"other-{number}")
    client = client_of("alice")
    whole = client.get(f"{address}?page_size=500&ordering={sign}{field}").json()["results"]
    assert len(whole) >= 3
    assert [row[field] for row in whole] == sorted((row[field] for row in whole), reverse=bool(sign))
    forwards, last = _walk(client, f"{address}?page_size=1&ordering={sign}{field}")
    assert [row[key] for row in forwards] == [row[key] for row in whole]
    backwards, _ = _walk(client, last, "previous")
    assert [row[key] for row in backwards] == [row[key] for row in reversed(whole)]


@pytest.mark.parametrize("path", ["evidence/", "runs/", "members/", "custody/"])
def test_lists_of_a_case_follow_their_default_order(path: str) -> None:
    case = staffed_case()
    for number in range(3):
        receive(case, str(number).encode())
    client = client_of("alice")
    whole = client.get(f"{CASE}{path}").json()["results"]
    assert _walk(client, f"{CASE}{path}?page_size=1")[0] == whole
