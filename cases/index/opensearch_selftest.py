"""Whether a search server answers as the engine needs it: tried, not believed.

Versions differ in what they find, silently: 2.19 finds nothing for a backslash in a wildcard, and is
asked with caution. A few events are written to an index of their own, and every form of question is put to
them; the plain meaning of the query language says what has to come. A server that passed is
remembered on the server itself, by its version and ours.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

from cases.index.document import Document, Origin, make_document
from cases.index.engine import Engine, IndexUnavailable
from cases.index.matching import compile_test
from cases.index.opensearch_client import Client, ServerError
from cases.index.opensearch_leaves import Caution
from cases.index.opensearch_names import Names, index
from cases.index.opensearch_shape import VERSION
from cases.index.query import parse
from cases.records import FIRST_INSTANT, LAST_INSTANT, Record

#: Raised when more is tried.
_TRIAL: Final = 2
#: Noted of a server that is right only with caution.
_CAUTIOUS: Final = "/cautious"
_LONG: Final = "x" * 40_000

#: What is written: everything that a question below has to find, and what it must not.
_RECORDS: Final = (
    Record(
        "1", r"Started C:\Windows\Temp\Evil.exe twice", timestamp=FIRST_INSTANT, host="WS-1", tags=["IOC"]
    ),
    Record("2", "Größe ÉVA привет 日本 file file other", timestamp=LAST_INSTANT, user="éva"),
    Record("3", "", attributes={"EventID": 4624, "Image": r"C:\Temp\a.exe", "n": {"m": [1, "1", None]}}),
    Record("4", f"{_LONG} tail", timestamp=-1, attributes={"EventID": "007", "a.b": _LONG, "": "empty"}),
    Record("5", "file other file", timestamp=0, attributes={"EventID": -2.5, "big": 2**70, "flag": True}),
    Record("6", "a*b?c\\d", timestamp=2**53 + 1, score=80.5, attributes={"x=y": "a*b?c\\d", "\ud800": "z"}),
)
_QUERIES: Final = (
    "*",
    "evil",
    '"evil exe"',
    "größe OR ПРИВЕТ",
    '"file file"~1',
    '"file file"',
    "evli~1",
    r"*\\temp\\*.exe",
    r"*\**",
    r"*\?c\\d*",
    "*éva*",
    "*x tail*",
    r"/temp.evil\.[a-z]{3}/",
    r"/\\temp\\/",
    "/^$/",
    "EventID:7",
    "EventID:[-3 TO 7}",
    "EventID:>=4624",
    "EventID:46*",
    r"Image:*\\temp\\*",
    r"Image:/c:\\temp\\.*/",
    "a.b:x*",
    "a.b:*xx",
    r"x\=y:a\*b\?c\\d",
    "n.m:1",
    "big:1180591620717411303424",
    "flag:true",
    "host:ws-1",
    "tags:ioc",
    "score:[80 TO 81]",
    "_exists_:Image",
    "NOT _exists_:EventID",
    "timestamp:[1601-01-01 TO 1970-01-01]",
    "NOT (file OR _exists_:user)",
)

_seen: set[tuple[str, str]] = set()


def prove(client: Client, engine: Engine, names: Names) -> None:
    """Raise IndexUnavailable unless the server answers rightly; asked once a process and server."""
    root = client.ask("GET", "", retries=2)
    server: str = root["version"]["number"]
    known = str(root["cluster_uuid"]), server
    if known in _seen:
        return
    name, passed = index(names.scratch(), 1), f"{server}/{VERSION}/{_TRIAL}"
    noted = _noted(client, name)
    if noted.removesuffix(_CAUTIOUS) != passed:
        noted = passed + _passes(engine, server)
        _note(client, name, noted)
    Caution.needed |= noted.endswith(_CAUTIOUS)
    _seen.add(known)


def _passes(engine: Engine, server: str) -> str:
    """Return what to note of a server that passes. Raises IndexUnavailable when it does not."""
    if not try_out(engine):
        return ""
    Caution.needed = True
    if wrong := try_out(engine):
        raise IndexUnavailable(
            f"OpenSearch {server} answers some questions wrongly ({', '.join(wrong)}): use 3.5 or later."
        )
    return _CAUTIOUS


def try_out(engine: Engine) -> list[str]:
    """Return the questions that the engine answers otherwise than they are meant."""
    case_id = f"trial {secrets.token_hex(8)}"  # with a space no case has this id
    origin = Origin(case_id, "trial", "0" * 64, "trial")
    documents = [make_document(record, origin) for record in _RECORDS]
    try:
        with engine.writer(case_id=case_id, shard="trial", run="1") as writer:
            writer.add(documents)
            writer.seal()
            if writer.written.indexed != len(documents):
                return ["it takes not all events"]
            engine.publish(case_id=case_id, shard="trial", run="1")
        return [query for query in _QUERIES if not _right(engine, case_id, query, documents)]
    finally:
        engine.drop(case_id=case_id)


def _right(engine: Engine, case_id: str, query: str, documents: list[Document]) -> bool:
    tree = parse(query)
    meant = list(filter(compile_test(tree), documents))
    found = engine.search(case_ids=[case_id], query=tree, limit=len(documents))
    by_id = {document["event_id"]: document for document in found.documents}
    return found.total == len(meant) and by_id == {document["event_id"]: document for document in meant}


def _noted(client: Client, name: str) -> str:
    try:
        answer = client.ask("GET", "_mapping", names=name, retries=2)
    except ServerError as error:
        if error.missing:
            return ""
        raise
    return str(answer[name]["mappings"].get("_meta", {}).get("passed", ""))


def _note(client: Client, name: str, passed: str) -> None:
    """Remember on the server; when another process does the same at once, either is right."""
    meta: dict[str, Any] = {"_meta": {"version": VERSION, "passed": passed}}
    body = {"settings": {"number_of_shards": 1, "auto_expand_replicas": "0-1"}, "mappings": meta}
    try:
        client.ask("PUT", "", body, names=name)
    except ServerError as error:
        if error.kind != "resource_already_exists_exception":
            raise
        client.ask("PUT", "_mapping", meta, names=name)
