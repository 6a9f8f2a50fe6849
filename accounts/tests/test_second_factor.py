"""The second factor: shown, enrolled, renewed, given up."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from xml.etree import ElementTree

import pytest
from django.db import transaction
from django.utils import timezone
from django_otp.oath import hotp

from accounts import second_factor, tokens
from accounts.models import (
    ApiToken,
    AuditEntry,
    AuthSession,
    RecoveryCode,
    RecoveryDevice,
    TotpDevice,
    User,
)
from accounts.models.second_factor import key_of
from accounts.second_factor import (
    AlreadyEnabled,
    Mandatory,
    NotBegun,
    NotEnabled,
    WrongCode,
    WrongPassword,
)
from accounts.tests.phone import PASSWORD, Clock, Owner, Phone, enrolled, is_consistent, person, set_clock
from datamortem.common.errors import TooMany

pytestmark = pytest.mark.django_db

#: A secret as the old system kept it.
OLD = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return set_clock(monkeypatch)


@pytest.fixture
def alice(clock: Clock) -> Owner:
    return enrolled(clock)


def _recorded() -> list[tuple[str, str]]:
    entries = AuditEntry.objects.filter(action__startswith="otp.").order_by("pk")
    return list(entries.values_list("action", "outcome"))


def _let_the_wait_pass() -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    for model in (TotpDevice, RecoveryDevice):
        model.objects.update(throttling_failure_timestamp=long_ago)


class TestTheDevice:
    """What an app shows, and when it counts."""

    @pytest.mark.parametrize(
        ("at", "code"),
        # RFC 6238 appendix B, SHA-1; the last six of its eight digits.
        [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (2000000000, "279037")],
    )
    def test_codes_are_those_of_the_standard(self, at: int, code: str) -> None:
        assert f"{hotp(b'12345678901234567890', at // 30):06d}" == code

    def test_the_code_of_now_and_of_a_clock_one_step_off_count(self, alice: Owner, clock: Clock) -> None:
        for off in (0, 1, -1):
            TotpDevice.objects.update(drift=0, last_t=-1)
            alice.phone.off = off
            assert second_factor.verify(alice.user, alice.phone.code()) == "totp"

    def test_codes_two_steps_off_do_not_count(self, alice: Owner, clock: Clock) -> None:
        for off in (2, -2):
            alice.phone.off = off
            assert second_factor.verify(alice.user, alice.phone.code()) is None

    def test_a_clock_that_goes_wrong_slowly_is_followed(self, alice: Owner, clock: Clock) -> None:
        for off in range(1, 6):
            alice.phone.off = off
            assert second_factor.verify(alice.user, alice.phone.next_code()) == "totp"
        assert TotpDevice.objects.get().drift == 5

    def test_a_code_counts_once(self, alice: Owner, clock: Clock) -> None:
        code = alice.phone.next_code()
        assert second_factor.verify(alice.user, code) == "totp"
        assert second_factor.verify(alice.user, code) is None

    def test_the_code_before_an_accepted_one_counts_no_more(self, alice: Owner, clock: Clock) -> None:
        before, code = alice.phone.code(), alice.phone.next_code()
        assert second_factor.verify(alice.user, code) == "totp"
        assert second_factor.verify(alice.user, before) is None

    def test_the_code_that_confirmed_does_not_sign_in(self, clock: Clock) -> None:
        user = person()
        phone = Phone(second_factor.enrol(user).secret, clock)
        second_factor.confirm(user, phone.code(), keep=None)
        assert second_factor.verify(user, phone.code()) is None

    def test_spaces_in_a_code_do_not_matter_and_other_digits_are_none(
        self, alice: Owner, clock: Clock
    ) -> None:
        code = alice.phone.next_code()
        arabic = "".join(chr(0x660 + int(digit)) for digit in code)
        assert second_factor.verify(alice.user, arabic) is None
        assert second_factor.verify(alice.user, f" {code[:3]} {code[3:]} ") == "totp"

    def test_two_wrong_codes_cost_nothing_and_further_ones_time(self, alice: Owner, clock: Clock) -> None:
        for _ in range(2):
            assert second_factor.verify(alice.user, alice.phone.wrong_code()) is None
        assert second_factor.verify(alice.user, alice.phone.next_code()) == "totp"
        for _ in range(3):
            assert second_factor.verify(alice.user, alice.phone.wrong_code()) is None
        with pytest.raises(TooMany) as refusal:
            second_factor.verify(alice.user, alice.phone.next_code())
        assert 1 <= refusal.value.retry_after <= 4

    def test_while_the_app_waits_a_recovery_code_counts(self, alice: Owner, clock: Clock) -> None:
        for _ in range(40):
            with suppress(TooMany):
                second_factor.verify(alice.user, alice.phone.wrong_code())
        assert TotpDevice.objects.get().throttling_failure_count == 3
        assert second_factor.verify(alice.user, alice.codes[0]) == "recovery"

    def test_wrong_recovery_codes_leave_the_app_alone(self, alice: Owner, clock: Clock) -> None:
        for _ in range(3):
            assert second_factor.verify(alice.user, "aaaaa-aaaaa") is None
        with pytest.raises(TooMany):
            second_factor.verify(alice.user, alice.codes[0])
        assert second_factor.verify(alice.user, alice.phone.next_code()) == "totp"

    def test_nobody_is_kept_out_for_longer_than_35_minutes(self, alice: Owner, clock: Clock) -> None:
        for _ in range(30):
            _let_the_wait_pass()
            second_factor.verify(alice.user, alice.phone.wrong_code())
        with pytest.raises(TooMany) as refusal:
            second_factor.verify(alice.user, alice.phone.code())
        assert 2000 < refusal.value.retry_after <= 35 * 60
        _let_the_wait_pass()
        assert second_factor.verify(alice.user, alice.phone.next_code()) == "totp"

    def test_of_a_thousand_guesses_in_an_hour_twelve_are_looked_at(self) -> None:
        device, now, start = TotpDevice(), timezone.now(), timezone.now()
        looked_at = 0
        while now < start + timedelta(hours=1):
            looked_at += 1
            device.throttle_increment(commit=False)
            device.throttling_failure_timestamp = now
            allowed, why = device.verify_is_allowed()
            if not allowed and why:
                now = why["locked_until"]
        assert looked_at == 12


class TestEnrolment:
    """enrol, then confirm."""

    def test_a_secret_comes_as_text_address_and_picture(self, clock: Clock) -> None:
        begun = second_factor.enrol(person())
        assert len(key_of(begun.secret)) == 20
        assert begun.otpauth_uri == (
            f"otpauth://totp/dataMortem:alice@example.org?secret={begun.secret}&issuer=dataMortem"
        )
        picture = ElementTree.fromstring(begun.qr_svg)
        assert picture.tag == "{http://www.w3.org/2000/svg}svg"
        names = {name for part in picture.iter() for name in part.attrib}
        assert names <= {"width", "height", "transform", "fill", "stroke", "d"}
        assert {part.tag.rpartition("}")[2] for part in picture.iter()} <= {"svg", "g", "path"}

    def test_it_counts_only_once_confirmed(self, clock: Clock) -> None:
        user = person()
        phone = Phone(second_factor.enrol(user).secret, clock)
        assert not User.objects.get(pk=user.pk).otp_enabled
        with pytest.raises(NotEnabled):
            second_factor.verify(user, phone.code())
        assert len(second_factor.confirm(user, phone.code(), keep=None)) == 10
        assert User.objects.get(pk=user.pk).otp_enabled
        assert is_consistent(user)
        assert second_factor.verify(user, phone.next_code()) == "totp"

    def test_asked_again_the_first_secret_is_worth_nothing(self, clock: Clock) -> None:
        user = person()
        first = Phone(second_factor.enrol(user).secret, clock)
        second = Phone(second_factor.enrol(user).secret, clock)
        assert first.secret != second.secret
        with pytest.raises(WrongCode):
            second_factor.confirm(user, first.code(), keep=None)
        assert second_factor.confirm(user, second.code(), keep=None)
        assert TotpDevice.objects.count() == 1

    def test_a_wrong_code_is_refused_and_counted(self, clock: Clock) -> None:
        user = person()
        phone = Phone(second_factor.enrol(user).secret, clock)
        with pytest.raises(WrongCode) as refusal:
            second_factor.confirm(user, phone.wrong_code(), keep=None)
        assert (refusal.value.code, refusal.value.field) == ("invalid_code", "code")
        assert TotpDevice.objects.get().throttling_failure_count == 1
        assert is_consistent(user)
        assert _recorded() == [("otp.begun", "ok"), ("otp.enrolled", "refused")]

    def test_who_has_one_gets_no_other(self, alice: Owner) -> None:
        with pytest.raises(AlreadyEnabled):
            second_factor.enrol(alice.user)
        with pytest.raises(AlreadyEnabled):
            second_factor.confirm(alice.user, alice.phone.next_code(), keep=None)
        assert second_factor.verify(alice.user, alice.phone.next_code()) == "totp"

    def test_nothing_is_confirmed_that_was_not_begun(self) -> None:
        with pytest.raises(NotBegun):
            second_factor.confirm(person(), "123456", keep=None)

    def test_other_sign_ins_end_and_this_one_has_shown_it(self, clock: Clock) -> None:
        user = person()
        elsewhere = user.access.session if user.access else None
        tokens.issue(user)
        token = ApiToken.objects.create(user=user, name="t", prefix="p", digest="d")
        here = user.access.session if user.access else None
        phone = Phone(second_factor.enrol(user).secret, clock)
        second_factor.confirm(user, phone.code(), keep=here)
        alive = AuthSession.objects.live().get(epoch=User.objects.get(pk=user.pk).token_epoch)
        assert here is not None
        assert alive.pk == here.pk
        assert alive.otp_time is not None
        assert elsewhere is not None
        assert AuthSession.objects.get(pk=elsewhere.pk).revoked_reason == "second factor enabled"
        token.refresh_from_db()
        assert token.revoked_at is None

    def test_too_many_tries_are_refused_whatever_the_code(
        self, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        user = person()
        phone = Phone(second_factor.enrol(user).secret, clock)
        monkeypatch.setattr(second_factor, "TRIES", (2, 300))
        for _ in range(2):
            with pytest.raises(WrongCode):
                second_factor.confirm(user, phone.wrong_code(), keep=None)
        with pytest.raises(TooMany):
            second_factor.confirm(user, phone.code(), keep=None)

    def test_a_refusal_is_never_undone_by_a_transaction_around_it(self) -> None:
        user = person()
        second_factor.enrol(user)
        with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
            second_factor.confirm(user, "123456", keep=None)


class TestRecoveryCodes:
    """Ten codes for the day the phone is lost."""

    def test_they_are_easy_to_read_and_each_its_own(self, alice: Owner) -> None:
        assert len(set(alice.codes)) == len(alice.codes) == 10
        for code in alice.codes:
            assert [len(group) for group in code.split("-")] == [5, 5]
            assert not set(code) & set("01loiLOI")

    def test_each_counts_once_whatever_its_case_and_dashes(self, alice: Owner) -> None:
        first, second, third, fourth = alice.codes[:4]
        for typed in (first.upper(), second.replace("-", ""), f" {third.replace('-', ' - ')} ", fourth):
            assert second_factor.verify(alice.user, typed) == "recovery"
        assert second_factor.verify(alice.user, alice.codes[0]) is None
        assert RecoveryCode.objects.count() == 6

    def test_those_of_somebody_else_count_nothing(self, alice: Owner, clock: Clock) -> None:
        bob = enrolled(clock, "bob")
        assert second_factor.verify(alice.user, bob.codes[0]) is None
        stolen = RecoveryCode.objects.filter(device__user=bob.user).values_list("digest", flat=True)[0]
        RecoveryCode.objects.create(device=RecoveryDevice.objects.get(user=alice.user), digest=stolen)
        assert second_factor.verify(alice.user, bob.codes[0]) is None

    def test_new_ones_take_the_place_of_all_others(self, alice: Owner) -> None:
        assert second_factor.verify(alice.user, alice.codes[0]) == "recovery"
        fresh = second_factor.new_recovery_codes(alice.user, alice.phone.next_code())
        assert len(fresh) == 10
        assert not set(fresh) & set(alice.codes)
        assert second_factor.verify(alice.user, alice.codes[1]) is None
        assert second_factor.verify(alice.user, fresh[0]) == "recovery"

    def test_a_recovery_code_gets_new_ones_too(self, alice: Owner) -> None:
        fresh = second_factor.new_recovery_codes(alice.user, alice.codes[3])
        assert RecoveryCode.objects.count() == len(fresh) == 10

    def test_a_wrong_code_gets_none_and_leaves_the_old_ones(self, alice: Owner) -> None:
        with pytest.raises(WrongCode):
            second_factor.new_recovery_codes(alice.user, alice.phone.wrong_code())
        assert second_factor.verify(alice.user, alice.codes[0]) == "recovery"
        assert _recorded()[-1] == ("otp.codes", "refused")

    @pytest.mark.parametrize("code", ["", "-", "\x00", "ä" * 10, "\ud800", "1234567", "a" * 5000])
    def test_what_is_no_code_is_wrong(self, alice: Owner, code: str) -> None:
        assert second_factor.verify(alice.user, code) is None


class TestDisable:
    """The second factor given up by its owner."""

    def test_password_and_code_take_everything_away(self, alice: Owner) -> None:
        second_factor.disable(alice.user, PASSWORD, alice.phone.next_code())
        held = User.objects.get(pk=alice.user.pk)
        assert (held.otp_enabled, held.otp_secret) == (False, None)
        assert not TotpDevice.objects.exists()
        assert not RecoveryDevice.objects.exists()
        assert not RecoveryCode.objects.exists()
        assert _recorded()[-1] == ("otp.disabled", "ok")
        assert second_factor.enrol(alice.user)

    def test_a_wrong_password_changes_nothing_and_spends_no_code(self, alice: Owner) -> None:
        code = alice.phone.next_code()
        with pytest.raises(WrongPassword) as refusal:
            second_factor.disable(alice.user, "wrong", code)
        assert refusal.value.field == "password"
        assert is_consistent(alice.user)
        assert second_factor.verify(alice.user, code) == "totp"
        assert _recorded()[-1] == ("otp.disabled", "refused")

    def test_a_wrong_code_changes_nothing(self, alice: Owner) -> None:
        with pytest.raises(WrongCode):
            second_factor.disable(alice.user, PASSWORD, alice.phone.wrong_code())
        assert User.objects.get(pk=alice.user.pk).otp_enabled

    def test_a_role_that_must_have_one_keeps_it(self, clock: Clock) -> None:
        ada = enrolled(clock, "ada", role="admin")
        with pytest.raises(Mandatory) as refusal:
            second_factor.disable(ada.user, PASSWORD, ada.phone.next_code())
        assert refusal.value.code == "otp_mandatory"
        assert User.objects.get(pk=ada.user.pk).otp_enabled

    def test_who_has_none_is_told_so(self) -> None:
        with pytest.raises(NotEnabled):
            second_factor.disable(person(), PASSWORD, "123456")
