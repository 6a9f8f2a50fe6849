"""What `tag:`, `starred:` and `comment:` find, against a plain reading of documents and annotations."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cases import annotated, search, services
from cases.engines import engine
from cases.index.matching import compile_test
from cases.index.query import parse
from cases.index.tree import And, Annotated, Everything, Node, Not, Nothing, Or
from cases.models import Annotation, Case, CustodyEntry, Evidence
from cases.tests.api.cast import events, person, record, staffed_case
from cases.tests.cast import actions, alice

pytestmark = pytest.mark.django_db

TAGS = ("C2", "c2", "Lateral Movement", "émile", "007", "7.0", "x*y", "a/b")
COMMENTS = ("Exfil over DNS.", "exfiltration? two words", "Zwei Wörter", "07", "powershell -enc", "a.b\nc")
LEAVES = (
    "tag:c2", "tag:C2", "tag:7", "tag:lat*", 'tag:"lateral movement"', "tag:/[cé].*/", "tag:x\\*y",
    "_exists_:tag",
    "tag:nothing", "tag:(c2 OR 7)", "tag:(c2 AND 7)", "tags:c2", "starred:true", "starred:false",
    "comment:exfil",
    'comment:"two words"', 'comment:"two words"~2', "comment:exfil*", "comment:/dns\\.$/", "comment:wörter",
    "_exists_:comment", "comment:7", "odd", "message:even", "NOT tag:c2", "comment:nothing",
)  # fmt: skip


def meant(node: Node, document: dict[str, Any]) -> bool:
    """Whether a document with its annotations meets a query, read plainly."""
    match node:
        case And(children):
            return all(meant(child, document) for child in children)
        case Or(children):
            return any(meant(child, document) for child in children)
        case Not(child):
            return not meant(child, document)
        case Annotated("starred"):
            return any(said["star"] for said in document["annotations"])
        case Annotated("tag", child):
            tags = [tag for said in document["annotations"] for tag in said["tags"]]
            return compile_test(child)({**document, "tags": [*document["tags"], *tags]})
        case Annotated("comment", child):
            comments = [said["comment"] for said in document["annotations"] if said["comment"]]
            return compile_test(child)({**document, "comment": comments})
        case _:
            return compile_test(node)(document)


def a_case(case_id: str, chance: random.Random, number: int = 60) -> Case:
    """Return a case in which several people have said this and that."""
    case = staffed_case(case_id)
    records = [
        record(n, "odd" if n % 2 else "even", tags=chance.sample(TAGS, chance.choice((0, 0, 1))))
        for n in range(number)
    ]
    evidence = events(case, records).evidence_uid
    for document in found(case):
        for who in chance.sample(("alice", "dana"), chance.choice((0, 1, 1, 2))):
            tags = chance.sample(TAGS, chance.choice((0, 1, 3)))
            comment = chance.choice(("", *COMMENTS))
            star = chance.random() < 0.3 or not (tags or comment)
            services.annotate(
                case=case, by=person(who), event_id=document["event_id"], evidence_uid=evidence,
                tags=tags, star=star, comment=comment,
            )  # fmt: skip
    return case


def found(*cases: Case, q: str = "") -> list[dict[str, Any]]:
    scope = Case.objects.filter(pk__in=[case.pk for case in cases])
    return list(search.export(search.frame(cases=scope, q=q)))


def stored(case: Case) -> list[dict[str, Any]]:
    """Return the events as the index keeps them."""
    return list(engine().stream(case_ids=[case.case_id], query=Everything()))


def ids(*cases: Case, q: str = "") -> list[tuple[str, str]]:
    return sorted((document["case_id"], document["event_id"]) for document in found(*cases, q=q))


def queries(chance: random.Random) -> list[str]:
    """Return every leaf alone, and combinations of them."""
    made = list(LEAVES)
    for _ in range(40):
        left, right = chance.sample(LEAVES, 2)
        made.append(f"{chance.choice(('', 'NOT '))}({left} {chance.choice(('AND', 'OR'))} {right})")
    return made


def check(*cases: Case, chance: random.Random) -> None:
    every = found(*cases)
    for q in queries(chance):
        wanted = parse(q)
        expected = sorted((event["case_id"], event["event_id"]) for event in every if meant(wanted, event))
        assert ids(*cases, q=q) == expected, q


def test_every_query_finds_what_a_plain_reading_finds_also_after_changes() -> None:
    chance = random.Random(11)
    case = a_case("ir-1", chance)
    check(case, chance=chance)
    for annotation in chance.sample(list(Annotation.objects.all()), 20):
        if chance.random() < 0.5:
            services.remove_annotation(annotation=annotation, by=alice(), manages=True)
        else:
            changes = {"tags": chance.sample(TAGS, 1), "comment": chance.choice(COMMENTS)}
            services.change_annotation(annotation=annotation, by=alice(), manages=True, **changes)
    check(case, chance=chance)


def test_an_annotation_counts_in_its_own_case_even_where_evidence_is_the_same() -> None:
    """The same bytes in two cases give events of the same ids."""
    chance = random.Random(5)
    first, second, third = a_case("ir-1", chance, 20), staffed_case("ir-2"), a_case("ir-3", chance, 5)
    evidence = Evidence.objects.get(case=first)
    twin = events(second, [record(0)])
    Evidence.objects.filter(pk=twin.pk).update(sha256=evidence.sha256)
    own = {"case_id": second.case_id, "evidence_uid": twin.evidence_uid}
    with engine().writer(case_id=second.case_id, shard=twin.evidence_uid, run="twin") as writer:
        writer.add([{**document, **own} for document in stored(first)])
        writer.seal()
        engine().publish(case_id=second.case_id, shard=twin.evidence_uid, run="twin")
    assert [event_id for _, event_id in ids(first)] == [event_id for _, event_id in ids(second)]
    check(first, second, third, chance=chance)


def test_what_is_asked_again_is_not_read_again_until_something_changes(
    django_assert_num_queries: Any,
) -> None:
    case = a_case("ir-1", random.Random(3), 10)
    scope = Case.objects.filter(pk=case.pk)
    search.frame(cases=scope, q="tag:c2")
    with django_assert_num_queries(2):  # the cases, and how far their annotations have come
        search.frame(cases=scope, q="tag:c2")
    with django_assert_num_queries(1):
        search.frame(cases=scope, q="c2")


def test_no_annotations_are_nothing_and_cost_nothing() -> None:
    case = staffed_case()
    scope = Case.objects.filter(pk=case.pk)
    assert annotated.resolve(parse("starred:true"), scope, several=False) == Nothing()
    assert annotated.resolve(parse("starred:false"), scope, several=False) == Not(Nothing())
    assert annotated.resolve(Everything(), scope, several=False) == Everything()


def test_they_outlive_another_reading_and_are_kept_when_it_yields_the_event_no_more() -> None:
    case = staffed_case()
    evidence = events(case, [record(0), record(1)])
    kept, lost = (document["event_id"] for document in found(case))
    for event_id in (kept, lost):
        services.annotate(
            case=case, by=alice(), event_id=event_id, evidence_uid=evidence.evidence_uid, tags=["x"]
        )
    assert ids(case, q="tag:x") == ids(case)
    engine().renew(case_id=case.case_id)
    shard, documents = (
        evidence.evidence_uid,
        list(engine().stream(case_ids=[case.case_id], query=Everything())),
    )
    for run, again in (("again", documents), ("less", documents[:1]), ("all", documents)):
        with engine().writer(case_id=case.case_id, shard=shard, run=run) as writer:
            writer.add(again)
            writer.seal()
            engine().publish(case_id=case.case_id, shard=shard, run=run)
        assert len(ids(case, q="tag:x")) == len(again)
        assert Annotation.objects.count() == 2


def test_they_go_with_their_evidence_and_the_record_says_how_many() -> None:
    case = staffed_case()
    evidence, other = events(case, [record(0), record(1)]), events(case, [record(2)])
    for document in found(case):
        services.annotate(
            case=case,
            by=alice(),
            event_id=document["event_id"],
            evidence_uid=document["evidence_uid"],
            tags=["x"],
        )
    services.delete_evidence(evidence=evidence, by=alice())
    assert [event["evidence_uid"] for event in found(case, q="tag:x")] == [other.evidence_uid]
    assert Annotation.objects.get().evidence_uid == other.evidence_uid
    assert "evidence.deleted" in actions(case)
    assert CustodyEntry.objects.get(action="evidence.deleted").details["annotations"] == 2
