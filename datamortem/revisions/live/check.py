"""The database against the migrations recorded in it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from django.apps import apps
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.models import Model

from datamortem.revisions.live.differences import compare
from datamortem.revisions.live.expectation import expected
from datamortem.revisions.live.numbers import taken_numbers
from datamortem.revisions.live.reading import read
from datamortem.revisions.live.tables import Difference, Level, Table

#: Kept by the frameworks of both systems for themselves.
BOOKKEEPING: Final = frozenset({"django_migrations", "alembic_version", "alembic_version_before_adoption"})


def unknown_tables(connection: BaseDatabaseWrapper, expected: Collection[str]) -> list[str]:
    """Return the tables that no installed app and nothing in `expected` (names) knows, by name."""
    with connection.cursor() as cursor:
        present = set(connection.introspection.table_names(cursor))
    known = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    return sorted(present - known - set(expected) - BOOKKEEPING)


def drift(connection: BaseDatabaseWrapper) -> list[Difference]:
    """Return how the tables of our apps differ from what the recorded migrations would have made."""
    loader = MigrationLoader(connection)
    recorded = [node for node in loader.applied_migrations if node in loader.graph.nodes]
    wanted: dict[str, Table] = {}
    if recorded:
        wanted = expected(connection, loader.project_state(recorded), settings.REVISION_APPS)
    actual = read(connection)
    ours = {model._meta.db_table for app in settings.REVISION_APPS for model in _models(app)}
    return [
        *compare(connection.vendor, wanted, actual),
        *taken_numbers(connection, {name: actual[name] for name in wanted if name in actual}),
        *(_early(name) for name in sorted((ours & actual.keys()) - wanted.keys())),
        *(_unknown(name) for name in unknown_tables(connection, wanted)),
    ]


def _models(app: str) -> list[type[Model]]:
    return list(apps.get_app_config(app).get_models(include_auto_created=True))


def _early(name: str) -> Difference:
    return Difference(
        Level.EXTRA,
        name,
        "the table belongs to a migration that is not recorded, which will stop at it",
        "python manage.py db stamp, if the migration was applied; else rename the table",
    )


def _unknown(name: str) -> Difference:
    return Difference(Level.EXTRA, name, "unknown table; it is kept", "nothing, unless nobody needs it")
