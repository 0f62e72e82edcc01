"""Durations as the contract's schedules write them: milliseconds, or a text such as "90 minutes".

The texts are those of the npm package `ms`, which the contract's own clients use. Python libraries for durations read
other languages: a text without a unit means seconds there, and milliseconds, weeks or years are not known.
"""

from __future__ import annotations

import re
from datetime import timedelta

_DAY = 86_400_000
_UNITS = {
    1: ("", "milliseconds", "millisecond", "msecs", "msec", "ms"),
    1_000: ("seconds", "second", "secs", "sec", "s"),
    60_000: ("minutes", "minute", "mins", "min", "m"),
    3_600_000: ("hours", "hour", "hrs", "hr", "h"),
    _DAY: ("days", "day", "d"),
    7 * _DAY: ("weeks", "week", "w"),
    365.25 * _DAY: ("years", "year", "yrs", "yr", "y"),
}
_MILLISECONDS = {name: size for size, names in _UNITS.items() for name in names}
_DURATION = re.compile(r"(\d{1,15}(?:\.\d{0,15})?|\.\d{1,15}) *([a-z]*)", re.ASCII)

LONGEST = timedelta(days=3660)
"""Longest duration of a schedule."""


def parse_duration(value: int | str) -> timedelta:
    """Return a duration that is written as a number of milliseconds, or as a text.

    Raises:
        ValueError: It is no such text, or longer than `LONGEST`.
    """
    if isinstance(value, str):
        given = _DURATION.fullmatch(value.strip().lower())
        if given is None or given[2] not in _MILLISECONDS:
            raise ValueError("not a duration")
        milliseconds = float(given[1]) * _MILLISECONDS[given[2]]
    else:
        milliseconds = value
    if not 0 <= milliseconds <= LONGEST / timedelta(milliseconds=1):
        raise ValueError("negative, or too long")
    return timedelta(milliseconds=milliseconds)
