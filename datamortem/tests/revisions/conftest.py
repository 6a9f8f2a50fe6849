"""What the tests of the schema history share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from datamortem.tests.revisions.scratch import Scratch, scratch_database


@pytest.fixture
def scratch(django_db_blocker: DjangoDbBlocker) -> Iterator[Scratch]:
    """An empty database of the test's own; more of them: `with scratch_database()`."""
    with django_db_blocker.unblock(), scratch_database() as made:
        yield made
