"""Databases of the old system on PostgreSQL are taken over at any of their states, value by value the same."""

from __future__ import annotations

from typing import Final

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from datamortem.tests.revisions import legacy
from datamortem.tests.revisions.old_postgresql import (
    OLD_TABLES,
    adopt,
    assert_new_rows_get_ids_above,
    assert_passwords_are_those_of_before,
    changed,
    faults,
    load,
    migrate,
    rows,
    values,
)
from datamortem.tests.revisions.operator import standing
from datamortem.tests.revisions.scratch import Scratch

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="these are dumps of PostgreSQL")

#: Documented revisions that a sample has, where its name does not say it.
CLAIMS: Final = {
    "prealembic_createall_4466fff": set(),
    "alembic_408e07f64f51": {"0d8c359bb4f1"},
    "createall_1250a46_no_alembic_version": {"0d8c359bb4f1"},
    "alembic_7b4f50a1e0e0+2a6d94c6cc2b": {"7b4f50a1e0e0", "2a6d94c6cc2b"},
}
#: These show most; the others take their time in `make test-schema`.
QUICK: Final = ("alembic_7b4f50a1e0e0+2a6d94c6cc2b", "createall_1250a46_no_alembic_version")
SAMPLES: Final = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.schema])
    for name in legacy.names("postgresql")
]


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_is_taken_over_and_walks_the_history_with_every_value(scratch: Scratch, sample: str) -> None:
    load(scratch, sample)
    before = values(scratch)

    adopt(scratch, "--yes")
    assert faults(scratch) == []
    assert changed(before, values(scratch)) == []
    assert rows(scratch, "SELECT version_num FROM alembic_version") == [("adopted-by-django",)]
    assert standing(scratch) == CLAIMS.get(sample, {sample.rsplit("_", 1)[-1]})

    migrate(scratch)
    assert faults(scratch) == []
    assert changed(before, values(scratch)) == []
    assert_passwords_are_those_of_before(scratch)
    assert_new_rows_get_ids_above(scratch, before)

    before = values(scratch)
    call_command("db", "downgrade", "-3", "--yes", database=scratch.alias, verbosity=0)
    migrate(scratch)
    assert faults(scratch) == []
    known = {table: columns for table, columns in before.items() if table in OLD_TABLES}
    assert changed(known, values(scratch)) == []

    with pytest.raises(CommandError, match="taken over already"):
        adopt(scratch, "--yes")
