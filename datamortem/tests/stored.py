"""What the database holds, to be compared before and after a request."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from django.apps import apps
from django.db.models import Model

_APPS: Final = ("accounts", "cases", "scripts_marketplace")
#: Records of what was done, and counters of it, grow with every request.
_RECORDS: Final = {"AuditEntry", "CustodyEntry", "RequestCounter"}

Row = dict[str, Any]


def models() -> list[type[Model]]:
    """Return the models whose rows say how things stand."""
    found = (model for app in _APPS for model in apps.get_app_config(app).get_models())
    return [model for model in found if model.__name__ not in _RECORDS]


def everything() -> dict[str, list[Row]]:
    """Return all rows, but not when somebody was last seen."""
    return stored({field.attname for model in models() for field in model._meta.concrete_fields} - _SEEN)


_SEEN: Final = {"last_seen_at", "last_login", "last_used_at", "last_used_address"}


def stored(columns: Collection[str]) -> dict[str, list[Row]]:
    """Return these columns of all rows, by model, in the order of their keys."""
    found = {}
    for model in models():
        own = [field.attname for field in model._meta.concrete_fields if field.attname in columns]
        if own:
            found[model.__name__] = list(model._base_manager.order_by("pk").values(*own))
    return found
