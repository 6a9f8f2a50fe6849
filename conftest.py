"""Every test works in its own directories, and hashes passwords cheaply."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings


@pytest.fixture(autouse=True)
def _own_directories(tmp_path: Path, settings: Settings) -> None:
    """Give the test its own evidence, index and work directories."""
    for name in ("EVIDENCE_ROOT", "INDEX_ROOT", "WORK_ROOT", "DEMO_ROOT"):
        setattr(settings, name, tmp_path / name.lower())
    settings.EVIDENCE_RESERVE = 0
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.MD5PasswordHasher",
        *settings.PASSWORD_HASHERS,
    ]
