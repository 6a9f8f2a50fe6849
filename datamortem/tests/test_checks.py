"""Unsafe combinations do not start, each with an id and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.db import connection
from pytest_django import Settings

SAFE_KEY = "rQ3v8Zk1xW7yT5uB2nM9cL4pD6gH0jS8fA3eK7wV1zX5qC2t"[:48] + "9Zz"


def found(*, deploy: bool = False) -> set[str]:
    return {
        message.id or ""
        for message in run_checks(include_deployment_checks=deploy)
        if (message.id or "").startswith("datamortem.")
    }


@pytest.fixture
def public(settings: Settings) -> Settings:
    """A site that is safe in front of others."""
    settings.DEBUG = False
    settings.SECRET_KEY = SAFE_KEY
    settings.ALLOWED_HOSTS = ["dm.example"]
    settings.PUBLIC_URL = "https://dm.example"
    return settings


def test_the_laptop_and_a_well_set_public_site_start(public: Settings) -> None:
    assert found() == set()
    public.ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
    public.PUBLIC_URL = "http://localhost:8000"
    public.DEBUG = True
    assert found() == set()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DEBUG", True, "datamortem.E001"),
        ("SECRET_KEY", "x" * 60, "datamortem.E002"),
        ("SECRET_KEY", "django-insecure-" + SAFE_KEY, "datamortem.E002"),
        ("SECRET_KEY", "short", "datamortem.E002"),
        ("ALLOWED_HOSTS", ["*"], "datamortem.E003"),
        ("PUBLIC_URL", "http://dm.example", "datamortem.E004"),
    ],
)
def test_what_is_unsafe_in_public_is_refused_with_a_remedy(
    public: Settings, name: str, value: object, expected: str
) -> None:
    setattr(public, name, value)
    assert found() == {expected}
    (message,) = [m for m in run_checks() if m.id == expected]
    assert message.hint


@pytest.mark.parametrize(
    ("name", "expected"), [("HOME", "E005"), ("EVIDENCE_ROOT", "E006"), ("INDEX_ROOT", "E007")]
)
def test_directories_that_others_can_read_are_refused(
    settings: Settings, tmp_path: Path, name: str, expected: str
) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    setattr(settings, name, folder)
    assert found() == {f"datamortem.{expected}"}
    folder.chmod(0o750)
    assert found() == set()


def test_evidence_among_static_files_is_refused(settings: Settings) -> None:
    settings.EVIDENCE_ROOT = settings.STATIC_ROOT / "evidence"
    assert found() == {"datamortem.E008"}


def test_a_public_site_on_sqlite_is_told(public: Settings) -> None:
    expected = {"datamortem.W001"} if connection.vendor == "sqlite" else set()
    assert found(deploy=True) == expected


@pytest.mark.parametrize(
    ("url", "endpoint", "is_told"),
    [
        ("s3://bucket/evidence", "http://s3.example:9000", True),
        ("s3://bucket/evidence?endpoint=http://s3.example", "https://elsewhere.example", True),
        ("s3://bucket/evidence", "https://s3.example", False),
        ("s3://bucket/evidence", "http://127.0.0.1:9000", False),
        ("s3://bucket/evidence", "", False),
        ("/srv/evidence", "http://s3.example:9000", False),
    ],
)
def test_evidence_that_travels_in_clear_is_told(
    settings: Settings, url: str, endpoint: str, is_told: bool
) -> None:
    settings.EVIDENCE_URL, settings.EVIDENCE_S3_ENDPOINT = url, endpoint
    assert ("datamortem.W002" in found(deploy=True)) == is_told
