"""Structured logs: one JSON object a line, with the request or run it belongs to.

Never evidence content, tokens or passwords: messages are ours, and only named facts join them.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

import orjson

from datamortem.common.terminal import printable

#: Facts about the work at hand that join every line, such as request_id or run_id.
context: ContextVar[dict[str, str | int]] = ContextVar("log_context", default={})  # noqa: B039

_FACTS: Final = (
    "request_id", "run_id", "attempt", "worker", "case_id", "evidence_uid",
    "status", "seconds", "events", "kind", "query_hash",
)  # fmt: skip


class AddContext(logging.Filter):
    """Puts the facts of `context` on every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        for name, value in context.get().items():
            setattr(record, name, value)
        return True


class JSONFormatter(logging.Formatter):
    """One line of JSON; control characters cannot break out of it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _facts(record)
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class TextFormatter(logging.Formatter):
    """Words for a terminal; what could end a line or steer a terminal is written as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record, its trace on lines of its own."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(" ", "seconds")
        facts = "".join(f" {name}={value}" for name, value in _facts(record).items())
        line = f"{moment} {record.levelname.lower()} {record.name}: {record.getMessage()}{facts}"
        shown = printable(line)
        if record.exc_info:
            trace = self.formatException(record.exc_info).split("\n")
            shown += "".join(f"\n    {printable(part)}" for part in trace)
        return shown


def _facts(record: logging.LogRecord) -> dict[str, object]:
    found = {name: getattr(record, name, None) for name in _FACTS}
    return {name: value for name, value in found.items() if value is not None}
