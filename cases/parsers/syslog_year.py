"""The years of a log that writes none (RFC 3164, section 4.1.2), told from the order of its lines.

A log is written in order: where December is followed by January a year has passed. The last
year is the latest that does not pass the evidence's reference date.
"""

from __future__ import annotations

import calendar
from datetime import datetime
from typing import Final

from cases.parsers.times import latest_year

#: Days before each month of a leap year, so that every date that can be has one number.
_BEFORE: Final = (0, 0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335)
_LENGTHS: Final = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
#: Back by more than this is forward over New Year: a year is nearer than half of one.
_HALF_YEAR: Final = 183
#: Forward by more than this is a late line from before New Year.
_LATE: Final = 366 - 4


class YearWalk:
    """Follows dates from line to line and counts the New Years between them.

    Ask `step` for every dated line in order: it says how many New Years lie between the first
    line and this one. A few lines out of order, also around New Year, change nothing.
    """

    def __init__(self, passed: int = 0, day: int = 0) -> None:
        """Begin anew, or at a `place`; what lies before one does not count for `first_year`."""
        self._passed = passed
        self._day = day
        self._latest: tuple[int, int, int] | None = None
        self._leap: set[int] = set()

    @property
    def place(self) -> tuple[int, int]:
        """Where the walk is: New Years passed, and the number of the day."""
        return self._passed, self._day

    def is_at(self, month: int, day: int) -> bool:
        """Say whether the last step was to this day, so that another one would change nothing."""
        return self._day == _BEFORE[month] + day and 1 <= day <= _LENGTHS[month]

    def step(self, month: int, day: int) -> int:
        """Return the number of New Years since the first line; impossible dates do not count."""
        number = _BEFORE[month] + day
        if number == self._day or not 1 <= day <= _LENGTHS[month]:
            return self._passed
        if self._day:
            if number < self._day - _HALF_YEAR:
                self._passed += 1
            elif number > self._day + _LATE:
                self._passed -= 1
        self._day = number
        place = (self._passed, month, day)
        if self._latest is None or place > self._latest:
            self._latest = place
        if (month, day) == (2, 29):
            self._leap.add(self._passed)
        return self._passed

    def first_year(self, reference: datetime | None) -> int:
        """Return the latest year of the first line in which all that was walked fits.

        A 29th of February asks for a leap year. Raises ValueError where nothing tells a year.
        """
        passed, month, day = self._latest or (0, 1, 1)
        year = latest_year(month, day, reference) - passed
        for candidate in range(year, year - 12, -1):  # leap years lie at most eight years apart
            if all(calendar.isleap(candidate + later) for later in self._leap):
                return candidate
        return year
