"""The registry of parsers: rows follow the code, `enabled` is the operator's."""

from __future__ import annotations

from django.db import connection, transaction
from django.db.models import QuerySet

from cases import parsers
from cases.models import AnalysisModule
from datamortem.common.errors import Invalid


def modules() -> QuerySet[AnalysisModule]:
    """Return the parsers of this version as rows, written anew where the code has changed."""
    names = [parser.name for parser in parsers.PARSERS]
    if _differing(names):
        _write(names)
    return AnalysisModule.objects.filter(name__in=names)


def module_called(name: str) -> AnalysisModule:
    """Return an enabled parser by its name. Raises Invalid."""
    module = modules().filter(name=name).first()
    if module is None:
        known = ", ".join(sorted(parser.name for parser in parsers.PARSERS))
        raise Invalid(f"No module is called {name!r}; there are {known}.", field="module")
    if not module.enabled:
        raise Invalid(f"The module {name} is disabled.", field="module")
    return module


def _differing(names: list[str]) -> bool:
    rows = AnalysisModule.objects.filter(name__in=names).values_list("name", "version", "description")
    return set(rows) != {(parser.name, parser.version, parser.description) for parser in parsers.PARSERS}


@transaction.atomic
def _write(names: list[str]) -> None:
    if connection.vendor == "postgresql":  # names are not unique in the old schema
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE analysis_modules IN SHARE ROW EXCLUSIVE MODE")
    for parser in parsers.PARSERS:
        facts = {"version": parser.version, "description": parser.description, "tool": "dataMortem"}
        if not AnalysisModule.objects.filter(name=parser.name).update(**facts):
            AnalysisModule.objects.create(name=parser.name, **facts)
