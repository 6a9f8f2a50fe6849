"""Every test works in directories and indices of its own, and hashes passwords cheaply."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

import hypothesis
import pytest
from django.db import connections
from pytest_django import Settings

from cases.index import opensearch_names

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


#: The search server that tests use, if any (`make test-services` starts one).
_SERVER: Final = os.environ.get("TEST_SEARCH_URL", "").rstrip("/")


def _clear(namespaces: list[str]) -> None:
    """Remove the indices of some namespaces from the server, each by its name."""
    patterns = ",".join(sorted({opensearch_names.pattern(namespace) for namespace in namespaces}))
    if not patterns:
        return
    with urlopen(f"{_SERVER}/{patterns}/_alias", timeout=60) as answer:
        names = sorted(json.load(answer))
    for start in range(0, len(names), 50):  # a line of a request holds 4 kB
        some = ",".join(names[start : start + 50])
        urlopen(Request(f"{_SERVER}/{some}?ignore_unavailable=true", method="DELETE"), timeout=60).close()


@pytest.fixture(scope="session", autouse=True)
def _namespaces() -> Iterator[list[str]]:
    """Note under which names this process writes to the server; what is left at the end goes."""
    noted: list[str] = []
    if not _SERVER:
        yield noted
        return
    make = opensearch_names.Names.__init__

    def note(self: opensearch_names.Names, namespace: str) -> None:
        noted.append(namespace)
        make(self, namespace)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opensearch_names.Names, "__init__", note)
        yield noted
    _clear(noted)


@pytest.fixture(autouse=True)
def _own_indices(_namespaces: list[str]) -> Iterator[None]:
    """Remove what the test made on the server; what its module made before stays for the module."""
    before = len(_namespaces)
    yield
    _clear(_namespaces[before:])
    del _namespaces[before:]


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


@pytest.fixture
def embedded(settings: Settings) -> None:
    """Use the embedded index whatever the suite runs on: the test breaks its directory, or counts on it."""
    settings.SEARCH_URL = "embedded:"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep SQLite's test database in a file: workers are processes, and one in memory has no queue."""
    if connections["default"].vendor == "sqlite":
        place = tmp_path_factory.mktemp("database") / "test.sqlite3"
        connections["default"].settings_dict["TEST"]["NAME"] = str(place)
