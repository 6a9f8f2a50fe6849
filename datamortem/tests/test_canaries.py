"""Everything secret that people and programs send or get, looked for wherever it must not lie.

One story uses every way in; then every column of every table, the file of the database, every log
line at its most talkative and every answer are searched for what was secret in it.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from pytest_django import Settings

from accounts.models import AuditEntry, FeatureFlag, OutgoingMail
from cases.models import CustodyEntry
from datamortem.common.logs import JSONFormatter
from datamortem.tests.canaries import Story, tell

pytestmark = pytest.mark.django_db(transaction=True)

#: Times look like codes at their end.
_TIME: Final = re.compile(
    r"datetime\.datetime\([^)]*\)|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?|\b\d+\.\d+\b"
)
_LOG_TALK: Final = ("", "django", "django.db.backends", "django.request", "accounts", "cases")


class Listener(logging.Handler):
    """Keeps every record as it is written, and with all that hangs on it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(JSONFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.lines.append(f"{self.format(record)} {record.__dict__!r}")


@pytest.fixture
def log() -> Iterator[Listener]:
    """Listen to all loggers, statements of the database included."""
    listener, loggers = Listener(), [logging.getLogger(name) for name in _LOG_TALK]
    levels = [logger.level for logger in loggers]
    logging.getLogger().addHandler(listener)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    connection.force_debug_cursor = True
    yield listener
    connection.force_debug_cursor = False
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    logging.getLogger().removeHandler(listener)


@pytest.fixture
def story(log: Listener, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Story:
    """Tell the whole story."""
    settings.REGISTRATION = "open"
    return tell(monkeypatch)


def _forms(value: str) -> set[str]:
    """Return how a secret may be written."""
    raw = value.encode()
    return {value, raw.hex(), base64.b64encode(raw).decode().rstrip("="), json.dumps(value)[1:-1]}


def _found(story: Story, text: str) -> set[str]:
    """Return the names of the secrets in a text; codes count as words of their own."""
    timeless, names = _TIME.sub("", text), set()
    for name, value in story.secrets.items():
        if value.isdecimal() and len(value) < 10:
            if re.search(rf"(?<![0-9A-Za-z.-]){value}(?![0-9A-Za-z.-])", timeless):
                names.add(name)
        elif any(form in text for form in _forms(value)):
            names.add(name)
    return names


def _tables() -> dict[str, str]:
    """Return every table of the database and all that its rows hold, as text."""
    held = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            held[table] = "\n".join(" ".join(map(_as_text, row)) for row in cursor.fetchall())
    held["django_session"] += "\n".join(str(row.get_decoded()) for row in Session.objects.all())
    return held


def _as_text(value: object) -> str:
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", "replace")
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


NOTE: Final = "a password in a note"


def test_no_secret_lies_in_the_database_the_log_or_an_answer_that_did_not_make_it(
    story: Story, log: Listener
) -> None:
    assert len(story.secrets) > 90
    logged = "\n".join(log.lines)
    assert "INSERT INTO" in logged
    assert logged.count("auth/login") > 10
    tables = {name: _found(story, text) for name, text in _tables().items()}
    assert len(tables) > 30
    # What people write into a case is the case's, in its custody record, and kept to be answered again.
    for table in ("cases", "custody_entries", "idempotent_answers"):
        assert tables.pop(table) == {NOTE}
    assert {name: found for name, found in tables.items() if found} == {}
    statements = [line for line in log.lines if '"logger":"django.db.backends' in line]
    told = [line for line in log.lines if line not in set(statements)]
    assert _found(story, "\n".join(told)) == set()
    # With DEBUG alone: they name the address that is looked for, which may be no address.
    assert _found(story, "\n".join(statements)) == {NOTE, "password typed as address"}
    for number, answer in enumerate(story.answers):
        may = {name for name, shown in story.shown.items() if number in shown}
        assert _found(story, answer) - may - {NOTE} == set(), answer[:300]


def test_the_acts_are_on_record_without_what_was_secret_in_them(story: Story) -> None:
    recorded = set(AuditEntry.objects.values_list("action", "outcome"))
    for action in ("signin.password", "signin.second_factor", "otp.enrolled"):
        assert {(action, "ok"), (action, "refused")} <= recorded
    for action in ("token.created", "password.changed", "password.reset", "email.verified"):
        assert (action, "ok") in recorded
    assert CustodyEntry.objects.filter(action="member.invited").exists()
    assert OutgoingMail.objects.exclude(sent_at=None).exclude(sealed=None).count() == 0


@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite's file is ours to read")
def test_no_secret_lies_in_the_file_of_the_database_where_rows_were_removed(story: Story) -> None:
    place = Path(str(connection.settings_dict["NAME"]))
    raw = b"".join(file.read_bytes() for file in place.parent.glob(f"{place.name}*"))
    text = raw.decode("latin-1")
    assert "mallory@example.org" in text
    long = {name: value for name, value in story.secrets.items() if not value.isdecimal() and name != NOTE}
    assert [name for name, value in long.items() if any(form in text for form in _forms(value))] == []


@pytest.mark.parametrize("place", ["text", "json", "bytes", "code", "encoded"])
def test_a_secret_that_does_lie_somewhere_is_found(place: str) -> None:
    story = Story(secrets={"secret": "Xyzzy-plugh-77", "code": "864209"})
    if place == "text":
        FeatureFlag.objects.create(key="a", description="it is Xyzzy-plugh-77, hush")
    elif place == "json":
        AuditEntry.objects.create(actor="a", action="b", details={"deep": [{"er": "Xyzzy-plugh-77"}]})
    elif place == "bytes":
        OutgoingMail.objects.create(kind="a", recipient="b", sealed=b"Xyzzy-plugh-77".hex())
    elif place == "code":
        AuditEntry.objects.create(
            actor="a", action="b", details={"code": 864209, "at": "2024-01-01T00:00:00.864209Z"}
        )
    else:
        session = Client().session
        session["hidden"] = "Xyzzy-plugh-77"
        session.save()
    found = {name for text in _tables().values() for name in _found(story, text)}
    assert found == {"code" if place == "code" else "secret"}
    assert _found(story, "at 2024-01-01T00:00:00.864209Z in 0.864209 s, 1864209") == set()
