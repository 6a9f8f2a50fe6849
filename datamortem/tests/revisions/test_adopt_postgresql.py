"""Databases of the old system on PostgreSQL are taken over at any of their states, each value the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from datamortem.revisions import executor
from datamortem.tests.revisions import legacy
from datamortem.tests.revisions.old_postgresql import (
    OLD_TABLES,
    adopt,
    assert_new_rows_get_ids_above,
    assert_passwords_are_those_of_before,
    changed,
    dump,
    faults,
    load,
    migrate,
    opened,
    rows,
    values,
)
from datamortem.tests.revisions.operator import standing
from datamortem.tests.revisions.processes import Process
from datamortem.tests.revisions.scratch import Scratch
from datamortem.tests.revisions.sessions import reader

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="these are dumps of PostgreSQL")

HEAD: Final = "alembic_0d8c359bb4f1"
#: Documented revisions that a sample has, where its name does not say it.
CLAIMS: Final = {
    "prealembic_createall_4466fff": set(),
    "alembic_408e07f64f51": {"0d8c359bb4f1"},
    "createall_1250a46_no_alembic_version": {"0d8c359bb4f1"},
    "alembic_7b4f50a1e0e0+2a6d94c6cc2b": {"7b4f50a1e0e0", "2a6d94c6cc2b"},
}
#: It shows most; the others take their time in `make test-schema`.
QUICK_SAMPLES: Final = ("alembic_7b4f50a1e0e0+2a6d94c6cc2b",)


@pytest.mark.parametrize(
    "sample",
    [
        pytest.param(name, marks=[] if name in QUICK_SAMPLES else [pytest.mark.schema])
        for name in legacy.names("postgresql")
    ],
)
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


# Other states -----------------------------------------------------------------------------------

#: What was done to a sample, and what it claims then (None: what the sample does).
STATES: Final[dict[str, tuple[str, list[str], list[str] | None]]] = {
    "stamped with the head, never migrated": ("", [], ["0d8c359bb4f1"]),
    "stamped with the head, old tables": ("alembic_c6e23e92af16", [], ["0d8c359bb4f1"]),
    "columns dropped under the head": (
        HEAD,
        [
            "ALTER TABLE users DROP COLUMN otp_secret, DROP COLUMN email_verified",
            "ALTER TABLE custom_scripts DROP COLUMN requirements",
            "ALTER TABLE cases DROP COLUMN hedgedoc_slug",
        ],
        None,
    ),
    "unique dropped under the head": (
        HEAD,
        [
            "DROP INDEX ix_users_email",
            "ALTER TABLE cases DROP CONSTRAINT uq_cases_hedgedoc_slug",
            "ALTER TABLE task_run DROP CONSTRAINT task_run_evidence_uid_fkey",
            "DROP INDEX ix_evidence_evidence_uid",
            "CREATE INDEX ix_evidence_evidence_uid ON evidence (evidence_uid)",
        ],
        None,
    ),
    "foreign keys dropped, and not validated": (
        HEAD,
        [
            "ALTER TABLE cases DROP CONSTRAINT fk_cases_owner",
            "ALTER TABLE events DROP CONSTRAINT events_case_id_fkey",
            "ALTER TABLE evidence DROP CONSTRAINT evidence_case_id_fkey",
            "ALTER TABLE evidence ADD CONSTRAINT kept FOREIGN KEY (case_id) REFERENCES cases (case_id)"
            " ON DELETE CASCADE NOT VALID",
        ],
        None,
    ),
    "sequences lag, are gone, renamed, or nobody's": (
        HEAD,
        [
            "SELECT setval('cases_id_seq', 1)",
            "ALTER TABLE events ALTER COLUMN id DROP DEFAULT",
            "DROP SEQUENCE events_id_seq",
            """ALTER SEQUENCE users_id_seq RENAME TO "it's ""odd"" é" """,
            "ALTER SEQUENCE evidence_id_seq OWNED BY NONE",
            "SELECT setval('task_run_id_seq', 5000)",
            "UPDATE events SET id = 2000000000 WHERE id = (SELECT max(id) FROM events)",
        ],
        None,
    ),
    "everything has another name": (
        HEAD,
        [
            'ALTER TABLE cases RENAME CONSTRAINT fk_cases_owner TO "x y"',
            'ALTER INDEX ix_users_email RENAME TO "Ünïque ""1"""',
            "ALTER INDEX users_pkey RENAME TO cases_case_id_key",
            "ALTER INDEX ix_events_case_id RENAME TO events_case_id_5b5df543_like",
            "ALTER TABLE evidence RENAME CONSTRAINT evidence_case_id_fkey TO ix_cases_case_id",
        ],
        None,
    ),
    "other schemas with tables of the same names": (
        HEAD,
        [
            "CREATE SCHEMA other",
            "CREATE TABLE other.users (id serial PRIMARY KEY, at timestamp, hashed_password text)",
            "INSERT INTO other.users (at, hashed_password) VALUES (now(), '$2b$12$abc')",
            "CREATE TABLE other.events (LIKE events INCLUDING ALL)",
            "CREATE TABLE other.alembic_version (version_num varchar(32))",
            "INSERT INTO other.alembic_version VALUES ('nothing')",
        ],
        None,
    ),
    "triggers that write": (
        HEAD,
        [
            "CREATE TABLE audit (id serial PRIMARY KEY, what text, at timestamptz DEFAULT now())",
            "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " INSERT INTO audit (what) VALUES (tg_op); NEW.full_name := 'touched'; RETURN NEW; END $$",
            'CREATE TRIGGER "it\'s ""noted""" BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION noted()',
            "CREATE TRIGGER always BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION noted()",
            "ALTER TABLE users ENABLE ALWAYS TRIGGER always",
            "CREATE TRIGGER never BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION noted()",
            "ALTER TABLE users DISABLE TRIGGER never",
        ],
        None,
    ),
    "tables and columns of somebody else": (
        "alembic_408e07f64f51",
        [
            'CREATE TABLE "My ""odd"" one" (id interval PRIMARY KEY, "a b" timestamptz[], c jsonb, d bytea,'
            " e float, f xml, owner integer REFERENCES users (id), g timestamp(3) with time zone)",
            """INSERT INTO "My ""odd"" one" VALUES ('1 day 02:03', ARRAY[now(), NULL], '{"a": [1, null]}',"""
            r" '\x00ff', 0.1 + 0.2, '<a>b</a>', 1, now()),"
            " ('P1Y', NULL, 'null', '', 'NaN', NULL, NULL, NULL)",
            "CREATE TABLE no_key (a text, b text)",
            "INSERT INTO no_key VALUES ('a,b', NULL), ('', ''), (NULL, 'NULL'), ('(x,\"y\")', E'\\n')",
            "CREATE TABLE parted (id integer, part text) PARTITION BY LIST (part)",
            "CREATE TABLE parted_a PARTITION OF parted FOR VALUES IN ('a')",
            "INSERT INTO parted VALUES (1, 'a')",
            "ALTER TABLE events ADD COLUMN seen timestamp DEFAULT '2025-10-26 02:30'",
            "ALTER TABLE users ADD COLUMN shoe numeric(4,1) DEFAULT 42.5",
            "CREATE VIEW names AS SELECT username FROM users",
            "CREATE MATERIALIZED VIEW many AS SELECT count(*) FROM events",
        ],
        None,
    ),
    "lengths, defaults, comments and checks": (
        HEAD,
        [
            "ALTER TABLE users ALTER COLUMN email TYPE varchar(255), ALTER COLUMN full_name TYPE text",
            "ALTER TABLE cases ALTER COLUMN status SET DEFAULT 'open'",
            "ALTER TABLE events ADD CONSTRAINT positive CHECK (score >= 0 OR score IS NULL)",
            "ALTER TABLE cases ALTER COLUMN status DROP NOT NULL",
            "COMMENT ON TABLE cases IS 'ours'",
            "ALTER TABLE cases ENABLE ROW LEVEL SECURITY",
        ],
        None,
    ),
    "an index by hand, one broken, indexes gone": (
        HEAD,
        [
            "CREATE INDEX by_hand ON events (source, id DESC) WHERE score > 1",
            "CREATE INDEX by_time ON events (created_at_utc)",
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_events_case_id'::regclass",
            "DROP INDEX ix_evidence_case_id",
        ],
        None,
    ),
    "an empty claim": ("alembic_7c6ac304c575", [], []),
    "a later claim": ("createall_1250a46_no_alembic_version", [], ["431f727a1611"]),
    "both later heads": ("alembic_408e07f64f51", [], ["0879ed3e0c27", "a1b2c3d4e5f6"]),
    "a claim that is too old": (HEAD, [], ["c6e23e92af16"]),
}
QUICK_STATES: Final = (
    "sequences lag, are gone, renamed, or nobody's",
    "triggers that write",
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK_STATES else [pytest.mark.schema]) for name in STATES],
)
def test_a_state_is_completed_with_every_value(scratch: Scratch, name: str) -> None:
    sample, statements, claims = STATES[name]
    load(scratch, sample, statements, claims)
    before = values(scratch)
    triggers = rows(scratch, _TRIGGERS)
    adopt(scratch, "--yes")
    # A column of a later documented revision is unknown until the upgrade.
    assert [fault for fault in faults(scratch) if "unknown column" not in fault] == []
    assert changed(before, values(scratch)) == []
    assert rows(scratch, _TRIGGERS) == triggers
    migrate(scratch)
    assert faults(scratch) == []
    assert changed(before, values(scratch)) == []
    assert_new_rows_get_ids_above(scratch, before)


_TRIGGERS: Final = "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"


# In the way, and in use ---------------------------------------------------------------------------

OBSTACLES: Final = {
    "a view of a time": (
        [
            "CREATE VIEW \"late's\" AS SELECT case_id FROM cases WHERE created_at_utc > '2026-01-01'",
        ],
        r"rule _RETURN on view \"late's\" reads a column whose type changes \(created_at_utc\)",
    ),
    "a trigger of a time": (
        [
            "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
            "CREATE TRIGGER old_ones AFTER UPDATE ON events FOR EACH ROW"
            " WHEN (NEW.created_at_utc < '2020-01-01') EXECUTE FUNCTION nothing()",
        ],
        "trigger old_ones on table events reads a column",
    ),
    "an index that would depend on the zone": (
        ["CREATE INDEX by_day ON events (date(created_at_utc))"],
        "must be marked IMMUTABLE",
    ),
    "tokens that are not unique": (
        ["UPDATE users SET email_verification_token = 'same'"],
        r"users: 3 rows: email_verification_token is the same as in another row.*id 1.*id 2.*id 7",
    ),
    "orphans": (
        [
            "ALTER TABLE cases DROP CONSTRAINT fk_cases_owner",
            "UPDATE cases SET owner_id = 99 WHERE id = 1",
        ],
        "cases: 1 row: owner_id names a row of users that is not there",
    ),
    "an endless time": (["UPDATE cases SET created_at_utc = 'infinity' WHERE id = 1"], "years 1 to 9999"),
    "a column of another type": (
        ["ALTER TABLE events ALTER COLUMN score TYPE text"],
        "score is text, expected integer",
    ),
    "a revision nobody knows": (["UPDATE alembic_version SET version_num = 'abc123'"], "names 'abc123'"),
    "an adoption that was undone by hand": (
        ["CREATE TABLE alembic_version_before_adoption (version_num text, finished_at_utc timestamptz)"],
        "taken over once",
    ),
}
QUICK_OBSTACLES: Final = ("a view of a time", "a column of another type")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK_OBSTACLES else [pytest.mark.schema]) for name in OBSTACLES],
)
def test_what_stands_in_the_way_is_named_and_nothing_is_changed(scratch: Scratch, name: str) -> None:
    statements, message = OBSTACLES[name]
    load(scratch, HEAD, statements)
    before = legacy.everything(scratch.connection)
    with pytest.raises(CommandError, match=f"(?s){message}"):
        adopt(scratch, "--yes")
    assert legacy.everything(scratch.connection) == before


def test_the_plan_changes_nothing_and_says_what_would_be_done(scratch: Scratch) -> None:
    load(scratch, "alembic_408e07f64f51", ["ALTER TABLE users DROP COLUMN otp_secret"])
    before = dump(scratch)
    plan = adopt(scratch)
    assert dump(scratch) == before
    for said in (
        "alembic_version says 408e07f64f51",
        "taken as: 0d8c359bb4f1",
        "cases: 3 rows",
        "users: column otp_secret is missing",
        "accounts.0002_7b4f50a1e0e0_user_security_fields (7b4f50a1e0e0): complete "
        "unique users.email_verification_token, column users.otp_secret, then record",
        "cases.0006_0d8c359bb4f1_sync (0d8c359bb4f1): record",
        "cases: times without time zone, read as UTC: created_at_utc (2 statements)",
        "unknown column",
        "table case_members, unknown here",
        "for about 2 s",
        "python manage.py adopt --yes",
    ):
        assert said in plan, plan


def test_whoever_uses_a_table_is_named_and_a_second_try_works(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "ATTEMPTS", 2)
    load(scratch, HEAD)
    before = legacy.everything(scratch.connection)
    with (
        reader(scratch, "events", name="an old container"),
        pytest.raises(CommandError, match=r"nothing was changed.*an old container"),
    ):
        adopt(scratch, "--yes")
    assert legacy.everything(scratch.connection) == before
    adopt(scratch, "--yes")
    assert faults(scratch) == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("alembic_8f6e0f2be8d2"),
        pytest.param("createall_1250a46_no_alembic_version", marks=pytest.mark.schema),
    ],
)
def test_times_stay_the_same_instants_whatever_zones_are_set(
    scratch: Scratch, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = f'ALTER DATABASE "{scratch.connection.settings_dict["NAME"]}" SET'
    load(
        scratch,
        name,
        [
            f"{own} timezone = 'Europe/Paris'",
            f"{own} bytea_output = 'escape'",
            f"{own} extra_float_digits = -5",
            f"{own} intervalstyle = 'sql_standard'",
            f"{own} statement_timeout = '20s'",
            f"{own} default_transaction_isolation = 'serializable'",
            "ALTER TABLE cases ADD COLUMN later timestamptz DEFAULT '2025-10-26 02:30+02'",
        ],
    )
    before = values(scratch)
    assert "2025-03-30 02:30:00" in str(before), "an hour that Paris did not have"
    monkeypatch.setenv("TZ", "America/New_York")
    monkeypatch.setenv("PGTZ", "America/New_York")
    scratch.manage("adopt", "--yes")
    assert changed(before, values(scratch)) == []
    assert faults(scratch) == []
    with opened(scratch) as session:
        found = session.execute("SELECT created_at_utc FROM cases WHERE id = 2").fetchone()
    assert found == (datetime(2025, 10, 26, 2, 30, tzinfo=UTC),)


def test_what_a_killed_adoption_left_to_do_on_large_tables_is_done(scratch: Scratch) -> None:
    """Indexes missing, one broken, a foreign key not validated: read from the database, not remembered."""
    lacking = ["DROP INDEX ix_events_case_id", "ALTER TABLE events DROP CONSTRAINT events_case_id_fkey"]
    load(scratch, HEAD, lacking)
    before = values(scratch)
    killed = Process(scratch, "adopt", "--yes", lab=["--large", "1", "--die", "before-finish:1"]).wait()
    assert killed.status == -9, killed
    left = "\n".join(faults(scratch))
    assert "index for LIKE" in left
    assert "events_case_id_5b5df543 on case_id is missing" in left
    assert "events: foreign key case_id -> cases (case_id) was not validated" in left
    assert "but not finished" in adopt(scratch)
    with opened(scratch) as session:
        session.execute("CREATE INDEX events_case_id_5b5df543_like ON events (case_id varchar_pattern_ops)")
        session.execute(
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'events_case_id_5b5df543_like'::regclass"
        )
    said = adopt(scratch, "--yes")
    assert "dropping events_case_id_5b5df543_like" in said
    assert "Confirming the values of events" in said
    assert faults(scratch) == []
    assert changed(before, values(scratch)) == []
    with pytest.raises(CommandError, match="taken over already"):
        adopt(scratch, "--yes")


@pytest.mark.schema
def test_a_value_that_changed_since_is_reported_with_the_way_back(scratch: Scratch) -> None:
    load(scratch, HEAD)
    Process(scratch, "adopt", "--yes", lab=["--large", "1", "--die", "before-finish:1"]).wait()
    with opened(scratch) as session:
        session.execute("UPDATE events SET message = message || ' ' WHERE id = 1")
    with pytest.raises(CommandError, match=r"Values of events are not what they were.*db restore"):
        adopt(scratch, "--yes")


@pytest.mark.schema
def test_who_does_not_own_the_tables_is_told_so(scratch: Scratch) -> None:
    load(scratch, HEAD)
    name, role = scratch.connection.settings_dict["NAME"], f"{scratch.alias}_limited"
    try:
        with opened(scratch) as session:
            session.execute(f'CREATE ROLE "{role}" LOGIN')
            session.execute(f'GRANT CREATE ON DATABASE "{name}" TO "{role}"')
            session.execute(f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{role}"')
            session.execute(f'GRANT ALL ON SCHEMA public TO "{role}"')
        owner = scratch.connection.settings_dict["USER"]
        scratch.connection.close()
        scratch.connection.settings_dict["USER"] = role
        with pytest.raises(CommandError, match=f"the table belongs to {owner}, and {role} can neither lock"):
            adopt(scratch, "--yes")
        scratch.connection.close()
        scratch.connection.settings_dict["USER"] = owner
    finally:
        with opened(scratch) as session:
            session.execute(f'DROP OWNED BY "{role}"')
            session.execute(f'DROP ROLE "{role}"')


@pytest.mark.schema
def test_a_database_may_have_any_name(scratch: Scratch) -> None:
    load(scratch, HEAD)
    odd = f'it\'s "odd" é {scratch.alias}'
    server = scratch.url.rsplit("/", 1)[0]
    with psycopg.connect(f"{server}/postgres", autocommit=True) as session:
        quoted = odd.replace('"', '""')
        session.execute(f'CREATE DATABASE "{quoted}" TEMPLATE "{scratch.connection.settings_dict["NAME"]}"')
        try:
            there = Scratch(scratch.alias, f"{server}/{quote(odd, safe='')}", scratch.home)
            there.manage("adopt", "--yes")
            there.manage("db", "upgrade")
            there.manage("db", "check")
        finally:
            session.execute(f'DROP DATABASE "{quoted}" WITH (FORCE)')


def test_the_report_tells_what_was_found_and_done(scratch: Scratch) -> None:
    load(scratch, "alembic_408e07f64f51", ["UPDATE users SET hashed_password = 'md5$abc' WHERE id = 2"])
    place = scratch.home / "report.json"
    said = adopt(scratch, "--yes", "--report", str(place))
    report = json.loads(place.read_text("utf-8"))
    assert report["versions_before"] == ["408e07f64f51"]
    assert report["password_hashes_prefixed"] == 2
    assert report["rows_found"]["events"] == 11
    assert {f["table"] for f in report["fingerprints"]} >= OLD_TABLES
    assert "table case_members, unknown here" in report["kept"]
    assert report["finished_at"]
    assert "Élodie.Martin@Example.ORG" in str(report["findings"])
    assert "cannot sign in" in said
    refused = scratch.home / "nowhere" / "report.json"
    with pytest.raises(CommandError, match="cannot be written"):
        adopt(scratch, "--yes", "--report", str(refused))
