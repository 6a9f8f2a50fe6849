"""What the tests of every engine share: the engines, and events to put into them."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path
from typing import Any

from cases.index.connect import Address, connect
from cases.index.document import Document
from cases.index.engine import Engine
from cases.index.tree import Everything, Node
from cases.tests.index.odd import START

#: A real search server to test on besides, where one is named (`make test-services` starts one).
SERVER = os.environ.get("TEST_SEARCH_URL", "")
#: The search URLs that the contract is tested on.
ENGINES = ["embedded:", *filter(None, [SERVER])]
ALL = Everything()
DAY = 86_400_000_000


def an_engine(url: str, root: Path) -> Engine:
    """Return an engine with nothing in it: its directory, or its names on the server, are its own."""
    return connect(Address(url, root=str(root), namespace=uuid.uuid4().hex))


def event(number: int, timestamp: int | None = START, **facts: Any) -> Document:
    return {
        "event_id": hashlib.sha256(str(number).encode()).hexdigest(),
        "timestamp": timestamp,
        "timestamp_desc": "Event logged",
        "time_precision": "us",
        "message": f"message {number}",
        "host": None,
        "user": None,
        "source": "jsonl",
        "category": None,
        "type": None,
        "tags": [],
        "score": None,
        "case_id": "case",
        "evidence_uid": "ev-1",
        "position": f"line {number}",
        "attributes": {},
        "span": None,
        **facts,
    }


def fill(
    engine: Engine,
    documents: list[Document],
    *,
    case: str = "case",
    shard: str = "ev-1",
    run: str = "1",
    append: bool = False,
) -> None:
    with engine.writer(case_id=case, shard=shard, run=run, append=append) as writer:
        writer.add(documents)
        writer.seal()
        engine.publish(case_id=case, shard=shard, run=run, append=append)


def found(engine: Engine, query: Node = ALL, case: str = "case") -> list[str]:
    return [document["message"] for document in engine.stream(case_ids=[case], query=query)]


def connect_like(engine: Any) -> Engine:
    """Another engine over the same index, as another process would have it."""
    again: Engine = type(engine)(engine._address if hasattr(engine, "_address") else engine._root)
    return again
