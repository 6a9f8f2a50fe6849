"""Writing revisions: what changed in the models, in one step of the history; and joining heads.

Whatever is refused is refused before the first file is written, and the history is read once more
with the new migrations in it before they are.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from django.apps import apps
from django.conf import settings
from django.db.migrations import Migration
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.questioner import InteractiveMigrationQuestioner, MigrationQuestioner
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter

from datamortem.revisions.clashes import refuse_clashes
from datamortem.revisions.errors import RevisionError
from datamortem.revisions.graph import Node, Revision, RevisionGraph

_SLUG_LENGTH: Final = 40


class NothingToJoin(RevisionError):
    """There are no several heads."""


class NeedsAnswer(RevisionError):
    """The change of the models can be meant in two ways, and nobody is there to be asked."""


class CannotWrite(RevisionError):
    """A file cannot be written."""


class NoMessage(RevisionError):
    """A revision says in words what it does."""


class UnknownApp(RevisionError):
    """Revisions are written in the apps of the history only."""


def write_revision(
    *, message: str, empty: bool = False, app: str | None = None, dry_run: bool = False
) -> list[Path]:
    """Write what changed in the models after the head; return the files, none if nothing changed.

    Changes in several apps are one revision. `empty` writes one without operations, to be filled by
    hand, in `app` or where the head is. With `dry_run` nothing is written. Raises SeveralHeads,
    NeedsAnswer, NoMessage, UnknownApp.
    """
    draft = _Draft(message)
    graph = RevisionGraph()
    head = graph.head()
    if app is not None and app not in graph.apps:
        raise UnknownApp(
            f"{app!r} is no app of the schema history ({', '.join(settings.REVISION_APPS)}). "
            "Nothing was written."
        )
    draft.give_id(graph)
    loader = graph.loader
    detector = MigrationAutodetector(
        loader.project_state(), ProjectState.from_apps(apps), _questioner(dry_run)
    )
    if empty:
        label = app or (head.nodes[-1][0] if head else settings.REVISION_APPS[0])
        made = {label: [Migration("empty", label)]}
        changes = detector.arrange_for_graph(made, graph.loader.graph, draft.name)
    else:
        wanted = {app} if app else set(graph.apps)
        changes = detector.changes(graph.loader.graph, trim_to_apps=wanted, migration_name=draft.name)
    draft.migrations = [migration for label in sorted(changes) for migration in changes[label]]
    for label in changes:
        _put_after(graph, head, changes[label][0])
    return draft.write(graph, dry_run=dry_run)


def write_merge(*, message: str, heads: Sequence[Revision] = (), dry_run: bool = False) -> list[Path]:
    """Write what joins heads (all, if none are named), as one revision; return the files.

    Where an app itself has several last migrations, Django wants them joined in that app; if that is
    so in several apps, each gets a migration of the one revision. Raises NothingToJoin, Clash.
    """
    draft = _Draft(message)
    graph = RevisionGraph()
    joined = [graph.revisions[revision.id] for revision in heads] or graph.heads
    tips = _last(graph, [node for revision in joined for node in revision.nodes])
    reach = {node for tip in tips for node in graph.migrations.forwards_plan(tip)}
    leaves = {label: _leaves(graph, label, reach) for label in settings.REVISION_APPS}
    forks = {label: found for label, found in leaves.items() if len(found) > 1}
    if len({revision.id for revision in joined}) < 2 and not forks:
        names = ", ".join(revision.id for revision in joined) or "none"
        raise NothingToJoin(f"There is nothing to join. Heads: {names}. Nothing was written.")
    refuse_clashes(graph, [*tips, *(leaf for fork in forks.values() for leaf in fork)])
    draft.give_id(graph)
    *before, last = forks or [_where_whole(graph, tips, reach)]
    for label in before:
        draft.add(graph, label, forks[label])
    done = {leaf for label in before for leaf in forks[label]}
    # A leaf that only another app stands on is a leaf for Django all the same.
    own = leaves[last] if last in forks else _last(graph, [*leaves[last], *tips])
    ends = [*own, *(tip for tip in tips if tip not in done)]
    draft.add(graph, last, [*ends, *((m.app_label, m.name) for m in draft.migrations)])
    return draft.write(graph, dry_run=dry_run)


@dataclass
class _Draft:
    """A revision that is being written."""

    message: str
    id: str = ""
    migrations: list[Migration] = field(default_factory=list)

    def __post_init__(self) -> None:
        shown = "".join(letter if letter.isprintable() else " " for letter in self.message)
        self.title = " ".join(shown.split())
        if not self.title:
            raise NoMessage(
                'Say what the revision does: -m "Add a phone number to users". Nothing was written.'
            )

    def give_id(self, graph: RevisionGraph) -> None:
        """Choose an id that no revision has or begins with."""
        while not self.id or any(i.startswith(self.id) or self.id.startswith(i) for i in graph.revisions):
            self.id = secrets.token_hex(6)

    @property
    def name(self) -> str:
        """The id with words of the message, for names of files; numbers come in front of it."""
        plain = unicodedata.normalize("NFKD", self.title).encode("ascii", "ignore").decode().lower()
        slug = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:_SLUG_LENGTH].rstrip("_")
        return f"{self.id}_{slug}".rstrip("_")

    def add(self, graph: RevisionGraph, label: str, dependencies: Iterable[Node]) -> None:
        """Add an empty migration to an app."""
        names = [name for app, name in graph.nodes if app == label]
        number = max((MigrationAutodetector.parse_number(name) or 0 for name in names), default=0) + 1
        migration = Migration(f"{number:04d}_{self.name}", label)
        migration.dependencies = list(dict.fromkeys(dependencies))  # type: ignore[misc]
        self.migrations.append(migration)

    def write(self, graph: RevisionGraph, *, dry_run: bool) -> list[Path]:
        """Write the files, all or none; return them. Raises Interleaved, CannotWrite."""
        for migration in self.migrations:
            migration.revision, migration.title = self.id, self.title  # type: ignore[attr-defined]
        _read_with(self.migrations)
        files = {Path(MigrationWriter(m).path): self._text(m) for m in self.migrations}
        for path, text in files.items():
            compile(text, path, "exec")
        if not dry_run:
            _write_all_or_none(files)
        return list(files)

    def _text(self, migration: Migration) -> str:
        text = MigrationWriter(migration, include_header=False).as_string()
        words = self.title.replace("\\", "\\\\").replace('"', '\\"')
        opening = "class Migration(migrations.Migration):\n"
        before, found, after = text.partition(opening)
        named = f'    revision = "{self.id}"\n    title = "{words}"\n'
        return f'"""{self.id}: {words}"""\n\n{before.lstrip()}{found}{named}{after}'


class _Refusing(MigrationQuestioner):
    """Answers nothing: what has two meanings is refused."""

    def _refuse(self, question: str, remedy: str) -> NoReturn:
        raise NeedsAnswer(f"{question} {remedy} Or run this on a terminal, which asks. Nothing was written.")

    def ask_not_null_addition(self, field_name: str, model_name: str) -> NoReturn:
        self._refuse(
            f"What do existing rows get in the new column {model_name}.{field_name}?",
            "Give the field a db_default, or null=True.",
        )

    def ask_not_null_alteration(self, field_name: str, model_name: str) -> NoReturn:
        self._refuse(
            f"What do rows get that have no value in {model_name}.{field_name}?",
            "Fill the column in a revision of its own first, or give the field a db_default.",
        )

    def ask_auto_now_add_addition(self, field_name: str, model_name: str) -> NoReturn:
        self._refuse(
            f"What do existing rows get in the new column {model_name}.{field_name}?",
            "Give the field db_default=Now().",
        )

    def ask_unique_callable_default_addition(self, field_name: str, model_name: str) -> NoReturn:
        self._refuse(
            f"All existing rows would get the same value in the unique column {model_name}.{field_name}.",
            "Add it with null=True, fill it, then tighten it: three revisions.",
        )

    def ask_rename(self, model_name: str, old_name: str, new_name: str, field_instance: Any) -> NoReturn:
        self._refuse(
            f"Was {model_name}.{old_name} renamed to {new_name}, or dropped and another one added?",
            "Dropping loses its values. Do the two in revisions of their own.",
        )

    def ask_rename_model(self, old_model_state: Any, new_model_state: Any) -> NoReturn:
        self._refuse(
            f"Was the model {old_model_state.app_label}.{old_model_state.name} renamed to "
            f"{new_model_state.name}, or dropped and another one added?",
            "Dropping loses its rows. Do the two in revisions of their own.",
        )


def _questioner(dry_run: bool) -> MigrationQuestioner:
    if sys.stdin.isatty():
        return InteractiveMigrationQuestioner(specified_apps=set(settings.REVISION_APPS), dry_run=dry_run)
    return _Refusing(specified_apps=set(settings.REVISION_APPS), dry_run=dry_run)


def _last(graph: RevisionGraph, nodes: Iterable[Node]) -> list[Node]:
    """Return those of some migrations that none of the others needs, in order."""
    some = set(nodes)
    needed = {n for node in some for n in graph.migrations.forwards_plan(node) if n != node}
    return [node for node in graph.nodes if node in some - needed]


def _leaves(graph: RevisionGraph, label: str, reach: set[Node]) -> list[Node]:
    """Return the last migrations of an app among those that the heads stand on."""
    return [node for node in graph.migrations.leaf_nodes(label) if node in reach]


def _where_whole(graph: RevisionGraph, tips: list[Node], reach: set[Node]) -> str:
    """Return the app of the newest head that a further migration does not fork."""
    whole = [label for label, _ in tips if set(graph.migrations.leaf_nodes(label)) <= reach]
    return (whole or [tips[-1][0]])[-1]


def _put_after(graph: RevisionGraph, head: Revision | None, migration: Migration) -> None:
    """Let a migration depend on the whole head."""
    known = [_resolved(graph.loader, migration.app_label, d) for d in migration.dependencies]
    covered = {
        n for node in known if node in graph.migrations.nodes for n in graph.migrations.forwards_plan(node)
    }
    tips = _last(graph, head.nodes) if head else []
    after = [*migration.dependencies, *(tip for tip in tips if tip not in covered)]
    migration.dependencies = after  # type: ignore[misc]  # as the autodetector does


def _resolved(loader: MigrationLoader, label: str, dependency: Node) -> Node:
    """Return the migration that `__first__` and the user model of the settings stand for."""
    app, name = dependency
    if app == "__setting__":
        app, name = str(getattr(settings, name)).split(".")[0], "__first__"
    return loader.check_key((app, name), label) or (app, name)


def _read_with(migrations: list[Migration]) -> None:
    """Read the history as it will be. Raises Interleaved."""
    loader = MigrationLoader(None)
    new = [((m.app_label, m.name), m) for m in migrations]
    for key, migration in new:
        loader.graph.add_node(key, migration)
    for key, migration in new:
        for dependency in migration.dependencies:
            loader.graph.add_dependency(migration, key, _resolved(loader, key[0], dependency))
    loader.graph.ensure_not_cyclic()
    RevisionGraph(loader=loader)


def _write_all_or_none(files: dict[Path, str]) -> None:
    placed: list[Path] = []
    try:
        for path, text in files.items():
            part = path.with_name(f".{path.name}.part")  # no migration, as Django sees it
            placed.append(part)
            with part.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for path in files:
            placed.append(path)
            path.with_name(f".{path.name}.part").rename(path)
    except BaseException as error:
        for path in placed:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CannotWrite(f"{error.filename}: {error.strerror}. Nothing was written.") from error
        raise
