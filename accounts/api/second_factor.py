"""Routes of the own second factor. Secrets and recovery codes are in one answer each, and in no cache."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import second_factor
from accounts.api.scope import session_of, user_of
from datamortem.common.api import StrictParameters, StrictSerializer

_SHOWN_ONCE = {"Cache-Control": "no-store"}


class CodeSerializer(StrictSerializer):
    """A code of the app, or of the recovery sheet."""

    code = serializers.CharField(max_length=64, write_only=True)


class DisableSerializer(CodeSerializer):
    """What takes the second factor away."""

    password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)


class EnrolmentSerializer(serializers.Serializer[Any]):
    """A new secret: to type, as an address for an app, and that address as a QR code."""

    secret = serializers.CharField()
    otpauth_uri = serializers.CharField()
    qr_svg = serializers.CharField()


class RecoveryCodesSerializer(serializers.Serializer[Any]):
    """Codes that are good once each."""

    recovery_codes = serializers.ListField(child=serializers.CharField())


class EnrolView(StrictParameters):
    """A new secret."""

    persons_only = True
    open_without_second_factor = True

    @extend_schema(operation_id="otp_enrol", request=None, responses=EnrolmentSerializer)
    def post(self, request: Request) -> Response:
        """Get one; it counts once a code of it is confirmed."""
        enrolment = second_factor.enrol(user_of(request))
        return Response(EnrolmentSerializer(asdict(enrolment)).data, headers=_SHOWN_ONCE)


class ConfirmView(StrictParameters):
    """The begin of a second factor."""

    persons_only = True
    open_without_second_factor = True

    @extend_schema(operation_id="otp_confirm", request=CodeSerializer, responses=RecoveryCodesSerializer)
    def post(self, request: Request) -> Response:
        """Confirm the new secret by a code of it; all other sign-ins end."""
        user, code = user_of(request), _code(request)
        return _codes(second_factor.confirm(user, code, keep=session_of(user)))


class VerifyView(StrictParameters):
    """The second factor, shown again."""

    persons_only = True
    open_without_second_factor = True

    @extend_schema(operation_id="otp_verify", request=CodeSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        """Show it in this sign-in, as dangerous acts ask for every five minutes."""
        second_factor.step_up(user_of(request), _code(request))
        return Response(status=204)


class RecoveryCodesView(StrictParameters):
    """A new sheet of recovery codes."""

    persons_only = True

    @extend_schema(
        operation_id="otp_recovery_codes", request=CodeSerializer, responses=RecoveryCodesSerializer
    )
    def post(self, request: Request) -> Response:
        """Get one; the codes of the old one are worth nothing."""
        return _codes(second_factor.new_recovery_codes(user_of(request), _code(request)))


class DisableView(StrictParameters):
    """The end of a second factor."""

    persons_only = True

    @extend_schema(operation_id="otp_disable", request=DisableSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        """Take it away; all other sign-ins end."""
        given = DisableSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        second_factor.disable(user_of(request), **given.validated_data)
        return Response(status=204)


def _code(request: Request) -> str:
    given = CodeSerializer(data=request.data)
    given.is_valid(raise_exception=True)
    code: str = given.validated_data["code"]
    return code


def _codes(codes: list[str]) -> Response:
    return Response(RecoveryCodesSerializer({"recovery_codes": codes}).data, headers=_SHOWN_ONCE)
