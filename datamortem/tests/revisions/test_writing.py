"""Revisions and merges written into a copy of the code, then read by Django and applied."""

from __future__ import annotations

import ast
import os
import pty
import re
import sys
from pathlib import Path

import pytest

from datamortem.revisions.graph import RevisionGraph
from datamortem.revisions.writing import NothingToJoin, UnknownApp, _Draft, write_merge, write_revision
from datamortem.tests.revisions.copied import Copied, copy_of_the_code
from datamortem.tests.revisions.scratch import Scratch

WRITE = "from datamortem.revisions.writing import *\nfrom datamortem.revisions.graph import RevisionGraph\n"
#: The newest migrations of each app, and that of the head.
LEAVES = {node[0]: node for node in RevisionGraph().nodes if node[0] in RevisionGraph().apps}
HEAD = ".".join(RevisionGraph().heads[0].nodes[-1])


@pytest.fixture
def tree(scratch: Scratch, tmp_path: Path) -> Copied:
    return copy_of_the_code(tmp_path / "tree", scratch.environment)


def after(app: str) -> str:
    return ".".join(LEAVES[app])


def number(app: str, further: int = 1) -> str:
    return f"{int(LEAVES[app][1][:4]) + further:04d}"


def a_field(model: str, name: str) -> str:
    return f'migrations.AddField("{model}", "{name}", models.CharField(null=True))'


def test_changes_in_two_apps_are_one_revision_after_the_head_and_one_step(tree: Copied) -> None:
    before = tree.files()
    tree.add_to("accounts", "User.add_to_class('phone', _m.CharField(null=True))")
    tree.add_to("cases", "Case.add_to_class('phase', _m.CharField(db_default='', default=''))")
    tree.python(WRITE + "write_revision(message='Téléphone & \"phase\"\\n\\'\\'\\' \\\\N{BEL} \\u202e x\\t')")
    new = sorted(tree.files() - before)
    ids = {re.fullmatch(r"\w+/\d{4}_([0-9a-f]{12})_telephone_phase_n_bel_x\.py", name)[1] for name in new}  # type: ignore[index]
    assert len(ids) == 1
    assert [name[: name.index("_")] for name in new] == [
        f"accounts/{number('accounts')}",
        f"cases/{number('cases')}",
    ]
    (revision,) = ids
    tree.manage("makemigrations", "--check")
    tree.manage("db", "upgrade")
    undone = tree.manage("db", "downgrade", "-1").stdout
    assert all(f"{app}.{number(app)}_{revision}" in undone for app in ("accounts", "cases"))
    assert f"The database stands at {RevisionGraph().heads[0].id}" in undone
    text = (tree.root / new[0].replace("/", "/migrations/")).read_text(encoding="utf-8")
    assert f"{revision}: Téléphone & " in text


def test_what_is_refused_writes_nothing(tree: Copied) -> None:
    before = tree.files()
    tree.add_to("accounts", "User.add_to_class('phone', _m.CharField())")
    said = tree.python(WRITE + "write_revision(message='Phone')", check=False).stderr
    assert "What do existing rows get in the new column user.phone?" in said
    assert "db_default" in said
    tree.add_to(
        "accounts",
        "User._meta.local_fields.remove(User._meta.get_field('phone'))",
        "User._meta.local_fields.remove(User._meta.get_field('locale'))",
        "User.add_to_class('language', _m.CharField(max_length=16, blank=True, default='', db_default=''))",
    )
    said = tree.python(WRITE + "write_revision(message='Language')", check=False).stderr
    assert "Was user.locale renamed to language, or dropped and another one added?" in said
    assert tree.files() == before


@pytest.mark.schema
def test_apps_that_depend_on_each_other_are_still_one_revision(tree: Copied) -> None:
    before = tree.files()
    tree.add_to(
        "accounts",
        "class Team(_m.Model):",
        "    favourite = _m.ForeignKey('cases.Board', _m.CASCADE, null=True, related_name='+')",
    )
    tree.add_to(
        "cases",
        "class Board(_m.Model):",
        "    team = _m.ForeignKey('accounts.Team', _m.CASCADE, null=True, related_name='+')",
    )
    tree.python(WRITE + "write_revision(message='Teams')")
    assert len(tree.files() - before) == 3
    tree.manage("makemigrations", "--check")
    tree.manage("db", "upgrade")
    tree.manage("db", "downgrade", "-1")


@pytest.mark.schema
def test_heads_in_different_apps_stop_the_work_until_they_are_joined(tree: Copied) -> None:
    tree.migration(
        "accounts", f"{number('accounts')}_aaaaaaaaaaaa_phone", after=(HEAD,), operations=a_field("user", "a")
    )
    tree.migration(
        "cases",
        f"{number('cases')}_cccccccccccc_phase",
        after=(HEAD, after("cases")),
        operations=a_field("case", "c"),
    )
    for refused in (("db", "upgrade"), ("db", "current", "--check-heads")):
        said = tree.manage(*refused, check=False)
        assert said.returncode == 1
        assert "python manage.py db merge -m" in said.stderr
    said = tree.python(WRITE + "write_revision(message='More')", check=False)
    assert "SeveralHeads" in said.stderr
    tree.add_to("accounts", "User.add_to_class('a', _m.CharField(null=True))")
    tree.add_to("cases", "Case.add_to_class('c', _m.CharField(null=True))")
    tree.python(WRITE + "print(write_merge(message='Join'))")
    tree.manage("makemigrations", "--check")
    assert len(tree.manage("db", "heads").stdout.splitlines()) == 1
    tree.manage("db", "upgrade")
    tree.manage("db", "current", "--check-heads")
    assert tree.manage("db", "history").stdout.splitlines()[0].startswith("cccccccccccc, aaaaaaaaaaaa -> ")


def _two_forks(tree: Copied) -> None:
    """Let two colleagues write after the same head in each of two apps."""
    for app, model in (("accounts", "user"), ("cases", "case")):
        for letter in ("a", "b"):
            tree.migration(
                app,
                f"{number(app)}_{app[0]}{letter * 11}_{letter}",
                after=(HEAD, after(app)),
                operations=a_field(model, f"{letter}_column"),
            )


def test_forks_inside_two_apps_are_joined_as_one_revision(tree: Copied) -> None:
    _two_forks(tree)
    assert "Conflicting migrations" in tree.manage("makemigrations", "--check", check=False).stderr
    before = tree.files()
    for app, model in (("accounts", "User"), ("cases", "Case")):
        tree.add_to(app, *(f"{model}.add_to_class('{n}_column', _m.CharField(null=True))" for n in "ab"))
    tree.python(WRITE + "write_merge(message='Join four')")
    new = sorted(tree.files() - before)
    assert [name.split("_")[0] for name in new] == [
        f"accounts/{number('accounts', 2)}",
        f"cases/{number('cases', 2)}",
    ]
    assert len({name.split("_")[1] for name in new}) == 1
    tree.manage("makemigrations", "--check")


@pytest.mark.schema
def test_a_joined_fork_is_applied_and_undone_as_one(tree: Copied) -> None:
    _two_forks(tree)
    tree.python(WRITE + "write_merge(message='Join four')")
    tree.manage("db", "upgrade")
    assert len(tree.manage("db", "current", "--check-heads").stdout.splitlines()) == 1
    tree.manage("db", "downgrade", "-1")
    assert len(tree.manage("db", "current").stdout.splitlines()) == 4


@pytest.mark.schema
def test_a_fork_that_a_head_already_stands_on_is_still_joined_in_its_app(tree: Copied) -> None:
    for letter in ("a", "b"):
        tree.migration(
            "accounts", f"{number('accounts')}_{letter * 12}_{letter}", after=(HEAD, after("accounts"))
        )
    names = [f"accounts.{number('accounts')}_{letter * 12}_{letter}" for letter in "ab"]
    tree.migration("cases", f"{number('cases')}_cccccccccccc_c", after=(*names, after("cases")))
    tree.python(WRITE + "write_merge(message='Join')")
    tree.manage("makemigrations", "--check")
    assert len(tree.manage("db", "heads").stdout.splitlines()) == 1


def test_branches_that_change_the_same_are_named_and_not_joined(tree: Copied) -> None:
    for app, letter in (("accounts", "a"), ("accounts", "b")):
        operations = a_field("user", "phone") if letter == "a" else a_field("User", "phone")
        name = f"{number(app)}_{letter * 12}_phone"
        tree.migration(app, name, after=(HEAD, after(app)), operations=operations)
    before = tree.files()
    said = tree.python(WRITE + "write_merge(message='Join')", check=False).stderr
    assert "The branches change the same: accounts.user.phone" in said
    assert f"accounts.{number('accounts')}_aaaaaaaaaaaa_phone" in said
    assert tree.files() == before


@pytest.mark.schema
def test_files_are_written_all_or_none(tree: Copied) -> None:
    before = tree.files()
    tree.add_to("accounts", "User.add_to_class('phone', _m.CharField(null=True))")
    tree.add_to("cases", "Case.add_to_class('phase', _m.CharField(null=True))")
    said = tree.python(
        WRITE + "from pathlib import Path\n"
        "rename = Path.rename\n"
        "def full(self, target):\n"
        "    if 'cases' in str(target): raise OSError(28, 'No space left on device', str(target))\n"
        "    return rename(self, target)\n"
        "Path.rename = full\n"
        "write_revision(message='Two files')",
        check=False,
    ).stderr
    assert "No space left on device. Nothing was written." in said
    assert tree.files() == before


@pytest.mark.schema
def test_no_changes_write_nothing_and_an_empty_revision_is_asked_for(tree: Copied) -> None:
    before = tree.files()
    done = tree.python(
        WRITE + "print(write_revision(message='Nothing'))\n"
        "print(write_revision(message='日本', empty=True, dry_run=True))\n"
        "print([p.name for p in write_revision(message='日本', empty=True, app='cases')])"
    )
    nothing, dry, named = done.stdout.splitlines()
    assert nothing == "[]"
    assert "PosixPath" in dry
    (written,) = tree.files() - before
    assert re.fullmatch(rf"cases/{number('cases')}_[0-9a-f]{{12}}\.py", written)
    assert written.split("/")[1] in named
    tree.manage("makemigrations", "--check")
    assert "日本" in (tree.root / written.replace("/", "/migrations/")).read_text(encoding="utf-8")


def test_nothing_to_join_and_unknown_apps_are_refused() -> None:
    with pytest.raises(NothingToJoin, match="nothing to join"):
        write_merge(message="Join")
    with pytest.raises(NothingToJoin):
        write_merge(message="Join", heads=RevisionGraph().order[-1:])
    with pytest.raises(UnknownApp, match="no app of the schema history"):
        write_revision(message="x", app="admin", empty=True)


@pytest.mark.parametrize(
    "message",
    ['"""', "\\", 'ends with "', "'", "a\nb", "{x} %s %(y)s", "é\x00", "\udcff z", "__import__('os')"],
)
def test_any_message_lands_in_the_file_as_text(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written: dict[Path, str] = {}
    monkeypatch.setattr("datamortem.revisions.writing._write_all_or_none", written.update)
    write_revision(message=message, empty=True)
    ((path, text),) = written.items()
    parsed = ast.parse(text)
    (migration,) = (node for node in parsed.body if isinstance(node, ast.ClassDef))
    values = {
        item.targets[0].id: item.value.value
        for item in migration.body
        if isinstance(item, ast.Assign)
        and isinstance(item.targets[0], ast.Name)
        and isinstance(item.value, ast.Constant)
    }
    assert values["title"] == _Draft(message).title
    assert ast.get_docstring(parsed) == f"{values['revision']!s}: {values['title']!s}"
    assert re.fullmatch(r"\d{4}_[0-9a-f]{12}(_[a-z0-9_]{1,40})?\.py", path.name)
    text.encode("utf-8")


def test_a_message_without_words_is_refused() -> None:
    for message in ("", "  \n", "\x00\u202e"):
        with pytest.raises(Exception, match="Say what the revision does"):
            write_revision(message=message, empty=True)


@pytest.mark.schema
def test_on_a_terminal_the_questions_are_asked(tree: Copied) -> None:
    before = tree.files()
    tree.add_to(
        "accounts",
        "User._meta.local_fields.remove(User._meta.get_field('locale'))",
        "User.add_to_class('language', _m.CharField(max_length=16, blank=True, default='', db_default=''))",
    )
    environment = {**tree.environment, "PYTHONPATH": str(tree.root)}
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(tree.root)
        command = [sys.executable, "manage.py", "db", "revision", "-m", "Call it language"]
        os.execve(sys.executable, command, environment)
    os.write(terminal, b"y\n")
    _, status = os.waitpid(pid, 0)
    assert status == 0
    (written,) = tree.files() - before
    assert "migrations.RenameField(" in (tree.root / written.replace("/", "/migrations/")).read_text()
