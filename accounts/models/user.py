"""Who works here: users with a role on the platform. Roles inside a case live with the case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.utils import timezone

if TYPE_CHECKING:
    from accounts.access import Access


class Role(models.TextChoices):
    """Roles on the platform, from most to least."""

    SUPERADMIN = "superadmin"
    ADMIN = "admin"
    ANALYST = "analyst"
    VIEWER = "viewer"


class UserManager(BaseUserManager["User"]):
    """Makes users; addresses are compared without regard to case."""

    def create_user(self, email: str, username: str, password: str | None = None, **extra: Any) -> User:
        """Return a new user; without a password it cannot sign in."""
        user = self.model(email=self.normalize_email(email).lower(), username=username, **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, username: str, password: str | None = None, **extra: Any) -> User:
        """Return a new user who may do everything."""
        return self.create_user(email, username, password, role=Role.SUPERADMIN, is_superuser=True, **extra)

    def get_by_natural_key(self, username: str | None) -> User:
        """Return the user of an address as somebody typed it. Raises DoesNotExist.

        The old system kept addresses as typed: the exact one wins over one in other case.
        """
        found = list(self.filter(email__iexact=username or ""))
        exact = [user for user in found if user.email == username]
        if len(exact or found) != 1:
            raise self.model.DoesNotExist
        return (exact or found)[0]


class User(AbstractBaseUser, PermissionsMixin):
    """A person, or a program acting for one. Table and columns are those of the old system."""

    email = models.CharField(unique=True)
    username = models.CharField(unique=True)
    password = models.CharField(db_column="hashed_password")
    full_name = models.CharField(null=True, blank=True)
    role = models.CharField(default=Role.ANALYST)
    is_active = models.BooleanField(default=True)
    is_superuser = models.BooleanField(default=False)
    created_at_utc = models.DateTimeField(default=timezone.now)
    last_login = models.DateTimeField(null=True, blank=True, db_column="last_login_utc")
    email_verified = models.BooleanField(default=False)
    email_verification_token = models.CharField(null=True, blank=True, unique=True)
    email_verification_sent_at = models.DateTimeField(null=True, blank=True)
    otp_enabled = models.BooleanField(default=False)
    otp_secret = models.CharField(null=True, blank=True)
    token_epoch = models.IntegerField(default=0, db_default=0)
    locale = models.CharField(max_length=16, blank=True, default="", db_default="")

    #: How this request proved who asks; None where no request does (commands, workers).
    access: Access | None = None

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["username"]

    objects = UserManager()

    class Meta:
        db_table = "users"
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.username

    def check_password(self, raw_password: str | None) -> bool:
        """Compare with the stored hash, also a raw bcrypt one of the old system.

        A right password is stored anew with the preferred hasher if it was not.
        """
        if self.password.startswith("$2"):
            self.password = f"bcrypt${self.password}"
        return super().check_password(raw_password)

    @property
    def is_platform_admin(self) -> bool:
        """Whether the role is one that sees all cases."""
        return self.is_active and self.role in (Role.SUPERADMIN, Role.ADMIN)

    @property
    def is_staff(self) -> bool:
        """Whether the admin site opens to them."""
        return self.is_active and (self.is_superuser or self.is_platform_admin)

    @property
    def may_write(self) -> bool:
        """Whether role and token allow changing anything at all; a case may still say no."""
        may = self.access is None or "write" in self.access.scopes
        return self.is_active and self.role != Role.VIEWER and may

    @property
    def bound_cases(self) -> frozenset[str] | None:
        """The ids of the cases that the API token in use opens; None: no such bound."""
        return self.access.case_ids if self.access else None
