"""The one door for finding: questions, pages and their cursors, bytes of a record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.db.models import QuerySet

from cases import search, services, tasks
from cases.engines import IndexDown, engine
from cases.index.engine import IndexUnavailable
from cases.index.tree import Everything, Nothing
from cases.models import Case, Evidence, RunStatus, TaskRun
from cases.tests.api.cast import events, record
from cases.tests.cast import a_case, alice, receive
from datamortem.common.errors import Conflict, Invalid, Missing

pytestmark = pytest.mark.django_db


def _cases(*case_ids: str) -> QuerySet[Case]:
    return Case.objects.filter(case_id__in=case_ids or ["ir-2024-001"])


def _found(**asked: Any) -> list[str]:
    question = search.frame(cases=_cases(), **asked)
    page = search.search_events(question, limit=1000, newest_first=False)
    assert page.total == len(page.documents) == search.count_events(question)
    return [event["position"] for event in page.documents]


class TestQuestions:
    """What is asked, and what is refused."""

    def test_a_fault_in_the_query_names_its_place(self) -> None:
        with pytest.raises(search.InvalidQuery) as refusal:
            search.frame(cases=_cases(), q="host:web AND (b")
        assert (refusal.value.code, refusal.value.field) == ("invalid_query", "q")
        assert 0 <= refusal.value.at <= 15

    def test_times_are_inclusive_and_a_date_lasts_to_its_end(self) -> None:
        day = 86_400
        events(
            a_case(), [record(0), record(day - 1), record(day), record(2 * day), record(9, timestamp=None)]
        )
        assert len(_found(start="2024-03-01", end="2024-03-01")) == 2
        assert len(_found(start="2024-03-02")) == 2
        assert len(_found(end="2024-03-02T00:00:00Z")) == 3
        assert len(_found(start="2024-03-02T01:00:00+01:00", end="2024-03-02T00:00:00Z")) == 1
        assert len(_found()) == 5

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"start": "yesterday"}, "from"),
            ({"end": "2024-13-01"}, "to"),
            ({"start": "2024-03-02", "end": "2024-03-01"}, "from"),
            ({"start": "2024-03-01T00:00:00"}, "from"),
        ],
    )
    def test_a_time_that_makes_no_sense_is_refused(self, asked: dict[str, str], field: str) -> None:
        with pytest.raises(Invalid) as refusal:
            search.frame(cases=_cases(), **asked)
        assert refusal.value.field == field

    def test_evidence_and_source_narrow(self) -> None:
        case = a_case()
        first, second = events(case, [record(0)]), events(case, [record(1)], source="csv")
        assert _found(evidence=[first.evidence_uid]) == ["line 1"]
        assert _found(evidence=[first.evidence_uid, second.evidence_uid]) == ["line 1", "line 2"]
        assert _found(source=["csv"]) == ["line 2"]
        assert _found(source=["csv"], evidence=[first.evidence_uid]) == []
        assert _found(source=[""], evidence=["nothing"]) == []

    def test_tags_are_those_of_parsers_and_nobody_has_starred_anything(self) -> None:
        events(a_case(), [record(0, tags=["Odd"]), record(1)])
        assert _found(q="tag:odd") == ["line 1"]
        assert _found(q="NOT tag:odd") == ["line 2"]
        assert _found(q="tag:o*") == ["line 1"]
        assert _found(q="starred:true OR comment:odd") == []
        assert len(_found(q="starred:false")) == 2

    def test_no_case_finds_nothing(self) -> None:
        events(a_case(), [record(0)])
        question = search.frame(cases=Case.objects.none())
        assert search.count_events(question) == 0
        assert search.search_events(question, limit=10).documents == []
        assert list(search.export(question)) == []

    def test_another_cases_events_are_never_found(self) -> None:
        events(a_case("ir-1"), [record(0, "mine")])
        other = events(a_case("ir-2"), [record(0, "secret")])
        question = search.frame(cases=_cases("ir-1"), q="secret OR case_id:ir\\-2")
        assert search.count_events(question) == 0
        uid = search.search_events(search.frame(cases=_cases("ir-2")), limit=1).documents[0]["event_id"]
        with pytest.raises(Missing):
            search.get_event(_cases("ir-1"), uid)
        assert search.get_event(_cases("ir-2"), uid)["evidence_uid"] == other.evidence_uid


class TestPages:
    """Cursors go through everything once, and belong to their question."""

    @pytest.mark.parametrize("newest_first", [True, False])
    def test_pages_are_the_export_cut_in_pieces(self, newest_first: bool) -> None:
        case = a_case()
        ties = [record(number, timestamp=1_709_251_200_000_000) for number in range(30)]
        events(case, [*ties, *(record(number, timestamp=None) for number in range(30, 40))])
        events(case, [record(number) for number in range(40, 60)])
        question = search.frame(cases=_cases())
        whole = [event["event_id"] for event in search.export(question, newest_first=newest_first)]
        paged, cursor = [], ""
        while True:
            page = search.search_events(question, limit=7, cursor=cursor, newest_first=newest_first)
            assert page.total == 60
            paged += [event["event_id"] for event in page.documents]
            if page.next_cursor is None:
                break
            cursor = page.next_cursor
        assert paged == whole
        assert len(set(paged)) == 60

    def test_a_cursor_that_was_edited_or_belongs_elsewhere_is_refused(self) -> None:
        events(a_case("ir-1"), [record(number) for number in range(5)])
        events(a_case("ir-2"), [record(number) for number in range(5)])
        question = search.frame(cases=_cases("ir-1"), q="event")
        cursor = search.search_events(question, limit=2).next_cursor
        assert cursor
        foreign = [
            (question, cursor[:-1] + ("a" if cursor[-1] != "a" else "b"), True),
            (question, cursor[1:], True),
            (question, "x", True),
            (question, ":", True),
            (question, "\x00é", True),
            (question, cursor, False),
            (search.frame(cases=_cases("ir-2"), q="event"), cursor, True),
            (search.frame(cases=_cases("ir-1"), q="number"), cursor, True),
            (search.frame(cases=_cases("ir-1"), q="event", end="2030-01-01"), cursor, True),
        ]
        for asked, text, newest_first in foreign:
            with pytest.raises(Invalid) as refusal:
                search.search_events(asked, limit=2, cursor=text, newest_first=newest_first)
            assert (refusal.value.code, refusal.value.field) == ("invalid_cursor", "cursor")
        assert len(search.search_events(question, limit=2, cursor=cursor).documents) == 2

    def test_a_page_has_its_bounds(self) -> None:
        question = search.Question(("ir-1",), Everything())
        for limit in (0, -1, 1001):
            with pytest.raises(Invalid):
                search.search_events(question, limit=limit)


class TestCounts:
    """Histogram, terms and fields."""

    def test_buckets_and_undated_sum_to_the_total(self) -> None:
        events(a_case(), [record(number * 7000) for number in range(50)] + [record(99, timestamp=None)])
        question = search.frame(cases=_cases())
        for interval in ("auto", "second", "hour", "day", "week", "month", "year"):
            found = search.histogram(question, interval)
            assert sum(count for _, count in found.buckets) + found.undated == 51
            assert found.undated == 1
        with pytest.raises(Invalid):
            search.histogram(question, "fortnight")

    def test_terms_take_core_fields_and_attributes_by_either_name(self) -> None:
        hosts = [record(0, host="A"), record(1, host="A"), record(2, attributes={"EventID": 4624})]
        events(a_case(), hosts)
        question = search.frame(cases=_cases())
        found = search.terms(question, "host", 5)
        assert (found.buckets, found.other, found.missing) == ([("A", 2)], 0, 1)
        for name in ("EventID", "attributes.EventID"):
            assert search.terms(question, name).buckets == [("4624", 1)]
        for name, size in (("", 5), ("message", 5), ("timestamp", 5), ("host", 0), ("host", 1001)):
            with pytest.raises(Invalid):
                search.terms(question, name, size)

    def test_fields_are_those_that_events_have(self) -> None:
        events(a_case(), [record(0, attributes={"EventID": 4624}), record(1, attributes={"EventID": 1})])
        seen = {field.name: field for field in search.fields(_cases())}
        by_end = {name.removeprefix("attributes."): field for name, field in seen.items()}
        assert (by_end["EventID"].events, by_end["EventID"].type, by_end["EventID"].attribute) == (
            2,
            "number",
            True,
        )


class TestSource:
    """The bytes of a record."""

    def test_a_line_comes_back_as_it_stood_in_the_file(self) -> None:
        lines = [b'{"message": "one",  "datetime": "2024-03-01T00:00:00Z"}', b'{"message":"two\\u00e9"}']
        run = receive(a_case(), b"\n".join(lines) + b"\n", "a.jsonl").run
        assert run is not None
        assert tasks.perform_run(run.pk)
        assert TaskRun.objects.get().status == RunStatus.SUCCEEDED
        question = search.frame(cases=_cases(), q="")
        for event in search.export(question):
            document = search.get_event(_cases(), event["event_id"])
            wanted = lines[0] if event["message"] == "one" else lines[1]
            assert search.source_of(document).rstrip(b"\r\n") == wanted

    def test_a_posted_event_comes_back_as_posted(self) -> None:
        posted = services.post_events(case=a_case(), by=alice(), events=[{"message": "x", "EventID": 7}])
        assert posted.run is not None
        assert tasks.perform_run(posted.run.pk)
        (event,) = search.export(search.frame(cases=_cases()))
        source = json.loads(search.source_of(search.get_event(_cases(), event["event_id"])))
        assert (source["message"], source["attributes"]) == ("x", {"EventID": 7})

    def test_bytes_that_changed_or_went_are_refused(self) -> None:
        evidence = events(a_case(), [record(0)])
        (event,) = search.export(search.frame(cases=_cases()))
        document = search.get_event(_cases(), event["event_id"])
        for change in ({"sealed_at": None}, {"local_path": None}):
            Evidence.objects.filter(pk=evidence.pk).update(**change)
            with pytest.raises(Conflict) as refusal:
                search.source_of(document)
            assert refusal.value.code in ("source_unavailable", "not_sealed")
        Evidence.objects.all().delete()
        with pytest.raises(Missing):
            search.source_of(document)

    def test_what_is_no_event_id_is_missing(self) -> None:
        for name in ("", "x", "../..", "A" * 64, "0" * 64, "0" * 63 + "\n"):
            with pytest.raises(Missing):
                search.get_event(_cases(), name)


class TestDown:
    """An index that does not answer is a refusal everybody knows, and half an answer is none."""

    def test_a_damaged_index_is_unavailable_before_the_first_event(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a_case()
        question = search.frame(cases=_cases())

        def down(*args: Any, **kwargs: Any) -> Any:
            raise IndexUnavailable("The disk is gone.")

        asks: dict[str, Callable[[], Any]] = {
            "search": lambda: search.search_events(question, limit=1),
            "count": lambda: search.count_events(question),
            "histogram": lambda: search.histogram(question),
            "terms": lambda: search.terms(question, "host"),
            "fields": lambda: search.fields(_cases()),
            "get": lambda: search.get_event(_cases(), "0" * 64),
            "stream": lambda: search.export(question),
        }
        for name, ask in asks.items():
            monkeypatch.setattr(type(engine()), name, down)
            with pytest.raises(IndexDown) as refusal:
                ask()
            assert refusal.value.code == "index_unavailable"

    def test_an_export_that_fails_midway_raises(self, monkeypatch: pytest.MonkeyPatch) -> None:
        events(a_case(), [record(0), record(1)])
        stream = type(engine()).stream

        def breaking(*args: Any, **kwargs: Any) -> Iterator[Any]:
            yield next(iter(stream(*args, **kwargs)))
            raise IndexUnavailable("The disk is gone.")

        monkeypatch.setattr(type(engine()), "stream", breaking)
        exported = search.export(search.frame(cases=_cases()))
        assert next(exported)["position"] == "line 1"
        with pytest.raises(IndexDown):
            next(exported)


def test_a_question_made_by_hand_binds_its_cursors_too() -> None:
    events(a_case(), [record(number) for number in range(3)])
    question = search.Question(("ir-2024-001",), Everything())
    cursor = search.search_events(question, limit=1).next_cursor or ""
    assert len(search.search_events(question, limit=1, cursor=cursor).documents) == 1
    with pytest.raises(search.CursorRefused):
        search.search_events(replace(question, query=Nothing()), limit=1, cursor=cursor)
