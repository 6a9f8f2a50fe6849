"""The configured search engine, one per process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from django.conf import settings

from cases.index.connect import connect
from cases.index.engine import Engine
from datamortem.common.errors import Unavailable


class IndexDown(Unavailable):
    """The search index does not answer."""

    code = "index_unavailable"


def engine() -> Engine:
    """Return the engine of the settings; the same object until the settings change."""
    return _connected(settings.SEARCH_URL, settings.INDEX_ROOT)


@lru_cache(maxsize=1)
def _connected(search_url: str, root: Path) -> Engine:
    return connect(search_url, root)
