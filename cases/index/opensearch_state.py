"""What of a case is visible, written as the server's own aliases, and changed by compare and swap.

The alias of a case lists, for each generation of its index, the parts that are visible: a *part*
is what one run wrote to one shard, "shard/run". A second alias, the marker, lists what is being
written and carries a number; every change takes the marker of the state that it was made from
and leaves the next one, in one call: two who change at once cannot both succeed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cases.index.engine import IndexUnavailable
from cases.index.opensearch_client import Client, ServerError, jittered
from cases.index.opensearch_names import index, is_marker, marker, number_of, writing
from cases.index.opensearch_shape import VERSION, mapping, settings

#: Times that a change is tried against others, and seconds between two tries.
_TRIES: Final = 30
_PAUSE: Final = 0.05
#: Stands between a part that is written and those that it takes the place of.
_INSTEAD: Final = "\n"
#: Seconds that a change of aliases, or a new index, may take.
_TIMEOUT: Final = 90.0


class Overtaken(IndexUnavailable):
    """A later attempt has begun, or the shard was deleted: what this one wrote counts no more."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One index of a case: its visible parts; those being written, each with what it replaces."""

    number: int
    name: str
    published: frozenset[str] = frozenset()
    pending: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def parts(self) -> frozenset[str]:
        """Every part that belongs here."""
        return self.published | set(self.pending)

    @property
    def empty(self) -> bool:
        """Whether nothing is in it, or about to be."""
        return not self.parts


@dataclass(frozen=True, slots=True)
class State:
    """All generations of a case, oldest first, and the markers that the next change takes."""

    alias: str
    version: int = 0
    markers: tuple[tuple[str, str], ...] = ()
    generations: tuple[Generation, ...] = ()

    @property
    def published(self) -> frozenset[str]:
        """Every visible part."""
        return frozenset().union(*(each.published for each in self.generations))

    @property
    def names(self) -> list[str]:
        """The names of the indices."""
        return [each.name for each in self.generations]

    def of_shard(self, shard: str) -> frozenset[str]:
        """Return the visible parts of a shard."""
        return frozenset(part for part in self.published if shard_of(part) == shard)

    def writes(self, part: str) -> Generation | None:
        """Return the generation that a part is being written to."""
        return next((each for each in self.generations if part in each.pending), None)

    def mapped(self, change: Callable[[Generation], Generation]) -> State:
        """Return the state with every generation changed."""
        return replace(self, generations=tuple(map(change, self.generations)))


def part_of(shard: str, run: str) -> str:
    """Return the name of what a run writes to a shard. Raises ValueError."""
    if not run or "/" in run or _INSTEAD in shard + run:
        raise ValueError("A run is named without / and line ends.")
    return f"{shard}/{run}"


def shard_of(part: str) -> str:
    """Return the shard that a part belongs to."""
    return part.rpartition("/")[0]


def listing(parts: Iterable[str]) -> dict[str, Any]:
    """Return the query that finds the events of these parts."""
    return {"terms": {"part": sorted(parts)}}


class States:
    """Reads and changes what is visible of cases."""

    def __init__(self, client: Client, shards: int) -> None:
        self._client, self._shards = client, shards
        self._versions: dict[str, int] = {}

    def read(self, alias: str) -> State:
        """Return the present state of a case. Raises IndexUnavailable."""
        try:
            answer = self._client.ask("GET", "_alias", names=alias, retries=2)
        except ServerError as error:
            if error.missing:
                return State(alias)
            raise
        generations, markers, version = [], [], 0
        for name, held in answer.items():
            aliases: dict[str, Any] = held["aliases"]
            published = _listed(aliases[alias])
            pending: dict[str, frozenset[str]] = {}
            for other in filter(is_marker, aliases):
                markers.append((name, other))
                version = max(version, number_of(other))
                for entry in _listed(aliases[other]):
                    part, *instead = entry.split(_INSTEAD)
                    pending[part] = frozenset(instead)
            generations.append(Generation(number_of(name), name, frozenset(published), pending))
        generations.sort(key=lambda each: each.number)
        return State(alias, version, tuple(markers), tuple(generations))

    def change(self, alias: str, edit: Callable[[State], State]) -> State:
        """Bring a case to the state that `edit` makes of the present one, and return it.

        `edit` may be asked several times, and again about its own result. Generations that it
        leaves out are dropped. Raises IndexUnavailable, and what `edit` raises.
        """
        for attempt in range(_TRIES):
            present = self.read(alias)
            wanted = edit(present)
            if wanted == present:
                return present
            try:
                self._swap(present, wanted)
            except ServerError as error:
                if not (error.missing or error.passing):
                    raise
                if attempt == _TRIES - 1:
                    raise
                time.sleep(jittered(_PAUSE * (attempt + 1)))
            else:
                return wanted
        raise IndexUnavailable("The index of this case changes too fast.")

    def _swap(self, present: State, wanted: State) -> None:
        kept = set(wanted.names)
        following = marker(present.alias, present.version + 1)
        actions: list[dict[str, Any]] = [
            {"remove": {"index": name, "alias": held, "must_exist": True}}
            for name, held in present.markers
            if name in kept
        ]
        for each in wanted.generations:
            pending = [_INSTEAD.join((part, *sorted(instead))) for part, instead in each.pending.items()]
            actions += [
                {"add": {"index": each.name, "alias": present.alias, "filter": listing(each.published)}},
                {"add": {"index": each.name, "alias": following, "filter": listing(pending)}},
            ]
        actions += [{"remove_index": {"index": name}} for name in present.names if name not in kept]
        answer = self._client.ask("POST", "_aliases", {"actions": actions}, timeout=_TIMEOUT)
        _acknowledged(answer)

    def renew(self, alias: str, case_id: str, *, above: int) -> None:
        """Make the generation behind `above`; it may be there already. Raises IndexUnavailable."""
        number = above + 1
        version = self.read(alias).version
        nothing = {"filter": listing(())}
        body = {
            "settings": settings(self._shards),
            "mappings": mapping(case_id),
            "aliases": {alias: nothing, writing(alias, number): nothing, marker(alias, version): nothing},
        }
        try:
            answer = self._client.ask("PUT", "", body, names=index(alias, number), timeout=_TIMEOUT)
        except ServerError as error:
            if error.kind == "resource_already_exists_exception":
                return
            if error.kind in ("validation_exception", "illegal_argument_exception"):
                raise ServerError(
                    f"The search server makes no further index: {error.reason}",
                    status=error.status,
                    kind=error.kind,
                    reason=error.reason,
                ) from None
            raise
        _acknowledged(answer)

    def behind(self, names: Iterable[str]) -> list[str]:
        """Return which of these indices have another mapping than this version's.

        Asked of the server once for each index. Raises IndexUnavailable.
        """
        held = list(names)
        if unknown := [name for name in held if name not in self._versions]:
            answer = self._client.ask("GET", "_mapping", names=unknown, retries=2)
            for name, found in answer.items():
                self._versions[name] = found["mappings"].get("_meta", {}).get("version", 0)
        return [name for name in held if self._versions.get(name, VERSION) != VERSION]


def _listed(alias: dict[str, Any]) -> list[str]:
    """The parts that the filter of an alias lists."""
    found: list[str] = alias.get("filter", {}).get("terms", {}).get("part", [])
    return found


def _acknowledged(answer: Any) -> None:
    """A change that not every node knows of in time is done all the same, but not yet everywhere."""
    if not answer.get("acknowledged"):
        raise ServerError("The search server has not taken a change in time.", status=503)
