"""The engine of a team: a search server that many machines share.

Every case has an index of its own (`opensearch_home`), written by `opensearch_write` and read by
`opensearch_read`; `opensearch_shape` says what an event looks like there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cases.index.connect import Address
from cases.index.document import Document
from cases.index.engine import Cursor, FieldInfo, Health, Histogram, Page, Terms
from cases.index.opensearch_answers import Door
from cases.index.opensearch_client import Client
from cases.index.opensearch_health import health
from cases.index.opensearch_home import Home
from cases.index.opensearch_names import Names, pattern
from cases.index.opensearch_read import Reader
from cases.index.opensearch_selftest import prove
from cases.index.opensearch_write import OpenSearchWriter
from cases.index.tree import Node


class OpenSearchEngine:
    """Writes, searches and deletes the events of cases on a server; see `engine.Engine`."""

    erases_at_once = False

    def __init__(self, address: Address, *, tried: bool = False) -> None:
        """`tried` leaves out the engine's own trial of the server."""
        self._address = address
        self.client = Client(address, trial=None if tried else self._prove)
        self.names = Names(address.namespace)
        self.home = Home(self.client, self.names, address.shards)
        self.reader = Reader(Door(self.client, self.names))

    def _prove(self) -> None:
        """Try the server out. Raises IndexUnavailable when it answers wrongly."""
        other = OpenSearchEngine(self._address, tried=True)
        prove(other.client, other, self.names)

    def writer(
        self, *, case_id: str, shard: str, run: str, append: bool = False, part: int = 0
    ) -> OpenSearchWriter:
        """Open a writer."""
        return OpenSearchWriter(
            self.client, self.home, case_id=case_id, shard=shard, run=run, append=append, part=part
        )

    def publish(self, *, case_id: str, shard: str, run: str, append: bool = False) -> None:
        """Make what a run wrote visible."""
        self.home.publish(case_id, shard, run, append=append)

    def search(
        self,
        *,
        case_ids: Sequence[str],
        query: Node,
        limit: int,
        after: Cursor | None = None,
        descending: bool = True,
        count: bool = True,
    ) -> Page:
        """Return one page."""
        return self.reader.search(
            case_ids, query, limit=limit, after=after, descending=descending, count=count
        )

    def count(self, *, case_ids: Sequence[str], query: Node) -> int:
        """Return the number of matching events."""
        return self.reader.count(case_ids, query)

    def histogram(self, *, case_ids: Sequence[str], query: Node, interval: str = "auto") -> Histogram:
        """Count by interval."""
        return self.reader.histogram(case_ids, query, interval)

    def terms(self, *, case_ids: Sequence[str], query: Node, field: str, size: int) -> Terms:
        """Count the values of a field."""
        return self.reader.terms(case_ids, query, field, size)

    def fields(self, *, case_ids: Sequence[str]) -> list[FieldInfo]:
        """Return the fields that events have."""
        return self.reader.fields(case_ids)

    def get(self, *, case_ids: Sequence[str], event_id: str) -> Document | None:
        """Return one event."""
        return self.reader.get(case_ids, event_id)

    def stream(self, *, case_ids: Sequence[str], query: Node, descending: bool = False) -> Iterator[Document]:
        """Yield every match from one picture."""
        return self.reader.stream(case_ids, query, descending=descending)

    def shards(self, *, case_id: str) -> dict[str, int]:
        """Return the number of events of every shard."""
        return self.home.shards(case_id)

    def delete(self, *, case_id: str, shard: str) -> None:
        """Take a shard out of sight."""
        self.home.delete(case_id, shard)

    def drop(self, *, case_id: str) -> None:
        """Remove everything of a case."""
        self.home.drop(case_id)

    def erase(self, *, case_id: str, shard: str = "") -> bool:
        """Go on removing text; say whether it has left the disk."""
        return self.home.erase(case_id, shard)

    def renew(self, *, case_id: str) -> None:
        """Have what is written from now on go to a new index."""
        self.home.renew(case_id)

    def sweep(self, *, case_id: str, keep: Iterable[str]) -> list[str]:
        """Remove what does not belong; return what was removed."""
        return self.home.sweep(case_id, set(keep))

    def health(self) -> Health:
        """Look whether the server answers; takes three seconds at most."""
        return health(self.client, pattern(self._address.namespace))
