"""The engine tries a server out, and works around what it knows of older ones."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from cases.index import opensearch_selftest as selftest
from cases.index.connect import Address
from cases.index.engine import IndexUnavailable, Page
from cases.index.opensearch import OpenSearchEngine
from cases.index.opensearch_leaves import Caution
from cases.index.opensearch_names import index
from cases.tests.index.engines import SERVER

pytestmark = pytest.mark.skipif(not SERVER, reason="TEST_SEARCH_URL names no search server")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenSearchEngine]:
    monkeypatch.setattr(selftest, "_seen", set())
    monkeypatch.setattr(Caution, "needed", Caution.needed)
    engine = OpenSearchEngine(Address(SERVER, namespace=uuid.uuid4().hex), tried=True)
    yield engine
    for name in (index(engine.names.scratch(), 1),):
        if selftest._noted(engine.client, name):
            engine.client.ask("DELETE", "", names=name)


def test_a_server_that_passes_is_remembered(
    engine: OpenSearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    selftest.prove(engine.client, engine, engine.names)
    monkeypatch.setattr(selftest, "_seen", set())

    def again(*_: Any) -> list[str]:
        raise AssertionError("It was tried again.")

    monkeypatch.setattr(selftest, "try_out", again)
    selftest.prove(engine.client, engine, engine.names)


def test_with_caution_the_answers_are_the_same(engine: OpenSearchEngine) -> None:
    Caution.needed = True
    assert selftest.try_out(engine) == []


def test_a_server_that_leaves_something_out_is_refused(
    engine: OpenSearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = engine.search

    def partly(**asked: Any) -> Page:
        page = whole(**asked)
        return Page(page.documents[1:], page.total, page.next)

    monkeypatch.setattr(engine, "search", partly)
    with pytest.raises(IndexUnavailable, match=r"answers some questions wrongly .*use 3\.5 or later"):
        selftest.prove(engine.client, engine, engine.names)
    assert not selftest._seen
