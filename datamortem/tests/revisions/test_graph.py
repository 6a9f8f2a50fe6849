"""Revisions read from the migration graph: names, steps, orders, heads; and the history drawn."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.db import migrations
from django.db.migrations.loader import MigrationLoader

from datamortem.revisions import history
from datamortem.revisions.errors import Interleaved, NoSuchStep, SeveralHeads, UnknownRevision
from datamortem.revisions.graph import Node, RevisionGraph, Status

DOCUMENTED = """\
7c6ac304c575 -> 0d8c359bb4f1 (head) (current), Sync with current models state
2a6d94c6cc2b, 7b4f50a1e0e0 -> 7c6ac304c575 (mergepoint), Merge multiple heads
8f6e0f2be8d2 -> 2a6d94c6cc2b, Add HedgeDoc slug to cases
8f6e0f2be8d2 -> 7b4f50a1e0e0, Add email verification and OTP fields to users
c6e23e92af16 -> 8f6e0f2be8d2 (branchpoint), Add python_version and requirements to custom_scripts
<base> -> c6e23e92af16, Add users table and user foreign key to cases
"""
C6E2, F86E, B7B4, A2A6, M7C6, H0D8 = (
    "c6e23e92af16",
    "8f6e0f2be8d2",
    "7b4f50a1e0e0",
    "2a6d94c6cc2b",
    "7c6ac304c575",
    "0d8c359bb4f1",
)


def with_files(*files: tuple[str, str, str, tuple[Node, ...]], until: str = "") -> RevisionGraph:
    """Return the history with further migrations: (app, name, revision, dependencies); cut after `until`."""
    loader = MigrationLoader(None)
    if until:
        kept = {
            node
            for n in RevisionGraph(loader=loader).find(until).nodes
            for node in loader.graph.forwards_plan(n)
        }
        for node in set(loader.graph.nodes) - kept:
            if node[0] in settings.REVISION_APPS:
                _remove(loader, node)
    for app, name, revision, dependencies in files:
        migration = migrations.Migration(name, app)
        migration.revision = revision  # type: ignore[attr-defined]
        loader.graph.add_node((app, name), migration)
        for dependency in dependencies:
            loader.graph.add_dependency(migration, (app, name), dependency)
    return RevisionGraph(loader=loader)


def _remove(loader: MigrationLoader, node: Node) -> None:
    found = loader.graph.node_map.pop(node)
    for parent in found.parents:
        parent.children.discard(found)
    for child in found.children:
        child.parents.discard(found)
    del loader.graph.nodes[node]


def applied(graph: RevisionGraph, *names: str) -> Status:
    return Status(graph.closure(names), {}, ())


@pytest.fixture(scope="module")
def graph() -> RevisionGraph:
    return RevisionGraph()


@pytest.fixture(scope="module")
def documented() -> RevisionGraph:
    return with_files(until=H0D8)


def last(graph: RevisionGraph, app: str) -> Node:
    return [node for node in graph.nodes if node[0] == app][-1]


# Names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "tips"),
    [
        (H0D8, {H0D8}),
        ("0d8", {H0D8}),
        ("7b", {B7B4}),
        ("cases.0004", {A2A6}),
        ("cases.0004_2a6d94c6cc2b_hedgedoc_slug", {A2A6}),
        ("0004_2a6d94c6cc2b_hedgedoc_slug", {A2A6}),
        ("base", set()),
        ("0d8c-1", {M7C6}),
        ("0d8c359bb4f1-2", {A2A6, B7B4}),
        ("head-0", {RevisionGraph().heads[0].id}),
        ("0d8c-3", {B7B4}),
        ("7c6a-1", {A2A6, B7B4}),
        ("base+1", {C6E2}),
        ("base+3", {B7B4}),
        ("cases.0006-4", {F86E}),
        ("8f6e+3", {M7C6}),
    ],
)
def test_a_revision_goes_by_id_beginning_migration_and_steps(
    graph: RevisionGraph, name: str, tips: set[str]
) -> None:
    assert {r.id for r in graph.tips(graph.resolve(name))} == tips


def test_head_and_heads_are_the_newest(graph: RevisionGraph) -> None:
    assert graph.resolve("head") == graph.resolve("heads") == graph.revisions.keys()


def test_an_ambiguous_beginning_lists_what_it_may_mean(graph: RevisionGraph) -> None:
    with pytest.raises(UnknownRevision) as refused:
        graph.resolve("7")
    assert B7B4 in refused.value.detail
    assert M7C6 in refused.value.detail
    assert H0D8 not in refused.value.detail


@pytest.mark.parametrize(
    "name", ["", "nix", "cases.", "cases.0099", "auth.0001", "-1", "+1", "0d8c-", "head~1"]
)
def test_an_unknown_name_lists_the_revisions(graph: RevisionGraph, name: str) -> None:
    with pytest.raises(UnknownRevision, match=f"{H0D8} Sync with current models state"):
        graph.resolve(name)


def test_a_migration_of_no_revision_is_said_to_be_one(graph: RevisionGraph) -> None:
    with pytest.raises(UnknownRevision, match=r"cases\.0001_create_all belongs to no revision"):
        graph.resolve("cases.0001")


def test_more_steps_than_revisions_are_refused(graph: RevisionGraph) -> None:
    with pytest.raises(NoSuchStep, match="Only 6 revisions come before it: 7 steps are too many"):
        graph.resolve("0d8c-7")
    with pytest.raises(NoSuchStep, match="Only 0 revisions come after it"):
        graph.resolve("head+1")


# Order and heads ------------------------------------------------------------------------------


def test_the_order_is_that_of_the_documents(documented: RevisionGraph) -> None:
    assert [r.id for r in documented.order] == [C6E2, F86E, B7B4, A2A6, M7C6, H0D8]
    assert documented.revisions[C6E2].nodes == [
        ("accounts", "0001_c6e23e92af16_users"),
        ("cases", "0002_c6e23e92af16_owner"),
    ]


def test_heads_in_two_apps_are_refused_with_the_command_that_joins_them(graph: RevisionGraph) -> None:
    head = graph.heads[0].nodes[-1]
    forked = with_files(
        ("accounts", "9001_a", "aaaaaaaaaaaa", (head, last(graph, "accounts"))),
        ("cases", "9001_b", "bbbbbbbbbbbb", (head, last(graph, "cases"))),
    )
    assert [r.id for r in forked.heads] == ["aaaaaaaaaaaa", "bbbbbbbbbbbb"]
    with pytest.raises(SeveralHeads, match=r"aaaaaaaaaaaa \(accounts\.9001_a\), bbbbbbbbbbbb .* db merge"):
        forked.resolve("head")
    assert forked.resolve("heads") == forked.revisions.keys()


def test_two_last_migrations_of_an_app_are_refused_even_if_one_revision_joins_them(
    graph: RevisionGraph,
) -> None:
    head = graph.heads[0].nodes[-1]
    cases = last(graph, "cases")
    forked = with_files(
        ("cases", "9001_a", "aaaaaaaaaaaa", (head, cases)),
        ("cases", "9001_b", "bbbbbbbbbbbb", (head, cases)),
        (
            "accounts",
            "9001_c",
            "cccccccccccc",
            (("cases", "9001_a"), ("cases", "9001_b"), last(graph, "accounts")),
        ),
    )
    assert [r.id for r in forked.heads] == ["cccccccccccc"]
    with pytest.raises(SeveralHeads, match=r"cases\.9001_a, cases\.9001_b"):
        forked.refuse_several_heads()


def test_revisions_that_need_each_other_are_refused(graph: RevisionGraph) -> None:
    head = graph.heads[0].nodes[-1]
    with pytest.raises(Interleaved, match="depend on each other both ways"):
        with_files(
            ("accounts", "9001_a", "aaaaaaaaaaaa", (head, last(graph, "accounts"))),
            ("cases", "9001_b", "bbbbbbbbbbbb", (("accounts", "9001_a"), last(graph, "cases"))),
            ("accounts", "9002_c", "aaaaaaaaaaaa", (("cases", "9001_b"), ("accounts", "9001_a"))),
        )


def test_a_migration_without_an_id_gets_one_from_its_name(graph: RevisionGraph) -> None:
    made = with_files(("cases", "9001_by_hand", "", (graph.heads[0].nodes[-1], last(graph, "cases"))))
    (head,) = made.heads
    assert len(head.id) == 12
    assert made.find("cases.9001") is head
    assert head.title == "9001_by_hand"


# The history ----------------------------------------------------------------------------------


def test_the_six_documented_revisions_read_as_alembic_prints_them(documented: RevisionGraph) -> None:
    lines = history.lines(documented, applied(documented, H0D8))
    assert "".join(f"{line}\n" for line in lines) == DOCUMENTED


def test_the_six_documented_revisions_are_drawn_with_branch_and_merge(documented: RevisionGraph) -> None:
    status = Status(documented.closure([B7B4]), {A2A6: (1, 2)}, ())
    assert [line.split("  ")[0] for line in history.drawing(documented, status)] == [
        "○", "○", "├─╮", "◐ │", "│ ●", "├─╯", "●", "●",
    ]  # fmt: skip
    drawn = "\n".join(history.drawing(documented, status, ascii_only=True))
    assert drawn.isascii()
    assert drawn.splitlines()[2:6] == [
        "|-\\",
        "% |  2a6d94c6cc2b (current)  Add HedgeDoc slug to cases  [PARTIAL: 1 of 2 migrations applied]",
        "| *  7b4f50a1e0e0 (current)  Add email verification and OTP fields to users  [applied]",
        "|-/",
    ]


def test_three_branches_two_of_which_go_on_are_drawn_without_losing_one(graph: RevisionGraph) -> None:
    root = graph.heads[0].nodes[-1]
    made = with_files(
        ("cases", "9001_a", "aaaaaaaaaaaa", (root, last(graph, "cases"))),
        ("accounts", "9001_b", "bbbbbbbbbbbb", (root, last(graph, "accounts"))),
        ("scripts_marketplace", "9001_c", "cccccccccccc", (root, last(graph, "scripts_marketplace"))),
        (
            "scripts_marketplace",
            "9002_d",
            "dddddddddddd",
            (("scripts_marketplace", "9001_c"), ("cases", "9001_a")),
        ),
    )
    drawn = list(history.drawing(made, None))
    assert [line.partition("  ")[0] for line in drawn[:7]] == [
        "●",
        "├─╮",
        "● │",
        "│ ●",
        "│ │ ●",
        "├─╯ │",
        "├───╯",
    ]
    assert drawn[7].startswith("●  ")
    assert [name for name in made.revisions if sum(name in line for line in drawn) != 1] == []


def test_programs_get_the_history_in_the_documented_shape(documented: RevisionGraph) -> None:
    merge = next(r for r in history.as_data(documented, None) if r["id"] == M7C6)
    assert merge == {
        "id": M7C6,
        "title": "Merge multiple heads",
        "parents": [A2A6, B7B4],
        "children": [H0D8],
        "migrations": ["cases.0005_7c6ac304c575_merge"],
        "head": False,
        "branch_point": False,
        "merge": True,
        "applied": None,
    }
    status = Status(documented.closure([B7B4]), {A2A6: (1, 2)}, ())
    found = {r["id"]: r["applied"] for r in history.as_data(documented, status)}
    assert found == {H0D8: False, M7C6: False, A2A6: "partial", B7B4: True, F86E: True, C6E2: True}
