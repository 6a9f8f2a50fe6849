"""How a request proved who asks: by a sign-in or by a token of a program."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.utils import timezone

from accounts.models.api_token import ApiToken
from accounts.models.session import AuthSession

#: How long a second factor counts as just shown.
FRESH: Final = timedelta(minutes=5)
READ: Final = "read"
WRITE: Final = "write"
_ALL: Final = frozenset({READ, WRITE})


@dataclass(frozen=True, slots=True)
class Access:
    """The proof, hung on the user of a request as `user.access`; exactly one of the two is set."""

    session: AuthSession | None = None
    token: ApiToken | None = None

    @property
    def has_second_factor(self) -> bool:
        """Whether a second factor was shown; a token could only be made after it was."""
        return self.token is not None or (self.session is not None and self.session.otp_time is not None)

    def is_fresh(self) -> bool:
        """Whether the second factor was shown within the last five minutes."""
        shown = self.session.otp_time if self.session else None
        return shown is not None and timezone.now() - shown <= FRESH

    @property
    def scopes(self) -> frozenset[str]:
        """What may be done: "read", "write"."""
        return frozenset(map(str, self.token.scopes)) if self.token else _ALL

    @property
    def case_ids(self) -> frozenset[str] | None:
        """The cases the token is bound to; None for no bound."""
        if self.token is None or self.token.case_ids is None:
            return None
        return frozenset(map(str, self.token.case_ids))
