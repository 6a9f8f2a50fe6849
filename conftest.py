"""Every test works in its own directories, and hashes passwords cheaply."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
from django.db import connections
from pytest_django import Settings

# Time limits of one example fail on a busy machine; tests that are about time measure it.
hypothesis.settings.register_profile(
    "suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("suite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests of the schema to `make test-schema`, or to whoever names one (`-m`, `::`)."""
    if "schema" in config.option.markexpr or any("::" in argument for argument in config.args):
        return
    long = [item for item in items if item.get_closest_marker("schema")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture(autouse=True)
def _own_directories(tmp_path: Path, settings: Settings) -> None:
    """Give the test its own evidence, index, work and backup directories."""
    for name in ("EVIDENCE_ROOT", "INDEX_ROOT", "WORK_ROOT", "DEMO_ROOT", "BACKUP_ROOT"):
        setattr(settings, name, tmp_path / name.lower())
    settings.EVIDENCE_RESERVE = 0
    settings.WHITENOISE_AUTOREFRESH = True  # else every client of a test looks for all static files first
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.MD5PasswordHasher",
        *settings.PASSWORD_HASHERS,
    ]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep SQLite's test database in a file: workers are processes, and one in memory has no queue."""
    if connections["default"].vendor == "sqlite":
        place = tmp_path_factory.mktemp("database") / "test.sqlite3"
        connections["default"].settings_dict["TEST"]["NAME"] = str(place)
