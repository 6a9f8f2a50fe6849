"""The way of the search study, kept short: one plain tantivy index a shard, merged in Python.

Beside it the engine's figures are read. It does what the study's prototype does and no more: no
exact totals of values, no order by event id between events of one instant, times only as they
come, wildcards by trigrams of the whole message and a loop over the candidates.
"""

from __future__ import annotations

import heapq
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
from tantivy import (
    Document as Fields,
)
from tantivy import (
    FieldType,
    Filter,
    Index,
    Occur,
    Order,
    Query,
    SchemaBuilder,
    TextAnalyzerBuilder,
    Tokenizer,
)

from cases.index.document import Document

KEYWORDS = ("timestamp_desc", "host", "user", "source", "type", "category", "evidence_uid")


def _schema() -> Any:
    builder = SchemaBuilder()
    builder.add_integer_field("ts", indexed=True, fast=True)
    builder.add_unsigned_field("id64", indexed=True, fast=True)
    for name in KEYWORDS:
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic", fast=True)
    builder.add_text_field("message", tokenizer_name="default")
    builder.add_text_field("trigrams", tokenizer_name="trigrams", index_option="basic")
    builder.add_json_field("a", tokenizer_name="raw", index_option="basic", fast=True)
    builder.add_bytes_field("src", stored=True)
    return builder.build()


SCHEMA = _schema()


def _fields(document: Document) -> Any:
    fields = Fields()
    fields.add_integer("ts", document["timestamp"])
    fields.add_unsigned("id64", int(document["event_id"][:16], 16))
    for name in KEYWORDS:
        if document[name] is not None:
            fields.add_text(name, document[name])
    fields.add_text("message", document["message"])
    fields.add_text("trigrams", document["message"])
    fields.add_json("a", orjson.dumps(document["attributes"]).decode())
    fields.add_bytes("src", orjson.dumps(document))
    return fields


def write(directory: Path, documents: Iterable[Document]) -> None:
    """Write one shard."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    Index(SCHEMA, str(directory), reuse=False)
    meta = directory / "meta.json"
    settings = json.loads(meta.read_text())
    settings["index_settings"]["docstore_blocksize"] = 65_536
    meta.write_text(json.dumps(settings))
    index = Index.open(str(directory))
    trigrams = TextAnalyzerBuilder(Tokenizer.ngram(3, 3)).filter(Filter.lowercase()).build()
    index.register_tokenizer("trigrams", trigrams)
    writer = index.writer(400_000_000, 1)
    for document in documents:
        writer.add_document(_fields(document))
    writer.commit()
    writer.wait_merging_threads()


class Prototype:
    """Searches all shards below a directory with two threads."""

    def __init__(self, root: Path) -> None:
        self._searchers = []
        for directory in sorted(root.iterdir()):
            index = Index.open(str(directory))
            index.config_reader("manual")
            index.reload()
            self._searchers.append(index.searcher())
        self._pool = ThreadPoolExecutor(2)

    def _each(self, work: Callable[[Any], Any]) -> list[Any]:
        return list(self._pool.map(work, self._searchers))

    def page(self, query: Any, *, newest: bool = True, limit: int = 100) -> list[Any]:
        """Return the first events by time."""
        order = Order.Desc if newest else Order.Asc

        def hits_of(searcher: Any) -> Any:
            return searcher, searcher.search(query, limit, count=False, order_by_field="ts", order=order).hits

        hits = [
            (instant, number, place, searcher, address)
            for number, (searcher, found) in enumerate(self._each(hits_of))
            for place, (instant, address) in enumerate(found)
        ]
        best = heapq.nlargest(limit, hits) if newest else heapq.nsmallest(limit, hits)
        return [orjson.loads(searcher.doc(address).get_first("src")) for _, _, _, searcher, address in best]

    def page_where(self, query: Any, test: re.Pattern[str], limit: int = 100) -> list[Any]:
        """Return the newest events that pass the test, reading ever more candidates."""
        size = 500
        while True:
            candidates = self.page(query, limit=size)
            found = [document for document in candidates if test.search(document["message"])]
            if len(found) >= limit or len(candidates) < size:
                return found[:limit]
            size *= 4

    def count(self, query: Any) -> int:
        """Return the number of events."""
        return sum(self._each(lambda searcher: searcher.search(query, 1, count=True).count))

    def count_where(self, query: Any, test: re.Pattern[str]) -> int:
        """Return the number of events that pass the test."""

        def count(searcher: Any) -> int:
            total = searcher.search(query, 1, count=True).count
            hits = searcher.search(query, total or 1, count=False, order_by_field="ts").hits
            documents = (orjson.loads(searcher.doc(address).get_first("src")) for _, address in hits)
            return sum(1 for document in documents if test.search(document["message"]))

        return sum(self._each(count))

    def terms(self, query: Any, field: str, size: int = 1000) -> list[tuple[str, int]]:
        """Return the ten most frequent values; nearly, where a shard has more than `size`."""
        asked = {"terms": {"terms": {"field": field, "size": size}}}
        counted: Counter[str] = Counter()
        for answer in self._each(lambda searcher: searcher.aggregate(query, asked)):
            counted.update({bucket["key"]: bucket["doc_count"] for bucket in answer["terms"]["buckets"]})
        return counted.most_common(10)

    def histogram(self, query: Any, interval: float) -> Counter[float]:
        """Return the counts by a fixed interval."""
        asked = {"time": {"histogram": {"field": "ts", "interval": interval, "min_doc_count": 1}}}
        counted: Counter[float] = Counter()
        for answer in self._each(lambda searcher: searcher.aggregate(query, asked)):
            counted.update({bucket["key"]: bucket["doc_count"] for bucket in answer["time"]["buckets"]})
        return counted

    def get(self, event_id: str) -> Any:
        """Return one event."""
        query = term("id64", int(event_id[:16], 16))
        for searcher in self._searchers:
            if hits := searcher.search(query, 1, count=False).hits:
                return orjson.loads(searcher.doc(hits[0][1]).get_first("src") or b"null")
        return None

    def export(self, limit: int) -> int:
        """Read so many events in order of time, in slices."""
        read, after = 0, None
        while read < limit:
            query = Query.all_query() if after is None else between(after + 1, None)
            page = self.page(query, newest=False, limit=20_000)
            if not page:
                break
            read, after = read + len(page), page[-1]["timestamp"]
        return read


def term(field: str, value: Any) -> Any:
    """Return the query for one term."""
    return Query.term_query(SCHEMA, field, value, "basic")


def every(*queries: Any) -> Any:
    """Return the conjunction."""
    return Query.boolean_query([(Occur.Must, query) for query in queries])


def phrase(*words: str) -> Any:
    """Return the query for words in a row in the message."""
    return Query.phrase_query(SCHEMA, "message", list(words))


def between(low: int | None, high: int | None) -> Any:
    """Return the query for a range of time, both ends included."""
    return Query.range_query(SCHEMA, "ts", FieldType.Integer, low, high)


def holding(*pieces: str) -> Any:
    """Return the query for messages with all three-letter sequences of some pieces."""
    return every(
        *(term("trigrams", piece.lower()[at : at + 3]) for piece in pieces for at in range(len(piece) - 2))
    )
