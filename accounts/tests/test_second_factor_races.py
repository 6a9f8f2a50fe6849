"""Second factors under twenty requests at the same moment, from real threads on the real database."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from django.db import connections
from rest_framework.exceptions import APIException

from accounts import second_factor, signin, tokens
from accounts.api.scope import session_of
from accounts.models import RecoveryCode, RecoveryDevice, TotpDevice, User
from accounts.tests.phone import PASSWORD, Clock, Phone, enrolled, is_consistent, person, set_clock
from datamortem.common.errors import DomainError

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE = 20


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    # It is the locks that are looked at here, not what slows guessing down.
    monkeypatch.setattr("accounts.models.second_factor.Throttled.FREE", 1000)
    monkeypatch.setattr(second_factor, "TRIES", (1000, 300))
    monkeypatch.setattr(signin, "CODE_LIMIT", (1000, 300))
    return set_clock(monkeypatch)


def _at_once(acts: Sequence[Callable[[], object]]) -> Counter[str]:
    """Do all of them in the same moment; return how often each outcome came, errors by their code."""
    outcomes: list[str] = []
    start = threading.Barrier(len(acts))

    def do(act: Callable[[], object]) -> None:
        try:
            start.wait()
            outcomes.append("done" if act() is not None else "refused")
        except DomainError as error:
            outcomes.append(error.code)
        except APIException as error:
            outcomes.append(str(error.get_codes()))
        except Exception as error:  # noqa: BLE001  # shown by the assertion
            outcomes.append(repr(error))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=do, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Counter(outcomes)


def _signed_in(user: User) -> User:
    """Return the user as a request of a new sign-in of theirs has it."""
    own = User.objects.get(pk=user.pk)
    tokens.issue(own)
    return own


def _only(outcomes: Counter[str], *expected: str) -> None:
    """Assert that one succeeded and that the others were refused in a known way."""
    assert outcomes["done"] == 1, outcomes
    assert set(outcomes) <= {"done", *expected}, outcomes
    assert outcomes.total() == AT_ONCE


def test_one_code_answers_one_of_twenty_challenges(clock: Clock) -> None:
    alice = enrolled(clock)
    challenges = [tokens.challenge_for(alice.user) for _ in range(AT_ONCE)]
    code = alice.phone.next_code()
    outcomes = _at_once([partial(signin.answer, given, code) for given in challenges])
    _only(outcomes, "invalid_code")


def test_one_code_steps_one_of_twenty_sign_ins_up(clock: Clock) -> None:
    alice = enrolled(clock)
    people = [_signed_in(alice.user) for _ in range(AT_ONCE)]
    code = alice.phone.next_code()
    outcomes = _at_once([partial(second_factor.step_up, user, code) for user in people])
    _only(outcomes, "invalid_code")
    assert alice.user.auth_sessions.exclude(otp_time=None).filter(revoked_at=None).count() == 2


def test_one_recovery_code_counts_once(clock: Clock) -> None:
    alice = enrolled(clock)
    people = [_signed_in(alice.user) for _ in range(AT_ONCE)]
    code = alice.codes[0]
    outcomes = _at_once([partial(second_factor.step_up, user, code) for user in people])
    _only(outcomes, "invalid_code")
    assert RecoveryCode.objects.count() == 9


def test_twenty_confirmations_enable_it_once(clock: Clock) -> None:
    user = person()
    phone = Phone(second_factor.enrol(user).secret, clock)
    people, code = [_signed_in(user) for _ in range(AT_ONCE)], phone.code()
    outcomes = _at_once(
        [partial(second_factor.confirm, user, code, keep=session_of(user)) for user in people]
    )
    _only(outcomes, "otp_already_enabled")
    assert (TotpDevice.objects.count(), RecoveryDevice.objects.count()) == (1, 1)
    assert RecoveryCode.objects.count() == 10
    assert is_consistent(user)


def test_twenty_first_sign_ins_of_an_old_account_make_one_device(clock: Clock) -> None:
    secret = "JBSWY3DPEHPK3PXP"
    olga = person("olga", otp_enabled=True, otp_secret=secret)
    code = Phone(secret, clock).code()
    people = [User.objects.get(pk=olga.pk) for _ in range(AT_ONCE)]
    outcomes = _at_once([partial(second_factor.verify, user, code) for user in people])
    _only(outcomes, "refused")
    assert TotpDevice.objects.count() == 1
    assert is_consistent(olga)


def test_what_the_account_says_is_what_its_device_says_whoever_switches(clock: Clock) -> None:
    alice = enrolled(clock)
    sheets = [alice.codes]

    def switch() -> str:
        user = User.objects.get(pk=alice.user.pk)
        if user.otp_enabled:
            second_factor.disable(user, PASSWORD, sheets[-1][0])
            return "off"
        phone = Phone(second_factor.enrol(user).secret, clock)
        sheets.append(second_factor.confirm(user, phone.code(), keep=None))
        return "on"

    known = {"done", "invalid_code", "otp_already_enabled", "otp_not_enabled", "otp_not_begun"}
    for _ in range(4):
        outcomes = _at_once([switch] * AT_ONCE)
        assert outcomes["done"] >= 1, outcomes
        assert set(outcomes) <= known, outcomes
        held = User.objects.get(pk=alice.user.pk)
        assert is_consistent(held)
        assert bool(held.otp_secret) == TotpDevice.objects.exists()
        assert RecoveryDevice.objects.exists() == held.otp_enabled
        assert RecoveryCode.objects.count() == (10 if held.otp_enabled else 0)


def test_codes_used_while_they_are_renewed_stand_in_nobodys_way(clock: Clock) -> None:
    alice = enrolled(clock)
    people, code = [_signed_in(alice.user) for _ in range(AT_ONCE)], alice.phone.next_code()
    renew = [partial(second_factor.new_recovery_codes, user, code) for user in people[:10]]
    use = [
        partial(second_factor.step_up, user, given)
        for user, given in zip(people[10:], alice.codes, strict=True)
    ]
    outcomes = _at_once([*renew, *use])
    assert set(outcomes) <= {"done", "invalid_code"}, outcomes
    assert outcomes["done"] >= 1
    assert RecoveryCode.objects.count() == 10
