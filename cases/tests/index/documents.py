"""Documents made by hand, and what finds them."""

from __future__ import annotations

from typing import Any

from cases.index.document import Document, Origin, make_document
from cases.index.matching import compile_test
from cases.index.tree import Field, Node
from cases.records import Record

ORIGIN = Origin(case_id="ir-1", evidence_uid="ev-1", evidence_sha256="0" * 64, parser="evtx")


def event(message: str = "", attributes: dict[str, Any] | None = None, **core: Any) -> Document:
    """A document as a run makes it."""
    record = Record(position="line 1", message=message, attributes=attributes or {}, **core)
    return make_document(record, ORIGIN)


def meets(document: Document, node: Node) -> bool:
    """Whether the query finds the document."""
    return compile_test(node)(document)


def has(value: Any, node: Node) -> bool:
    """Whether the query finds an event whose attribute `a` has this value."""
    return meets(event(attributes={"a": value}), node)


A = Field("a", attribute=True)
LOGON = event(
    "4624 An account was successfully logged on: Alice from 10.0.0.7",
    {
        "EventID": 4624,
        "Channel": "Security",
        "Flags": [True, None, "first value", "second word"],
        "Event": {"Data": {"Name": "deep"}, "Empty": {}},
        "Nothing": None,
        "None": [],
        "Blank": "",
        "Ratio": 0.5,
    },
    timestamp=1_700_000_000_000_000,
    host="WS-0001.corp.example",
    user="CORP\\alice",
    type="4624",
    category="logon",
    tags=["suspicious", "lateral movement"],
    score=7.5,
)
