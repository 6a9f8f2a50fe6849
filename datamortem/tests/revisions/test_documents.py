"""The guide to migrations: both languages give the same commands, and every command works."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from django.conf import settings
from django.core.management import CommandError, call_command, load_command_class
from django.db import connection
from pytest_django import DjangoDbBlocker

from datamortem.revisions.graph import RevisionGraph
from datamortem.tests.revisions.copied import Copied, copy_of_the_code
from datamortem.tests.revisions.scratch import Scratch, scratch_database

ROOT = Path(settings.BASE_DIR)
GUIDES = (ROOT / "docs/migrations.md", ROOT / "docs/migrations.fr.md")
LEGACY = ROOT.parent / "shared/legacy-databases"

#: What cannot be run in a test, and why. Whatever is not here is run.
NOT_RUN = {
    "git pull": "a copy of the tree is no clone",
    "make test": "this is that",
    "make db-backup COMPOSE=1": "needs Docker; the command it gives is tested below",
    "make db-migrate COMPOSE=1": "needs Docker; the command it gives is tested below",
    "make db-check COMPOSE=1": "needs Docker; the command it gives is tested below",
    "psql -v ON_ERROR_STOP=1 -d datamortem -f all.sql": "the name is an example; test_offline loads it",
    "sqlite3 -bail new.sqlite3 < all.sql": "the program may be missing; test_offline loads it",
}
EXAMPLE = re.compile(r"FILE=var/backups/datamortem-\S+")


def blocks(guide: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", guide.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def commands(guide: Path) -> list[str]:
    """Return the commands in order, without what is said about them."""
    lines = [line for block in blocks(guide, "sh") for line in block.splitlines()]
    return [bare for line in lines if (bare := re.sub(r"(^|\s{2,})#.*", "", line).strip())]


def mentioned(guide: Path) -> list[str]:
    """Return the commands that stand in sentences and tables."""
    prose = re.sub(r"^```.*?^```", "", guide.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", prose)]


def headings(guide: Path) -> list[int]:
    text = re.sub(r"^```.*?^```", "", guide.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]


def test_both_languages_give_the_same_commands_in_the_same_order() -> None:
    english, french = GUIDES
    assert commands(english) == commands(french)
    assert blocks(english, "python") == blocks(french, "python")
    assert headings(english) == headings(french)
    assert sorted(mentioned(english)) == sorted(mentioned(french))
    rows = [re.findall(r"^\|", guide.read_text(encoding="utf-8"), re.MULTILINE) for guide in GUIDES]
    assert len(rows[0]) == len(rows[1])


def test_every_verb_and_every_target_is_shown_as_a_command() -> None:
    given = "\n".join(commands(GUIDES[0]))
    targets = re.findall(r"^(db-[a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(targets) == 14
    assert [target for target in targets if f"make {target}" not in given] == []
    verbs = load_command_class("datamortem", "db").create_parser("manage.py", "db")
    by_make = {"stamp": "db-stamp", "merge": "db-merge", "restore": "db-restore"}
    for verb in next(action for action in verbs._actions if action.dest == "verb").choices or ():
        assert f"db {verb}" in given or f"make {by_make.get(verb)}" in given, verb


def test_every_command_in_a_sentence_is_one_that_exists() -> None:
    parser = load_command_class("datamortem", "db").create_parser("manage.py", "db")
    for words in mentioned(GUIDES[0]):
        name, *arguments = words.replace("…", "x").replace('"', "").split()
        if name == "db" and arguments:
            parser.parse_args(arguments)
        elif name == "make" and not arguments[0].endswith("-x"):
            said = subprocess.run(
                ["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert said.returncode == 0, f"{words}: {said.stderr}"


def test_python_in_the_guide_is_python_and_names_what_exists() -> None:
    for block in blocks(GUIDES[0], "python"):
        tree = ast.parse(block)
        imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        exec(compile(ast.Module(list(imports), []), "guide", "exec"), {})


def test_every_documented_revision_is_in_the_table() -> None:
    graph = RevisionGraph()
    for guide in GUIDES:
        text = guide.read_text(encoding="utf-8")
        for revision in graph.order:
            row = next(line for line in text.splitlines() if line.startswith(f"| {revision.id} |"))
            for app, name in revision.nodes:
                assert f"`{app}.{name[:4]}`" in row, row


@pytest.mark.parametrize("target", ["db-current", "db-migrate", "db-backup", "db-check"])
def test_with_compose_a_target_runs_inside_the_stack(target: str) -> None:
    given = subprocess.run(
        # The tests are themselves run by a make, which would have this one say where it is.
        ["make", "--no-print-directory", "-n", target, "COMPOSE=1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert re.search(r"^docker compose .* web python manage.py db \w+", given)
    assert ".venv" not in given


HOSTILE = """$(shell touch made) `touch made` "double" 'single' $HOME $$ \\ # ;&
second line"""


def test_words_of_the_operator_are_never_read_by_make_or_the_shell(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/python"
    program.write_text("#!/bin/sh\nfor word; do printf '<%s>' \"$word\"; done\n")
    program.chmod(0o755)
    (tmp_path / ".installed").touch()
    shutil.copy(ROOT / "Makefile", tmp_path / "Makefile")

    def make(*words: str) -> subprocess.CompletedProcess[str]:
        given = ["make", "-s", "-o", f"{tmp_path}/.installed", f"VENV={tmp_path}", *words]
        return subprocess.run(given, cwd=tmp_path, capture_output=True, text=True, check=False)

    for target, name in (
        ("db-revision", "MSG"),
        ("db-merge", "MSG"),
        ("db-stamp", "REV"),
        ("db-restore", "FILE"),
    ):
        assert f"{HOSTILE}>" in make(target, f"{name}={HOSTILE}").stdout
        missing = make(target)
        assert missing.returncode != 0
        assert f"make {target} {name}=" in missing.stderr
    assert "<db><downgrade><--steps=3>" in make("db-rollback", "STEPS=3").stdout
    assert "<db><downgrade><--yes><--steps=1>" in make("db-rollback", "YES=1").stdout
    assert "<db><upgrade><head>" in make("db-migrate").stdout
    assert "<db><sql><8f6e:>" in make("db-sql", "RANGE=8f6e:").stdout
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("steps", ["0", "-1", "abc", "", "1; ls", "+2", "٣"])
def test_steps_that_are_none_are_refused_with_a_sentence(steps: str, scratch: Scratch) -> None:
    with pytest.raises(CommandError, match="is no number of steps"):
        call_command("db", f"--database={scratch.alias}", "downgrade", f"--steps={steps}")


def test_the_workflows_are_well_formed_and_deploy_as_the_guide_says() -> None:
    workflows = {
        path.name: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").iterdir()
    }
    assert all({"name", "jobs"} <= workflow.keys() for workflow in workflows.values())
    (job,) = workflows["deploy.yml"]["jobs"].values()
    steps = [step["run"] for step in job["steps"] if "run" in step]
    upgrade = steps.index("python manage.py db upgrade")
    assert steps[upgrade + 1] == "python manage.py db current --check-heads"
    assert job["services"]["postgres"]["image"] == "postgres:15"
    pipeline = GUIDES[0].read_text(encoding="utf-8").split("## CI/CD")[1].split("```")[1].splitlines()[1:]
    assert [command for command in pipeline if command not in steps] == []


# Running all of it ------------------------------------------------------------------------------


@pytest.fixture
def old(django_db_blocker: DjangoDbBlocker) -> Iterator[Scratch | None]:
    """A database of the old system, if the samples are there."""
    postgresql = connection.vendor == "postgresql"
    sample = LEGACY / ("postgresql/alembic_0d8c359bb4f1.sql" if postgresql else "sqlite/ca_1250a46_0d8c.db")
    if not sample.exists():
        yield None
        return
    with django_db_blocker.unblock(), scratch_database() as made:
        if postgresql:
            command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", made.url, "-f", str(sample)]
            subprocess.run(command, check=True, capture_output=True)
        else:
            shutil.copy(sample, made.connection.settings_dict["NAME"])
        yield made


@pytest.fixture
def tree(scratch: Scratch, tmp_path: Path) -> Copied:
    copied = copy_of_the_code(tmp_path / "tree", scratch.environment)
    for name in ("Makefile", "requirements.txt"):
        shutil.copy2(ROOT / name, copied.root / name)
    (copied.root / ".venv/bin").mkdir(parents=True)
    program = copied.root / ".venv/bin/python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    program.chmod(0o755)
    (copied.root / ".venv/.installed").touch()
    return copied


@pytest.mark.schema
def test_every_command_of_the_guide_works_in_its_order(
    tree: Copied, scratch: Scratch, old: Scratch | None
) -> None:
    environment = {**scratch.environment, "PATH": f"{tree.root}/.venv/bin:{scratch.environment['PATH']}"}
    home = scratch.home
    for command in commands(GUIDES[0]):
        if command in NOT_RUN:
            continue
        if command == 'make db-revision MSG="Add a phone number"':
            (phone,) = (b for b in blocks(GUIDES[0], "python") if b.startswith("phone = "))
            field = phone.removeprefix("phone = ").strip().replace("models.", "_m.")
            tree.add_to("accounts", f"User.add_to_class('phone', {field})")
        if command == 'make db-revision MSG="Add a note to evidence"':
            tree.add_to("cases", "Evidence.add_to_class('note', _m.TextField(null=True))")
        if command == 'make db-merge MSG="Merge heads"':
            _fork(tree)
        if command == "python manage.py adopt":
            if old is None:
                pytest.skip(f"no samples of the old system at {LEGACY}: the rest was not run")
            home = old.home
            environment = {**environment, "DATABASE_URL": old.url, "DATAMORTEM_HOME": str(home)}
        run = command
        if EXAMPLE.search(command):
            run = EXAMPLE.sub(f"FILE='{_newest_backup(home)}'", command)
        done = subprocess.run(
            ["bash", "-c", run],
            cwd=tree.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{run}\n{done.stdout}\n{done.stderr}"


def _newest_backup(home: Path) -> Path:
    files = [p for p in (home / "backups").iterdir() if p.suffix in (".dump", ".sqlite3")]
    return max(files, key=lambda path: path.stat().st_mtime_ns)


def _fork(tree: Copied) -> None:
    """Let two colleagues write after the same head."""
    where = "from datamortem.revisions.graph import RevisionGraph as G\ng = G()\n"
    leaves = dict(
        line.split(".")
        for line in tree.python(
            where + "print(*('.'.join(n) for n in g.nodes if n[0] in g.apps), sep='\\n')"
        ).stdout.split()
    )
    head = tree.python(where + "print('.'.join(g.heads[0].nodes[-1]))").stdout.strip()
    for app, letter in (("accounts", "a"), ("cases", "b")):
        name = f"{int(leaves[app][:4]) + 1:04d}_{letter * 12}_{letter}"
        tree.migration(app, name, after=(head, f"{app}.{leaves[app]}"))
