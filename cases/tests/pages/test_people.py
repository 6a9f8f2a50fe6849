"""What the pages let people add: stars, tags, comments, many at once, saved searches."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from cases import services
from cases.models import Annotation, AnnotationBatch, Case, SavedSearch
from cases.tests.api.cast import events, person, record, staffed_case
from cases.tests.cast import actions

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert(1)</script>\u202e"


@pytest.fixture
def case() -> Case:
    case = staffed_case()
    events(case, [record(n, f"{'odd' if n % 2 else 'even'} {n}") for n in range(6)])
    return case


def browser(name: str) -> Client:
    """A browser in which somebody is signed in."""
    client = Client()
    client.force_login(person(name))
    return client


def timeline(case: Case, who: str = "dana", **asked: str) -> Any:
    return browser(who).get(reverse("timeline", args=[case.case_id]), asked)


def ids(case: Case) -> list[str]:
    """The ids of the events, the newest first."""
    return [row.event["event_id"] for row in timeline(case).context["shown"].rows]


def send(case: Case, address: str, *ids: Any, who: str = "dana", at: str = "", **form: Any) -> Any:
    return browser(who).post(reverse(address, args=[case.case_id, *ids]) + at, form, follow=True)


def test_tags_star_and_comment_are_added_on_the_page_of_an_event(case: Case) -> None:
    event = ids(case)[0]
    page = send(case, "annotate", event, at="?q=odd", tags="c2, Lateral Movement,", comment=f"look {HOSTILE}")
    assert page.redirect_chain == [(reverse("event", args=[case.case_id, event]) + "?q=odd#annotations", 302)]
    text = page.content.decode()
    assert "Lateral Movement" in text
    assert "<script>" not in text
    assert "\u202e" not in text
    (annotation,) = Annotation.objects.all()
    assert (annotation.tags, annotation.star, annotation.author) == (
        ["c2", "Lateral Movement"],
        False,
        person("dana"),
    )
    assert f"{reverse('timeline', args=[case.case_id])}?q=odd+AND+tag%3A%22Lateral+Movement%22" in text
    gone = send(case, "remove-annotation", event, annotation.pk)
    assert "The annotation is gone" in gone.content.decode()
    assert not Annotation.objects.exists()


def test_a_star_is_given_and_taken_back_where_it_stands(case: Case) -> None:
    event, asked = ids(case)[0], "?q=odd&limit=25"
    page = send(case, "star", event, at=asked, to="timeline")
    assert page.redirect_chain[0][0] == f"{reverse('timeline', args=[case.case_id])}{asked}#event-{event}"
    assert page.context["shown"].rows[0].own_star
    assert 'aria-pressed="true"' in page.content.decode()
    others = timeline(case, "alice").context["shown"].rows[0]
    assert (others.starred, others.own_star) == (True, False)
    back = send(case, "star", event, to="")
    assert back.redirect_chain[0][0].endswith(f"/events/{event}/?#annotations")
    assert not back.context["said"].starred
    assert actions(case)[-2:] == ["annotation.added", "annotation.removed"]


def test_taking_a_star_back_leaves_what_else_was_said(case: Case) -> None:
    event = ids(case)[0]
    send(case, "annotate", event, tags="c2", star="on")
    send(case, "star", event)
    (annotation,) = Annotation.objects.all()
    assert (annotation.star, annotation.tags) == (False, ["c2"])


def test_all_that_a_search_finds_is_annotated_and_undone(case: Case) -> None:
    page = send(case, "annotate-all", at="?q=odd", tags="half", comment="all of these", star="on", limit="3")
    assert "3 events are annotated." in page.content.decode()
    rows = timeline(case).context["shown"].rows
    assert [row.tags for row in rows] == [["half"], []] * 3
    assert [row.comments for row in rows] == [["all of these"], []] * 3
    batch = AnnotationBatch.objects.get()
    assert "3 annotations are gone." in send(case, "undo-batch", batch.pk).content.decode()
    assert not Annotation.objects.exists()
    assert "was undone before" in send(case, "undo-batch", batch.pk).content.decode()


@pytest.mark.parametrize(
    ("at", "form", "told"),
    [
        ("?q=odd", {"limit": "3"}, "has a tag, a star or a comment"),
        ("?q=odd", {"limit": "2", "tags": "x"}, "3 events match"),
        ("?q=%28", {"limit": "3", "tags": "x"}, "never closed"),
        ("?query=odd", {"limit": "3", "tags": "x"}, "No filter is called"),
        ("?q=odd", {"limit": "3", "tags": "x" * 101}, "1 to 100 characters"),
    ],
)
def test_what_is_refused_is_told_and_nothing_is_done(case: Case, at: str, form: Any, told: str) -> None:
    assert told in send(case, "annotate-all", at=at, **form).content.decode()
    assert not Annotation.objects.exists()


def test_a_search_is_saved_chosen_and_removed(case: Case) -> None:
    page = send(case, "save-search", at="?q=odd&from=2024-03-01", name="Odd ones")
    (kept,) = page.context["people"].searches
    assert (kept.search.name, kept.address, kept.removable) == ("Odd ones", "?q=odd&from=2024-03-01", True)
    assert timeline(case, "bob").context["people"].searches[0].removable is False
    again = send(case, "save-search", at="?q=even", name="Odd ones")
    assert "a search called Odd ones already" in again.content.decode()
    assert "never closed" in send(case, "save-search", at="?q=%28", name="bad").content.decode()
    send(case, "remove-search", kept.search.pk)
    assert not SavedSearch.objects.exists()
    assert actions(case)[-2:] == ["search.saved", "search.removed"]


def test_readers_see_all_of_it_and_are_offered_nothing(case: Case) -> None:
    event = ids(case)[0]
    send(case, "annotate", event, tags="c2", comment="look", star="on")
    for page in (timeline(case, "bob"), browser("bob").get(reverse("event", args=[case.case_id, event]))):
        text = page.content.decode()
        assert ("c2" in text, "look" in text, "starred" in text) == (True, True, True)
        assert text.count('<form method="post"') == text.count('<button class="plain">Sign out') == 1
        assert "formaction" not in text
    assert send(case, "annotate", event, who="bob", tags="x").status_code == 403
    assert send(case, "star", event, who="charlie").status_code == 404


def test_what_others_said_is_removed_by_leads_alone(case: Case) -> None:
    services.add_member(case=case, user=person("erin"), role="analyst", by=case.owner)
    event = ids(case)[0]
    send(case, "annotate", event, tags="c2")
    pk = Annotation.objects.get().pk
    assert send(case, "remove-annotation", event, pk, who="erin").status_code == 403
    other = ids(case)[1]
    assert send(case, "remove-annotation", other, pk, who="alice").status_code == 404
    assert send(case, "remove-annotation", event, pk, who="alice").status_code == 200
    assert not Annotation.objects.exists()


def test_a_closed_case_offers_no_forms_and_refuses_them(case: Case) -> None:
    event = ids(case)[0]
    Case.objects.filter(pk=case.pk).update(status="closed")
    assert not timeline(case).context["people"].may_write
    assert "is closed" in send(case, "annotate", event, tags="x").content.decode()
    assert not Annotation.objects.exists()


def test_only_a_form_of_ours_changes_anything(case: Case) -> None:
    event = ids(case)[0]
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("dana"))
    address = reverse("star", args=[case.case_id, event])
    assert client.post(address).status_code == 403
    assert client.get(address).status_code == 405
    assert not Annotation.objects.exists()
