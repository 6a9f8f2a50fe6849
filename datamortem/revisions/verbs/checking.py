"""The verb `check`: models against migrations, migrations against records, records against tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from django.apps import apps
from django.core.management.base import CommandError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ProjectState

from datamortem.revisions import guard, live
from datamortem.revisions.errors import NotAdopted, SeveralHeads
from datamortem.revisions.graph import RevisionGraph
from datamortem.revisions.live import Level
from datamortem.revisions.output import Talk
from datamortem.revisions.verbs.reading import write_json


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, and what to do."""

    level: Level
    #: A table, an app, or what else it is about.
    where: str
    what: str
    remedy: str

    def lines(self) -> list[str]:
        """Say it."""
        return [f"[{self.level}] {self.where}: {self.what}", f"    {self.remedy}"]


def check(connection: BaseDatabaseWrapper, talk: Talk, *, as_json: bool) -> None:
    """Print every difference with what to do. Raises CommandError unless all that is found is harmless.

    Harmless is what Django does not know and that is kept (`extra`).
    """
    found = list(findings(connection))
    serious = [one for one in found if one.level is not Level.EXTRA]
    if as_json:
        write_json(talk, [asdict(one) for one in found])
    else:
        for one in found:
            talk.say(*one.lines())
        if not serious:
            talk.say("Models, migrations and database agree.")
    if serious:
        raise CommandError(f"{len(serious)} difference{'' if len(serious) == 1 else 's'} to mend.")


def findings(connection: BaseDatabaseWrapper) -> Iterator[Finding]:
    """Yield what differs between models, migrations, records and tables."""
    graph = RevisionGraph(connection)
    yield from _of_the_files(graph)
    try:
        guard.refuse_old_system(connection)
    except NotAdopted as refusal:
        yield Finding(Level.ERROR, guard.OLD_VERSIONS, refusal.detail, "python manage.py adopt")
        return
    yield from _of_the_records(graph)
    for found in live.drift(connection):
        yield Finding(found.level, found.table, found.what, found.remedy)


def _of_the_files(graph: RevisionGraph) -> Iterator[Finding]:
    try:
        graph.refuse_several_heads()
    except SeveralHeads as several:
        yield Finding(Level.ERROR, "history", several.detail, 'python manage.py db merge -m "Merge heads"')
        return  # Django compares models with one newest state only
    changes = MigrationAutodetector(
        graph.loader.project_state(), ProjectState.from_apps(apps), MigrationQuestioner()
    ).changes(graph=graph.migrations)
    for label, migrations in sorted(changes.items()):
        for operation in (o for migration in migrations for o in migration.operations):
            what = f"the models are ahead of the migrations: {' '.join(operation.describe().split())}"
            ours = label in graph.apps
            remedy = 'python manage.py db revision -m "…"' if ours else "install matching versions"
            yield Finding(Level.ERROR, label, what, remedy)


def _of_the_records(graph: RevisionGraph) -> Iterator[Finding]:
    remedy = "python manage.py db upgrade"
    for name, (done, of) in graph.status().partial.items():
        yield Finding(Level.ERROR, name, f"{done} of {of} migrations are applied", remedy)
    for migration, _ in graph.upgrade_plan(graph.revisions, everything=True):
        yield Finding(Level.ERROR, migration.app_label, f"{migration.name} is not applied", remedy)
    for app, name in graph.status().unknown:
        what = f"{name} is recorded and has no file here: a newer version made it"
        yield Finding(Level.ERROR, app, what, "install the version that made it")
