"""Read tables of PostgreSQL: a handful of queries for all of them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.live.tables import Check, Column, ForeignKey, Index, Table, Unique

_KINDS: Final = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table"}
_ACTIONS: Final = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}

_TABLES: Final = """
    SELECT c.oid, c.relname, c.relkind FROM pg_class c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND NOT c.relispartition AND (%(names)s::text[] IS NULL OR c.relname = ANY (%(names)s))
    ORDER BY c.relname
"""
_COLUMNS: Final = """
    SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
           pg_get_expr(d.adbin, d.adrelid), a.attidentity <> '', a.attgenerated <> '',
           q.oid::regclass::text, coalesce(q.owned, false), coalesce(q.shared, false)
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN LATERAL (
        SELECT s.oid, EXISTS (SELECT 1 FROM pg_depend o WHERE o.classid = 'pg_class'::regclass
                              AND o.objid = s.oid AND o.deptype = 'a' AND o.refobjid = a.attrelid
                              AND o.refobjsubid = a.attnum) AS owned,
               EXISTS (SELECT 1 FROM pg_depend o WHERE o.classid = 'pg_attrdef'::regclass
                       AND o.refclassid = 'pg_class'::regclass AND o.refobjid = s.oid
                       AND o.objid <> d.oid) AS shared
        FROM pg_depend u JOIN pg_class s ON s.oid = u.refobjid AND s.relkind = 'S'
        WHERE u.classid = 'pg_attrdef'::regclass AND u.objid = d.oid
          AND u.refclassid = 'pg_class'::regclass LIMIT 1) q ON true
    WHERE a.attrelid = ANY (%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum
"""
_CONSTRAINTS: Final = """
    SELECT k.conrelid, k.conname, k.contype,
           ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u (number, place)
                 JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.place),
           CASE WHEN f.relnamespace = current_schema()::regnamespace THEN f.relname::text
                ELSE f.relnamespace::regnamespace::text || '.' || f.relname END,
           ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u (number, place)
                 JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number ORDER BY u.place),
           k.condeferrable AND k.condeferred, k.confdeltype, k.confupdtype, k.convalidated,
           pg_get_constraintdef(k.oid)
    FROM pg_constraint k LEFT JOIN pg_class f ON f.oid = k.confrelid
    WHERE k.conrelid = ANY (%(oids)s) AND k.contype IN ('p', 'f', 'c', 'x')
    ORDER BY k.conrelid, k.conname
"""
# NULLS NOT DISTINCT came with PostgreSQL 15; read as JSON, its absence before is no error.
_INDEXES: Final = """
    SELECT x.indrelid, i.relname, m.amname, x.indisunique, x.indisvalid AND x.indisready AND x.indislive,
           k.oid IS NOT NULL, coalesce(k.condeferrable, false),
           coalesce((to_jsonb(x) ->> 'indnullsnotdistinct')::boolean, false),
           pg_get_expr(x.indpred, x.indrelid),
           ARRAY(SELECT CASE WHEN x.indkey[n - 1] = 0 THEN pg_get_indexdef(x.indexrelid, n, true)
                        ELSE (SELECT a.attname::text FROM pg_attribute a
                              WHERE a.attrelid = x.indrelid AND a.attnum = x.indkey[n - 1]) END
                 FROM generate_series(1, x.indnkeyatts::int) n ORDER BY n),
           ARRAY(SELECT concat_ws(' ',
                        (SELECT o.opcname FROM pg_opclass o
                         WHERE o.oid = x.indclass[n - 1] AND NOT o.opcdefault),
                        CASE x.indoption[n - 1] WHEN 1 THEN 'DESC NULLS LAST' WHEN 2 THEN 'NULLS FIRST'
                             WHEN 3 THEN 'DESC' END)
                 FROM generate_series(1, x.indnkeyatts::int) n ORDER BY n)
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam
    LEFT JOIN pg_constraint k ON k.conindid = x.indexrelid AND k.conrelid = x.indrelid AND k.contype = 'u'
    WHERE x.indrelid = ANY (%(oids)s) AND NOT x.indisprimary AND NOT x.indisexclusion
    ORDER BY x.indrelid, i.relname
"""

#: `x IN ('a', 'b')` is given back as (ARRAY['a'::character varying, …])::text[]. pg_dump writes that,
#: and what was restored from it is given back as ARRAY[('a'::character varying)::text, …].
_TYPED: Final = re.compile(r"\(ARRAY\[((?:'(?:[^']|'')*'::character varying(?:, )?)+)\]\)::text\[\]")
_WORD: Final = re.compile(r"'(?:[^']|'')*'::character varying")

_Rows = dict[int, list[tuple[Any, ...]]]


def read(connection: BaseDatabaseWrapper, names: Collection[str] | None) -> dict[str, Table]:
    """Return the tables and views of the current schema, without the partitions of a table."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLES, {"names": None if names is None else list(names)})
        found = cursor.fetchall()
        oids = [oid for oid, _, _ in found]

        def by_table(query: str) -> _Rows:
            cursor.execute(query, {"oids": oids})
            rows: _Rows = defaultdict(list)
            for oid, *row in cursor.fetchall():
                rows[oid].append(tuple(row))
            return rows

        columns, constraints, indexes = by_table(_COLUMNS), by_table(_CONSTRAINTS), by_table(_INDEXES)
    return {
        name: Table(
            name=name,
            kind=_KINDS[kind],
            columns={row[0]: _column(row) for row in columns[oid]},
            primary_key=next((tuple(row[2]) for row in constraints[oid] if row[1] == "p"), ()),
            primary_key_name=next((row[0] for row in constraints[oid] if row[1] == "p"), ""),
            uniques=tuple(_unique(row) for row in indexes[oid] if row[2]),
            indexes=tuple(_index(row) for row in indexes[oid] if not row[2]),
            foreign_keys=tuple(_foreign_key(row) for row in constraints[oid] if row[1] == "f"),
            checks=tuple(
                Check(row[0], _as_restored(row[9].removesuffix(" NOT VALID")) or "", row[8])
                for row in constraints[oid]
                if row[1] in "cx"
            ),
        )
        for oid, name, kind in found
    }


def _column(row: tuple[Any, ...]) -> Column:
    name, kind, nullable, default, identity, generated, sequence, owned, shared = row
    own_default = None if sequence else default
    return Column(name, kind, nullable, own_default, identity, sequence, owned, generated, shared)


def _unique(row: tuple[Any, ...]) -> Unique:
    name, _, _, valid, constraint, deferrable, nulls_equal, condition, columns, _ = row
    condition = _as_restored(condition)
    return Unique(tuple(columns), name, constraint, condition, not nulls_equal, deferrable, valid)


def _index(row: tuple[Any, ...]) -> Index:
    name, method, _, valid, _, _, _, condition, columns, details = row
    return Index(tuple(columns), name, tuple(details), _as_restored(condition), method, valid)


def _as_restored(expression: str | None) -> str | None:
    """Return an expression as it is given back once it went through a backup: the same for both."""

    def each(found: re.Match[str]) -> str:
        return "ARRAY[" + _WORD.sub(r"(\g<0>)::text", found[1]) + "]"

    return _TYPED.sub(each, expression) if expression else expression


def _foreign_key(row: tuple[Any, ...]) -> ForeignKey:
    name, _, columns, table, ref_columns, deferred, on_delete, on_update, validated, _ = row
    return ForeignKey(
        tuple(columns),
        table,
        tuple(ref_columns),
        name,
        deferred,
        _ACTIONS[on_delete],
        _ACTIONS[on_update],
        validated,
    )
