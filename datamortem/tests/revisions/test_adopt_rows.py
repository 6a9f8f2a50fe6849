"""Rows that cannot be right stop an adoption, by name and with nothing changed; or are kept, and told."""

from __future__ import annotations

from io import StringIO
from typing import Any, Final

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from datamortem.tests.revisions import legacy
from datamortem.tests.revisions.old_sqlite import opened, redeclare, rows, values
from datamortem.tests.revisions.scratch import Scratch

OLD: Final = {"postgresql": "alembic_7b4f50a1e0e0", "sqlite": "ev3a"}
LATEST: Final = {"postgresql": "alembic_408e07f64f51", "sqlite": "ca_1250a46_0d8c"}


def prepare(scratch: Scratch, statements: list[str], samples: dict[str, str] = OLD) -> None:
    """Load a sample and let somebody have done this to it."""
    legacy.load(scratch, **samples)
    if scratch.connection.vendor == "sqlite":
        with opened(scratch) as file:
            for statement in statements:
                file.execute(statement)
        return
    with scratch.connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    scratch.connection.close()


def adopt(scratch: Scratch, *options: str) -> str:
    """Run the command in this process and return what it says."""
    out = StringIO()
    place = ["--backup-dir", str(scratch.home / "backups"), "--database", scratch.alias]
    call_command("adopt", *options, *place, stdout=out, stderr=out)
    return out.getvalue()


def everything(scratch: Scratch) -> Any:
    """Return schema and values, also where text cannot be decoded."""
    if scratch.connection.vendor == "postgresql":
        return legacy.everything(scratch.connection)
    return rows(scratch, "SELECT name, sql FROM sqlite_master ORDER BY name"), values(scratch)


def refused(scratch: Scratch) -> str:
    """Return the refusal; the plan says the same, and nothing is changed by either."""
    before = everything(scratch)
    plan = adopt(scratch)
    with pytest.raises(CommandError) as refusal:
        adopt(scratch, "--yes")
    assert everything(scratch) == before
    assert not (scratch.home / "backups").exists()
    assert "In the way" in plan
    for line in str(refusal.value).splitlines()[1:]:
        assert line.strip() in plan
    return str(refusal.value)


# In the way -------------------------------------------------------------------------------------

TOKENS: Final = ["UPDATE users SET email_verification_token = 'same' WHERE id IN (1, 2)"]
OWNERS: Final = {
    "sqlite": ["UPDATE cases SET owner_id = 99 WHERE id = 1"],
    "postgresql": [
        "ALTER TABLE cases DROP CONSTRAINT fk_cases_owner",
        "UPDATE cases SET owner_id = 99 WHERE id = 1",
    ],
}
TWICE: Final = {
    "sqlite": ["DROP INDEX ix_cases_case_id", "UPDATE cases SET case_id = 'INC-2025-0002' WHERE id = 5"],
    "postgresql": [
        "DROP INDEX ix_cases_case_id CASCADE",
        "UPDATE cases SET case_id = 'INC-2025-0002' WHERE id = 5",
    ],
}
NO_STATUS: Final = {
    "sqlite": [
        *redeclare("cases", "status VARCHAR NOT NULL", "status VARCHAR"),
        "UPDATE cases SET status = NULL WHERE id > 1",
    ],
    "postgresql": [
        "ALTER TABLE cases ALTER COLUMN status DROP NOT NULL",
        "UPDATE cases SET status = NULL WHERE id > 1",
    ],
}


def test_duplicate_verification_tokens_are_named_and_mended_by_what_is_said(scratch: Scratch) -> None:
    prepare(scratch, TOKENS)
    said = refused(scratch)
    assert "users: 2 rows: email_verification_token is the same as in another row" in said
    assert "id 1, email 'admin@example.com'" in said
    assert "id 2, email 'Élodie.Martin@Example.ORG'" in said
    assert "UPDATE users SET email_verification_token = … WHERE id = …" in said
    with scratch.connection.cursor() as cursor:
        cursor.execute("UPDATE users SET email_verification_token = NULL WHERE id = 2")
    scratch.connection.close()
    assert "The database is taken over" in adopt(scratch, "--yes")


def test_owners_that_do_not_exist_are_named(scratch: Scratch) -> None:
    prepare(scratch, OWNERS[scratch.connection.vendor])
    said = refused(scratch)
    assert "cases: 1 row: owner_id names a row of users that is not there" in said
    assert "id 1, case_id 'INC-2025-TEST-lateral', owner_id 99" in said
    assert "SET owner_id = NULL WHERE id = … (the case has no owner then)" in said


def test_what_must_be_unique_and_lost_its_index_is_looked_at(scratch: Scratch) -> None:
    prepare(scratch, TWICE[scratch.connection.vendor])
    said = refused(scratch)
    assert "cases: 2 rows: case_id is the same as in another row" in said
    assert "id 2, case_id 'INC-2025-0002'; id 5" in said


def test_nothing_where_something_must_be_is_named(scratch: Scratch) -> None:
    prepare(scratch, NO_STATUS[scratch.connection.vendor])
    said = refused(scratch)
    assert "cases: 2 rows: status is NULL, and must have a value" in said
    assert "UPDATE cases SET status = … WHERE id = …" in said


def test_only_ten_rows_are_named_and_all_are_counted(scratch: Scratch) -> None:
    numbers = ", ".join(
        f"({n}, 'u{n}@x', 'u{n}', 'x', 'analyst', {yes}, {no}, '2025-01-01 00:00:00', {no}, {no}, 'one')"
        for n in range(101, 126)
        for yes, no in [("true", "false") if scratch.connection.vendor == "postgresql" else ("1", "0")]
    )
    prepare(
        scratch,
        [
            "INSERT INTO users (id, email, username, hashed_password, role, is_active, is_superuser,"
            f" created_at_utc, email_verified, otp_enabled, email_verification_token) VALUES {numbers}"
        ],
    )
    said = refused(scratch)
    assert "users: 25 rows" in said
    assert "id 110, email 'u110@x'" in said
    assert "and 15 more" in said
    assert "id 111" not in said


def test_times_that_only_postgresql_can_hold_are_named(scratch: Scratch) -> None:
    if scratch.connection.vendor != "postgresql":
        pytest.skip("SQLite has no such times")
    prepare(
        scratch,
        [
            "UPDATE cases SET created_at_utc = 'infinity' WHERE id = 2",
            "UPDATE users SET created_at_utc = '0044-03-15 12:00:00 BC' WHERE id = 2",
            "UPDATE users SET created_at_utc = '10000-01-01' WHERE id = 7",
            "UPDATE users SET last_login_utc = '-infinity' WHERE id = 1",
        ],
    )
    said = refused(scratch)
    outside = "is a time outside of the years 1 to 9999"
    assert f"cases: 1 row: created_at_utc {outside}" in said
    assert f"users: 2 rows: created_at_utc {outside}" in said
    assert f"users: 1 row: last_login_utc {outside}" in said


ODD_ON_SQLITE: Final = [
    "users SET created_at_utc = '2025-13-45 00:00:00' WHERE id = 1",
    "users SET created_at_utc = '2025-02-30 10:00:00.000000' WHERE id = 7",
    "users SET last_login_utc = 'never' WHERE id = 1",
    "users SET last_login_utc = 1761450000 WHERE id = 2",
    "users SET last_login_utc = x'ff' WHERE id = 7",
    "users SET is_active = 2 WHERE id = 1",
    "users SET is_active = 'yes' WHERE id = 2",
    "users SET full_name = CAST(x'ff61' AS TEXT) WHERE id = 2",
    "users SET full_name = x'61' WHERE id = 7",
    "events SET score = 'high' WHERE id = 2",
    "events SET score = 1.5 WHERE id = 3",
]


def test_values_that_only_sqlite_can_hold_are_named(scratch: Scratch) -> None:
    if scratch.connection.vendor != "sqlite":
        pytest.skip("PostgreSQL refuses such values")
    prepare(scratch, [f"UPDATE {change}" for change in ODD_ON_SQLITE])
    said = refused(scratch)
    assert (
        "users: 2 rows: created_at_utc is no time that can be read (id 1, email 'admin@example.com'" in said
    )
    assert "users: 3 rows: last_login_utc is no time that can be read" in said
    assert "users: 2 rows: is_active is neither 0 nor 1" in said
    assert "users: 2 rows: full_name is no text in UTF-8" in said
    assert r"\\xffa" in said
    assert "events: 2 rows: score is no whole number (id 2: 'high'; id 3: '1.5')" in said


def test_rows_of_later_tables_that_lead_nowhere_stop_sqlite_as_well(scratch: Scratch) -> None:
    """Every later change of a table would fail: SQLite's editor checks all keys."""
    if scratch.connection.vendor != "sqlite":
        pytest.skip("PostgreSQL has always enforced them")
    prepare(scratch, ["UPDATE case_members SET user_id = 99"], LATEST)
    assert "case_members: 1 row: user_id names a row of users that is not there" in refused(scratch)


# Kept -------------------------------------------------------------------------------------------


def test_hashes_that_are_not_bcrypt_are_kept_and_told_and_let_nobody_in(scratch: Scratch) -> None:
    cut = "$2b$12$abcdefghijklmnopqrstuu"
    prepare(
        scratch,
        [
            "UPDATE users SET hashed_password = 'md5:5f4dcc3b5aa765d6' WHERE username = 'elodie'",
            f"UPDATE users SET hashed_password = '{cut}' WHERE username = 'viewer'",
        ],
    )
    plan = adopt(scratch)
    assert "users: 2 rows: the password hash is not one of bcrypt's" in plan
    assert "Élodie.Martin@Example.ORG" in plan
    assert "changepassword" in plan
    adopt(scratch, "--yes")
    call_command("migrate", database=scratch.alias, verbosity=0)
    users = {user.username: user for user in get_user_model().objects.using(scratch.alias)}
    assert users["elodie"].password == "md5:5f4dcc3b5aa765d6"
    assert users["viewer"].password == cut
    assert not users["elodie"].check_password("password")
    assert not users["viewer"].check_password("é" * 40 + "-longer-than-72-bytes")
    assert users["admin"].check_password("admin123")


def test_unknown_roles_and_empty_addresses_are_kept_and_told(scratch: Scratch) -> None:
    prepare(
        scratch,
        [
            "UPDATE users SET role = 'auditor' WHERE id = 2",
            "UPDATE users SET email = '' WHERE username = 'viewer'",
        ],
    )
    said = adopt(scratch)
    assert "users: 1 row: the role is none of this system's (id 2" in said
    assert "users: 1 row: the e-mail address is empty" in said
    adopt(scratch, "--yes")
    with scratch.connection.cursor() as cursor:
        cursor.execute("SELECT role, email FROM users ORDER BY id")
        assert [row[0] for row in cursor.fetchall()][1] == "auditor"


def test_nul_characters_are_kept_and_told(scratch: Scratch) -> None:
    if scratch.connection.vendor != "sqlite":
        pytest.skip("PostgreSQL holds none")
    prepare(scratch, ["UPDATE events SET message = 'a' || char(0) || 'b' WHERE id = 3"])
    assert r"events: 1 row: message holds a NUL character (id 3: 'a\x00b')" in adopt(scratch)
    adopt(scratch, "--yes")
    with opened(scratch) as file:
        assert file.execute("SELECT message FROM events WHERE id = 3").fetchall() == [("a\0b",)]


def test_times_that_django_reads_otherwise_than_the_old_system_wrote_them_are_kept(scratch: Scratch) -> None:
    if scratch.connection.vendor != "sqlite":
        pytest.skip("PostgreSQL prints times in one way")
    given = ["2025-03-30T02:30:00", "2025-03-30 02:30:00+02:00", "2025-03-30 02:30", "2025-03-30"]
    prepare(
        scratch, [f"UPDATE events SET created_at_utc = '{t}' WHERE id = {n}" for n, t in enumerate(given, 1)]
    )
    adopt(scratch, "--yes")
    with opened(scratch) as file:
        assert [
            row[0] for row in file.execute("SELECT created_at_utc FROM events ORDER BY id LIMIT 4")
        ] == given


def test_what_later_tables_do_when_a_user_is_deleted_is_told(scratch: Scratch) -> None:
    prepare(scratch, [], LATEST)
    said = adopt(scratch)
    assert "case_members: table of a later version; by user_id its rows vanish with the row of users" in said
