"""Every id in addresses, bodies and queries, swapped for one of somebody else, of nothing, and for worse."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

import pytest
from pytest_django import Settings

from cases import services
from cases.models import Case
from cases.tests.api.cast import person
from datamortem.tests.asks import Ask, ask_of
from datamortem.tests.matrix import Line, Shown, leaks, lines, openapi, send
from datamortem.tests.policy import CASE, CASE_PAGE, EVIDENCE, OK, PUBLIC, answer_for
from datamortem.tests.stored import everything
from datamortem.tests.world import FOREIGN, MARK, OTHER, RESTRICTED, SECRETS, World, make_world

pytestmark = pytest.mark.django_db

HOSTILE: Final = ("*", "%", "' OR 1=1 --", "..", "\x00", "x" * 5000, str(2**63), "-1")
_FEW: Final = ("*", "\x00", str(2**63))
#: Ids of nothing, by name; any other is NOTHING.
NOTHING: Final = "0" * 64
NOTHING_BY_NAME: Final = {
    "session_id": "00000000-0000-4000-8000-000000000000",
    **dict.fromkeys(("run_id", "user_id", "team_id", "token_id", "invitation_id", "id"), "999999999"),
    **dict.fromkeys(("annotation_id", "batch_id", "search_id"), "999999999"),
}
#: Members of a case are people of the whole platform, and admins look after all of them.
_ANYBODY: Final = ("user_id", "team_id", "id", "key")
_CHANGES: Final = re.compile(r'"took_ms":\d+|"(?:next|previous)(?:_cursor)?":"[^"]*"|csrf\w*" value="\w+"')


@pytest.fixture
def world(settings: Settings) -> World:
    settings.REGISTRATION = "open"
    return make_world(("stranger", "lead", "bound_token", "admin", "superadmin", "outside"))


def comparable(shown: Shown, *said: str) -> tuple[int, str]:
    """Return an answer without what it repeats of the request, and without time."""
    body = _CHANGES.sub("", shown.body)
    for text in said:
        body = body.replace(text, "?") if len(text) > 5 else body  # a number may stand for anything
    return shown.status, body


def about_ids(only: str = "") -> Iterator[tuple[Line, str]]:
    """Yield every line with an id in its address, and the name of the id."""
    for line in lines(only):
        for name in line.parameters:
            yield line, name


def nothing(name: str) -> str:
    """Return an id of this kind that nothing has."""
    return NOTHING_BY_NAME.get(name, NOTHING)


def test_a_case_of_others_gives_the_answer_of_no_case(world: World) -> None:
    assert [
        wrong for actor in ("stranger", "bound_token", "outside") for wrong in told_apart(world, actor)
    ] == []


def told_apart(world: World, actor: str) -> list[str]:
    """Return where a case that an actor does not see is told from one that is not there."""
    own = world.ids_of(actor)
    none = {name: nothing(name) for name in own if name != "key"}
    wrong = []
    for line in lines():
        expected = answer_for(actor, line.level, line.method)
        if "case_id" in line.parameters and expected == 404:
            theirs = send(world, actor, line, ids={"case_id": own["case_id"]})
            if comparable(theirs) != comparable(send(world, actor, line, ids=none)) or theirs.status != 404:
                wrong.append(f"{line}: {theirs.status}")
    return wrong


def test_what_is_elsewhere_is_not_reached_through_ones_own(world: World) -> None:
    """An id of another case, or of another account, is no id: not even for those who see both."""
    assert [wrong for actor in ("lead", "superadmin") for wrong in reached(world, actor)] == []


def reached(world: World, actor: str, only: str = "") -> list[str]:
    """Return which ids of others do something, on the lines whose text holds `only`."""
    wrong = []
    for line, name in about_ids(only):
        if answer_for(actor, line.level, line.method) != OK or line.route.startswith("admin/"):
            continue
        if (name in _ANYBODY and line.parameters == [name]) or (name == "case_id" and actor == "superadmin"):
            continue
        there, none = world.foreign[name], nothing(name)
        theirs, nobodys = (send(world, actor, line, ids={name: value}) for value in (there, none))
        if theirs.status != 404 or comparable(theirs, there) != comparable(nobodys, none):
            wrong.append(f"{name} of {line}: {theirs.status}, and {nobodys.status} for nothing")
        wrong += [f"{name} of {line} tells {secret}" for secret in leaks(theirs, actor)]
    return wrong


def test_ids_that_are_meant_badly_find_nothing_and_break_nothing(world: World) -> None:
    wrong = []
    for line, name in about_ids():
        if line.route.startswith("admin/") and not line.route.endswith(("change/", "act/", "password/")):
            continue  # the others look a row up in the same way
        actor = "superadmin" if line.level.startswith(("admins", "superadmins", "staff")) else "lead"
        expected = answer_for(actor, line.level, line.method)
        for value in _FEW if line.route.startswith("admin/") else HOSTILE:
            shown = send(world, actor, line, ids={name: value, "object_id": value})
            fits = 400 <= shown.status < 500 or (shown.status == 302 and line.route.startswith("admin/"))
            public = expected == OK and line.level == PUBLIC
            if not (fits or public) or shown.status >= 500:
                wrong.append(f"{name}={value[:20]!r} of {line}: {shown.status}")
            wrong += [f"{name}={value[:20]!r} of {line} tells {secret}" for secret in leaks(shown, actor)]
    assert wrong == []


_ACT: Final = "POST admin/cases/case/<path:object_id>/act/"
_POST: Final = f"POST {CASE}events/"
#: Bodies that speak of things by id, beside those of `asks`, and who sends them.
BODIES: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("lead", "POST api/v1/auth/api-tokens/", {"name": "n", "cases": ["{case_id}"]}),
    ("lead", "POST api/v1/auth/api-tokens/", {"name": "n", "scopes": ["read", "case:{case_id}"]}),
    ("lead", "POST account/tokens/new/", {"name": "n", "scope": "read", "days": "7", "cases": "{case_id}"}),
    ("lead", f"POST {CASE}teams/", {"team": "{team_id}0000"}),
    ("lead", _POST, {"message": "n", "case_id": "{case_id}"}),
    ("lead", _POST, {"message": "n", "evidence_uid": "{evidence_uid}"}),
    ("lead", _POST, {"message": "n", "event_id": "{event_id}"}),
    ("lead", f"POST {CASE}annotations/", {"event_id": "{event_id}", "tags": ["n"]}),
    ("lead", f"POST {CASE}annotations/bulk/", {"evidence": ["{evidence_uid}"], "tags": ["n"]}),
    ("lead", f"POST {CASE}annotations/bulk/", {"q": "case_id:{case_id}", "tags": ["n"]}),
    ("lead", f"POST {EVIDENCE}runs/", {"module": "jsonl", "options": {"evidence": "{evidence_uid}"}}),
    ("superadmin", _ACT, {"do": "run-again", "to": "{evidence_uid}"}),
    ("superadmin", _ACT, {"do": "cancel", "to": "{run_id}"}),
    ("superadmin", _ACT, {"do": "retry", "to": "{failed_run_id}"}),
)


def test_ids_in_bodies_are_looked_for_among_ones_own(world: World) -> None:
    for actor, where, body in BODIES:
        look_for_ids_in(world, actor, where, body)


def look_for_ids_in(world: World, actor: str, where: str, body: dict[str, Any]) -> None:
    (line,) = (line for line in lines(where) if str(line) == where)
    (name,) = re.findall(r"\{(\w+)\}", str(body))
    asked = Ask(_renamed(body, name), form="api/" not in where)
    here = {each: world.ids[each] for each in line.parameters if each in world.ids}
    here["object_id"] = world.ids["cases/case"]
    before = _others(world)
    there, none = world.foreign[name], nothing(name)
    seen = {}
    for value in (there, none, world.restricted[name], *HOSTILE):
        after: list[object] = []
        ids = {**here, "swapped": value}
        seen[value] = send(world, actor, line, asked, ids, then=partial(_keep_others, world, after))
        assert seen[value].status < 500
        assert after == [before], "something of another case was changed"
        assert leaks(seen[value], actor) == []
    assert comparable(seen[there], there) == comparable(seen[none], none)


def _renamed(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {each: _renamed(held, name) for each, held in value.items()}
    if isinstance(value, list):
        return [_renamed(held, name) for held in value]
    return value.replace("{" + name + "}", "{swapped}")


def _keep_others(world: World, after: list[object], _: object) -> None:
    after.append(_others(world))


def _others(world: World) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the foreign and the restricted case."""
    theirs = {*world.foreign.values(), *world.restricted.values()} - {""}
    named = ("case_id", "evidence_uid", "event_id")
    return {
        model: [row for row in rows if any(row.get(name) in theirs for name in named)]
        for model, rows in everything().items()
    }


def test_the_sign_in_of_somebody_else_is_not_ended_by_its_refresh_token(world: World) -> None:
    line = next(line for line in lines() if line.route == "api/v1/auth/logout/")
    before, after = everything()["AuthSession"], []
    asked = Ask({"refresh": world.foreign["refresh"]})
    send(world, "lead", line, asked, then=lambda _: after.append(everything()["AuthSession"]))
    assert after == [before]


def test_an_answer_that_was_kept_for_somebody_is_given_to_nobody_else(world: World) -> None:
    line = next(line for line in lines() if str(line) == "POST api/v1/cases/")
    asked = Ask({"title": SECRETS[OTHER]}, headers={"Idempotency-Key": "one-key"})
    seen: dict[str, Shown] = {}

    def again(_: Shown) -> None:
        seen.update({actor: send(world, actor, line, asked) for actor in ("lead", "stranger", "admin")})

    first = send(world, "lead", line, asked, then=again)
    assert first.status == 201
    assert seen["lead"].body == first.body
    for actor in ("stranger", "admin"):
        assert (seen[actor].status, seen[actor].body == first.body) == (201, False)


#: What stands for a thing of others in a query, by the name of the parameter.
ELSEWHERE: Final = {"case": "case_id", "evidence": "evidence_uid", "cursor": "cursor"}
#: What is no parameter anywhere, and would widen a list if it were one.
WIDENING: Final = (
    "case_id",
    "owner",
    "user",
    "user_id",
    "evidence__case",
    "visible_to",
    "all",
    "admin",
    "find__regex",
)
_QUESTIONS: Final = (
    "case_id:{case_id}",
    "evidence_uid:{evidence_uid}",
    "_exists_:message OR case_id:{case_id}",
    f"message:{MARK}* OR NOT case_id:x",
    "case_id:* OR *",
    "/.*/",
)


def parameters_of() -> Iterator[tuple[Line, list[str]]]:
    """Yield every GET line of the API, and the parameters that the OpenAPI document names."""
    paths = openapi()["paths"]
    for line in lines("GET api/v1/"):
        documented = paths.get("/" + re.sub(r"<\w+:(\w+)>", r"{\1}", line.route), {}).get("get", {})
        queries = [each["name"] for each in documented.get("parameters", ()) if each["in"] == "query"]
        yield line, queries


@pytest.mark.parametrize("actor", ["lead", "bound_token"])
def test_no_parameter_of_a_list_leads_out_of_ones_own(world: World, actor: str) -> None:
    assert led_out(world, actor) == []


def led_out(world: World, actor: str, only: str = "") -> list[str]:
    """Return which parameters show what is of others, or tell it from nothing."""
    wrong = []
    ids, hostile = ({"case_id": OTHER}, ()) if actor == "bound_token" else ({}, _FEW)
    for line, names in parameters_of():
        if only not in str(line) or answer_for(actor, line.level, "GET") not in (OK, 404):
            continue
        for name in names:
            there = world.foreign.get(ELSEWHERE.get(name, ""), MARK)
            given = [there, world.restricted.get(ELSEWHERE.get(name, ""), MARK), *hostile]
            given += [text.format_map(world.foreign) for text in _QUESTIONS] if name == "q" else []
            for value in given:
                shown = send(world, actor, line, _with(line, {name: value}), ids)
                if shown.status >= 500:
                    wrong.append(f"{line}?{name}={value[:20]!r}: {shown.status}")
                wrong += [f"{line}?{name}={value[:20]!r} tells {told}" for told in leaks(shown, actor)]
            if name in ("case", "evidence"):
                theirs = send(world, actor, line, _with(line, {name: there}), ids)
                nobodys = send(world, actor, line, _with(line, {name: NOTHING}), ids)
                if comparable(theirs, there) != comparable(nobodys, NOTHING):
                    wrong.append(f"{line}?{name}= of others is told from nothing")
    return wrong


def _with(line: Line, query: Mapping[str, str]) -> Ask:
    # Ids may hold braces; here nothing is to be filled in.
    usual = ask_of(line.method, line.route).query
    return Ask(
        query={name: value.replace("{", "").replace("}", "") for name, value in {**usual, **query}.items()}
    )


def test_a_parameter_that_no_list_has_is_refused(world: World) -> None:
    wrong = []
    for line, names in parameters_of():
        if answer_for("superadmin", line.level, "GET") == OK and line.level != PUBLIC:
            for name in WIDENING:
                shown = send(world, "superadmin", line, _with(line, {name: FOREIGN}))
                if name not in names and (shown.status, shown.code) != (400, "unknown_parameter"):
                    wrong.append(f"{line}?{name}=: {shown.status} {shown.code}")
    assert wrong == []


def test_pages_show_nothing_of_others_whatever_is_asked(world: World) -> None:
    wrong = []
    for line in lines("GET "):
        if line.route and line.level != CASE_PAGE:
            continue
        for name in (
            "q",
            "find",
            "before",
            "evidence",
            "source",
            "from",
            "to",
            "cursor",
            "case",
            "next",
            "size",
        ):
            for value in (
                world.foreign["evidence_uid"],
                FOREIGN,
                world.foreign["cursor"],
                MARK,
                *HOSTILE[:7],
            ):
                shown = send(world, "lead", line, _with(line, {name: value}))
                if shown.status >= 500 or leaks(shown, "lead"):
                    wrong.append(f"{line}?{name}={value[:20]!r}: {shown.status} {leaks(shown, 'lead')}")
    assert wrong == []


def test_lists_of_the_admin_show_nothing_of_a_restricted_case(world: World) -> None:
    wrong = []
    asked = (
        {"q": SECRETS[RESTRICTED]}, {"q": MARK}, {"q": RESTRICTED}, {"all": "1"}, {"case_id": RESTRICTED},
        {"case__case_id": RESTRICTED}, {"evidence__case__title__startswith": MARK}, {"restricted": "1"},
        {"id": world.restricted["cases/case"]}, {"run__evidence__case__case_id": RESTRICTED},
    )  # fmt: skip
    for line in lines("GET admin/"):
        if re.fullmatch(r"admin/\w+/\w+/", line.route):
            for query in asked:
                shown = send(world, "superadmin", line, Ask(query=query))
                told = [secret for secret in leaks(shown, "superadmin") if secret not in str(query)]
                if shown.status >= 500 or told:
                    wrong.append(f"{line}?{query}: {shown.status} {told}")
    assert wrong == []


_ACTIONS: Final = (("case", "close"), ("evidence", "run_again"), ("taskrun", "cancel"), ("taskrun", "retry"))


def test_actions_on_many_pass_over_what_is_not_seen(world: World) -> None:
    before = _others(world)
    for model, action in _ACTIONS:
        where = f"POST admin/cases/{model}/"
        (line,) = (line for line in lines(where) if str(line) == where)
        for chosen in (world.restricted[f"cases/{model}"], *HOSTILE):
            asked = Ask({"action": action, "_selected_action": chosen, "select_across": "0"}, form=True)
            after: list[object] = []
            shown = send(world, "superadmin", line, asked, then=partial(_keep_others, world, after))
            assert shown.status < 500, (where, chosen)
            assert after == [before], (where, chosen)


def test_a_star_is_no_case(world: World) -> None:
    everywhere = next(line for line in lines() if str(line) == "GET api/v1/events/")
    for actor in ("stranger", "bound_token", "superadmin"):
        for line in lines("GET api/v1/"):
            if "case_id" in line.parameters and answer_for(actor, line.level, "GET") in (OK, 404):
                assert send(world, actor, line, ids={"case_id": "*"}).status == 404, line
        for value in ("*", "ir-*", "_all", "ir-secret,ir-foreign", ""):
            assert send(world, actor, everywhere, Ask(query={"case": value})).status == 404, value


def test_a_case_that_is_called_star_holds_its_own_events_alone(world: World) -> None:
    """The old system took any text for an id of a case, and a star for all of them."""
    stranger = person("stranger")
    case = Case.objects.create(case_id="*", owner=stranger)
    services.post_events(case=case, by=stranger, events=[{"message": "one"}])
    for line in lines("GET api/v1/"):
        if "case_id" in line.parameters and "events" in line.route:
            assert leaks(send(world, "stranger", line, ids={"case_id": "*"}), "stranger") == [], line
    found = next(line for line in lines() if str(line) == f"GET {CASE}events/")
    assert '"total":0' in send(world, "stranger", found, ids={"case_id": "*"}).body
    everywhere = next(line for line in lines() if str(line) == "GET api/v1/events/")
    assert '"total":0' in send(world, "stranger", everywhere, Ask(query={"case": "*"})).body
