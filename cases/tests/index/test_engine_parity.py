"""Every engine finds what the plain meaning of a query finds: the same events, in the same order."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from cases.index.document import Document, Origin, make_document
from cases.index.engine import Engine
from cases.index.matching import compile_test, field_values
from cases.index.query import parse
from cases.index.text import value_text
from cases.index.tree import Field, Node
from cases.parsers.evtx import EvtxParser
from cases.parsers.source import FileSource
from cases.records import Record
from cases.tests.index.engines import ENGINES, an_engine, fill
from cases.tests.index.odd import Questions, documents
from cases.tests.parsers.reading import SAMPLES

CASE = "case"

#: As people type them; each also stands for its negation.
TYPED = [
    "*",
    "evil.exe",
    "successfully AND NOT powershell",
    '"logged on"',
    '"an successfully"~3',
    "message:логин OR привет",
    "МИР",
    "straße",
    "STRASSE",
    "②③",
    "日本語のテキスト",
    "kelvin",
    "k",
    "été",
    "surrogate",
    "nul",
    "345",
    "٣٤٥",
    "a",
    '"a b c"',
    '"file file"',
    '"file file"~1',
    r"*\\Temp\\*.exe",
    "*emp*",
    "te?p",
    "*",
    "*größe*",
    "*WINDOWS*",
    "pow*",
    "?",
    "*a*",
    "*xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx*",
    "*9.9*",
    r"/evil\.[a-z]{3}/",
    "/./",
    "/^an account/",
    "EventID:4624",
    "EventID:4624.0",
    "EventID:>4000",
    "EventID:[0 TO 10]",
    "EventID:{0 TO 7]",
    "EventID:[* TO 0]",
    "Record:[100 TO 99999]",
    "Record:[7 TO 70000]",
    "Record:>=50000",
    "eventid:4624",
    "Channel:security",
    "Channel:(security OR 007)",
    "Image:*shell*",
    "Image:c*",
    r"CommandLine:*\\Temp\\*",
    r"CommandLine:*Anna*",
    "CommandLine:/.*anna.*/",
    'attributes."a.b":dotted',
    "Event.Data.Name:*",
    "_exists_:EventID",
    "NOT _exists_:EventID",
    "_exists_:host",
    "host:4624",
    "host:ws-0001*",
    'host:""',
    "user:éva",
    r"user:corp\\bob",
    "type:462?",
    "tags:ioc",
    "tags:*i*",
    "score:[0 TO 100]",
    "score:<0",
    "_exists_:score",
    "evidence_uid:ev-1",
    "evidence_uid:ev*",
    "case_id:case",
    "case_id:other",
    "position:*7*",
    'position:"ev-1/11"',
    "timestamp:[2024-01-01 TO 2024-12-31]",
    "NOT timestamp:[2024-01-01 TO *]",
    "powershel~",
    "acount~1",
    "evli~1",
    "xxxxx~2",
    "true",
    "time_precision:none",
    "source:(evtx) -powershell +(on OR other)",
    "(a OR powershell) AND NOT (file AND other)",
    r"/\btemp\b/",
    r"/(^an|exe$)/",
    r"/\Bxe\b.*\d/",
    "/x*^a/",
    r"/\pL+\PL\pN/",
    "/^$/",
    r"/^\W*$/",
    "/[^ -~]{3}/",
    r"/(?:[0-9]{1,3}\.){3}[0-9]{1,3}/",
    "/(.*a){12}.{9}b/",
    r"/[\]\\^\-&~@#<>]/",
    r"Image:/c:\\[^\\]+\\.*/",
    r"Channel:/\d+|sec.*/",
    r"CommandLine:/.*\\[0-9a-f]{8}\.exe.*/",
    '"a a"~1',
    '"a b a"~2',
    '"c a b"~4',
    '"first second"~5',
    "aa~2",
    "i~1",
    "ёж~2",
    "event_id:a*",
    "event_id:*0",
    '"corp bob" OR 4624 OR EventID:(4624 OR 4625 OR 7) OR tags:ioc',
    "+(case_id:ca* OR host:x) -case_id:/o.*/",
]


@pytest.fixture(scope="module", params=ENGINES)
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Engine, list[Document]]:
    """An engine with odd documents in three shards, and a case beside that must never show."""
    engine = an_engine(request.param, tmp_path_factory.mktemp("index"))
    held: list[Document] = []
    for number in range(3):
        batch = documents(number, 90, evidence=f"ev-{number}")
        held += batch
        with engine.writer(case_id=CASE, shard=f"ev-{number}", run="1") as writer:
            for start in range(0, len(batch), 40):
                writer.add(batch[start : start + 40])
            writer.seal()
            engine.publish(case_id=CASE, shard=f"ev-{number}", run="1")
    with engine.writer(case_id="other", shard="ev-0", run="1") as writer:
        writer.add(documents(0, 50, case_id="other", evidence="ev-0"))
        writer.seal()
        engine.publish(case_id="other", shard="ev-0", run="1")
    return engine, held


def in_order(found: list[Document], *, descending: bool) -> list[str]:
    dated = [document for document in found if document["timestamp"] is not None]
    undated = [document for document in found if document["timestamp"] is None]
    dated.sort(key=lambda document: (document["timestamp"], document["event_id"]), reverse=descending)
    undated.sort(key=lambda document: document["event_id"], reverse=descending)
    return [document["event_id"] for document in dated + undated]


def ids_of(engine: Engine, query: Node, *, descending: bool, limit: int, count: bool = True) -> list[str]:
    found: list[str] = []
    after = None
    while True:
        page = engine.search(
            case_ids=[CASE], query=query, limit=limit, after=after, descending=descending, count=count
        )
        found += [document["event_id"] for document in page.documents]
        if page.next is None:
            return found
        after = page.next


def check(engine: Engine, held: list[Document], query: Node, chance: random.Random) -> None:
    test = compile_test(query)
    expected = [document for document in held if test(document)]
    descending = chance.random() < 0.5
    limit = chance.choice((7, 50, 1000) if len(expected) < 50 else (50, 1000))
    ordered = in_order(expected, descending=descending)
    count = chance.random() < 0.5
    assert ids_of(engine, query, descending=descending, limit=limit, count=count) == ordered
    assert engine.count(case_ids=[CASE], query=query) == len(expected)
    if chance.random() < 0.25:
        streamed = engine.stream(case_ids=[CASE], query=query, descending=descending)
        assert [document["event_id"] for document in streamed] == ordered
    histogram = engine.histogram(case_ids=[CASE], query=query, interval="year")
    by_year = Counter(document["timestamp"] for document in expected if document["timestamp"] is not None)
    assert sum(events for _, events in histogram.buckets) == by_year.total()
    assert histogram.undated == len(expected) - by_year.total()


@pytest.mark.parametrize("query", TYPED)
def test_typed_queries_find_what_they_mean(filled: tuple[Engine, list[Document]], query: str) -> None:
    engine, held = filled
    check(engine, held, parse(query), random.Random(query))
    check(engine, held, parse(f"NOT ({query})"), random.Random(query))


@pytest.mark.parametrize("seed", range(25))
def test_random_trees_find_what_they_mean(filled: tuple[Engine, list[Document]], seed: int) -> None:
    engine, held = filled
    questions, chance = Questions(seed, held), random.Random(seed)
    for _ in range(8):
        check(engine, held, questions.tree(), chance)


@pytest.mark.parametrize("seed", range(10))
def test_terms_are_counted_exactly_in_their_own_spelling(
    filled: tuple[Engine, list[Document]], seed: int
) -> None:
    engine, held = filled
    questions, chance = Questions(seed, held), random.Random(seed)
    for _ in range(6):
        query = questions.tree(1)
        field, _ = questions._field()
        test = compile_test(query)
        counted: Counter[str] = Counter()
        missing = 0
        for document in filter(test, held):
            values = {value_text(value) for value in field_values(document, field)}
            counted.update(values)
            missing += not values
        size = chance.choice((1, 3, 10_000))
        best = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
        found = engine.terms(case_ids=[CASE], query=query, field=named(field), size=size)
        assert found.buckets == best[:size]
        assert found.other == sum(events for _, events in best[size:])
        assert found.missing == missing


#: About a workstation's log of Sysmon, where the samples are at hand.
ABOUT_SYSMON = [
    "*",
    "powershell",
    "EventID:1",
    "EventID:[1 TO 3] AND NOT EventID:2",
    r"Image:*\\svchost.exe",
    r"*\\Windows\\System32\\*",
    "/[a-z]+\\.exe/",
    "/(md5|sha1|sha256)=[0-9a-f]{32,}/",
    "Hashes:*",
    "_exists_:CommandLine AND NOT user:*system*",
    '"windows system32"',
    '"process create"~2',
    "svchst~1",
    "Channel:/.*sysmon.*/",
    "ProcessId:>1000",
    "timestamp:[2010-01-01 TO *] AND host:*",
]


def test_sample_evidence_is_found_as_queries_mean_it(tmp_path: Path) -> None:
    path = SAMPLES / "evtx" / "sysmon.evtx"
    if not path.exists():
        pytest.skip(f"no sample at {path}; set DATAMORTEM_SAMPLES")
    origin = Origin(CASE, "ev-1", "5" * 64, "evtx", "host")
    records = [
        record for record in EvtxParser().parse(FileSource(path, path.name)) if isinstance(record, Record)
    ]
    held = [make_document(record, origin) for record in records]
    for name in ENGINES:
        engine = an_engine(name, tmp_path / "index")
        fill(engine, held, case=CASE)
        chance = random.Random(name)
        for query in ABOUT_SYSMON:
            check(engine, held, parse(query), chance)
            check(engine, held, parse(f"NOT ({query})"), chance)


def named(field: Field) -> str:
    return f"attributes.{field.name}" if field.attribute else field.name


def test_every_document_comes_back_as_it_was_given(filled: tuple[Engine, list[Document]]) -> None:
    engine, held = filled
    by_id = {document["event_id"]: document for document in held}
    found = list(engine.stream(case_ids=[CASE], query=parse("*")))
    assert {document["event_id"]: document for document in found} == by_id
    assert len(found) == len(by_id)
