"""The shapes of sign-in and of the own account."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from rest_framework import serializers

from accounts.models import AuthSession, User
from datamortem.common.api import StrictSerializer


class LoginSerializer(StrictSerializer):
    """What signs in."""

    email = serializers.CharField(max_length=320)
    password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)
    otp = serializers.CharField(max_length=64, required=False, allow_blank=True)


class VerifySerializer(StrictSerializer):
    """What answers a challenge."""

    challenge = serializers.CharField(max_length=4096)
    code = serializers.CharField(max_length=64)


class ChallengeSerializer(serializers.Serializer[Any]):
    """A password that was right, and what is due next."""

    challenge = serializers.CharField()
    methods = serializers.ListField(child=serializers.CharField())


class LogoutSerializer(StrictSerializer):
    """Which sign-in ends, if not the one that asks."""

    refresh = serializers.CharField(max_length=4096, required=False)


class SessionSerializer(serializers.ModelSerializer[AuthSession]):
    """One sign-in."""

    current = serializers.SerializerMethodField()
    second_factor = serializers.SerializerMethodField()

    class Meta:
        model = AuthSession
        fields = (
            "id", "method", "created_at", "last_seen_at", "expires_at", "address", "agent",
            "current", "second_factor",
        )  # fmt: skip
        read_only_fields = fields

    def get_current(self, session: AuthSession) -> bool:
        """Return whether it is the one that asks."""
        access = getattr(self.context["request"].user, "access", None)
        return bool(access and access.session and access.session.pk == session.pk)

    def get_second_factor(self, session: AuthSession) -> bool:
        """Return whether a second factor was shown."""
        return session.otp_time is not None


class RefreshSerializer(StrictSerializer):
    """What gets the next pair."""

    refresh = serializers.CharField(max_length=4096)


class TokensSerializer(serializers.Serializer[Any]):
    """A pair of tokens."""

    access = serializers.CharField()
    refresh = serializers.CharField()
    access_expires_at = serializers.DateTimeField()


class MeSerializer(serializers.ModelSerializer[User]):
    """The own account."""

    created_at = serializers.DateTimeField(source="created_at_utc")

    class Meta:
        model = User
        fields = (
            "id",
            "email",
            "username",
            "full_name",
            "role",
            "locale",
            "email_verified",
            "otp_enabled",
            "created_at",
            "last_login",
        )
        read_only_fields = fields


class ChangeMeSerializer(StrictSerializer):
    """What people may change about their own account."""

    full_name = serializers.CharField(max_length=200, allow_blank=True, required=False)
    locale = serializers.ChoiceField(
        choices=[("", "as the browser says"), *settings.LANGUAGES], allow_blank=True, required=False
    )
