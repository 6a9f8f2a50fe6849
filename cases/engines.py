"""The configured search engine, one per process."""

from __future__ import annotations

import os
from functools import lru_cache

from django.conf import settings

from cases.index.connect import Address, connect
from cases.index.engine import Engine
from cases.models import Installation
from datamortem.common.errors import Unavailable


class IndexDown(Unavailable):
    """The search index does not answer."""

    code = "index_unavailable"


def engine() -> Engine:
    """Return the engine of the settings; the same object until the settings change."""
    return _connected(address(), os.getpid())


def address() -> Address:
    """Return where the index is, as a child process is told."""
    url: str = settings.SEARCH_URL
    return Address(
        url=url,
        root=str(settings.INDEX_ROOT),
        namespace="" if url.startswith("embedded:") else _namespace(),
        ca=settings.SEARCH_CA,
        api_key=settings.SEARCH_API_KEY,
        shards=settings.SEARCH_SHARDS,
    )


def _namespace() -> str:
    """Return what tells this installation from others on the same server; made once."""
    return Installation.objects.get_or_create(pk=1)[0].namespace


@lru_cache(maxsize=1)
def _connected(where: Address, process: int) -> Engine:
    """One a process: connections to a server do not survive a fork."""
    return connect(where)
