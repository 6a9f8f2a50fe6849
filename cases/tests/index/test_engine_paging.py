"""What every engine promises about order: pages by cursor, and streams."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cases.index.document import Document
from cases.index.engine import Cursor, Engine, InvalidCursor
from cases.index.tree import Node
from cases.records import FIRST_INSTANT, LAST_INSTANT
from cases.tests.index.engines import ALL, DAY, ENGINES, an_engine, event, fill
from cases.tests.index.odd import START


def pages(
    engine: Engine, limit: int, *, descending: bool = True, query: Node = ALL
) -> Iterator[list[Document]]:
    after: Cursor | None = None
    while True:
        page = engine.search(
            case_ids=["case"], query=query, limit=limit, after=after, descending=descending, count=False
        )
        yield page.documents
        if page.next is None:
            return
        after = page.next


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    ties = [event(number, START) for number in range(5000)]
    around = [event(number, START + number - 5300) for number in range(5000, 5600) if number != 5300]
    undated = [event(number, None) for number in range(6000, 6300)]
    ends = [event(7000, FIRST_INSTANT), event(7001, LAST_INSTANT), event(7002, -1), event(7003, 0)]
    return [*undated, *ties, *around, *ends]


@pytest.fixture(scope="module", params=ENGINES)
def engine(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    documents: list[Document],
) -> Engine:
    engine = an_engine(request.param, tmp_path_factory.mktemp("paging"))
    for shard in range(3):
        fill(engine, documents[shard::3], shard=f"ev-{shard}")
    return engine


def in_order(documents: list[Document], *, descending: bool) -> list[str]:
    def key(document: Document) -> tuple[int, str]:
        return document["timestamp"] or 0, document["event_id"]

    dated = sorted((d for d in documents if d["timestamp"] is not None), key=key, reverse=descending)
    undated = sorted((d for d in documents if d["timestamp"] is None), key=key, reverse=descending)
    return [document["event_id"] for document in dated + undated]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("limit", [37, 1000])
def test_pages_neither_lose_nor_repeat(
    engine: Engine, documents: list[Document], limit: int, descending: bool
) -> None:
    read = [d["event_id"] for page in pages(engine, limit, descending=descending) for d in page]
    assert read == in_order(documents, descending=descending)


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("around", [0, 302, 5300, 5600, 5900])
def test_pages_of_one_event_go_on_exactly(
    engine: Engine, documents: list[Document], around: int, descending: bool
) -> None:
    expected = in_order(documents, descending=descending)
    by_id = {document["event_id"]: document for document in documents}
    before = by_id[expected[around]]
    after = Cursor(before["timestamp"], before["event_id"])
    for wanted in expected[around + 1 : around + 6]:
        page = engine.search(
            case_ids=["case"], query=ALL, limit=1, after=after, descending=descending, count=False
        )
        assert [document["event_id"] for document in page.documents] == [wanted]
        assert page.next is not None or wanted == expected[-1]
        after = page.next or after


@pytest.mark.parametrize("descending", [True, False])
def test_the_stream_is_what_the_pages_are(
    engine: Engine, documents: list[Document], descending: bool
) -> None:
    streamed = engine.stream(case_ids=["case"], query=ALL, descending=descending)
    assert [d["event_id"] for d in streamed] == in_order(documents, descending=descending)


def test_total_is_exact_on_every_page_and_absent_unless_asked(
    engine: Engine, documents: list[Document]
) -> None:
    first = engine.search(case_ids=["case"], query=ALL, limit=10)
    second = engine.search(case_ids=["case"], query=ALL, limit=10, after=first.next)
    assert first.total == second.total == len(documents)
    assert engine.search(case_ids=["case"], query=ALL, limit=10, count=False).total == -1


def test_the_last_page_has_no_next(engine: Engine, documents: list[Document]) -> None:
    everything = engine.search(case_ids=["case"], query=ALL, limit=len(documents))
    assert len(everything.documents) == len(documents)
    assert everything.next is None


def test_a_cursor_need_not_be_an_event(engine: Engine, documents: list[Document]) -> None:
    between = Cursor(START, "8" * 64)
    page = engine.search(case_ids=["case"], query=ALL, limit=5, after=between, descending=False)
    expected = [
        document["event_id"]
        for document in documents
        if document["timestamp"] == START and document["event_id"] > "8" * 64
    ]
    assert [document["event_id"] for document in page.documents] == sorted(expected)[:5]


@pytest.mark.parametrize("cursor", [Cursor(START, "x"), Cursor(None, ""), Cursor(2**70, "0" * 64)])
def test_an_edited_cursor_is_refused(engine: Engine, cursor: Cursor) -> None:
    with pytest.raises(InvalidCursor):
        engine.search(case_ids=["case"], query=ALL, limit=5, after=cursor)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("descending", [True, False])
def test_pages_over_years_with_few_and_many_events_a_day_lose_none(
    tmp_path: Path, name: str, descending: bool
) -> None:
    engine = an_engine(name, tmp_path / "index")
    busy = [event(number, START + number % 7 * DAY // 3 + number) for number in range(600)]
    sparse = [event(1000 + number, START - 5000 * DAY + number * 97 * DAY) for number in range(120)]
    ties = [event(2000 + number, START + DAY) for number in range(60)]
    for shard, documents in enumerate((busy, sparse, ties)):
        fill(engine, documents, shard=f"ev-{shard}")
    everything = in_order([*busy, *sparse, *ties], descending=descending)
    for limit in (5, 13, 100):
        seen = [d["event_id"] for page in pages(engine, limit, descending=descending) for d in page]
        assert seen == everything


def test_ids_that_share_sixteen_characters_keep_their_order(engine: Engine) -> None:
    ids = [f"{'ab' * 8}{number:016x}{'cd' * 16}" for number in range(40)]
    twins = [event(0, None, event_id=event_id, case_id="twins") for event_id in ids]
    fill(engine, twins[::2], case="twins", shard="a")
    fill(engine, twins[1::2], case="twins", shard="b")
    read: list[str] = []
    after = None
    for _ in range(len(twins)):
        page = engine.search(case_ids=["twins"], query=ALL, limit=3, after=after, descending=False)
        read += [document["event_id"] for document in page.documents]
        after = page.next
        if after is None:
            break
    assert read == [document["event_id"] for document in twins]
    streamed = engine.stream(case_ids=["twins"], query=ALL, descending=True)
    assert [document["event_id"] for document in streamed] == read[::-1]
