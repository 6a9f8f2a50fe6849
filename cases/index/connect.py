"""Which engine a search URL means. Each engine is imported only where it is used."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Final

from cases.index.engine import Engine

_ENGINES: Final = {"embedded": ("cases.index.embedded", "EmbeddedEngine")}


def connect(search_url: str, root: Path) -> Engine:
    """Return the engine of a `SEARCH_URL`; `root` is the directory of an embedded index."""
    scheme = search_url.partition(":")[0]
    if scheme not in _ENGINES:
        raise ValueError(f"No search engine is called {scheme!r}.")
    module, name = _ENGINES[scheme]
    engine: Engine = getattr(import_module(module), name)(root)
    return engine
