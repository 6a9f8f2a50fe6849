"""A copy of the code, for tests that write migrations or run what changes files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

_START = "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'datamortem.settings'; django.setup()"
_PARTS = ("accounts", "cases", "datamortem", "scripts_marketplace")


@dataclass(frozen=True)
class Copied:
    """The tree, and the environment its processes run in."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def add_to(self, app: str, *lines: str) -> None:
        """Write lines below the models of an app."""
        module = self.root / app / "models"
        path = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
        with path.open("a", encoding="utf-8") as file:
            file.write("\n".join(["", "from django.db import models as _m", *lines, ""]))

    def migration(self, app: str, name: str, *, after: tuple[str, ...], operations: str = "") -> None:
        """Write a migration as a colleague would; `after` as app.name."""
        dependencies = ", ".join(repr(tuple(node.split("."))) for node in after)
        (self.root / app / "migrations" / f"{name}.py").write_text(
            "from django.db import migrations, models\n\n\n"
            "class Migration(migrations.Migration):\n"
            f'    revision = "{name[5:17]}"\n    title = "{name[18:]}"\n'
            f"    dependencies = [{dependencies}]\n    operations = [{operations}]\n",
            encoding="utf-8",
        )

    def files(self) -> set[str]:
        """Return the names of all migrations, as app/name."""
        return {
            f"{path.parts[-3]}/{path.name}" for path in self.root.glob("*/migrations/*") if path.is_file()
        }

    def manage(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run this tree's manage.py."""
        return self.run("manage.py", *args, check=check)

    def python(self, code: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Python with this tree set up."""
        start = (
            "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'datamortem.settings'; django.setup()"
        )
        return self.run("-c", f"{start}\n{code}", check=check)

    def run(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Python in this tree."""
        done = subprocess.run(
            [sys.executable, *args],
            cwd=self.root,
            env={**self.environment, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{args}\n{done.stdout}\n{done.stderr}"
        return done


def copy_of_the_code(place: Path, environment: dict[str, str]) -> Copied:
    """Copy the code, without its tests, to a directory."""
    base = Path(settings.BASE_DIR)
    for part in _PARTS:
        shutil.copytree(
            base / part, place / part, ignore=shutil.ignore_patterns("__pycache__", "tests", "*.part")
        )
    for name in ("manage.py", "pyproject.toml"):
        shutil.copy(base / name, place / name)
    return Copied(place, environment)
