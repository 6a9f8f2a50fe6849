"""Which engine a search URL means. Each engine is imported only where it is used."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from cases.index.engine import Engine

_ENGINES: Final = {
    "embedded": ("cases.index.embedded", "EmbeddedEngine"),
    "http": ("cases.index.opensearch", "OpenSearchEngine"),
    "https": ("cases.index.opensearch", "OpenSearchEngine"),
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the index is, as plain data that a child process can be told.

    `url` is a SEARCH_URL, `root` the directory of an embedded index. The rest is for a server:
    `namespace` tells installations apart that share it, `ca` is a file of certificates to trust,
    `api_key` is sent instead of a user and password, `shards` is how many a new index has.
    """

    url: str
    root: str = ""
    namespace: str = ""
    ca: str = ""
    api_key: str = ""
    shards: int = 1


def connect(address: Address) -> Engine:
    """Return the engine of an address."""
    scheme = address.url.partition(":")[0]
    if scheme not in _ENGINES:
        raise ValueError(f"No search engine is called {scheme!r}.")
    module, name = _ENGINES[scheme]
    if scheme == "embedded":
        made: Engine = getattr(import_module(module), name)(Path(address.root))
        return made
    server: Engine = getattr(import_module(module), name)(address)
    return server
