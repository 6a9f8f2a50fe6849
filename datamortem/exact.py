"""Rows as lines of JSON with every microsecond, to move an installation between databases.

`dumpdata --format exact`, `loaddata FILE.exact`: Django's own JSON cuts times to milliseconds, and
a custody record would no longer match its hashes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.serializers import jsonl
from django.core.serializers.json import DjangoJSONEncoder

__all__ = ["Deserializer", "Serializer"]

Deserializer = jsonl.Deserializer


class _Encoder(DjangoJSONEncoder):
    def default(self, o: Any) -> Any:
        """Return a moment whole, everything else as Django does."""
        return o.isoformat() if isinstance(o, datetime) else super().default(o)


class Serializer(jsonl.Serializer):
    """One row a line."""

    def _init_options(self) -> None:
        super()._init_options()  # type: ignore[misc]
        self.json_kwargs["cls"] = _Encoder
