"""What else than rows stands in the way of adoption on PostgreSQL: owners, views, triggers, slow changes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions import live
from datamortem.revisions.adoption.findings import Finding, quoted
from datamortem.revisions.live import Part, Table

_OWNED_BY_OTHERS: Final = """
    SELECT c.relname::text, pg_get_userbyid(c.relowner)::text, current_user::text FROM pg_class c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY(%s) AND c.relkind IN ('r', 'p')
      AND NOT pg_has_role(c.relowner, 'USAGE')
    ORDER BY 1
"""
# Whatever names a column in its text holds on to the column's type.
_DEPENDENTS: Final = """
    SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid), c.relkind::text, c.oid::regclass::text
    FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    LEFT JOIN pg_class c ON c.oid = r.ev_class
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass(%s) AND a.attname = ANY(%s)
      AND d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_trigger'::regclass)
    ORDER BY 1
"""
_INDEXES: Final = """
    SELECT DISTINCT i.relname::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
    JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = ANY(x.indkey)
    WHERE x.indrelid = to_regclass(%s) AND a.attname = ANY(%s) ORDER BY 1
"""
_TRIGGERS: Final = """
    SELECT string_agg(tgname, ', ' ORDER BY tgname) FROM pg_trigger
    WHERE tgrelid = to_regclass('users') AND NOT tgisinternal AND tgenabled IN ('O', 'A')
"""


def obstacles(
    connection: BaseDatabaseWrapper,
    wanted: Mapping[str, Table],
    actual: Mapping[str, Table],
    large: Collection[str],
) -> list[Finding]:
    """Return the findings; `wanted` is what the documented head would have, of what is there."""
    found = list(_foreign_owners(connection, actual))
    for difference in live.compare("postgresql", wanted, actual):
        if difference.part is Part.TYPE and difference.statements:
            found += _dependents(connection, difference.table, difference.columns)
            if difference.table in large:
                found += _rebuilt(connection, difference.table, difference.columns)
    with connection.cursor() as cursor:
        cursor.execute(_TRIGGERS)
        (names,) = cursor.fetchone()
    if names:
        what = f"the triggers {names} would take part in the change of the password hashes"
        found.append(
            Finding("users", (), what, 0, (), "They rest meanwhile, and are as before afterwards", False)
        )
    return found


def _foreign_owners(connection: BaseDatabaseWrapper, actual: Mapping[str, Table]) -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(_OWNED_BY_OTHERS, [list(actual)])
        for name, owner, user in cursor.fetchall():
            yield Finding(
                name,
                (),
                f"the table belongs to {owner}, and {user} can neither lock nor alter it",
                0,
                (),
                f"Adopt as {owner}, or: GRANT {quoted(owner)} TO {quoted(user)}",
            )


def _dependents(connection: BaseDatabaseWrapper, table: str, columns: tuple[str, ...]) -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(_DEPENDENTS, [quoted(table), list(columns)])
        for described, kind, view in cursor.fetchall():
            remedy = f"Note its definition, drop it, adopt, then make it again: {described}"
            if view:
                view_kind = "MATERIALIZED VIEW" if kind == "m" else "VIEW"
                remedy = (
                    f"Note what SELECT pg_get_viewdef('{view}', true) says and who may read it, then"
                    f" DROP {view_kind} {view}; make it again after adoption"
                )
            what = f"{described} reads a column whose type changes ({', '.join(columns)})"
            yield Finding(table, columns, what, 0, (), remedy)


def _rebuilt(connection: BaseDatabaseWrapper, table: str, columns: tuple[str, ...]) -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(_INDEXES, [quoted(table), list(columns)])
        for (name,) in cursor.fetchall():
            yield Finding(
                table,
                columns,
                f"the index {name} holds times and is built anew while the tables are locked, about half a "
                "second for every million rows",
                0,
                (),
                f"To be quicker: DROP INDEX CONCURRENTLY {quoted(name)}, and make it again after adoption",
                blocking=False,
            )
