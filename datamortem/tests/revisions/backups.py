"""What the tests of backups share: a database with a bit of everything, and all that it holds as text."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing

from django.conf import settings

from datamortem.revisions.backup.clients import clients_for
from datamortem.tests.revisions.scratch import Scratch

_BOTH = """
CREATE TABLE people (id {serial}, name text NOT NULL, boss_id integer REFERENCES people (id), raw {bytes});
CREATE TABLE "we""ird.%s {rows} é" (id integer PRIMARY KEY, "select" text);
CREATE TABLE django_migrations (id {serial}, app text, name text);
CREATE INDEX people_name ON people (name);
CREATE VIEW bosses AS SELECT * FROM people WHERE boss_id IS NULL;
CREATE VIEW boss_names AS SELECT name FROM bosses;
INSERT INTO people (name, boss_id, raw) VALUES ('Élodie', NULL, NULL), ('tab\tand\nline', 1, NULL);
INSERT INTO people (name) VALUES ('gone');
DELETE FROM people WHERE name = 'gone';
INSERT INTO "we""ird.%s {rows} é" VALUES (7, NULL), (9, '\\N');
INSERT INTO django_migrations (app, name) VALUES ('cases', '0001_create_all'), ('elsewhere', '0001_initial')
"""
_POSTGRESQL = r"""
CREATE TYPE mood AS ENUM ('calm', 'tense');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TYPE pair AS (a integer, b text);
CREATE FUNCTION twice(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE AGGREGATE total (integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0');
CREATE SEQUENCE tickets START 40;
SELECT nextval('tickets');
CREATE TABLE moods (
    id bigint GENERATED ALWAYS AS IDENTITY, mood mood DEFAULT 'calm', size positive,
    doubled integer DEFAULT twice(4), at timestamptz, EXCLUDE USING btree (doubled WITH =)
);
INSERT INTO moods (size, at) VALUES (3, '2025-10-26 02:30:00.000001+02');
CREATE MATERIALIZED VIEW seen AS SELECT m.mood, b.name FROM moods m, boss_names b;
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- COPY people FROM stdin;
    RETURN NEW;
END $$;
CREATE TRIGGER touched BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION touched();
CREATE TABLE parted (id integer, at date) PARTITION BY RANGE (at);
CREATE TABLE parted_2025 PARTITION OF parted FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO parted VALUES (1, '2025-05-05');
CREATE STATISTICS people_stats ON name, boss_id FROM people;
COMMENT ON TABLE people IS 'who'
"""
_SQLITE = """
CREATE TRIGGER touched BEFORE DELETE ON people WHEN OLD.id = 99 BEGIN SELECT RAISE(ABORT, 'no'); END
"""


def fill(scratch: Scratch) -> None:
    """Make tables, views, types and rows that are hard to put back."""
    if scratch.connection.vendor == "postgresql":
        types = ("serial PRIMARY KEY", "bytea")
        extra = _POSTGRESQL
    else:
        types = ("integer PRIMARY KEY AUTOINCREMENT", "blob")
        extra = _SQLITE
    script = _BOTH.replace("{serial}", types[0]).replace("{bytes}", types[1])
    execute(scratch, f"{script};{extra}")


def change(scratch: Scratch) -> None:
    """Make everything of `fill` different, and leave new things that hang on the old ones."""
    execute(
        scratch,
        """
        INSERT INTO people (name) VALUES ('new'), ('newer');
        DELETE FROM django_migrations WHERE app = 'elsewhere';
        DROP VIEW boss_names;
        CREATE TABLE later (id integer PRIMARY KEY, who integer REFERENCES people (id));
        INSERT INTO later VALUES (1, 1);
        CREATE VIEW latest AS SELECT * FROM later;
        ALTER TABLE people DROP COLUMN raw;
        ALTER TABLE people ADD COLUMN age integer
        """
        if scratch.connection.vendor == "sqlite"
        else """
        INSERT INTO people (name) VALUES ('new'), ('newer');
        DELETE FROM django_migrations WHERE app = 'elsewhere';
        SELECT nextval('tickets');
        DROP MATERIALIZED VIEW seen;
        CREATE TABLE later (id integer PRIMARY KEY, who integer REFERENCES people (id), how mood);
        INSERT INTO later VALUES (1, 1, 'tense');
        CREATE VIEW latest AS SELECT * FROM later;
        ALTER TYPE mood ADD VALUE 'cross';
        ALTER TABLE people ADD COLUMN age integer DEFAULT twice(2)
        """,
    )


def execute(scratch: Scratch, script: str) -> None:
    """Run statements as they stand, each on its own."""
    with scratch.connection.cursor() as cursor:
        if scratch.connection.vendor == "sqlite":
            cursor.connection.executescript(script)
        else:
            cursor.execute(script)


def state(scratch: Scratch) -> str:
    """Return the whole database as text: schema, rows, next ids."""
    if scratch.connection.vendor == "sqlite":
        with closing(sqlite3.connect(scratch.connection.settings_dict["NAME"])) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return "\n".join(database.iterdump())
    clients = clients_for(scratch.connection)
    told = subprocess.run(
        clients.command("pg_dump"), env=clients.environment, capture_output=True, text=True, check=True
    ).stdout
    return "\n".join(line for line in told.split("\n") if not line.startswith(("\\restrict", "\\unrestrict")))


def next_id(scratch: Scratch) -> int:
    """Insert a person, and return the id that the database chose."""
    with scratch.connection.cursor() as cursor:
        cursor.execute("INSERT INTO people (name) VALUES ('next') RETURNING id")
        return int(cursor.fetchone()[0])


_START = (
    "import os, signal, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'datamortem.settings'\n"
    "import django; django.setup()\n"
    "from pathlib import Path\n"
    "from django.db import connection\n"
    "from datamortem.revisions import backup\n"
    "def die_at(word):\n"
    "    return lambda text: os.kill(os.getpid(), signal.SIGKILL) if text.startswith(word) else None\n"
)


def run_python(scratch: Scratch, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, with Django set up on the scratch database."""
    return subprocess.run(
        [scratch.python, "-c", _START + code],
        cwd=settings.BASE_DIR,
        env=scratch.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def started(scratch: Scratch, code: str) -> subprocess.Popen[str]:
    """Start what `run_python` would run; leaving it as a context waits for its end."""
    return subprocess.Popen(
        [scratch.python, "-c", _START + code],
        cwd=settings.BASE_DIR,
        env=scratch.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
