"""The second factor: setting it up, showing it again, new recovery codes, switching it off."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from accounts import policy, second_factor
from accounts.enrolment import Enrolment, enrolment
from accounts.forms import CodeForm, DisableForm, OnlyCodeForm
from accounts.models import RecoveryCode, TotpDevice, User
from accounts.sealing import CannotUnseal, unseal
from accounts.views.page import (
    REFUSALS,
    SignedIn,
    following,
    half_open,
    onward,
    session_of,
    shown,
    signed_in,
    to_step_up,
    told,
)


@half_open
@signed_in
@sensitive_post_parameters("code")
@require_http_methods(["GET", "HEAD", "POST"])
def manage(request: SignedIn) -> HttpResponse:
    """Show how the second factor stands; set one up: first the picture, then the first code."""
    user = request.user
    if user.otp_enabled:
        if policy.second_factor_missing(user):
            return to_step_up(request, request.get_full_path())
        return _state(request)
    if request.method == "POST" and request.POST.get("do") == "begin":
        second_factor.enrol(user)
        return HttpResponseRedirect(_here(following(request)))
    form = CodeForm(request.POST if request.method == "POST" else None)
    page = {
        "form": form,
        "next": following(request),
        "enrolment": _begun(user),
        "mandatory": policy.needs_second_factor(user),
    }
    if not form.is_valid():
        return shown(request, "second_factor_new", page)
    try:
        codes = second_factor.confirm(user, form.cleaned_data["code"], keep=session_of(request))
    except REFUSALS as refusal:
        return shown(request, "second_factor_new", page, **told(refusal, form))
    return shown(request, "recovery_codes", {"codes": codes, "next": following(request), "first": True})


@half_open
@signed_in
@sensitive_post_parameters("code")
@require_http_methods(["GET", "HEAD", "POST"])
def verify(request: SignedIn) -> HttpResponse:
    """Ask for a code, because none was shown in this sign-in or what is wanted needs it again."""
    if not request.user.otp_enabled:
        return redirect("second-factor") if policy.needs_second_factor(request.user) else onward(request)
    form = OnlyCodeForm(request.POST if request.method == "POST" else None)
    page = {"form": form, "next": following(request)}
    if not form.is_valid():
        return shown(request, "second_factor_verify", page)
    try:
        second_factor.step_up(request.user, form.cleaned_data["code"])
    except REFUSALS as refusal:
        return shown(request, "second_factor_verify", page, **told(refusal, form))
    return onward(request)


@signed_in
@sensitive_post_parameters("code")
@require_POST
def new_codes(request: SignedIn) -> HttpResponse:
    """Replace the recovery codes; the old ones are good no longer."""
    form = CodeForm(request.POST)
    if form.is_valid():
        try:
            codes = second_factor.new_recovery_codes(request.user, form.cleaned_data["code"])
        except REFUSALS as refusal:
            return _state(request, codes=form, **told(refusal, form))
        return shown(request, "recovery_codes", {"codes": codes})
    return _state(request, codes=form, status=400)


@signed_in
@sensitive_post_parameters("code", "password")
@require_POST
def disable(request: SignedIn) -> HttpResponse:
    """Switch the second factor off, where the role allows that."""
    form = DisableForm(request.POST, prefix="off")
    if form.is_valid():
        try:
            second_factor.disable(request.user, form.cleaned_data["password"], form.cleaned_data["code"])
        except REFUSALS as refusal:
            return _state(request, off=form, **told(refusal, form))
        messages.success(request, "Your second factor is switched off.")
        return redirect("second-factor")
    return _state(request, off=form, status=400)


def _state(
    request: SignedIn,
    *,
    codes: CodeForm | None = None,
    off: DisableForm | None = None,
    status: int = 200,
    wait: int | None = None,
) -> HttpResponse:
    page = {
        "codes": codes or CodeForm(),
        "off": off or DisableForm(prefix="off"),
        "left": RecoveryCode.objects.filter(device__user=request.user).count(),
        "mandatory": policy.needs_second_factor(request.user),
    }
    return shown(request, "second_factor", page, status=status, wait=wait)


def _begun(user: User) -> Enrolment | None:
    """Return the secret that waits for its first code, to be shown again."""
    if not user.otp_secret or not TotpDevice.objects.filter(user=user, confirmed=False).exists():
        return None
    try:
        return enrolment(user.email, unseal(user.otp_secret))
    except CannotUnseal:
        return None


def _here(address: str) -> str:
    return reverse("second-factor") + (f"?{urlencode({'next': address})}" if address else "")
