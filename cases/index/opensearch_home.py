"""The life of a case on a search server: generations, publishing, deleting, and leaving the disk.

What is out of the alias is out of sight at once. Its text leaves the disk when it has been
deleted, its segments have been written anew, and nobody reads the old ones: `erase` works on
that, a bounded piece at each call, and says when it is so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from cases.index.document import Document
from cases.index.engine import IndexUnavailable
from cases.index.opensearch_client import Client, ServerError
from cases.index.opensearch_names import Names
from cases.index.opensearch_shape import unshape
from cases.index.opensearch_state import (
    Generation,
    Overtaken,
    State,
    States,
    listing,
    part_of,
    shard_of,
)

logger = logging.getLogger(__name__)

#: Events that one call of `erase` deletes of an index: some seconds of work.
_ERASE: Final = 50_000
#: Parts that a case may have; the server counts up to 65,535 values at once.
_PARTS: Final = 60_000
#: Seconds that a refresh and a deletion may take, and that a merge is waited for.
_TIMEOUT: Final = 300.0
_MERGE: Final = 10.0
#: Events that are read at once.
_PAGE: Final = 1000
_WHOLE: Final = {"allow_partial_search_results": "false"}


class Home:
    """Keeps what runs write, and lets go of it; see `engine.Engine`."""

    def __init__(self, client: Client, names: Names, shards: int) -> None:
        self._client, self._names = client, names
        self.states = States(client, shards)

    def begin(self, case_id: str, shard: str, run: str) -> tuple[Generation, frozenset[str]]:
        """Return where a run writes, and what the shard has that is visible.

        Earlier attempts at the shard count no more, and what they wrote is removed.
        """
        alias, part = self._names.alias(case_id), part_of(shard, run)
        present = self.states.read(alias)
        newest = present.generations[-1] if present.generations else None
        if newest is None or self.states.behind([newest.name]):
            self.states.renew(alias, case_id, above=newest.number if newest else 0)
        stale: dict[str, set[str]] = {}

        def edit(state: State) -> State:
            if state.writes(part) or part in state.published:
                return state
            if not state.generations:
                raise IndexUnavailable("The index of this case was dropped just now.")
            stale.clear()

            def begun(each: Generation) -> Generation:
                gone = {other for other in each.pending if shard_of(other) == shard}
                if gone:
                    stale[each.name] = gone
                pending = {other: old for other, old in each.pending.items() if other not in gone}
                if each.name == state.names[-1]:
                    pending[part] = frozenset()
                return replace(each, pending=pending)

            return state.mapped(begun)

        state = self.states.change(alias, edit)
        self._forget(stale)
        generation = state.writes(part)
        if generation is None:
            raise Overtaken("This run is published already.")
        return generation, state.of_shard(shard)

    def instead(self, case_id: str, part: str, parts: Iterable[str]) -> None:
        """Note that a part, once it is published, takes the place of these as well."""
        taken = frozenset(parts)

        def edit(state: State) -> State:
            return state.mapped(
                lambda each: (
                    replace(each, pending={**each.pending, part: taken}) if part in each.pending else each
                )
            )

        self.states.change(self._names.alias(case_id), edit)

    def publish(self, case_id: str, shard: str, run: str, *, append: bool) -> None:
        """Make what a run wrote visible. Raises Overtaken."""
        alias, part = self._names.alias(case_id), part_of(shard, run)
        state = self.states.read(alias)
        if part in state.published:
            return
        if generation := state.writes(part):
            self.refresh(generation.name)
        gone: dict[str, set[str]] = {}

        def edit(state: State) -> State:
            if part in state.published:
                return state
            writing = state.writes(part)
            if writing is None:
                raise Overtaken("A later attempt has taken the place of this one, or it was deleted.")
            gone.clear()
            instead = writing.pending[part]
            if not instead <= state.published:
                raise Overtaken("What this attempt takes the place of was replaced meanwhile.")

            def published(each: Generation) -> Generation:
                old = {
                    other
                    for other in each.published
                    if other in instead or (not append and shard_of(other) == shard)
                }
                if old:
                    gone[each.name] = old
                new = {part} if each is writing else set()
                pending = {other: held for other, held in each.pending.items() if other != part}
                return replace(each, published=each.published - old | new, pending=pending)

            return state.mapped(published)

        self._forget_after(self.states.change(alias, edit), gone)

    def discard(self, case_id: str, shard: str, run: str) -> None:
        """Remove what a run wrote, unless it is published."""
        part = part_of(shard, run)
        gone: dict[str, set[str]] = {}

        def edit(state: State) -> State:
            gone.clear()

            def without(each: Generation) -> Generation:
                if part not in each.pending:
                    return each
                gone[each.name] = {part}
                return replace(
                    each, pending={other: held for other, held in each.pending.items() if other != part}
                )

            return state.mapped(without)

        self._forget_after(self.states.change(self._names.alias(case_id), edit), gone)

    def renew(self, case_id: str) -> None:
        """Have what is written from now on go to a new generation."""
        alias = self._names.alias(case_id)
        state = self.states.read(alias)
        if state.generations and (state.generations[-1].published or self.states.behind(state.names[-1:])):
            self.states.renew(alias, case_id, above=state.generations[-1].number)

    def delete(self, case_id: str, shard: str) -> None:
        """Take a shard out of sight, and begin to delete its events."""
        self._without(case_id, lambda other: other == shard)

    def _without(self, case_id: str, unwanted: Callable[[str], bool]) -> set[str]:
        """Take shards out of sight; return which were visible."""
        gone: dict[str, set[str]] = {}
        seen: set[str] = set()

        def edit(state: State) -> State:
            gone.clear()

            def without(each: Generation) -> Generation:
                old = {part for part in each.parts if unwanted(shard_of(part))}
                if not old:
                    return each
                gone[each.name] = old
                seen.update(map(shard_of, each.published & old))
                pending = {part: held for part, held in each.pending.items() if part not in old}
                return replace(each, published=each.published - old, pending=pending)

            return state.mapped(without)

        self._forget_after(self.states.change(self._names.alias(case_id), edit), gone)
        return seen

    def drop(self, case_id: str) -> None:
        """Remove every index of a case, and its files."""
        alias = self._names.alias(case_id)
        while names := self.states.read(alias).names:
            try:
                self._client.ask("DELETE", "", names=names, timeout=_TIMEOUT)
            except ServerError as error:
                if not error.missing:
                    raise

    def sweep(self, case_id: str, keep: set[str]) -> list[str]:
        """Remove shards that nobody owns and events of no part; return the shards."""
        alias = self._names.alias(case_id)
        state = self.states.read(alias)
        unwanted = {shard_of(part) for part in state.published} - keep
        removed = self._without(case_id, unwanted.__contains__) if unwanted else set()
        held: dict[str, dict[str, int]] = {}
        for name in self.states.read(alias).names:  # a generation that was emptied just now is gone
            try:
                self.refresh(name)
                held[name] = self._parts(name)
            except ServerError as error:
                if not error.missing:  # another process dropped it since
                    raise
        state = self.states.read(alias)  # after looking: whatever began meanwhile belongs
        for each in state.generations:
            self._forget({each.name: set(held.get(each.name, ())) - each.parts})
        self._drop_empty(state)
        return sorted(removed)

    def shards(self, case_id: str) -> dict[str, int]:
        """Return the number of visible events of every shard."""
        state = self.states.read(self._names.alias(case_id))
        found = {shard_of(part): 0 for part in sorted(state.published)}
        if found:
            for part, events in self.visible(case_id).items():
                shard = shard_of(part)
                found[shard] = found.get(shard, 0) + events
        return found

    def documents(self, case_id: str, parts: Iterable[str]) -> Iterator[Document]:
        """Yield the events of visible parts, which never change. Raises IndexUnavailable."""
        body: dict[str, Any] = {
            "query": {"bool": {"filter": [listing(parts)]}},
            "size": _PAGE,
            "sort": ["e1", "e2"],
            "_source": ["src"],
            "track_total_hits": False,
        }
        alias, hits = self._names.alias(case_id), [None]
        while hits:
            answer = self._client.ask("POST", "_search", body, names=alias, params=_WHOLE, retries=2)
            hits = _whole(answer)["hits"]["hits"]
            for hit in hits:
                yield unshape(hit["_source"])
            body["search_after"] = hits[-1]["sort"] if hits else None

    def visible(self, case_id: str) -> dict[str, int]:
        """Return the visible parts of a case that have events, with their numbers."""
        try:
            return self._parts(self._names.alias(case_id))
        except ServerError as error:
            if error.missing:  # dropped since
                return {}
            raise

    def _parts(self, name: str) -> dict[str, int]:
        """Return the parts that an index has, or an alias shows, with their numbers of events."""
        counted = {"terms": {"field": "part", "size": _PARTS}}
        body = {"size": 0, "track_total_hits": False, "aggs": {"parts": counted}}
        answer = _whole(self._client.ask("POST", "_search", body, names=name, params=_WHOLE, retries=2))
        return {bucket["key"]: bucket["doc_count"] for bucket in answer["aggregations"]["parts"]["buckets"]}

    def refresh(self, name: str) -> None:
        """Let an index show what was written to it. Raises IndexUnavailable when a copy cannot."""
        answer = self._client.ask("POST", "_refresh", names=name, timeout=_TIMEOUT)
        if answer["_shards"]["failed"]:
            raise IndexUnavailable("A part of the index could not be refreshed.")

    def _forget(self, gone: dict[str, set[str]]) -> None:
        """Have the server delete the events of parts that nobody sees; `sweep` does what it misses."""
        for name, parts in gone.items():
            if not parts:
                continue
            try:
                self.refresh(name)
                params = {"conflicts": "proceed", "wait_for_completion": "false", "refresh": "true"}
                body = {"query": listing(parts)}
                self._client.ask("POST", "_delete_by_query", body, names=name, params=params)
            except IndexUnavailable as error:
                logger.warning("Events that nobody sees remain in the index for now: %s", error)

    def _forget_after(self, state: State, gone: dict[str, set[str]]) -> None:
        dropped: set[str] = set()
        try:
            dropped = self._drop_empty(state)  # first: deleting events reads the index
        except IndexUnavailable as error:
            logger.warning("An index that nobody sees remains for now: %s", error)
        self._forget({name: parts for name, parts in gone.items() if name not in dropped})

    def _drop_empty(self, state: State) -> set[str]:
        """Drop old generations that nothing is in any more and nobody reads; return which."""
        unused = {each.name for each in state.generations[:-1] if each.empty and not self._read(each.name)}
        if not unused:
            return unused

        def edit(state: State) -> State:
            kept = [each for each in state.generations if not (each.empty and each.name in unused)]
            return replace(state, generations=tuple(kept))

        return unused - set(self.states.change(state.alias, edit).names)

    def _read(self, name: str) -> bool:
        """Say whether somebody holds a picture of an index."""
        search = self._stats(name, "search")["search"]
        return bool(search["point_in_time_current"] or search["scroll_current"])

    def _stats(self, name: str, *kinds: str) -> dict[str, Any]:
        answer = self._client.ask("GET", f"_stats/{','.join(kinds)}", names=name, retries=2)
        if answer["_shards"]["failed"]:
            raise IndexUnavailable("The search server could not look at all copies of an index.")
        found: dict[str, Any] = answer["_all"]["total"]
        return found

    def erase(self, case_id: str, shard: str) -> bool:
        """Go on removing the text of a shard, or of a case that was dropped; say whether it is gone."""
        if not shard:
            return self._settled()
        alias = self._names.alias(case_id)
        state = self.states.read(alias)
        if state.generations and state.generations[-1].empty and self._has_text(state.names[-1]):
            # Nothing else is in it: a new index is made in no time, and the old one goes with its files.
            self.states.renew(alias, case_id, above=state.generations[-1].number)
            state = self.states.read(alias)
        if any(each.empty for each in state.generations[:-1]):
            self._drop_empty(state)
            state = self.states.read(alias)
        done = [self._erased(each, shard) for each in state.generations]
        return all(done)

    def _has_text(self, name: str) -> bool:
        """Say whether an index holds events, deleted or not, or may be about to."""
        held = self._stats(name, "docs", "translog")
        return bool(
            held["docs"]["count"] or held["docs"]["deleted"] or held["translog"]["uncommitted_operations"]
        )

    def _settled(self) -> bool:
        """Say whether all nodes have done what was decided so far: dropped indices go with their files."""
        asked = {"wait_for_events": "languid", "timeout": "2s"}
        try:
            answer = self._client.ask("GET", "_cluster/health", params=asked)
        except ServerError as error:
            if error.status == 408:
                return False
            raise
        return not answer["timed_out"]

    def _erased(self, generation: Generation, shard: str) -> bool:
        name = generation.name
        kept = [part for part in generation.parts if shard_of(part) == shard]
        query = {"bool": {"filter": [{"prefix": {"part": f"{shard}/"}}], "must_not": [listing(kept)]}}
        self.refresh(name)
        params = {"conflicts": "proceed", "refresh": "true", "max_docs": str(_ERASE)}
        body = {"query": query}
        answer = self._client.ask(
            "POST", "_delete_by_query", body, names=name, params=params, timeout=_TIMEOUT
        )
        if answer["deleted"] or answer["version_conflicts"] or answer["failures"]:
            return False
        return self._clean(name)

    def _clean(self, name: str) -> bool:
        """Have segments with deleted events written anew; say whether none are left on the disk.

        The server keeps deleted events for its copies until their lease moves on (30 seconds), and
        the files of old segments until a flush and a refresh behind, and while somebody reads them.
        """
        self._settle(name)
        if self._has_deleted(name):
            if self._stats(name, "merge")["merges"]["current"]:
                return False
            params = {"only_expunge_deletes": "true"}
            try:
                self._client.ask("POST", "_forcemerge", names=name, params=params, timeout=_MERGE)
            except ServerError as error:
                if error.kind != "timeout":
                    raise
                return False  # the server goes on with it
            self._settle(name)
        held = self._stats(name, "search", "translog")
        return not (
            self._has_deleted(name)
            or held["search"]["point_in_time_current"]
            or held["search"]["scroll_current"]
            or held["translog"]["uncommitted_operations"]
        )

    def _has_deleted(self, name: str) -> bool:
        """Say whether any copy has a segment with deleted events, or one that is to go."""
        indices = self._client.ask("GET", "_segments", names=name, retries=2)["indices"]
        copies = [copy for held in indices.values() for shard in held["shards"].values() for copy in shard]
        segments = [segment for copy in copies for segment in copy["segments"].values()]
        return any(segment["deleted_docs"] or not segment["committed"] for segment in segments)

    def _settle(self, name: str) -> None:
        """Have what was merged take the place of what it was merged from, for readers and on the disk."""
        self.refresh(name)
        self._client.ask("POST", "_flush", names=name, params={"force": "true"}, timeout=_TIMEOUT)
        self.refresh(name)


def _whole(answer: Any) -> Any:
    """Return an answer that says everything. Raises IndexUnavailable for any other."""
    if answer["timed_out"] or answer["_shards"]["failed"]:
        raise IndexUnavailable("The search server could not look at all of a case.")
    return answer
