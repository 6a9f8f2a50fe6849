"""The custody record: complete, in order, and impossible to change without a trace."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.db import connections

from cases import custody
from cases.models import CustodyEntry
from cases.tests.cast import a_case, alice

DOCS = Path(__file__).parents[2] / "docs" / "custody.md"


def _entries(case_id: str) -> list[CustodyEntry]:
    return list(CustodyEntry.objects.filter(case_id=case_id).order_by("sequence"))


@pytest.fixture
def chain(db: None) -> str:
    """Return a case with five entries."""
    case = a_case()
    for number in range(4):
        custody.record(case_id=case.case_id, by=alice(), action="looked", details={"number": number})
    return case.case_id


def test_an_untouched_record_is_intact(chain: str) -> None:
    assert custody.verify(chain) == []
    assert [entry.sequence for entry in _entries(chain)] == [1, 2, 3, 4, 5]
    assert _entries(chain)[0].previous_hash == "0" * 64


def test_changing_any_column_names_the_entry(chain: str) -> None:
    changes = {
        "actor": "mallory",
        "action": "nothing",
        "evidence_uid": "ev-0",
        "details": {"number": 99},
        "at": "2001-01-01T00:00:00Z",
        "hash": "f" * 64,
    }
    for column, value in changes.items():
        row = CustodyEntry.objects.filter(case_id=chain, sequence=3)
        before = row.values(column).get()
        row.update(**{column: value})
        assert "Entry 3" in custody.verify(chain)[0], column
        row.update(**before)
    assert custody.verify(chain) == []


def test_a_removed_entry_is_missed(chain: str) -> None:
    CustodyEntry.objects.filter(case_id=chain, sequence=3).delete()
    assert custody.verify(chain) == ["Entry 3 of case ir-2024-001 is missing: the next one is 4."]


def test_an_entry_put_in_between_and_renumbered_is_noticed(chain: str) -> None:
    for entry in reversed(_entries(chain)[2:]):
        CustodyEntry.objects.filter(pk=entry.pk).update(sequence=entry.sequence + 1)
    forged = _entries(chain)[1]
    forged.pk, forged.sequence, forged.action = None, 3, "forged"
    forged.previous_hash = forged.hash
    forged.hash = custody.hash_of(custody.content(forged))
    forged.save(force_insert=True)
    assert "Entry 4" in custody.verify(chain)[0]


def test_hostile_details_verify_after_a_round_trip_through_the_database(db: None) -> None:
    case = a_case()
    details = {
        "nul\x00name": "a\x00b",
        "surrogate": "caf\udce9",
        "float": 1e22,
        "small": 0.1,
        "big": 10**40,
        "nested": {"list": [1, None, True, {"ü": "\u202e"}]},
    }
    custody.record(case_id=case.case_id, by=None, action="x", details=details)
    assert custody.verify(case.case_id) == []
    kept = _entries(case.case_id)[-1].details
    assert kept["surrogate"] == "caf\\udce9"
    assert kept["nul\u2400name"] == "a\u2400b"


def test_who_acts_without_a_user_is_named(db: None) -> None:
    case = a_case()
    with custody.acting_as("command line (root)"):
        custody.record(case_id=case.case_id, by=None, action="x")
    custody.record(case_id=case.case_id, by=None, action="x")
    assert [entry.actor for entry in _entries(case.case_id)] == [
        "alice <alice@example.org>",
        "command line (root)",
        "system",
    ]


def test_the_record_outlives_the_user_it_names(chain: str) -> None:
    alice().delete()
    assert custody.verify(chain) == []


@pytest.mark.django_db(transaction=True)
def test_writers_at_the_same_time_make_one_chain_without_gaps() -> None:
    case = a_case()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for _ in range(10):
                custody.record(case_id=case.case_id, by=None, action="looked")
        except BaseException as error:  # noqa: BLE001
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [entry.sequence for entry in _entries(case.case_id)] == list(range(1, 42))
    assert custody.verify(case.case_id) == []


def test_a_third_party_can_check_an_export_with_the_documented_program(chain: str, tmp_path: Path) -> None:
    program = re.search(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert program is not None
    export = [{**custody.content(entry), "hash": entry.hash} for entry in _entries(chain)]
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text("".join(json.dumps({**line, "id": 7}) + "\n" for line in export), "utf-8")
    export[2]["actor"] = "mallory"
    bad.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in export), "utf-8")
    results = [
        subprocess.run(
            [sys.executable, "-c", program[1], str(path)], check=False, capture_output=True, text=True
        )
        for path in (good, bad)
    ]
    assert results[0].returncode == 0
    assert results[0].stdout == f"5 entries, last {export[-1]['hash']}\n"
    assert results[1].returncode == 1
    assert "entry 3" in results[1].stderr
