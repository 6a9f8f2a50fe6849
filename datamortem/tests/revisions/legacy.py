"""Databases of the old system, loaded into scratch databases."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.tests.revisions.scratch import Scratch

SAMPLES: Final = Path(settings.BASE_DIR).parent / "shared" / "legacy-databases"


def names(vendor: str) -> list[str]:
    """Return the samples of a vendor, for parametrized tests; without them one name that skips."""
    found = sorted(path.stem for path in (SAMPLES / vendor).glob("*.*"))
    return found or ["absent"]


def load(scratch: Scratch, *, postgresql: str, sqlite: str) -> None:
    """Fill an empty scratch database with the sample of its vendor. Skips where samples are absent."""
    name = postgresql if scratch.connection.vendor == "postgresql" else sqlite
    if not fill(scratch, name):
        pytest.skip(f"no sample {name} of an old database in {SAMPLES}")


def fill(scratch: Scratch, name: str) -> bool:
    """Fill an empty scratch database with a sample; return whether there is one of that name."""
    vendor = scratch.connection.vendor
    place = SAMPLES / vendor / (name + (".sql" if vendor == "postgresql" else ".db"))
    if not place.exists():
        return False
    scratch.connection.close()
    if vendor == "postgresql":
        with psycopg.connect(scratch.url, autocommit=True) as session:
            session.execute(place.read_bytes())
    else:
        Path(scratch.connection.settings_dict["NAME"]).write_bytes(place.read_bytes())
    return True


def everything(connection: BaseDatabaseWrapper) -> dict[str, Any]:
    """Return schema and rows of every table, such that two equal databases give equal answers."""
    if connection.vendor == "sqlite":
        connection.close()
        with closing(sqlite3.connect(connection.settings_dict["NAME"])) as file:
            return {"sql": list(file.iterdump())}
    found: dict[str, Any] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity"
            " FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY 1, 2"
        )
        found["columns"] = cursor.fetchall()
        cursor.execute(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), condeferrable, convalidated"
            " FROM pg_constraint WHERE connamespace = current_schema()::regnamespace ORDER BY 1, 2"
        )
        found["constraints"] = cursor.fetchall()
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1"
        )
        found["indexes"] = cursor.fetchall()
        cursor.execute(
            "SELECT sequencename, last_value, data_type::text FROM pg_sequences"
            " WHERE schemaname = current_schema() ORDER BY 1"
        )
        found["sequences"] = cursor.fetchall()
        for table in sorted({row[0] for row in found["columns"]}):
            cursor.execute(f'SELECT t::text FROM "{table}" t ORDER BY 1')
            found[table] = cursor.fetchall()
    return found
