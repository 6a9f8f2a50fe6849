"""What opens a bucket."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Keys:
    """A server that is not Amazon's, its region, the keys, and a file of certificates to trust.

    Empty keys are looked for where Amazon's tools look: environment, profile, role of the machine.
    """

    endpoint: str = ""
    region: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    ca: str = ""
