"""One refresh token used by many at once, and late; sign-ins ended while they are being renewed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Final

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import second_factor, sessions, tokens
from accounts.models import AuditEntry, AuthSession, SpentChallenge, User
from accounts.tests.phone import enrolled, set_clock
from accounts.tests.races import at_once
from accounts.tests.served import served
from cases.tests.api.cast import V1, person

pytestmark = pytest.mark.django_db(transaction=True)

ME, REFRESH, VERIFY = f"{V1}/me/", f"{V1}/auth/refresh/", f"{V1}/auth/login/verify/"
RACED: Final = (401, "refresh_raced")
ENDED: Final = (401, "invalid_token")


def _said(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"] if answer.status_code >= 400 else ""


def _renew(refresh: str) -> Any:
    return APIClient().post(REFRESH, {"refresh": refresh}, format="json")


def _enters(access: str) -> bool:
    return APIClient().get(ME, HTTP_AUTHORIZATION=f"Bearer {access}").status_code == 200


def _let_it_be_late() -> None:
    AuthSession.objects.update(rotated_at=timezone.now() - tokens.GRACE - timedelta(seconds=1))


def test_of_twenty_uses_of_a_refresh_token_at_once_one_succeeds_and_the_sign_in_goes_on() -> None:
    pair = tokens.issue(person("alice"))
    answers = at_once(20, lambda: _renew(pair.refresh))
    assert Counter(map(_said, answers)) == {(200, ""): 1, RACED: 19}
    (won,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert _enters(won["access"])
    assert _enters(pair.access)
    assert _said(_renew(pair.refresh)) == RACED
    assert _renew(won["refresh"]).status_code == 200
    assert AuthSession.objects.get().revoked_at is None


def test_so_it_is_with_several_processes() -> None:
    pair = tokens.issue(person("alice"))
    with served() as site, ThreadPoolExecutor(20) as pool:
        for _ in range(3):
            refresh = pair.refresh
            answers = list(
                pool.map(lambda _, held=refresh: site.ask("POST", REFRESH, {"refresh": held}), range(20))
            )
            assert Counter(status for status, _, _ in answers) == {200: 1, 401: 19}
            refusals = [body["errors"][0]["code"] for status, body, _ in answers if status == 401]
            assert set(refusals) == {"refresh_raced"}
            (won,) = [body for status, body, _ in answers if status == 200]
            assert site.ask("GET", ME, headers={"Authorization": f"Bearer {won['access']}"})[0] == 200
            pair = tokens.Pair(won["access"], won["refresh"], pair.access_expires_at)
    assert AuthSession.objects.get().revoked_at is None


def test_a_refresh_token_used_late_ends_its_sign_in_and_no_other() -> None:
    alice = person("alice")
    first, other = tokens.issue(alice), tokens.issue(alice)
    second = tokens.renew(first.refresh)
    _let_it_be_late()
    assert _said(_renew(first.refresh)) == ENDED
    for pair in (first, second):
        assert not _enters(pair.access)
        assert _said(_renew(pair.refresh)) == ENDED
    assert _enters(other.access)
    assert _renew(other.refresh).status_code == 200
    assert AuthSession.objects.exclude(revoked_at=None).get().revoked_reason == "refresh token used twice"


def test_one_that_is_older_than_the_last_ends_it_at_once() -> None:
    first = tokens.issue(person("alice"))
    third = tokens.renew(tokens.renew(first.refresh).refresh)
    assert _said(_renew(first.refresh)) == ENDED
    assert _said(_renew(third.refresh)) == ENDED
    assert not _enters(third.access)


def test_a_late_use_by_many_at_once_ends_it_once() -> None:
    first = tokens.issue(person("alice"))
    tokens.renew(first.refresh)
    _let_it_be_late()
    assert Counter(_said(answer) for answer in at_once(20, lambda: _renew(first.refresh))) == {ENDED: 20}
    assert AuditEntry.objects.filter(action="session.ended").count() == 1


ENDINGS: Final[dict[str, Callable[[User, AuthSession], object]]] = {
    "everywhere": lambda user, _: sessions.end_all(user, reason="test", by=user),
    "this one": lambda user, session: sessions.end(session, reason="test", by=user),
    "switched off": lambda user, _: User.objects.filter(pk=user.pk).update(is_active=False),
    "deleted": lambda user, _: User.objects.get(pk=user.pk).delete(),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_survives_the_end_of_a_sign_in_that_is_being_renewed(ending: str) -> None:
    alice = person("alice")
    pair = tokens.issue(alice)
    session = AuthSession.objects.get()
    got: list[tokens.Pair] = [pair]

    def renew_on_and_on() -> None:
        held = pair
        for _ in range(15):
            try:
                held = tokens.renew(held.refresh)
            except (tokens.InvalidToken, tokens.RefreshRaced):
                return
            got.append(held)

    def end() -> object:
        return ENDINGS[ending](alice, session)

    acts: Iterator[Callable[[], object]] = iter([renew_on_and_on, renew_on_and_on, end])

    def act() -> object:
        return next(acts)()

    at_once(3, act)
    for pair in got:
        assert not _enters(pair.access)
        assert _said(_renew(pair.refresh)) == ENDED


def test_sign_ins_begun_while_all_are_ended_are_ended_or_new() -> None:
    alice = person("alice")
    acts = iter([*([lambda: tokens.issue(User.objects.get(pk=alice.pk))] * 11), None])

    def act() -> tokens.Pair | None:
        begin = next(acts)
        if begin is not None:
            return begin()
        sessions.end_all(alice, reason="test", by=alice)
        return None

    pairs = [pair for pair in at_once(12, act) if pair]
    epoch = User.objects.get(pk=alice.pk).token_epoch
    for pair in pairs:
        session = AuthSession.objects.get(pk=tokens._session_id(tokens.read(tokens.AccessToken, pair.access)))
        assert _enters(pair.access) == (session.epoch == epoch and session.revoked_at is None)


def test_one_of_two_endings_at_once_is_on_record() -> None:
    session_of = tokens.issue(person("alice"))
    session = AuthSession.objects.get()
    at_once(10, lambda: sessions.end(session, reason="test", by=session.user))
    assert not _enters(session_of.access)
    assert AuditEntry.objects.filter(action="session.ended").count() == 1


def test_a_challenge_is_answered_once_by_however_many_good_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    alice = enrolled(set_clock(monkeypatch))
    challenge, codes = tokens.challenge_for(alice.user), iter(alice.codes)
    before = AuthSession.objects.count()

    def answer() -> tuple[int, str]:
        body = {"challenge": challenge, "code": next(codes)}
        return _said(APIClient(raise_request_exception=False).post(VERIFY, body, format="json"))

    answers = Counter(at_once(8, answer))
    assert answers[200, ""] == 1, answers
    assert set(answers) <= {(200, ""), ENDED}
    assert AuthSession.objects.count() == before + 1
    assert SpentChallenge.objects.count() == 1
    assert (
        _said(APIClient().post(VERIFY, {"challenge": challenge, "code": next(codes)}, format="json")) == ENDED
    )


def test_a_code_shown_by_twenty_challenges_at_once_opens_one_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    alice = enrolled(set_clock(monkeypatch))
    before, code = AuthSession.objects.count(), alice.phone.code()

    def sign_in() -> int:
        body = {"challenge": tokens.challenge_for(alice.user), "code": code}
        return APIClient(raise_request_exception=False).post(VERIFY, body, format="json").status_code

    answers = Counter(at_once(20, sign_in))
    assert answers[200] == 1, answers
    assert set(answers) <= {200, 401, 429}
    assert AuthSession.objects.count() == before + 1
    assert second_factor.verify(alice.user, alice.codes[0]) == "recovery"
