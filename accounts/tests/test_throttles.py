"""How often something may be tried: exactly so often, by many at once, and never shut out for good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import signin, throttles
from accounts.models import AuditEntry, AuthSession, RequestCounter, User
from accounts.tests.races import at_once
from accounts.tests.served import COUNTED, served
from cases.tests.api.cast import PASSWORD, V1, errors, person
from datamortem.common.errors import TooMany
from datamortem.common.requests import client_address, network_of

LOGIN: Final = f"{V1}/auth/login/"
HASHER: Final = "accounts.tests.served.CountingHasher"
PAIR, ACCOUNT, ADDRESS = signin.PAIR_LIMIT[0], signin.ACCOUNT_LIMIT[0], signin.ADDRESS_LIMIT[0]
HOME, OFFICE = "198.51.100.7", "203.0.113.9"


@pytest.fixture
def hashes(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return what tells how often a password was hashed since it was asked last, by any process."""
    file = tmp_path / "hashes"
    file.touch()
    monkeypatch.setenv(COUNTED, str(file))
    settings.PASSWORD_HASHERS = [HASHER]
    person("alice")

    def since() -> int:
        number = file.stat().st_size
        file.write_bytes(b"")
        return number

    since()
    return since


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Return the time as a list of one that a test may change."""
    held = [timezone.now()]
    monkeypatch.setattr("django.utils.timezone.now", lambda: held[0])
    return held


def _log_in(password: str = "wrong", *, email: str = "alice@example.org", address: str = HOME) -> Any:
    return APIClient(REMOTE_ADDR=address).post(LOGIN, {"email": email, "password": password}, format="json")


def _addresses(network: str = "192.0.2.") -> Iterator[str]:
    return (f"{network}{number}" for number in count(1))


@pytest.mark.django_db
class TestCounter:
    """hit, give_back, clear."""

    def _hit(self, *, limit: int = 3, seconds: int = 60) -> int | None:
        try:
            throttles.hit("test", "somebody", limit=limit, seconds=seconds)
        except TooMany as refusal:
            return refusal.retry_after
        return None

    def test_as_many_get_through_as_may_and_then_the_wait_is_told(self, now: list[datetime]) -> None:
        assert [self._hit() for _ in range(3)] == [None] * 3
        assert self._hit() == 60
        now[0] += timedelta(seconds=59.5)
        assert self._hit() == 1
        now[0] += timedelta(seconds=0.4)
        assert self._hit() == 1
        now[0] += timedelta(seconds=0.1)
        assert [self._hit() for _ in range(4)] == [None] * 3 + [60]

    def test_trying_on_does_not_make_the_wait_longer(self, now: list[datetime]) -> None:
        for _ in range(4):
            self._hit()
        for passed in range(1, 60):
            now[0] += timedelta(seconds=1)
            assert self._hit() == 60 - passed
        now[0] += timedelta(seconds=1)
        assert self._hit() is None

    def test_what_is_given_back_may_be_tried_again_and_nothing_more(self) -> None:
        for _ in range(3):
            self._hit()
        throttles.give_back("test", "somebody")
        assert [self._hit() is None for _ in range(2)] == [True, False]
        for _ in range(9):
            throttles.give_back("test", "somebody")
        assert [self._hit() is None for _ in range(4)] == [True, True, True, False]
        throttles.clear("test", "somebody")
        assert self._hit() is None

    def test_who_is_counted_can_not_be_read_from_the_table(self) -> None:
        throttles.hit("login", "alice@example.org", limit=1, seconds=1)
        for odd in ("", "\x00", "\ud800", "x" * 100_000, 7, None):
            throttles.hit("login", odd, limit=1, seconds=1)
        assert RequestCounter.objects.count() == 7
        assert not RequestCounter.objects.filter(key__contains="alice").exists()


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    """Many in the same moment."""

    def test_of_sixty_wrong_passwords_at_once_exactly_the_limit_is_hashed(
        self, hashes: Callable[[], int]
    ) -> None:
        answers = at_once(60, _log_in)
        assert Counter(answer.status_code for answer in answers) == {401: PAIR, 429: 60 - PAIR}
        assert hashes() == PAIR

    def test_and_so_for_an_account_from_many_addresses(self, hashes: Callable[[], int]) -> None:
        numbers = count(1)
        answers = at_once(45, lambda: _log_in(address=f"192.0.2.{next(numbers)}"))
        assert Counter(answer.status_code for answer in answers) == {401: ACCOUNT, 429: 45 - ACCOUNT}
        assert hashes() == ACCOUNT

    def test_and_so_for_an_address_with_many_accounts(self, hashes: Callable[[], int]) -> None:
        numbers = count()
        answers = at_once(70, lambda: _log_in(email=f"nobody{next(numbers)}@example.org"))
        assert Counter(answer.status_code for answer in answers) == {401: ADDRESS, 429: 70 - ADDRESS}
        assert hashes() == ADDRESS

    def test_several_processes_count_together_and_a_forged_header_makes_no_difference(
        self, hashes: Callable[[], int]
    ) -> None:
        person("bob")
        hashes()
        forged = _addresses("10.0.0.")
        with served(PASSWORD_HASHERS=[HASHER]) as site, ThreadPoolExecutor(60) as pool:

            def wrong(email: str, header: dict[str, str]) -> Any:
                body = {"email": email, "password": "wrong"}
                return site.ask("POST", LOGIN, body, header)

            answers = list(pool.map(lambda _: wrong("alice@example.org", {}), range(60)))
            assert Counter(status for status, _, _ in answers) == {401: PAIR, 429: 60 - PAIR}
            assert hashes() == PAIR
            assert {1 <= int(head["Retry-After"]) <= 60 for status, _, head in answers if status == 429} == {
                True
            }
            headers = [
                {name: address}
                for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Client-IP", "X-Client-IP")
                for address in (
                    next(forged),
                    f"for={next(forged)}",
                    f"{next(forged)}, 127.0.0.1",
                    "127.0.0.1",
                )
            ]
            answers = list(pool.map(lambda header: wrong("bob@example.org", header), headers))
            assert Counter(status for status, _, _ in answers) == {401: PAIR, 429: 20 - PAIR}
            assert hashes() == PAIR


@pytest.mark.django_db
class TestLockOut:
    """What an attacker spends is not what the owner has left."""

    def _spend(self, *, address: str | None = None, tries: int = ACCOUNT) -> None:
        addresses = _addresses()
        for _ in range(tries):
            _log_in(address=address or next(addresses))

    def test_the_owner_still_comes_in_from_where_they_were_before(self) -> None:
        person("alice")
        assert _log_in(PASSWORD, address=HOME).status_code == 200
        self._spend()
        elsewhere = _log_in(PASSWORD, address=OFFICE)
        assert (elsewhere.status_code, errors(elsewhere)) == (429, [("throttled", None)])
        for _ in range(3):
            assert _log_in(PASSWORD, address=HOME).status_code == 200
            assert _log_in(address=HOME).status_code == 401
            self._spend(tries=3)

    def test_and_from_anywhere_when_the_time_is_over_however_long_it_went_on(
        self, now: list[datetime]
    ) -> None:
        person("alice")
        self._spend()
        wait = int(_log_in(PASSWORD, address=OFFICE)["Retry-After"])
        assert wait == signin.ACCOUNT_LIMIT[1]
        now[0] += timedelta(seconds=wait - 1)
        self._spend(tries=3)
        assert _log_in(PASSWORD, address=OFFICE)["Retry-After"] == "1"
        now[0] += timedelta(seconds=1)
        assert _log_in(PASSWORD, address=OFFICE).status_code == 200

    def test_a_neighbour_at_the_same_address_keeps_them_out_for_a_minute(self, now: list[datetime]) -> None:
        person("alice")
        self._spend(address=HOME, tries=PAIR)
        refused = _log_in(PASSWORD, address=HOME)
        assert (refused.status_code, refused["Retry-After"]) == (429, "60")
        assert _log_in(PASSWORD, address=OFFICE).status_code == 200
        now[0] += timedelta(seconds=60)
        assert _log_in(PASSWORD, address=HOME).status_code == 200

    def test_an_old_visit_and_somebody_elses_count_for_nothing(self) -> None:
        person("alice")
        _log_in(PASSWORD, address=HOME)
        AuthSession.objects.update(created_at=timezone.now() - timedelta(days=61))
        person("bob")
        _log_in(PASSWORD, email="bob@example.org", address=OFFICE)
        self._spend()
        for address in (HOME, OFFICE):
            assert _log_in(PASSWORD, address=address).status_code == 429

    def test_an_address_of_ipv6_is_known_with_its_neighbours_and_counted_with_them(self) -> None:
        person("alice")
        assert _log_in(PASSWORD, address="2001:db8:1:2::1").status_code == 200
        self._spend()
        assert _log_in(PASSWORD, address="2001:db8:1:2:ffff::9").status_code == 200
        assert _log_in(PASSWORD, address="2001:db8:1:3::1").status_code == 429
        addresses = _addresses("2001:db8:7:7::")
        answers = [_log_in(email="b@example.org", address=next(addresses)) for _ in range(PAIR + 1)]
        assert [answer.status_code for answer in answers] == [401] * PAIR + [429]

    def test_right_passwords_are_never_too_many(self) -> None:
        person("alice")
        assert {_log_in(PASSWORD).status_code for _ in range(ADDRESS + 5)} == {200}
        assert set(RequestCounter.objects.values_list("n", flat=True)) == {0}

    def test_what_was_refused_is_on_record_and_the_account_is_as_it_was(self) -> None:
        alice = person("alice")
        self._spend(address=HOME, tries=PAIR + 1)
        entries = AuditEntry.objects.filter(action="signin.password").order_by("pk")
        assert [entry.outcome for entry in entries] == ["refused"] * (PAIR + 1)
        assert {entry.address for entry in entries} == {HOME}
        assert entries[PAIR].details == {"reason": "too many attempts"}
        held = User.objects.get(pk=alice.pk)
        assert (held.is_active, held.token_epoch, held.last_login) == (True, alice.token_epoch, None)


class TestClientAddress:
    """Whose address counts, with and without proxies in front."""

    @pytest.mark.parametrize(
        ("proxies", "peer", "forwarded", "address"),
        [
            (0, "192.0.2.1", "10.0.0.1", "192.0.2.1"),
            (0, "192.0.2.1", "", "192.0.2.1"),
            (1, "192.0.2.1", "10.0.0.1", "10.0.0.1"),
            (1, "192.0.2.1", "10.0.0.66, 10.0.0.1", "10.0.0.1"),
            (1, "192.0.2.1", "", "192.0.2.1"),
            (1, "192.0.2.1", " , ,", "192.0.2.1"),
            (1, "192.0.2.1", "10.0.0.66,,10.0.0.1, ", "10.0.0.1"),
            (2, "192.0.2.1", "10.0.0.66, 10.0.0.1, 10.0.0.2", "10.0.0.1"),
            (2, "192.0.2.1", "10.0.0.1", "10.0.0.1"),
            (1, "192.0.2.1", "10.0.0.1:4711", "10.0.0.1"),
            (1, "192.0.2.1", "[2001:db8::1]:4711", "2001:db8::1"),
            (1, "192.0.2.1", "[2001:DB8::1]", "2001:db8::1"),
            (0, "::ffff:192.0.2.1", "", "192.0.2.1"),
            (1, "192.0.2.1", "<script>", ""),
            (0, "", "10.0.0.1", ""),
            (0, "@", "", ""),
        ],
    )
    def test_a_header_counts_behind_declared_proxies_alone(
        self, settings: Settings, proxies: int, peer: str, forwarded: str, address: str
    ) -> None:
        settings.NUM_PROXIES = proxies
        assert client_address({"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded}) == address

    def test_a_client_of_ipv6_is_its_network(self) -> None:
        assert network_of("2001:db8:1:2:3:4:5:6") == "2001:db8:1:2::/64"
        assert network_of("192.0.2.1") == "192.0.2.1"
        assert network_of("") == ""

    @pytest.mark.django_db
    def test_behind_one_proxy_each_client_has_its_own_tries(self, settings: Settings) -> None:
        settings.NUM_PROXIES = 1
        person("alice")
        body = {"email": "alice@example.org", "password": "wrong"}
        client = APIClient(REMOTE_ADDR="192.0.2.1")

        def wrong(forwarded: str) -> int:
            return client.post(LOGIN, body, format="json", HTTP_X_FORWARDED_FOR=forwarded).status_code

        answers = [wrong(f"10.9.9.{number}, {HOME}") for number in range(PAIR + 1)]
        assert answers == [401] * PAIR + [429]
        assert wrong(f"{HOME}, {OFFICE}") == 401
        assert set(AuditEntry.objects.values_list("address", flat=True)) == {HOME, OFFICE}
