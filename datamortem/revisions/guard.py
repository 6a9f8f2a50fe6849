"""Whether a database belongs to the old system, whose tables a plain `migrate` would damage."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from datamortem.revisions.errors import NotAdopted

#: What adoption leaves in `alembic_version`: the old system stops at a revision it does not know.
FENCE: Final = "adopted-by-django"
#: Where adoption keeps what `alembic_version` said before.
KEPT_VERSIONS: Final = "alembic_version_before_adoption"
OLD_VERSIONS: Final = "alembic_version"
OLD_TABLES: Final = frozenset(
    ["users", "cases", "evidence", "analysis_modules", "task_run", "events", "custom_scripts", "user_scripts"]
)


def table_names(connection: BaseDatabaseWrapper) -> set[str]:
    """Return the tables of the current schema."""
    with connection.cursor() as cursor:
        return set(connection.introspection.table_names(cursor))


def old_versions(connection: BaseDatabaseWrapper) -> list[str] | None:
    """Return what `alembic_version` holds, sorted; None if there is no such table."""
    if OLD_VERSIONS not in table_names(connection):
        return None
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT version_num FROM {OLD_VERSIONS}")  # noqa: S608
        return sorted(str(row[0]) for row in cursor.fetchall())


def recorded_here(connection: BaseDatabaseWrapper) -> set[tuple[str, str]]:
    """Return the recorded migrations of our apps."""
    return {n for n in MigrationRecorder(connection).applied_migrations() if n[0] in settings.REVISION_APPS}


def refuse_old_system(connection: BaseDatabaseWrapper) -> None:
    """Raise NotAdopted if the old system still owns this database."""
    versions = old_versions(connection)
    if versions == [FENCE]:
        return
    recorded = recorded_here(connection)
    if versions and recorded:
        raise NotAdopted(
            f"alembic_version holds {', '.join(versions)}: the old system still owns this database, although "
            "migrations are recorded here. Nothing was changed. If they were recorded by hand, delete those "
            f"of {', '.join(settings.REVISION_APPS)} from django_migrations, then: python manage.py adopt"
        )
    found = sorted(OLD_TABLES & table_names(connection))
    if versions or (found and not recorded):
        what = f"alembic_version {', '.join(versions)}" if versions else f"tables {', '.join(found)}"
        raise NotAdopted(
            f"This database belongs to the old system ({what}). Nothing was changed. "
            "Take it over first: python manage.py adopt"
        )
