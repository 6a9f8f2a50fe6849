"""`.ci/audit` tells what the package index says of our dependencies, and when it says nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "audit"
FLAW = {"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": [], "description": "…"}
SOUND: dict[str, Any] = {"name": "sound", "version": "1.0", "vulns": []}
FLAWED: dict[str, Any] = {"name": "flawed", "version": "1.0", "vulns": [FLAW]}
SILENT: dict[str, Any] = {"name": "silent", "skip_reason": "Dependency not found on PyPI"}


def _audit(
    tmp_path: Path, *packages: dict[str, Any], fails: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run the script with a pip-audit that gives this answer."""
    said = json.dumps({"dependencies": packages, "fixes": []})
    write = "raise ConnectionError('no route to host')" if fails else f"print({said!r})"
    (tmp_path / "pip_audit.py").write_text(f"import sys\nassert '--require-hashes' in sys.argv\n{write}\n")
    return subprocess.run(
        [sys.executable, SCRIPT],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("packages", "code", "said", "warned"),
    [
        ([SOUND], 0, "1 packages audited, 0 vulnerabilities known.", ""),
        ([SOUND, FLAWED], 1, "flawed 1.0: PYSEC-1, mended in 1.1", ""),
        ([SOUND, SILENT], 2, "1 packages audited", "does not answer for silent"),
        ([FLAWED, SILENT], 1, "PYSEC-1", "does not answer for silent"),
    ],
)
def test_it_ends_by_what_is_known(
    tmp_path: Path, packages: list[dict[str, Any]], code: int, said: str, warned: str
) -> None:
    done = _audit(tmp_path, *packages)
    assert (done.returncode, said in done.stdout, warned in done.stderr) == (code, True, True)


def test_an_index_that_is_out_of_reach_is_said_and_is_no_success(tmp_path: Path) -> None:
    done = _audit(tmp_path, fails=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Not audited: ConnectionError: no route to host\n"
