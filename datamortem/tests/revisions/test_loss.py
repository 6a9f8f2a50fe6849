"""What a plan destroys is counted before it runs: tables, columns, through renames, in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, migrations, models
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from cases.models import Case, Event
from datamortem.revisions.graph import RevisionGraph
from datamortem.revisions.loss import _Trace, measure
from datamortem.revisions.tracing import Step
from scripts_marketplace.models import CustomScript

pytestmark = pytest.mark.django_db

remove = migrations.RemoveField
both = migrations.SeparateDatabaseAndState


@pytest.fixture(autouse=True)
def _rows() -> None:
    """Three cases with three events; one note is empty, one missing, one slug is set."""
    user = User.objects.create(pk=7, email="a@example.org", username="a", full_name="A")
    for number, note in ((1, ""), (2, None), (3, "kept")):
        case = Case.objects.create(pk=number, case_id=f"ir/{number}", note=note, owner=user)
        Event.objects.create(case=case, ts="t", source="log", message="m")
    Case.objects.filter(pk=1).update(hedgedoc_slug="slug", tags=["a"])
    Case.objects.filter(pk__lt=3).update(title="Title", severity="low")
    CustomScript.objects.create(name="s", language="python", source_code="print()", created_by=user)


def lost(*operations: Operation, app: str = "cases") -> list[str]:
    """Return what a migration with these operations would destroy, applied to the newest revision."""
    migration = Migration("9001_later", app)
    migration.operations = list(operations)  # type: ignore[misc]
    return [str(loss) for loss in measure(connection, [(migration, False)])]


def lost_on_the_way_to(name: str) -> list[str]:
    graph = RevisionGraph(connection)
    kept = graph.resolve(name)
    plan, _ = graph.downgrade_plan([r.id for r in graph.order if r.id not in kept])
    return [str(loss) for loss in measure(connection, plan)]


# Forwards -------------------------------------------------------------------------------------


def test_a_column_is_counted_without_what_its_default_brings_back() -> None:
    assert lost(remove("case", "title")) == ["column cases.title: 2 values"]
    assert lost(remove("case", "tags")) == ["column cases.tags: 1 value"]
    assert lost(remove("case", "note")) == ["column cases.note: 2 values"]
    assert lost(remove("case", "owner")) == ["column cases.owner_id: 3 values"]
    assert lost(remove("case", "closed_at")) == []
    assert lost(remove("user", "locale"), app="accounts") == []


def test_a_default_that_is_not_the_same_for_all_rows_brings_nothing_back() -> None:
    assert lost(remove("case", "created_at_utc")) == ["column cases.created_at_utc: 3 values"]


def test_a_table_is_counted_by_rows_and_its_columns_no_more() -> None:
    assert lost(remove("event", "host"), migrations.DeleteModel("Event")) == ["table events: 3 rows"]
    assert lost(migrations.DeleteModel("CaseMember")) == []


def test_a_many_to_many_table_is_counted() -> None:
    User.objects.get(pk=7).groups.add(Group.objects.create(name="one"))
    assert lost(remove("user", "groups"), app="accounts") == ["table users_groups: 1 row"]


def test_a_rename_loses_nothing() -> None:
    assert (
        lost(
            migrations.RenameField("case", "title", "heading"),
            migrations.RenameModel("Case", "Incident"),
            migrations.AlterModelTable("incident", "incidents"),
        )
        == []
    )


def test_the_rename_of_a_many_to_many_field_loses_nothing() -> None:
    User.objects.get(pk=7).groups.add(Group.objects.create(name="one"))
    assert lost(migrations.RenameField("user", "groups", "teams"), app="accounts") == []
    assert lost(
        migrations.RenameField("user", "groups", "teams"),
        migrations.AlterModelTable("user", "people"),
        remove("user", "teams"),
        app="accounts",
    ) == ["table users_groups: 1 row"]


def test_what_was_renamed_before_it_goes_is_called_as_it_is_now() -> None:
    assert lost(
        migrations.RenameField("case", "title", "heading"),
        migrations.RenameModel("Case", "Incident"),
        migrations.AlterModelTable("incident", "incidents"),
        remove("incident", "heading"),
        remove("incident", "note"),
        migrations.RenameModel("Event", "Happening"),
        migrations.AlterModelTable("happening", "happenings"),
        migrations.DeleteModel("Happening"),
    ) == ["column cases.note: 2 values", "column cases.title: 2 values", "table events: 3 rows"]


def test_a_rename_elsewhere_does_not_hide_a_loss() -> None:
    assert lost(
        migrations.RenameField("event", "message", "note"),
        remove("case", "title"),
        migrations.RenameField("event", "host", "title"),
    ) == ["column cases.title: 2 values"]


def test_what_the_plan_itself_adds_is_no_loss() -> None:
    again = models.CharField(null=True)
    assert lost(migrations.AddField("case", "phase", again), remove("case", "phase")) == []
    model = migrations.CreateModel("Phase", [("id", models.AutoField(primary_key=True))])
    assert lost(model, migrations.DeleteModel("Phase")) == []
    assert lost(remove("case", "title"), migrations.AddField("case", "title", again)) == [
        "column cases.title: 2 values"
    ]


def test_what_happens_to_the_state_only_is_no_loss_and_to_the_database_only_is_one() -> None:
    gone = remove("case", "title")
    assert lost(both(state_operations=[gone, migrations.DeleteModel("Event")])) == []
    assert lost(both(database_operations=[both(database_operations=[gone])])) == [
        "column cases.title: 2 values"
    ]


def test_a_type_that_holds_less_is_named_with_the_values_it_does_not_hold() -> None:
    assert lost(migrations.AlterField("case", "title", models.CharField(max_length=4, default=""))) == [
        "column cases.title: 2 values, too long for varchar(4)"
    ]
    assert lost(migrations.AlterField("case", "title", models.TextField(default=""))) == []
    assert lost(migrations.AlterField("event", "score", models.BigIntegerField(null=True))) == []
    (text,) = lost(migrations.AlterField("case", "note", models.IntegerField(null=True)))
    assert text == "column cases.note: 2 values, would turn from text into integer"


def test_a_column_that_must_be_filled_is_named_with_what_is_empty() -> None:
    note = models.TextField(default="none")
    assert lost(migrations.AlterField("case", "note", note)) == [
        "column cases.note: 1 value, empty, would become 'none'"
    ]


def test_sql_that_takes_something_away_is_named_and_other_sql_is_not() -> None:
    (text,) = lost(migrations.RunSQL("UPDATE cases SET note = ''"))
    assert text.startswith("cases.9001_later: what ")
    assert text.endswith("cannot be counted")
    assert lost(migrations.RunSQL("CREATE INDEX later ON cases (note)")) == []
    assert lost(migrations.RunPython(lambda apps, editor: None)) == []


def test_a_table_or_column_that_is_not_there_counts_as_nothing() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE events RENAME TO aside")
        cursor.execute("ALTER TABLE case_memberships RENAME COLUMN role TO part")
    assert lost(migrations.DeleteModel("Event"), remove("casemember", "role")) == []


def test_what_the_server_drops_along_with_it_is_named() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite drops nothing along")
    with connection.cursor() as cursor:
        cursor.execute("CREATE VIEW titles AS SELECT title FROM cases")
        cursor.execute("CREATE VIEW long_titles AS SELECT * FROM titles WHERE length(title) > 9")
        cursor.execute("CREATE VIEW notes AS SELECT note FROM cases")
        cursor.execute("CREATE TABLE theirs (event_id integer REFERENCES events (id))")
    Case.objects.update(title="")
    assert lost(remove("case", "title")) == [
        "view long_titles: goes with what it uses of cases",
        "view titles: goes with what it uses of cases",
    ]
    Event.objects.all().delete()
    assert lost(migrations.DeleteModel("Event")) == [
        "foreign key theirs_event_id_fkey of theirs: goes with what it uses of events"
    ]


def test_each_table_is_read_once() -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        lost(*(remove("case", name) for name in ("title", "note", "tags", "severity", "owner")))
    assert len([q for q in queries if "count(" in q["sql"] and "cases" in q["sql"]]) == 1


def test_a_percent_sign_in_a_name_is_no_parameter() -> None:
    with connection.cursor() as cursor:
        cursor.execute('ALTER TABLE cases RENAME COLUMN title TO "100% {0}"')
    assert lost(
        both(
            state_operations=[
                migrations.AlterField("case", "title", models.CharField(db_column="100% {0}", default=""))
            ]
        ),
        remove("case", "title"),
    ) == ["column cases.100% {0}: 2 values"]


# Backwards ------------------------------------------------------------------------------------


def test_a_way_back_counts_what_the_revisions_added() -> None:
    assert lost_on_the_way_to("0d8c") == [
        "column cases.severity: 2 values",
        "column cases.tags: 1 value",
        "column cases.title: 2 values",
    ]
    assert lost_on_the_way_to("8f6e") == [
        "column cases.hedgedoc_slug: 1 value",
        "column cases.severity: 2 values",
        "column cases.tags: 1 value",
        "column cases.title: 2 values",
    ]


def test_a_way_back_to_nothing_counts_tables() -> None:
    assert lost_on_the_way_to("base") == [
        "column cases.hedgedoc_slug: 1 value",
        "column cases.owner_id: 3 values",
        "column cases.severity: 2 values",
        "column cases.tags: 1 value",
        "column cases.title: 2 values",
        "table custom_scripts: 1 row",
        "table users: 1 row",
    ]


def back(operation: Any) -> Iterator[str]:
    """Yield what is said of one operation that is undone at the newest revision."""
    state = RevisionGraph(connection).loader.project_state()
    before = state.clone()
    trace = _Trace(connection)
    trace.follow(Step(Migration("9001_later", "cases"), operation, True, state, before))
    yield from map(str, [*trace.counted(), *trace.notes])


def test_code_that_runs_on_the_way_back_is_named() -> None:
    def forget(apps: Any, editor: Any) -> None:
        raise AssertionError("never called")

    assert list(back(migrations.RunPython(forget, forget)))
    assert not list(back(migrations.RunPython(forget, migrations.RunPython.noop)))
    assert list(back(migrations.RunSQL("SELECT 1", "DROP VIEW x")))
    assert not list(back(migrations.RunSQL("DROP VIEW x", migrations.RunSQL.noop)))
    assert not list(back(migrations.AddIndex("case", models.Index(fields=["note"], name="later"))))
