"""Questions to the search server, and the one check that every answer passes.

An answer is whole or an error: a time-out, a shard that failed and a limit that was reached never
look like an answer. Names of cases go into bodies, not into addresses, which have an end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import orjson

from cases.index.engine import IndexUnavailable, TooBroad
from cases.index.opensearch_client import Client, ServerError
from cases.index.opensearch_names import Names, checked
from cases.index.opensearch_shape import VERSION

Json = dict[str, Any]

#: Seconds that the server may look for an answer.
PATIENCE: Final = 20
#: How often a question is put again when the connection broke.
_AGAIN: Final = 2
#: Seconds of pause before the first of them, where the server was too busy.
_BREATH: Final = 0.7
#: How often a question is put again when an index went away while it was asked.
_GONE_AGAIN: Final = 5
#: Cases that are named in one address (4,096 characters are what a server reads).
_NAMED: Final = 50
#: How long a picture is kept between two pages.
_KEPT: Final = "10m"
#: Questions that are put at once.
_TOGETHER: Final = 200


class Gone(IndexUnavailable):
    """An index that was asked is no longer there."""


class Busy(IndexUnavailable):
    """The server has no memory or place in a queue for a question now."""


class Rejected(IndexUnavailable):
    """The server does not take the question as it was put, such as too large an expression."""


class Door:
    """Asks the server about cases; safe to use by threads."""

    #: Seconds that the server may look for an answer; a class attribute so that it can be set.
    patience = PATIENCE

    def __init__(self, client: Client, names: Names) -> None:
        self._client = client
        self._names = names
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def ask(self, case_ids: Sequence[str], bodies: Sequence[Json]) -> list[Json] | None:
        """Return an answer to each body over all cases; None when none of them has events.

        Raises IndexUnavailable and TooBroad.
        """
        for _ in range(_GONE_AGAIN):
            aliases = self.existing(case_ids)
            if not aliases:
                return None
            try:
                return [
                    answer
                    for start in range(0, len(bodies), _TOGETHER)
                    for answer in self._together(aliases, bodies[start : start + _TOGETHER])
                ]
            except Gone:
                self._forget(aliases)
        raise IndexUnavailable("The indices of these cases change all the time: try again.")

    def _together(self, aliases: Sequence[str], bodies: Sequence[Json]) -> list[Json]:
        checked(aliases)
        head = orjson.dumps(
            {"index": list(aliases), "expand_wildcards": "none", "allow_partial_search_results": False}
        )
        limit = {"timeout": f"{self.patience}s"}
        lines = b"".join(line + b"\n" for body in bodies for line in (head, orjson.dumps({**body, **limit})))

        def send() -> list[Json]:
            answers: list[Json] = self._client.send_lines(
                "_msearch", lines, names=None, params={}, timeout=self.patience + 15
            )["responses"]
            return [whole(answer, self.patience) for answer in answers]

        found: list[Json] = self._sent(send)
        return found

    def _sent(self, send: Callable[[], Any]) -> Any:
        """Send what changes nothing, again when the connection broke or the server was too busy."""
        for attempt in range(_AGAIN + 1):
            try:
                return send()
            except Busy:
                if attempt == _AGAIN:
                    raise
            except ServerError as error:
                refusal = _refusal(error.status, error.kind, error.reason, self.patience)
                is_passing = error.kind == "connection" or isinstance(refusal, Busy)
                if not is_passing or attempt == _AGAIN:
                    raise refusal or error from None
                if error.kind == "connection":
                    continue
            time.sleep(_BREATH * (attempt + 1))  # a full heap is mostly free after the next collection
        raise AssertionError("unreachable")

    def existing(self, case_ids: Sequence[str]) -> list[str]:
        """Return the aliases of those cases that have events, each once.

        Raises IndexUnavailable for one in another format.
        """
        wanted = dict.fromkeys(map(self._names.alias, case_ids))
        unknown = [alias for alias in wanted if alias not in self._known]
        for start in range(0, len(unknown), _NAMED):
            self._look(unknown[start : start + _NAMED])
        return [alias for alias in wanted if alias in self._known]

    def _look(self, aliases: Sequence[str]) -> None:
        params = {"ignore_unavailable": "true", "filter_path": "*.aliases,*.mappings._meta"}
        found = self._sent(
            lambda: self._client.ask("GET", "", names=aliases, params=params, timeout=self.patience)
        )
        wanted = set(aliases)
        for index in found.values():
            if held := wanted.intersection(index.get("aliases", ())):
                if index.get("mappings", {}).get("_meta", {}).get("version") != VERSION:
                    raise IndexUnavailable(
                        "The index of a case has the format of another version: run manage.py reindex."
                    )
                with self._lock:
                    self._known |= held

    def _forget(self, aliases: Sequence[str]) -> None:
        with self._lock:
            self._known.difference_update(aliases)

    @contextmanager
    def pictures(self, case_ids: Sequence[str]) -> Iterator[list[Picture]]:
        """Yield pictures of cases, together all of them, which no change reaches until they are closed."""
        pictures: list[Picture] = []
        try:
            aliases = self.existing(case_ids)
            for start in range(0, len(aliases), _NAMED):
                pictures += self._picture(aliases[start : start + _NAMED])
            yield pictures
        finally:
            for picture in pictures:
                picture.close()

    def _picture(self, aliases: Sequence[str]) -> list[Picture]:
        for _ in range(_GONE_AGAIN):
            if not aliases:
                return []
            try:
                return [Picture(self, self._opened(aliases))]
            except Gone:
                self._forget(aliases)
                aliases = [alias for alias in aliases if self._seen(alias)]
        raise IndexUnavailable("The indices of these cases change all the time: try again.")

    def _opened(self, aliases: Sequence[str]) -> str:
        params = {"keep_alive": _KEPT, "allow_partial_pit_creation": "false", "expand_wildcards": "none"}
        answer = self._sent(
            lambda: self._client.ask(
                "POST", "_search/point_in_time", names=aliases, params=params, timeout=self.patience
            )
        )
        name: str = answer["pit_id"]
        return name

    def _seen(self, alias: str) -> bool:
        self._look([alias])
        return alias in self._known

    def ask_picture(self, picture: str, body: Json) -> Json:
        """Return the answer to a body over a picture. Raises IndexUnavailable when it is lost."""
        asked = {**body, "pit": {"id": picture, "keep_alive": _KEPT}, "timeout": f"{self.patience}s"}
        params = {"allow_partial_search_results": "false"}
        answer: Json = self._sent(
            lambda: whole(
                self._client.ask("POST", "_search", asked, params=params, timeout=self.patience + 15),
                self.patience,
            )
        )
        return answer

    def close_picture(self, picture: str) -> None:
        """Let a picture go; one that the server has lost is gone already."""
        try:
            self._client.ask("DELETE", "_search/point_in_time", {"pit_id": [picture]}, timeout=self.patience)
        except ServerError:
            return  # it ends by itself after _KEPT, and whoever reads has its answer


class Picture:
    """Some cases as they were at one moment."""

    def __init__(self, door: Door, name: str) -> None:
        self._door = door
        self._name = name

    def ask(self, body: Json) -> Json:
        """Return the answer to a body."""
        answer = self._door.ask_picture(self._name, body)
        self._name = answer.get("pit_id", self._name)
        return answer

    def close(self) -> None:
        """Let it go, so that what it holds may leave the disk."""
        self._door.close_picture(self._name)


def whole(answer: Json, patience: int) -> Json:
    """Return an answer that is whole. Raises IndexUnavailable and TooBroad for any other."""
    if "error" in answer:
        error = answer["error"] if isinstance(answer["error"], dict) else {"reason": str(answer["error"])}
        causes = [*(error.get("root_cause") or ()), error.get("caused_by") or {}, error]
        found: Json = next((cause for cause in causes if cause), {})
        kind, reason = str(found.get("type", "")), str(found.get("reason", ""))
        status = int(answer.get("status", 500))
        raise _refusal(status, kind, reason, patience) or IndexUnavailable(
            f"The search server answered {status} ({kind or 'without a reason'})."
        )
    if answer["timed_out"]:
        raise _slow(patience)
    shards = answer["_shards"]
    if answer.get("terminated_early") or shards["failed"] or shards["successful"] != shards["total"]:
        raise IndexUnavailable("A part of the index did not answer: try again.")
    return answer


def _slow(patience: int) -> IndexUnavailable:
    return IndexUnavailable(
        f"The search server did not find the answer within {patience} seconds: narrow the query, by time"
        " or by a word that has to be there."
    )


def _refusal(status: int, kind: str, reason: str, patience: int) -> Exception | None:
    """Return what a refusal means to who asked; None when nothing is known of it."""
    if kind == "timeout" or "Time exceeded" in reason:
        return _slow(patience)
    if kind == "search_context_missing_exception":
        return IndexUnavailable("The search server has lost the picture that was read: begin again.")
    if kind == "index_not_found_exception":
        return Gone("An index is no longer there.")
    if kind in ("too_many_clauses", "too_many_nested_clauses") or "maxClauseCount" in reason:
        return TooBroad("This query has too many conditions for the search server: ask in two halves.")
    if kind == "too_many_buckets_exception":
        return TooBroad("This question has too many different answers: narrow the query.")
    if "Point In Time" in reason:
        return IndexUnavailable("Too many exports are under way on the search server: try again later.")
    if status == 429:
        return Busy(f"The search server has too much to do ({kind}): try again, or ask for less.")
    if status == 400:
        return Rejected(f"The search server refuses this query ({kind}).")
    return None
