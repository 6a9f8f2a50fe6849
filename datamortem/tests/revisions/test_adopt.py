"""What adoption believes, what it refuses, and what its fingerprints tell apart; on both databases."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from datamortem.revisions import live
from datamortem.revisions.adoption import fingerprint
from datamortem.revisions.adoption.claim import Claim, ClaimUnknown, read_claim
from datamortem.revisions.errors import RevisionError
from datamortem.revisions.graph import RevisionGraph
from datamortem.tests.revisions.legacy import load
from datamortem.tests.revisions.operator import execute
from datamortem.tests.revisions.scratch import Scratch


def _claim(scratch: Scratch, override: str = "") -> Claim:
    connection = scratch.connection
    return read_claim(connection, RevisionGraph(connection), live.read(connection), override)


def _tips(scratch: Scratch, override: str = "") -> set[str]:
    return {r.id for r in RevisionGraph(scratch.connection).tips(_claim(scratch, override).revisions)}


def test_a_claim_is_read_inferred_or_overridden_and_said(scratch: Scratch) -> None:
    load(scratch, postgresql="alembic_c6e23e92af16", sqlite="ev1")
    assert _tips(scratch) == {"c6e23e92af16"}
    assert _claim(scratch).reasons == ["alembic_version says c6e23e92af16"]
    assert _tips(scratch, "base") == set()
    assert _tips(scratch, "0d8c") == {"0d8c359bb4f1"}
    assert _tips(scratch, "7b4f,2a6d94c6cc2b") == {"7b4f50a1e0e0", "2a6d94c6cc2b"}
    later = _claim(scratch, "408e")
    assert later.later == {"408e07f64f51", "0879ed3e0c27", "a1b2c3d4e5f6"}
    assert later.reasons == ["--from 408e says 408e07f64f51"]
    for unknown in ("feed", "7b4f,", "head,feed"):
        with pytest.raises(RevisionError):
            _claim(scratch, unknown)
    execute(scratch, "UPDATE alembic_version SET version_num = 'feedfeedfeed'")
    with pytest.raises(ClaimUnknown, match=r"'feedfeedfeed'.*Known: c6e23e92af16"):
        _claim(scratch)
    execute(scratch, "DELETE FROM alembic_version")
    assert _tips(scratch) == {"c6e23e92af16"}
    assert _claim(scratch).reasons[0] == "alembic_version is empty: inferred from the tables"
    execute(scratch, "DROP TABLE alembic_version")
    assert "users.email" in str(_claim(scratch).reasons)


def test_what_is_not_of_the_old_system_is_refused(scratch: Scratch) -> None:
    with pytest.raises(CommandError, match=r"no table of the old system.*manage\.py migrate"):
        call_command("adopt", "--yes", "--database", scratch.alias)
    call_command("migrate", "cases", "0001", database=scratch.alias, verbosity=0)
    with pytest.raises(CommandError, match="Migrations are recorded here already"):
        call_command("adopt", "--yes", "--database", scratch.alias)


def _digest(scratch: Scratch, rows: str, columns: str = "a text, b text") -> tuple[int, str]:
    execute(scratch, f"CREATE TABLE probe ({columns})", f"INSERT INTO probe VALUES {rows}")
    connection = scratch.connection
    with transaction.atomic(using=connection.alias), fingerprint.exact_text(connection):
        found = fingerprint.take(connection, live.read(connection, ["probe"])["probe"])
    execute(scratch, "DROP TABLE probe")
    return found.rows, found.digest


def test_a_fingerprint_tells_every_value_from_every_other(scratch: Scratch) -> None:
    different = [
        "(NULL, '')",
        "('', NULL)",
        "('', '')",
        "('NULL', '')",
        "('a,b', 'c')",
        "('a', 'b,c')",
        "('a\",\"b', 'c')",
        "('a', '(b)')",
        "('a', 'b ')",
        "('a', 'b')",
        "('A', 'b')",
        "('\u00e9', '')",
        "('e\u0301', '')",
        "('a', 'b'), ('a', 'b')",
    ]
    digests = [_digest(scratch, rows) for rows in different]
    assert len(set(digests)) == len(different)


def test_a_fingerprint_does_not_depend_on_the_order_of_rows(scratch: Scratch) -> None:
    one = _digest(scratch, "('a', 'b'), ('c', NULL), ('d', 'e')")
    assert one == _digest(scratch, "('d', 'e'), ('a', 'b'), ('c', NULL)")
    assert one != _digest(scratch, "('d', 'b'), ('a', 'e'), ('c', NULL)")


def test_numbers_count_to_their_last_bit(scratch: Scratch) -> None:
    kind = "double precision" if scratch.connection.vendor == "postgresql" else "float"
    near = [_digest(scratch, f"({n})", f"a {kind}") for n in ("0.1", "0.30000000000000004", "0.3", "1e300")]
    assert len(set(near)) == 4


def test_times_with_and_without_zone_are_one_instant(scratch: Scratch) -> None:
    connection = scratch.connection
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no types of times")
    execute(scratch, "SET timezone TO 'Europe/Paris'")
    rows = "('2025-10-26 00:30:00.000001'), ('2025-03-30 02:30'), ('infinity'), ('0044-03-15 BC'), (NULL)"
    naive = _digest(scratch, rows, "a timestamp")
    execute(scratch, "SET timezone TO 'UTC'")
    assert naive == _digest(scratch, rows, "a timestamptz")
    assert naive == _digest(scratch, rows, "a timestamp(6) with time zone")


def test_a_long_reading_in_steps_is_the_same_whatever_the_steps(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = "(-5, 'x'), (1, 'a'), (2, 'b'), (3, NULL), (7, 'd'), (2000000000, 'e')"
    execute(scratch, "CREATE TABLE probe (id integer PRIMARY KEY, a text)", f"INSERT INTO probe VALUES {ids}")
    connection = scratch.connection
    said: list[str] = []
    table = live.read(connection, ["probe"])["probe"]
    monkeypatch.setattr(fingerprint, "_ROWS", 2)  # SQLite digests that many together
    with transaction.atomic(using=connection.alias), fingerprint.exact_text(connection):
        whole = fingerprint.take(connection, table)
        for step in (2, 4, 6, 100):
            monkeypatch.setattr(fingerprint, "_STEP", step)
            assert fingerprint.in_steps(connection, table, said.append) == whole
    assert whole.last_id == 2_000_000_000
    assert said[2] == "  probe: 6 rows read (100 %)"
