"""What is done now and then for all accounts; the worker does it when it starts and once an hour."""

from __future__ import annotations

from accounts import audit, second_factor, sessions


def keep_up() -> None:
    """Seal secrets that the old system left in clear, and remove what has expired. Twice is as once."""
    second_factor.seal_all()
    sessions.tidy()
    audit.prune_expired()
