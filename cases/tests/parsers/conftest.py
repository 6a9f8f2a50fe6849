"""How the tests of log parsers read: each module names its PARSER and the REFERENCE of its evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cases.parsers.base import Context
from cases.parsers.source import FileSource
from cases.records import Record


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest):
    """Store content as evidence."""

    def made(content: bytes | str, **context: Any) -> FileSource:
        path = tmp_path / "evidence"
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
        return FileSource(path, "evidence", Context(**{"reference": request.module.REFERENCE, **context}))

    return made


@pytest.fixture
def read(make, request: pytest.FixtureRequest):
    """Read content with the parser of the module."""

    def done(content: bytes | str, **context: Any) -> list[Any]:
        return list(request.module.PARSER.parse(make(content, **context)))

    return done


@pytest.fixture
def one(read):
    """Read content that is one record."""

    def done(content: bytes | str, **context: Any) -> Record:
        (record,) = read(content, **context)
        assert isinstance(record, Record), record
        return record

    return done
