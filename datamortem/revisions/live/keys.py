"""Differences of unique constraints, foreign keys, indexes and checks. Their names do not matter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from datamortem.revisions.live.sql import REMAKE, listed, quoted, remedy
from datamortem.revisions.live.tables import Check, Difference, ForeignKey, Index, Level, Part, Table, Unique

_LONGEST_NAME = 63


@dataclass(frozen=True, slots=True)
class Keys:
    """One table as it should be and as it is."""

    vendor: str
    wanted: Table
    found: Table
    #: Names of indexes and constraints that are taken, which grow with every statement.
    taken: set[str] = field(default_factory=set)

    def differences(self) -> Iterator[Difference]:
        """Yield all of them."""
        yield from self._uniques()
        yield from self._foreign_keys()
        yield from self._indexes()
        yield from self._checks()

    # Unique ---------------------------------------------------------------------------------------

    def _uniques(self) -> Iterator[Difference]:
        left = list(self.found.uniques)
        for wanted in self.wanted.uniques:
            same = [unique for unique in left if _meaning(unique) == _meaning(wanted)]
            best = max(same, key=lambda u: (u.valid, not u.deferrable, u.is_constraint), default=None)
            if best is None:
                yield self._no_unique(wanted)
                continue
            left.remove(best)
            yield from self._other_unique(wanted, best)
        for unique in left:
            what = f"unknown {_told(unique)}"
            if not unique.valid:
                yield self._drop_index(unique, f"broken {_told(unique)}")
            elif unique.columns != self.found.primary_key:
                yield self._extra(Part.UNIQUE, what, unique.columns)

    def _no_unique(self, wanted: Unique) -> Difference:
        namesake = next((u for u in self.found.uniques if u.name == wanted.name), None)
        what = f"{_told(wanted)} is missing"
        if namesake is not None and self.vendor == "postgresql":
            what = f"{_told(namesake)}, expected {_told(wanted)}"
        return self._differs(
            Level.ERROR,
            Part.UNIQUE,
            what,
            wanted.columns,
            self._create_unique(wanted),
            also_sqlite=True,
            absent=True,
        )

    def _other_unique(self, wanted: Unique, found: Unique) -> Iterator[Difference]:
        if self.vendor == "sqlite":
            return
        table = quoted(self.wanted.name)
        if not found.valid:
            what = f"{_told(found)} was not built to its end and guards nothing"
            yield self._differs(
                Level.ERROR, Part.UNIQUE, what, wanted.columns, f"REINDEX INDEX {quoted(found.name)}"
            )
        elif found.deferrable != wanted.deferrable:
            what = f"{_told(found)} is {'' if found.deferrable else 'not '}deferrable"
            drop = f"ALTER TABLE {table} DROP CONSTRAINT {quoted(found.name)}"
            yield self._differs(
                Level.ERROR, Part.UNIQUE, what, wanted.columns, drop, self._create_unique(wanted)
            )
        if wanted.is_constraint and not found.is_constraint:
            name = self._free(wanted.name)
            using = f"ADD CONSTRAINT {quoted(name)} UNIQUE USING INDEX {quoted(found.name)}"
            what = f"unique index {found.name} instead of a constraint on {', '.join(wanted.columns)}"
            yield self._differs(
                Level.BRIDGE, Part.UNIQUE, what, wanted.columns, f"ALTER TABLE {table} {using}"
            )

    def _create_unique(self, wanted: Unique) -> str:
        name, table = quoted(self._free(wanted.name)), quoted(self.wanted.name)
        nulls = "" if wanted.nulls_distinct else " NULLS NOT DISTINCT"
        if wanted.is_constraint and self.vendor == "postgresql":
            later = " DEFERRABLE INITIALLY DEFERRED" if wanted.deferrable else ""
            return (
                f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE{nulls} ({listed(wanted.columns)}){later}"
            )
        where = f" WHERE {wanted.condition}" if wanted.condition else ""
        return f"CREATE UNIQUE INDEX {name} ON {table} ({self._keys(wanted.columns)}){nulls}{where}"

    # Foreign keys ---------------------------------------------------------------------------------

    def _foreign_keys(self) -> Iterator[Difference]:
        left = list(self.found.foreign_keys)
        for wanted in self.wanted.foreign_keys:
            same = [key for key in left if _link(key) == _link(wanted)]
            best = max(same, key=lambda k: (k.validated, k.deferred), default=None)
            if best is None:
                yield self._no_foreign_key(wanted, left)
                continue
            left.remove(best)
            yield from self._other_foreign_key(wanted, best)
        for key in left:
            yield self._extra(Part.FOREIGN_KEY, f"unknown foreign key {_led(key)}", key.columns)

    def _no_foreign_key(self, wanted: ForeignKey, left: list[ForeignKey]) -> Difference:
        other = next((key for key in left if key.columns == wanted.columns), None)
        what = f"foreign key {_led(wanted)} is missing"
        if other is not None:
            what = f"foreign key {_led(other)}, expected {_led(wanted)}"
        return self._differs(
            Level.ERROR,
            Part.FOREIGN_KEY,
            what,
            wanted.columns,
            self._create_foreign_key(wanted),
            absent=other is None,
        )

    def _other_foreign_key(self, wanted: ForeignKey, found: ForeignKey) -> Iterator[Difference]:
        alter = f"ALTER TABLE {quoted(self.wanted.name)}"
        name = quoted(found.name)
        faults: list[tuple[str, tuple[str, ...]]] = []
        if (wanted.on_delete, wanted.on_update) != (found.on_delete, found.on_update):
            what = f"acts by itself: ON DELETE {found.on_delete}, ON UPDATE {found.on_update}"
            again = (f"{alter} DROP CONSTRAINT {name}", self._create_foreign_key(wanted, found.name))
            faults.append((what, again))
        else:
            if wanted.deferred and not found.deferred:
                later = f"{alter} ALTER CONSTRAINT {name} DEFERRABLE INITIALLY DEFERRED"
                faults.append(("is checked at once, expected at commit (deferrable)", (later,)))
            if wanted.validated and not found.validated:
                proof = f"{alter} VALIDATE CONSTRAINT {name}"
                faults.append(("was not validated: old rows may lead nowhere", (proof,)))
        for what, statements in faults:
            told = f"foreign key {_led(found)} {what}"
            yield self._differs(Level.BRIDGE, Part.FOREIGN_KEY, told, wanted.columns, *statements)

    def _create_foreign_key(self, wanted: ForeignKey, name: str = "") -> str:
        later = " DEFERRABLE INITIALLY DEFERRED" if wanted.deferred else ""
        acts = "".join(
            f" ON {event} {action}"
            for event, action in (("DELETE", wanted.on_delete), ("UPDATE", wanted.on_update))
            if action != "NO ACTION"
        )
        return (
            f"ALTER TABLE {quoted(self.wanted.name)} ADD CONSTRAINT {quoted(name or self._free(wanted.name))}"
            f" FOREIGN KEY ({listed(wanted.columns)})"
            f" REFERENCES {quoted(wanted.table)} ({listed(wanted.ref_columns)}){acts}{later}"
        )

    # Indexes --------------------------------------------------------------------------------------

    def _indexes(self) -> Iterator[Difference]:
        left = list(self.found.indexes)
        for wanted in self.wanted.indexes:
            same = [index for index in left if _serves(index) == _serves(wanted)]
            best = max(same, key=lambda index: index.valid, default=None)
            if best is None:
                if not self._served_by_unique(wanted):
                    yield self._no_index(wanted)
                continue
            left.remove(best)
            if not best.valid:
                what = f"{_told(best)} was not built to its end and serves nobody"
                yield self._differs(
                    Level.ERROR, Part.INDEX, what, wanted.columns, f"REINDEX INDEX {quoted(best.name)}"
                )
        known = {_serves(index) for index in self.wanted.indexes}
        for index in left:
            if not index.valid:
                yield self._drop_index(index, f"broken {_told(index)}")
            elif _serves(index) in known or self._is_redundant(index):
                yield self._drop_index(index, f"redundant {_told(index)}")
            else:
                yield self._extra(Part.INDEX, f"unknown {_told(index)}", index.columns)

    def _served_by_unique(self, wanted: Index) -> bool:
        return not any(wanted.details) and any(
            unique.columns == wanted.columns and unique.condition == wanted.condition and unique.valid
            for unique in self.found.uniques
        )

    def _is_redundant(self, index: Index) -> bool:
        """Whether the key or a wanted unique constraint has an index that does the same."""
        twins = [self.wanted.primary_key, *(u.columns for u in self.wanted.uniques if not u.condition)]
        return index.columns in twins and not any(index.details) and index.condition is None

    def _no_index(self, wanted: Index) -> Difference:
        method = f" USING {wanted.method}" if wanted.method != "btree" else ""
        where = f" WHERE {wanted.condition}" if wanted.condition else ""
        statement = (
            f"CREATE INDEX {quoted(self._free(wanted.name))} ON {quoted(self.wanted.name)}{method}"
            f" ({self._keys(wanted.columns, wanted.details)}){where}"
        )
        what = f"{_told(wanted)} is missing"
        return self._differs(
            Level.BRIDGE, Part.INDEX, what, wanted.columns, statement, also_sqlite=True, absent=True
        )

    def _drop_index(self, index: Index | Unique, what: str) -> Difference:
        statement = f"DROP INDEX {quoted(index.name)}"
        return self._differs(Level.BRIDGE, Part.INDEX, what, index.columns, statement, also_sqlite=True)

    # Checks ---------------------------------------------------------------------------------------

    def _checks(self) -> Iterator[Difference]:
        left = list(self.found.checks)
        for wanted in self.wanted.checks:
            same = [check for check in left if check.expression == wanted.expression]
            if same:
                left.remove(max(same, key=lambda check: check.validated))
                yield from self._unproved(max(same, key=lambda check: check.validated))
                continue
            namesake = next((check for check in left if check.name == wanted.name), None)
            if namesake is not None:
                left.remove(namesake)
            yield self._no_check(wanted, namesake)
        for check in left:
            yield self._extra(Part.CHECK, f"unknown check {check.name} {check.expression}", ())

    def _unproved(self, check: Check) -> Iterator[Difference]:
        if not check.validated:
            proof = f"ALTER TABLE {quoted(self.wanted.name)} VALIDATE CONSTRAINT {quoted(check.name)}"
            what = f"check {check.name} was not validated: old rows may break it"
            yield self._differs(Level.BRIDGE, Part.CHECK, what, (), proof)

    def _no_check(self, wanted: Check, namesake: Check | None) -> Difference:
        table = quoted(self.wanted.name)
        if namesake is not None:
            name = wanted.name
            what = f"check {name} says {namesake.expression}, expected {wanted.expression}"
            before = [f"ALTER TABLE {table} DROP CONSTRAINT {quoted(name)}"]
        else:
            name = self._free(wanted.name)
            what = f"check {wanted.name} {wanted.expression} is missing"
            before = []
        create = f"ALTER TABLE {table} ADD CONSTRAINT {quoted(name)} {wanted.expression}"
        return self._differs(Level.ERROR, Part.CHECK, what, (), *before, create, absent=namesake is None)

    # ----------------------------------------------------------------------------------------------

    def _differs(
        self,
        level: Level,
        part: Part,
        what: str,
        columns: tuple[str, ...],
        *statements: str,
        also_sqlite: bool = False,
        absent: bool = False,
    ) -> Difference:
        sqlite = self.vendor == "sqlite"
        mending = REMAKE if sqlite and not also_sqlite else remedy(statements)
        mends = () if sqlite and not also_sqlite else statements
        return Difference(level, self.wanted.name, what, mending, columns, mends, part, absent)

    def _extra(self, part: Part, what: str, columns: tuple[str, ...]) -> Difference:
        what = f"{what}; it is kept"
        nothing = "nothing, unless nobody needs it"
        return Difference(Level.EXTRA, self.wanted.name, what, nothing, columns, part=part)

    def _keys(self, columns: tuple[str, ...], details: tuple[str, ...] = ()) -> str:
        """Return the columns or expressions of an index as CREATE INDEX takes them."""
        known = self.wanted.columns
        parts = (
            f"{quoted(column) if column in known else f'({column})'} {detail}".rstrip()
            for column, detail in zip(columns, details or ("",) * len(columns), strict=True)
        )
        return ", ".join(parts)

    def _free(self, name: str) -> str:
        """Return a name that no index or constraint has, as near to the wanted one as can be."""
        free, number = name, 1
        while free in self.taken:
            number += 1
            free = f"{name[: _LONGEST_NAME - 3]}_{number}"
        self.taken.add(free)
        return free


def _meaning(unique: Unique) -> tuple[frozenset[str], str | None, bool]:
    """What rows it refuses; the order of its columns does not matter."""
    return frozenset(unique.columns), unique.condition, unique.nulls_distinct


def _serves(index: Index) -> tuple[tuple[str, ...], tuple[str, ...], str | None, str]:
    details = index.details or ("",) * len(index.columns)
    return index.columns, details, index.condition, index.method


def _link(key: ForeignKey) -> tuple[tuple[tuple[str, str], ...], str]:
    return tuple(sorted(zip(key.columns, key.ref_columns, strict=False))), key.table


def _led(key: ForeignKey) -> str:
    return f"{', '.join(key.columns)} -> {key.table} ({', '.join(key.ref_columns)})"


def _told(key: Unique | Index) -> str:
    where = f" where {key.condition}" if key.condition else ""
    if isinstance(key, Unique):
        kind = "unique constraint" if key.is_constraint else "unique index"
    else:
        kind = "index for LIKE" if key.pattern else "index"
    return f"{kind} {key.name} on {', '.join(key.columns)}{where}"
