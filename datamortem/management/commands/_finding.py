"""What `manage.py doctor` says about one thing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `remedy` says how to mend it and is empty when it is well.

    What is weak and bearable here, such as on a laptop, is a note and no problem.
    """

    name: str
    detail: str
    remedy: str = ""
    note: bool = False

    @property
    def is_problem(self) -> bool:
        """Whether it must be mended."""
        return bool(self.remedy) and not self.note
