"""What the platform may refuse, without a word of HTTP.

Code raises one of these with a sentence that says what to do; `common.api` turns it into a
status. `code` is the stable word of the API, `field` names the input at fault.
"""

from __future__ import annotations

from typing import ClassVar


class DomainError(Exception):
    """Something the platform refuses. Abstract: raise one of the kinds below, or their heirs."""

    status: ClassVar[str] = "invalid"
    code: str = "invalid"

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class Invalid(DomainError):
    """The input makes no sense as it stands."""


class Conflict(DomainError):
    """The input makes sense, the state of things forbids it."""

    status = "conflict"
    code = "conflict"


class TooLarge(DomainError):
    """More than is accepted at once."""

    status = "too_large"
    code = "too_large"


class Missing(DomainError):
    """Not there, or not yours: the same words for both."""

    status = "missing"
    code = "not_found"


class Forbidden(DomainError):
    """Seen, and not allowed."""

    status = "forbidden"
    code = "permission_denied"


class TooMany(DomainError):
    """Tried too often. `retry_after` is in seconds."""

    status = "too_many"
    code = "throttled"

    def __init__(self, detail: str, *, retry_after: int, field: str | None = None) -> None:
        super().__init__(detail, field=field)
        self.retry_after = retry_after


class Unavailable(DomainError):
    """A part is down; asking again later may work."""

    status = "unavailable"
    code = "unavailable"
    retry_after: int = 10


class DatabaseDown(Unavailable):
    """The database does not answer, has no space left, or was busy for too long."""

    code = "database_unavailable"
