"""The schedule of a Job in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from schemas.rest.durations import parse_duration
from schemas.rest.job_schedule import (
    CATCHUP_WINDOW,
    DAY_OF_MONTH,
    DAY_OF_WEEK,
    DAYS,
    HOUR,
    MINUTE,
    MONTH,
    MONTHS,
    SECOND,
    YEAR,
    Calendar,
    CalendarUnit,
    JobSchedule,
)
from temporal.durations import format_duration

_WRITTEN_OUT = 6
"""Up to how many times of a day are written out."""
_MONDAY_FIRST = (*range(1, 7), 0)
_OVERLAPS = {
    "skip": "A JobRun that begins while another one is active is canceled at once.",
    "allow": "A JobRun begins also while another one is active.",
    "queue": "A JobRun that begins while another one is active waits for its end.",
}


@dataclass(frozen=True)
class ScheduleText:
    """What a schedule says, in words."""

    times: tuple[str, ...]
    """When JobRuns begin: a phrase for each interval and each calendar."""
    notes: tuple[str, ...]
    """Whole sentences about all of these times."""

    @property
    def short(self) -> str:
        """All times in one phrase; empty if JobRuns begin only by hand."""
        return "; ".join(self.times)


def describe_schedule(schedule: Mapping[str, Any] | None) -> ScheduleText:
    """Return the words for a schedule, as it was accepted; None has none."""
    if schedule is None:
        return ScheduleText((), ())
    its = JobSchedule.model_validate(schedule)
    zone = its.timezone or "UTC"
    intervals = [f"every {format_duration(parse_duration(each.every))}" for each in its.intervals]
    times = [text.replace("every 1 ", "every ") for text in intervals]
    times += [f"{_describe_calendar(each)} ({zone})" for each in its.calendars]
    notes: list[str] = []
    if its.jitter is not None and (jitter := parse_duration(its.jitter)):
        notes.append(f"Each JobRun is delayed at random, by {format_duration(jitter)} at most.")
    if times:
        catchup_window = CATCHUP_WINDOW if its.catchup_window is None else parse_duration(its.catchup_window)
        notes.append(f"A JobRun that was missed is made up for within {format_duration(catchup_window)}.")
    notes.append(_OVERLAPS[its.overlap])
    return ScheduleText(tuple(times), tuple(notes))


def _describe_calendar(calendar: Calendar) -> str:
    text = ", ".join(part for part in (_time_of_day(calendar), _days(calendar)) if part)
    return text if calendar.comment is None else f"{text}, “{calendar.comment}”"


def _time_of_day(calendar: Calendar) -> str:
    seconds, minutes = _numbers(SECOND, calendar.second), _numbers(MINUTE, calendar.minute)
    hours = _numbers(HOUR, calendar.hour)
    if len(seconds) * len(minutes) * len(hours) <= _WRITTEN_OUT:
        with_seconds = seconds != [0]
        return "at " + _join(
            f"{hour:02}:{minute:02}" + (f":{second:02}" if with_seconds else "")
            for hour in hours
            for minute in minutes
            for second in seconds
        )
    units = [("second", SECOND, seconds), ("minute", MINUTE, minutes), ("hour", HOUR, hours)]
    while units[0][2] == [0]:
        units.pop(0)  # What begins with the next unit needs no words: every hour begins at minute 0.
    phrases: list[str] = []
    for name, unit, numbers in units:
        is_all = _is_all(unit, numbers)
        if not (is_all and phrases and phrases[-1].startswith("every")):  # Every minute of every hour is every minute.
            plural = "" if len(numbers) == 1 else "s"
            phrases.append(f"every {name}" if is_all else f"{name}{plural} {_number_phrase(numbers)}")
    text = " of ".join(phrases)
    return text if text.startswith("every") else f"at {text}"


def _days(calendar: Calendar) -> str:
    days = _numbers(DAY_OF_WEEK, calendar.day_of_week)
    days_of_month = _numbers(DAY_OF_MONTH, calendar.day_of_month)
    months, years = _numbers(MONTH, calendar.month), _numbers(YEAR, calendar.year)
    parts: list[str] = []
    if not _is_all(DAY_OF_WEEK, days):
        weekdays = [day for day in _MONDAY_FIRST if day in days]
        parts.append(_name_phrase([_MONDAY_FIRST.index(day) for day in weekdays], DAYS[1:] + DAYS[:1]))
    if not _is_all(DAY_OF_MONTH, days_of_month):
        plural = "" if len(days_of_month) == 1 else "s"
        parts.append(f"on day{plural} {_number_phrase(days_of_month)} of the month")
    if not _is_all(MONTH, months):
        parts.append("in " + _name_phrase([month - 1 for month in months], MONTHS))
    if not _is_all(YEAR, years):
        parts.append(f"in {_number_phrase(years)}")
    if parts:
        return ", ".join(parts)
    hours = _numbers(HOUR, calendar.hour)
    return "" if _is_all(HOUR, hours) else "every day"


def _numbers(unit: CalendarUnit, value: Any) -> list[int]:
    """Return the numbers that the value of a field stands for, each once and in order."""
    return sorted({number for each in unit.ranges(value) for number in range(each.start, each.end + 1, each.step)})


def _is_all(unit: CalendarUnit, numbers: Sequence[int]) -> bool:
    return len(numbers) == unit.highest - unit.lowest + 1


def _number_phrase(numbers: Sequence[int]) -> str:
    steps = {later - earlier for earlier, later in pairwise(numbers)}
    if len(numbers) > _WRITTEN_OUT and len(steps) == 1 and (step := steps.pop()) > 1:
        return f"{numbers[0]} to {numbers[-1]} in steps of {step}"
    return _range_phrase(numbers, [str(number) for number in range(numbers[-1] + 1)])


def _name_phrase(numbers: Sequence[int], names: Sequence[str]) -> str:
    return _range_phrase(numbers, [name.capitalize() for name in names])


def _range_phrase(numbers: Sequence[int], words: Sequence[str]) -> str:
    """Return the words for numbers; three or more that follow each other become a range."""
    sequences: list[list[int]] = []
    for number in numbers:
        if sequences and sequences[-1][-1] == number - 1:
            sequences[-1].append(number)
        else:
            sequences.append([number])
    phrases: list[str] = []
    for each in sequences:
        phrases += [f"{words[each[0]]} to {words[each[-1]]}"] if len(each) > 2 else [words[number] for number in each]
    return _join(phrases)


def _join(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
