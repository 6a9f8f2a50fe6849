"""Settings refuse values that make no sense, and an installation keeps its own key."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def manage(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "DATAMORTEM_HOME": str(home), **variables}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SEARCH_URL", "solr://x"),
        ("TASKS", "cron"),
        ("TASKS", "redis://"),
        ("PUBLIC_URL", "datamortem.example"),
        ("DATABASE_URL", "mysql://u:p@h/n"),
        ("DEBUG", "perhaps"),
        ("RUN_LEASE", "soon"),
        ("RUN_LEASE", "0"),
        ("RUN_MEMORY", "4"),
        ("EVIDENCE_RESERVE", "-1"),
        ("EVIDENCE_URL", "ftp://host/evidence"),
        ("EVIDENCE_URL", "s3://"),
        ("EVIDENCE_URL", "s3://key:secret@bucket/evidence"),
        ("EVIDENCE_S3_ENDPOINT", "s3.example"),
        ("EVIDENCE_S3_ACCESS_KEY", "half a pair"),
        ("EVIDENCE_S3_CA", "/nonexistent.pem"),
        ("SECOND_FACTOR_ROLES", "admins"),
        ("REGISTRATION", "yes"),
        ("NUM_PROXIES", "-1"),
        ("FIELD_KEYS", "short"),
        ("SIGNING_KEYS", "short"),
        ("QUOTA_RUNS", "many"),
        ("LOG_FORMAT", "xml"),
        ("METRICS_TOKEN", "short"),
    ],
)
def test_nonsense_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    done = manage(tmp_path, "check", **{name: value})
    assert done.returncode != 0
    assert name in done.stderr or value in done.stderr


def test_the_first_start_makes_a_private_key_and_later_starts_keep_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert manage(home, "check").returncode == 0
    key = home / "secret.key"
    first = key.read_text()
    assert len(first) >= 64
    assert key.stat().st_mode & 0o077 == 0
    assert home.stat().st_mode & 0o077 == 0
    assert manage(home, "check").returncode == 0
    assert key.read_text() == first


def test_the_web_process_refuses_what_the_checks_refuse(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import datamortem.wsgi"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={
            "PATH": os.environ["PATH"],
            "DATAMORTEM_HOME": str(tmp_path / "home"),
            "DEBUG": "true",
            "ALLOWED_HOSTS": "dm.example",
            "PUBLIC_URL": "https://dm.example",
        },
    )
    assert done.returncode != 0
    assert "datamortem.E001" in done.stderr


def test_every_variable_has_its_line_in_the_example_environment() -> None:
    code = (ROOT / "datamortem/settings.py").read_text()
    read = set(re.findall(r'(?:env\.\w+|_\w+)\(\s*"([A-Z0-9_]+)"', code))
    shown = set(re.findall(r"^#?([A-Z0-9_]+)=", (ROOT / "docker/env.example").read_text(), re.MULTILINE))
    of_compose = set(re.findall(r"\$\{([A-Z0-9_]+)", (ROOT / "docker/compose.yml").read_text()))
    assert read
    assert read | of_compose == shown


def test_mail_goes_to_the_folder_that_was_named(tmp_path: Path) -> None:
    show = "from django.conf import settings; print(settings.EMAIL_FILE_PATH)"
    done = manage(tmp_path, "shell", "-v0", "-c", show, EMAIL_URL=f"filemail://{tmp_path}/mail")
    assert done.stdout.strip() == f"{tmp_path}/mail"


def test_several_field_keys_are_read_and_none_is_made(tmp_path: Path) -> None:
    keys = "A" * 43 + "=," + "B" * 42 + "A="
    show = "from django.conf import settings; print(len(settings.FIELD_KEYS))"
    done = manage(tmp_path, "shell", "-v0", "-c", show, FIELD_KEYS=keys)
    assert done.stdout.strip() == "2"
    assert not (tmp_path / "field.key").exists()
