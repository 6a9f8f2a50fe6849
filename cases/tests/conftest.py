"""What tests of running need beside their own directories."""

from __future__ import annotations

import pytest
from pytest_django import Settings


@pytest.fixture
def hostile_parsers(settings: Settings) -> Settings:
    """Read by the parsers of `cases.tests.hostile`, under leases that lapse soon."""
    settings.PARSERS_MODULE = "cases.tests.hostile"
    settings.RUN_LEASE = 2
    return settings
