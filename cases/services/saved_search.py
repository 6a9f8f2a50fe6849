"""Searches that the people of a case keep under a name."""

from __future__ import annotations

from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from cases import custody
from cases.models import Case, SavedSearch
from cases.services.annotation import check_authorship
from cases.services.case import locked_open
from datamortem.common.errors import Conflict, Invalid, Missing
from datamortem.common.storable import storable

#: Characters of a name, columns of a search, characters of one, saved searches of a case.
NAME_LENGTH: Final = 200
COLUMNS: Final = 50
COLUMN_LENGTH: Final = 255
SEARCHES: Final = 1_000
_FACTS: Final = ("name", "q", "start", "end", "columns")


class NameTaken(Conflict):
    """The case has a search of this name."""

    code = "name_taken"


class TooManySearches(Conflict):
    """The case has as many saved searches as there may be."""

    code = "too_many_saved_searches"


@transaction.atomic
def save_search(*, case: Case, by: User, **facts: Any) -> SavedSearch:
    """Keep a search, given by `name, q, start, end, columns`; whether it parses the caller has checked.

    Raises CaseClosed, Invalid, NameTaken, TooManySearches.
    """
    case = locked_open(case)
    if SavedSearch.objects.filter(case_ref=case).count() >= SEARCHES:
        raise TooManySearches(f"A case keeps up to {SEARCHES:,} searches: remove one first.")
    now = timezone.now()
    search = SavedSearch(case_ref=case, author=by, created_at=now, updated_at=now, **_checked(facts))
    _store(search)
    _record(search, case, by=by, action="search.saved", **_facts(search))
    return search


@transaction.atomic
def change_search(*, search: SavedSearch, by: User, manages: bool, **changes: Any) -> SavedSearch:
    """Change a saved search; its author may, and who manages the case.

    Raises as `save_search`, Forbidden, and Missing.
    """
    case, search = _held(search, by=by, manages=manages)
    before = _facts(search)
    changed = {name: value for name, value in _checked(changes).items() if before[name] != value}
    if changed:
        for name, value in changed.items():
            setattr(search, name, value)
        search.updated_at = timezone.now()
        _store(search)
        old = {name: before[name] for name in changed}
        _record(search, case, by=by, action="search.changed", name=before["name"], before=old, after=changed)
    return search


@transaction.atomic
def remove_search(*, search: SavedSearch, by: User, manages: bool) -> None:
    """Take a saved search away; the record keeps it. Raises CaseClosed, Forbidden, Missing."""
    case, search = _held(search, by=by, manages=manages)
    _record(search, case, by=by, action="search.removed", **_facts(search))
    search.delete()


def _held(search: SavedSearch, *, by: User, manages: bool) -> tuple[Case, SavedSearch]:
    case = locked_open(search.case_ref)
    found = SavedSearch.objects.filter(pk=search.pk).first()
    if found is None:
        raise Missing("There is no such saved search.")
    check_authorship(found.author_id, by=by, manages=manages)
    return case, found


def _store(search: SavedSearch) -> None:
    try:
        with transaction.atomic():
            search.save()
    except IntegrityError as error:
        raise NameTaken(f"This case has a search called {search.name} already.", field="name") from error


def _facts(search: SavedSearch) -> dict[str, Any]:
    return {name: getattr(search, name) for name in _FACTS}


def _record(search: SavedSearch, case: Case, *, by: User, action: str, **facts: Any) -> None:
    details = {"search": search.pk, **facts}
    if search.author_id != by.pk:
        details["author"] = search.author.username if search.author else None
    custody.record(case_id=case.case_id, by=by, action=action, details=details)


def _checked(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts as they are stored. Raises Invalid."""
    found = dict(facts)
    if "name" in found:
        found["name"] = storable(found["name"].strip())
        if not 1 <= len(found["name"]) <= NAME_LENGTH:
            raise Invalid(f"A name has 1 to {NAME_LENGTH} characters.", field="name")
    for name in {"q", "start", "end"} & set(found):
        found[name] = storable(found[name])
    if "columns" in found:
        columns = [storable(column) for column in found["columns"]]
        if len(columns) > COLUMNS or any(not 1 <= len(column) <= COLUMN_LENGTH for column in columns):
            raise Invalid(
                f"Up to {COLUMNS} columns, each the name of a field of 1 to {COLUMN_LENGTH} characters.",
                field="columns",
            )
        found["columns"] = list(dict.fromkeys(columns))
    return found
