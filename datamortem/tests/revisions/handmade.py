"""Two tables as Django makes them, for tests that alter them by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, models
from django.db.migrations import CreateModel
from django.db.migrations.state import ProjectState
from django.db.models.functions import Lower, Upper

from datamortem.revisions import live
from datamortem.revisions.live import Difference

PLACE = CreateModel(
    "Place",
    [("id", models.AutoField(primary_key=True)), ("code", models.CharField(unique=True))],
    {"db_table": "lab_place"},
)
THING = CreateModel(
    "Thing",
    [
        ("id", models.AutoField(primary_key=True)),
        ("name", models.CharField(max_length=16)),
        ("kind", models.CharField(db_default="plain")),
        ("word", models.CharField(default="")),
        ("at", models.DateTimeField()),
        ("seen", models.DateTimeField(null=True)),
        ("size", models.IntegerField(null=True, db_index=True)),
        ("big", models.BigIntegerField(null=True)),
        ("ok", models.BooleanField()),
        ("place", models.ForeignKey("lab.place", models.CASCADE)),
    ],
    {
        "db_table": "lab_thing",
        "constraints": [
            models.UniqueConstraint(fields=["name", "size"], name="lab_name_size"),
            models.UniqueConstraint(fields=["kind"], condition=models.Q(ok=True), name="lab_one_ok"),
            models.UniqueConstraint(Lower("name"), name="lab_lower"),
            models.CheckConstraint(condition=models.Q(size__gte=0), name="lab_size"),
        ],
        "indexes": [
            models.Index(fields=["kind", "-at"], name="lab_kind_at"),
            models.Index(fields=["big"], condition=models.Q(big__gt=9), name="lab_big"),
            models.Index(Upper("kind"), name="lab_upper"),
        ],
    },
)


@contextmanager
def lab() -> Iterator[dict[str, live.Table]]:
    """Make both tables, and give what they are expected to be, which is the same."""
    state = ProjectState()
    with connection.schema_editor() as editor:
        for operation in (PLACE, THING):
            before = state.clone()
            operation.state_forwards("lab", state)
            operation.database_forwards("lab", editor, before, state)
    try:
        yield live.expected(connection, state, {"lab"})
    finally:
        run("DROP TABLE IF EXISTS lab_thing", "DROP TABLE IF EXISTS lab_place")


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def differences(expected: dict[str, live.Table]) -> list[Difference]:
    return live.compare(connection.vendor, expected, live.read(connection, expected))


def one(expected: dict[str, live.Table]) -> Difference:
    found = differences(expected)
    assert len(found) == 1, [str(difference) for difference in found]
    assert found[0].remedy
    return found[0]
