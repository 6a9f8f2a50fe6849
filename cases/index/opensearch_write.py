"""Writing a run to a search server: every event exactly once, whatever dies in between.

An event's document is named after part and event id, and only ever created: sending it again is
harmless, and is what is done whenever nobody knows whether it arrived. How many are there is
counted on the server at the end, not taken from its answers.
"""

from __future__ import annotations

import logging
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import orjson

from cases.index.document import Document
from cases.index.engine import IndexUnavailable, Refused, Written
from cases.index.opensearch_client import Client, ServerError, jittered
from cases.index.opensearch_fold import foldable
from cases.index.opensearch_home import Home
from cases.index.opensearch_names import writing
from cases.index.opensearch_shape import id_numbers, unshape
from cases.index.opensearch_shaper import Shaper
from cases.index.opensearch_state import listing, part_of

logger = logging.getLogger(__name__)

#: Bounds of one request: events, and bytes.
_EVENTS: Final = 1000
_BYTES: Final = 4 * 1024**2
#: Requests under way at once, by threads of their own.
_SENDERS: Final = 3
#: Events that are sent at once at least when requests fail.
_PIECE: Final = 25
#: Seconds for one request, between two tries at first and at most.
_TIMEOUT: Final = 60.0
_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
#: An index that may not be changed now (a full disk does that) may be changeable again.
BLOCKED: Final = "cluster_block_exception"
_TOO_LARGE: Final = "it is larger than the search server takes."
_BRIEF: Final = {"require_alias": "true", "filter_path": "errors"}
_FULL: Final = {"require_alias": "true", "filter_path": "errors,items.*.status,items.*.error"}
_EXACT: Final = {"allow_partial_search_results": "false"}


@dataclass(frozen=True, slots=True)
class _Line:
    """One event as it is sent: what to do, and the document; both with a line end."""

    action: bytes
    source: bytes

    @property
    def document(self) -> Document:
        """The event again."""
        return unshape(orjson.loads(self.source))


class OpenSearchWriter:
    """Takes the events of one run; see `engine.ShardWriter`."""

    #: Seconds without any progress after which the run is given up.
    patience = 300.0

    def __init__(
        self,
        client: Client,
        home: Home,
        *,
        case_id: str,
        shard: str,
        run: str,
        append: bool = False,
        part: int = 0,
    ) -> None:
        self.written = Written()
        self.retries = 0
        self._client, self._home = client, home
        self._case_id, self._shard, self._run, self._append = case_id, shard, run, append
        self._part = part_of(shard, run)
        generation, self._held = home.begin(case_id, shard, run)
        self._index = generation.name
        self._alias = writing(generation.name.rpartition("-")[0], generation.number)
        self._by = str(part) if part else ""
        self._shaper = Shaper(self._part)
        self._largest = client.largest_request()
        self._lines: list[_Line] = []
        self._size = 0
        self._given = 0
        self._known = 0
        self._sending: set[Future[None]] = set()
        self._pool = ThreadPoolExecutor(_SENDERS, "send")
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._progress = time.monotonic()
        self._sealed = False

    def add(self, documents: Sequence[Document]) -> None:
        """Take a batch; ids that are there already are counted as duplicates."""
        if self._sealed:
            raise ValueError("The shard is sealed.")
        there = self._already_there(documents) if self._append and self._held else ()
        for document in documents:
            if document["case_id"] != self._case_id:
                raise ValueError("The document belongs to another case.")
            self._given += 1
            if document["event_id"] in there:
                self._known += 1
                continue
            self._take(document)
        self.written.indexed = self._given - self._known - len(self.written.refused)
        self.written.duplicate = self._known

    def _take(self, document: Document) -> None:
        fields = self._shaper.shape(document)
        if self._by:
            fields["by"] = self._by
        name = urlsafe_b64encode(self._shaper.id_of(document["event_id"]))
        line = _Line(b'{"create":{"_id":"%b"}}\n' % name, orjson.dumps(fields) + b"\n")
        size = len(line.source) + len(line.action)
        if size > self._largest:
            self._refuse(line, _TOO_LARGE)
            return
        if self._lines and (len(self._lines) >= _EVENTS or self._size + size > min(_BYTES, self._largest)):
            self._hand_over()
        self._lines.append(line)
        self._size += size

    def _hand_over(self) -> None:
        """Give what has gathered to a thread; wait while all of them are busy."""
        self._settle(below=_SENDERS)
        lines, self._lines, self._size = self._lines, [], 0
        if lines:
            self._sending.add(self._pool.submit(self._deliver, lines))

    def _settle(self, *, below: int) -> None:
        """Wait until fewer requests than that are under way; raise what went wrong."""
        while True:
            done = {future for future in self._sending if future.done()}
            self._sending -= done
            for future in done:
                future.result()
            if len(self._sending) < below:
                return
            wait(self._sending, return_when=FIRST_COMPLETED)

    def seal(self) -> None:
        """Wait until everything has arrived, and count it."""
        if self._sealed:
            return
        self._hand_over()
        self._settle(below=1)
        self._home.refresh(self._index)
        indexed = self._counted()
        self.written.indexed = indexed
        self.written.duplicate = self._given - len(self.written.refused) - indexed
        if self._append and not self._by:
            self._fold(indexed)
        self._sealed = True

    def _fold(self, indexed: int) -> None:
        """Write small parts of the shard again as part of this one; see `opensearch_fold`."""
        parts = {
            part: events for part, events in self._home.visible(self._case_id).items() if part in self._held
        }
        folded = foldable(parts, indexed)
        if not folded:
            return
        for document in self._home.documents(self._case_id, folded):
            self._take(document)
        self._hand_over()
        self._settle(below=1)
        self._home.refresh(self._index)
        if self._counted() != indexed + sum(parts[part] for part in folded):
            raise IndexUnavailable("The index changed while posted events were put together.")
        self._home.instead(self._case_id, self._part, folded)

    def _counted(self) -> int:
        """Count what this writer has in the index: by the server, after a refresh."""
        mine: dict[str, Any] = {"filter": [listing([self._part])]}
        if self._by:
            mine["filter"].append({"term": {"by": self._by}})
        else:
            mine["must_not"] = [{"exists": {"field": "by"}}]
        answer = self._client.ask("POST", "_count", {"query": {"bool": mine}}, names=self._index, retries=2)
        if answer["_shards"]["failed"]:
            raise IndexUnavailable("The search server could not count what was written.")
        counted: int = answer["count"]
        return counted

    def _already_there(self, documents: Sequence[Document]) -> set[str]:
        """Return which of these ids the shard shows already."""
        wanted = {id_numbers(document["event_id"]): document["event_id"] for document in documents}
        firsts, seconds = ([pair[place] for pair in wanted] for place in (0, 1))
        query = {"filter": [listing(self._held), {"terms": {"e1": firsts}}, {"terms": {"e2": seconds}}]}
        body = {
            "query": {"bool": query},
            "size": 10_000,
            "_source": False,
            "docvalue_fields": ["e1", "e2"],
            "sort": ["_doc"],
        }
        alias = self._index.rpartition("-")[0]
        answer = self._client.ask("POST", "_search", body, names=alias, params=_EXACT, retries=2)
        if answer["timed_out"] or answer["_shards"]["failed"]:
            raise IndexUnavailable("The search server could not look for events that are there already.")
        pairs = ((hit["fields"]["e1"][0], hit["fields"]["e2"][0]) for hit in answer["hits"]["hits"])
        return {wanted[pair] for pair in pairs if pair in wanted}

    # What follows runs in the threads that send.

    def _deliver(self, waiting: list[_Line]) -> None:
        """Send until every event is there or refused. Raises IndexUnavailable when patience ends."""
        begun, pause, piece = time.monotonic(), _PAUSE, len(waiting)
        while waiting:
            sent, rest = waiting[:piece], waiting[piece:]
            try:
                left, trouble = self._send(sent)
            except ServerError as error:
                if not _may_pass(error):
                    raise
                left, trouble = sent, str(error)
                # A server that fails in the middle of large requests may get through small ones.
                piece = max(piece // 2, _PIECE)
            if len(left) < len(sent):
                self._progress, pause = time.monotonic(), _PAUSE
            if left:
                self._pause(pause, max(begun, self._progress), trouble)
                pause = min(pause * 2, _LONGEST_PAUSE)
            waiting = left + rest

    def _pause(self, seconds: float, since: float, trouble: str) -> None:
        """Wait before the next try. Raises IndexUnavailable when it has been long enough."""
        with self._lock:
            self.retries += 1
        if time.monotonic() - since > self.patience:
            raise IndexUnavailable(f"Nothing could be written for {self.patience:.0f} seconds. {trouble}")
        if self._stop.wait(jittered(seconds)):
            raise IndexUnavailable("Writing was stopped.")

    def _send(self, lines: list[_Line]) -> tuple[list[_Line], str]:
        """Send once; return what has to be sent again, and why. Raises ServerError."""
        body = b"".join(part for line in lines for part in (line.action, line.source))
        try:
            if self._bulk(body, _BRIEF).get("errors") is False:
                return [], ""
            # Something went wrong with some of them: the same again, with every outcome told.
            items = self._bulk(body, _FULL)["items"]
        except ServerError as error:
            if error.status not in (400, 413):
                raise
            return self._divide(lines, error)
        if len(items) != len(lines):
            raise ServerError("The search server's answer is not whole.", status=0)
        left, trouble = [], ""
        for line, item in zip(lines, items, strict=True):
            if told := self._trouble(line, item["create"]):
                left.append(line)
                trouble = told
        return left, trouble

    def _bulk(self, body: bytes, params: dict[str, str]) -> Any:
        return self._client.send_lines("_bulk", body, names=self._alias, params=params, timeout=_TIMEOUT)

    def _divide(self, lines: list[_Line], error: ServerError) -> tuple[list[_Line], str]:
        """Send the halves of what is refused as a whole; one event alone is refused."""
        if len(lines) == 1:
            self._refuse(lines[0], error.reason if error.status == 400 else _TOO_LARGE)
            return [], ""
        middle = len(lines) // 2
        left, trouble = self._send(lines[:middle])
        others, other = self._send(lines[middle:])
        return left + others, trouble or other

    def _trouble(self, line: _Line, outcome: dict[str, Any]) -> str:
        """Return why an event has to be sent again; nothing when it is there, or refused.

        Raises ServerError when no event can be written any more.
        """
        status, error = outcome["status"], outcome.get("error", {})
        kind, reason = error.get("type", ""), str(error.get("reason", ""))
        if status in (200, 201, 409):
            return ""
        if status == 400:
            self._refuse(line, reason)
            return ""
        if status == 404:
            raise ServerError("The index vanished while it was written.", status=status, kind=kind)
        if status == 403 and kind != BLOCKED:
            raise ServerError("The search server does not let our login write.", status=status, kind=kind)
        return f"The search server answered: {reason[:300]}"

    def _refuse(self, line: _Line, reason: str) -> None:
        refused = Refused(line.document, f"The index does not take it: {reason}"[:1000])
        with self._lock:
            self.written.refused.append(refused)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        try:
            self._home.discard(self._case_id, self._shard, self._run)
        except IndexUnavailable as left:
            logger.warning("What an unfinished run wrote remains in the index, unseen: %s", left)


def _may_pass(error: ServerError) -> bool:
    """Say whether the same request may succeed later: no answer, too much to do, a full disk."""
    return error.kind != "certificate" and (error.passing or error.kind == BLOCKED)
