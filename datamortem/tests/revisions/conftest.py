"""What the tests of the schema history share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from datamortem.tests.revisions.operator import at, become
from datamortem.tests.revisions.scratch import Scratch, scratch_database


@pytest.fixture
def scratch(django_db_blocker: DjangoDbBlocker) -> Iterator[Scratch]:
    """An empty database of the test's own; more of them: `with scratch_database()`."""
    with django_db_blocker.unblock(), scratch_database() as made:
        yield made


@pytest.fixture(scope="module")
def documented_once(django_db_blocker: DjangoDbBlocker, django_db_setup: None) -> Iterator[Scratch]:
    with django_db_blocker.unblock(), at("0d8c359bb4f1") as made:
        yield made


@pytest.fixture
def documented(scratch: Scratch, documented_once: Scratch) -> Scratch:
    """A database at the head of the documented history, without rows."""
    become(scratch, documented_once)
    return scratch


@pytest.fixture(scope="module")
def newest_once(django_db_blocker: DjangoDbBlocker, django_db_setup: None) -> Iterator[Scratch]:
    with django_db_blocker.unblock(), at("head") as made:
        yield made


@pytest.fixture
def newest(scratch: Scratch, newest_once: Scratch) -> Scratch:
    """A database at the newest revision, without rows."""
    become(scratch, newest_once)
    return scratch
