"""Structured logs: one JSON object a line, with the request or run it belongs to.

Never evidence content, tokens or passwords: messages are ours, and only named facts join them.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

import orjson

#: Facts about the work at hand that join every line, such as request_id or run_id.
context: ContextVar[dict[str, str | int]] = ContextVar("log_context", default={})  # noqa: B039

_FACTS: Final = ("case_id", "evidence_uid", "run_id", "status", "seconds", "events")


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
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("request_id", *_FACTS):
            if (value := getattr(record, name, None)) is not None:
                line[name] = value
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()
