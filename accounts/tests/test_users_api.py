"""Accounts by the API: who may look after whom, what ends with a change, and who always stays."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import users
from accounts.models import (
    ApiToken,
    AuditEntry,
    AuthSession,
    IdempotentAnswer,
    OutgoingMail,
    Role,
    TotpDevice,
    User,
)
from accounts.users import LastSuperadmin
from cases.tests.api.cast import V1, admin, client_of, errors, person

pytestmark = pytest.mark.django_db

USERS = f"{V1}/users/"
PHRASE = "seven grey herons wade"


def root() -> User:
    """Return Rita, who may do everything."""
    return person("rita", role=Role.SUPERADMIN, is_superuser=True)


def of(user: User, more: str = "") -> str:
    """Return the address of an account."""
    return f"{USERS}{user.pk}/{more}"


def new(**facts: Any) -> dict[str, Any]:
    """Return what makes an account."""
    return {"email": "New@Example.org", "username": "newcomer", "password": PHRASE, **facts}


def audited(action: str) -> list[tuple[str, str, str]]:
    """Return actor, outcome and target of what was recorded."""
    entries = AuditEntry.objects.filter(action=action).order_by("pk")
    return list(entries.values_list("actor", "outcome", "target"))


class TestMaking:
    """New accounts."""

    def test_an_admin_makes_an_analyst_who_can_sign_in_at_once(self) -> None:
        answer = client_of(admin()).post(USERS, new(full_name="New  Comer"), format="json")
        assert answer.status_code == 201, answer.content
        shown = answer.json()
        assert (shown["email"], shown["role"], shown["full_name"]) == (
            "new@example.org",
            "analyst",
            "New Comer",
        )
        assert set(shown).isdisjoint({"password", "hashed_password", "otp_secret", "token_epoch"})
        user = User.objects.get(pk=shown["id"])
        assert user.check_password(PHRASE)
        assert not user.is_superuser
        signed_in = client_of(user).get(f"{V1}/cases/")
        assert signed_in.status_code == 200
        assert audited("user.created") == [("ada <ada@example.org>", "ok", "new@example.org")]

    def test_without_a_password_its_owner_gets_a_mail_and_nobody_can_sign_in_before(self) -> None:
        given = {"email": "mona@example.org", "username": "mona"}
        assert client_of(admin()).post(USERS, given, format="json").status_code == 201
        assert not User.objects.get(username="mona").has_usable_password()
        mail = OutgoingMail.objects.get()
        assert (mail.kind, mail.recipient) == ("reset_password", "mona@example.org")

    @pytest.mark.parametrize(
        ("facts", "code", "attr"),
        [
            ({"email": "no address"}, "invalid", "email"),
            ({"email": "a\x00@example.org"}, "null_characters_not_allowed", "email"),
            ({"username": "x"}, "invalid", "username"),
            ({"username": "some@body"}, "invalid", "username"),
            ({"role": "king"}, "invalid_choice", "role"),
            ({"password": "short"}, "weak_password", "password"),
            ({"password": "newcomer@example"}, "weak_password", "password"),
            ({"is_superuser": True}, "unknown_field", "is_superuser"),
            ({"otp_enabled": True}, "unknown_field", "otp_enabled"),
        ],
    )
    def test_what_makes_no_sense_makes_nobody(self, facts: dict[str, Any], code: str, attr: str) -> None:
        answer = client_of(admin()).post(USERS, new(**facts), format="json")
        assert answer.status_code == 400
        assert (code, attr) in errors(answer)
        assert not User.objects.filter(username="newcomer").exists()

    def test_address_and_name_are_taken_in_any_case(self) -> None:
        person("dana")
        client = client_of(admin())
        for facts, attr in (({"email": "DANA@example.org"}, "email"), ({"username": "Dana"}, "username")):
            answer = client.post(USERS, new(**facts), format="json")
            assert (answer.status_code, errors(answer)) == (409, [("taken", attr)])

    def test_an_admin_makes_no_administrators_which_is_on_record(self) -> None:
        for role in ("admin", "superadmin"):
            answer = client_of(admin()).post(USERS, new(role=role), format="json")
            assert (answer.status_code, errors(answer)) == (403, [("not_managed", "role")])
        assert {outcome for _, outcome, _ in audited("user.created")} == {"refused"}
        made = client_of(root()).post(USERS, new(role="superadmin"), format="json")
        assert made.status_code == 201
        assert User.objects.get(username="newcomer").is_superuser

    def test_the_same_key_makes_one_account_and_never_keeps_the_password(self) -> None:
        client = client_of(admin())
        answers = [
            client.post(USERS, new(), format="json", headers={"Idempotency-Key": "a-key"}) for _ in range(2)
        ]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].json() == answers[1].json()
        kept = IdempotentAnswer.objects.values_list("body", "fingerprint").get()
        assert PHRASE not in str(kept)
        other = client.post(
            USERS, new(username="another"), format="json", headers={"Idempotency-Key": "a-key"}
        )
        assert errors(other) == [("idempotency_conflict", None)]

    def test_a_refusal_under_a_key_is_on_record(self) -> None:
        client_of(admin()).post(USERS, new(role="admin"), format="json", headers={"Idempotency-Key": "k"})
        assert audited("user.created") == [("ada <ada@example.org>", "refused", "New@Example.org")]


class TestLooking:
    """Lists and single accounts."""

    def test_filters_narrow_and_what_is_no_filter_is_refused(self) -> None:
        person("dana", full_name="Dana Doe")
        person("victor", role=Role.VIEWER)
        User.objects.filter(pk=person("idle").pk).update(is_active=False)
        client = client_of(admin())

        def names(query: str) -> list[str]:
            return [row["username"] for row in client.get(f"{USERS}?{query}").json()["results"]]

        assert names("role=viewer") == ["victor"]
        assert names("is_active=false") == ["idle"]
        assert names("find=doe") == ["dana"]
        assert names("find=VICTOR@") == ["victor"]
        assert names("find=%25") == []
        assert names("ordering=-username&is_active=true") == ["victor", "dana", "ada"]
        for query in ("is_active=perhaps", "role=king", "is_superuser=true", "find=%00"):
            assert client.get(f"{USERS}?{query}").status_code == 400, query

    def test_a_list_costs_the_same_for_one_and_for_many(self) -> None:
        client = client_of(admin())
        client.get(USERS)
        counts = []
        for number in range(2):
            with CaptureQueriesContext(connections["default"]) as queries:
                assert client.get(USERS).status_code == 200
            counts.append(len(queries))
            for one in range(5):
                person(f"p{number}{one}")
        assert counts[0] == counts[1]

    def test_nobody_else_learns_who_is_here(self) -> None:
        victim = person("dana")
        for name, role in (("anna", Role.ANALYST), ("victor", Role.VIEWER)):
            client = client_of(person(name, role=role))
            for address in (USERS, of(victim), of(victim, "quota/")):
                answer = client.get(address)
                assert (answer.status_code, errors(answer)) == (403, [("permission_denied", None)])

    def test_an_account_that_is_not_there_is_a_404(self) -> None:
        client = client_of(admin())
        for number in (0, 999_999, 2**31, 2**63, 10**30):
            assert client.get(f"{USERS}{number}/").status_code == 404


class TestChanging:
    """Roles, activity, addresses."""

    @pytest.mark.parametrize(
        "facts", [{"role": "viewer"}, {"is_active": False}, {"email": "other@example.org"}]
    )
    def test_what_somebody_is_ends_with_all_they_were_signed_in_by(self, facts: dict[str, Any]) -> None:
        dana = person("dana")
        theirs = client_of(dana)
        token = ApiToken.objects.create(user=dana, name="t", prefix="abc", digest="0" * 64, scopes=["read"])
        assert theirs.get(f"{V1}/me/").status_code == 200
        answer = client_of(admin()).patch(of(dana), facts, format="json")
        assert answer.status_code == 200, answer.content
        assert answer.json() | facts == answer.json()
        assert theirs.get(f"{V1}/me/").status_code == 401
        token.refresh_from_db()
        assert token.revoked_at is not None
        assert not AuthSession.objects.live().filter(user=dana).exists()
        entry = AuditEntry.objects.get(action="user.changed")
        assert (entry.outcome, entry.target) == ("ok", facts.get("email", "dana@example.org"))
        assert entry.details["after"] == facts

    def test_a_name_ends_nothing(self) -> None:
        dana = person("dana")
        theirs = client_of(dana)
        client_of(admin()).patch(of(dana), {"full_name": "Dana D."}, format="json")
        assert theirs.get(f"{V1}/me/").json()["full_name"] == "Dana D."

    def test_a_change_to_what_it_is_already_ends_and_records_nothing(self) -> None:
        dana = person("dana")
        theirs = client_of(dana)
        same = {"role": "analyst", "is_active": True, "email": "DANA@example.org", "username": "dana"}
        assert client_of(admin()).patch(of(dana), same, format="json").status_code == 200
        assert theirs.get(f"{V1}/me/").status_code == 200
        assert audited("user.changed") == []

    def test_another_address_is_vouched_for_and_what_was_mailed_to_the_old_one_is_worth_nothing(self) -> None:
        dana = person("dana")
        User.objects.filter(pk=dana.pk).update(
            email_verification_token="0" * 64, email_verification_sent_at=timezone.now()
        )
        client_of(admin()).patch(of(dana), {"email": "dana@new.example"}, format="json")
        dana.refresh_from_db()
        assert dana.email_verification_token is None
        assert client_of(dana).get(f"{V1}/cases/").status_code == 200

    def test_is_superuser_follows_the_role(self) -> None:
        ben, client = person("ben"), client_of(root())
        for role in ("superadmin", "admin", "analyst"):
            client.patch(of(ben), {"role": role}, format="json")
            ben.refresh_from_db()
            assert (ben.role, ben.is_superuser) == (role, role == "superadmin")

    def test_an_admin_touches_no_administrator(self) -> None:
        for other in (root(), person("ben", role=Role.ADMIN)):
            client = client_of(admin())
            assert client.patch(of(other), {"is_active": False}, format="json").status_code == 403
            assert client.delete(of(other, "sessions/")).status_code == 403
            assert client.delete(of(other, "second-factor/")).status_code == 403
            quota = {"storage": 1, "running_jobs": 1}
            assert client.put(of(other, "quota/"), quota, format="json").status_code == 403
            other.refresh_from_db()
            assert other.is_active

    def test_nobody_raises_or_ends_themselves(self) -> None:
        rita = root()
        person("rob", role=Role.SUPERADMIN)
        for facts in ({"role": "admin"}, {"is_active": False}):
            answer = client_of(rita).patch(of(rita), facts, format="json")
            assert (answer.status_code, errors(answer)) == (403, [("own_account", None)])
        ada = admin()
        for facts in ({"role": "superadmin"}, {"is_active": False}):
            assert client_of(ada).patch(of(ada), facts, format="json").status_code == 403
        for user in (rita, ada):
            before = (user.role, user.is_active)
            user.refresh_from_db()
            assert (user.role, user.is_active) == before

    def test_server_only_fields_are_refused(self) -> None:
        dana = person("dana")
        for name in ("id", "is_superuser", "token_epoch", "email_verified", "otp_enabled", "password"):
            answer = client_of(admin()).patch(of(dana), {name: 1}, format="json")
            assert errors(answer) == [("unknown_field", name)]

    def test_it_wants_a_second_factor_shown_just_now(self) -> None:
        ada, dana = admin(), person("dana")
        client = client_of(ada)
        User.objects.filter(pk=ada.pk).update(otp_enabled=True)
        AuthSession.objects.filter(user=ada).update(otp_time=timezone.now() - timedelta(minutes=6))
        assert client.get(USERS).status_code == 200
        for answer in (
            client.post(USERS, new(), format="json"),
            client.patch(of(dana), {"role": "viewer"}, format="json"),
            client.delete(of(dana, "sessions/")),
            client.delete(of(dana, "second-factor/")),
            client.put(of(dana, "quota/"), {"storage": 0, "running_jobs": 0}, format="json"),
        ):
            assert (answer.status_code, errors(answer)) == (403, [("otp_stale", None)])


class TestEnding:
    """Sign-ins and second factors that an administrator ends."""

    def test_all_sign_ins_of_somebody_end(self) -> None:
        dana = person("dana")
        theirs = client_of(dana)
        assert client_of(admin()).delete(of(dana, "sessions/")).status_code == 204
        assert theirs.get(f"{V1}/me/").status_code == 401
        assert audited("signin.ended") == [("ada <ada@example.org>", "ok", "dana@example.org")]

    def test_a_lost_second_factor_goes_with_its_device_and_its_owner_is_told(self) -> None:
        dana = person("dana")
        TotpDevice.objects.create(user=dana, name="app", confirmed=True)
        User.objects.filter(pk=dana.pk).update(otp_enabled=True, otp_secret="v1:sealed")
        assert client_of(admin()).delete(of(dana, "second-factor/")).status_code == 204
        dana.refresh_from_db()
        assert (dana.otp_enabled, dana.otp_secret) == (False, None)
        assert not TotpDevice.objects.exists()
        assert OutgoingMail.objects.get().kind == "second_factor_reset"
        assert audited("otp.reset") == [("ada <ada@example.org>", "ok", "dana@example.org")]

    def test_ones_own_is_not_taken_this_way(self) -> None:
        rita = root()
        answer = client_of(rita).delete(of(rita, "second-factor/"))
        assert errors(answer) == [("own_account", None)]


class TestTheLastSuperadmin:
    """One always stays, whoever asks at once."""

    def test_the_last_one_is_not_lowered_by_an_operator_either(self) -> None:
        rita = root()
        User.objects.filter(pk=person("rob", role=Role.SUPERADMIN).pk).update(is_active=False)
        for facts in ({"role": "admin"}, {"is_active": False}):
            with pytest.raises(LastSuperadmin):
                users.change(user=rita, by=None, **facts)
        rita.refresh_from_db()
        assert (rita.role, rita.is_active) == ("superadmin", True)

    @pytest.mark.django_db(transaction=True)
    def test_two_who_lower_each_other_at_once_do_not_both_succeed(self) -> None:
        rita, rob = root(), person("rob", role=Role.SUPERADMIN, is_superuser=True)
        calls = [(client_of(rita), of(rob)), (client_of(rob), of(rita))]
        ready, statuses = threading.Barrier(2), []

        def lower(client: Any, address: str) -> None:
            ready.wait()
            statuses.append(client.patch(address, {"role": "admin"}, format="json").status_code)
            connections.close_all()

        threads = [threading.Thread(target=lower, args=call) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # The second one is refused as the last, or was signed out by the first.
        assert sorted(statuses)[0] == 200
        assert sorted(statuses)[1] in (401, 409)
        assert User.objects.filter(role=Role.SUPERADMIN, is_active=True).count() == 1

    @pytest.mark.django_db(transaction=True)
    def test_of_ten_ends_of_ten_superadmins_at_once_nine_succeed(self) -> None:
        everybody = [person(f"root{n}", role=Role.SUPERADMIN, is_superuser=True) for n in range(10)]
        ready, refused = threading.Barrier(10), []

        def end(user: User) -> None:
            ready.wait()
            try:
                users.change(user=user, by=None, is_active=False)
            except LastSuperadmin:
                refused.append(user.pk)
            connections.close_all()

        threads = [threading.Thread(target=end, args=(user,)) for user in everybody]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 1
        assert list(User.objects.filter(is_active=True).values_list("pk", flat=True)) == refused
