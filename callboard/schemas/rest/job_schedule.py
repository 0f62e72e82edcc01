"""`schedule` of a Job: when JobRuns begin by themselves (docs/contract.md, section 17).

The models keep what a client has written, since it is answered as it was. Durations are milliseconds, or texts such as
"90 minutes": those of the npm package `ms`, which the contract's own clients use. Python libraries for durations read
other languages: a text without a unit means seconds there, and milliseconds, weeks or years are not known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Annotated, Any, Literal, Self, cast
from zoneinfo import available_timezones

from pydantic import AfterValidator, FailFast, Field, ValidatorFunctionWrapHandler, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

from callboard.schemas.rest.base import RequestModel, at_most, expected_error, expects
from callboard.schemas.suggestion import did_you_mean
from callboard.schemas.workflow.job import JobOverlap

DAYS = ("SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY")
MONTHS = (
    *("JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE"),
    *("JULY", "AUGUST", "SEPTEMBER", "OCTOBER", "NOVEMBER", "DECEMBER"),
)

CATCHUP_WINDOW = timedelta(minutes=10)
"""Age up to which a JobRun that was missed is made up for, if a schedule does not say it."""
SHORTEST_CATCHUP_WINDOW = timedelta(seconds=10)

_LIMIT = 100
"""How many intervals, and how many calendars, a schedule may have, and values a field of a calendar."""
_SECOND = timedelta(seconds=1)
_COMMENT_BYTES = 200
"""Bytes of a comment that Temporal accepts."""
_CRON_LENGTH = 300
"""Most characters of a cron expression."""
_MILLISECONDS_OR_TEXT = 'in milliseconds, or as a text such as "90 minutes" or "2d"'

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


@dataclass(frozen=True)
class Range:
    """Numbers of a calendar from `start` to `end`, both included, in steps of `step`."""

    start: int
    end: int
    step: int = 1


@dataclass(frozen=True)
class CalendarUnit:
    """What a field of a calendar may hold: numbers from `lowest` to `highest`, or words that stand for them."""

    lowest: int
    highest: int
    words: Sequence[str] = ()

    @property
    def expected(self) -> str:
        """What the field should have been, for errors."""
        one = (
            f"one of {', '.join(self.words)}" if self.words else f"a whole number from {self.lowest} to {self.highest}"
        )
        return (
            f'{one}, or {{"start", "end", "step"}} of such values (end not before start, step at least 1 and only with '
            f'end), or an array of at most {_LIMIT} of these, or "*"'
        )

    def ranges(self, value: Any) -> tuple[Range, ...]:
        """Return the numbers that the value of a field stands for.

        Raises:
            ValueError: It is none of the forms that a field may have.
        """
        if value == "*":
            return (Range(self.lowest, self.highest),)
        if isinstance(value, list):
            items = cast("list[Any]", value)
            if not 1 <= len(items) <= _LIMIT:
                raise ValueError("an empty array, or a long one")
            return tuple(self._range(item) for item in items)
        return (self._range(value),)

    def numbers(self, value: Any) -> tuple[int, ...]:
        """Return the numbers that the value of a field stands for, in their order. Raises as `ranges` does."""
        found = {number for each in self.ranges(value) for number in range(each.start, each.end + 1, each.step)}
        return tuple(sorted(found))

    def _range(self, value: Any) -> Range:
        if not isinstance(value, dict):
            number = self._number(value)
            return Range(number, number)
        fields = {name: item for name, item in cast("dict[str, Any]", value).items() if item is not None}
        if not fields.keys() <= {"start", "end", "step"} or "start" not in fields:
            raise ValueError("another object")
        start = self._number(fields["start"])
        end = self._number(fields["end"]) if "end" in fields else start
        step = fields.get("step", 1)
        if type(step) is not int or step < 1 or ("step" in fields and "end" not in fields) or end < start:
            raise ValueError("a step that is none, or an end before the start")
        return Range(start, end, min(step, self.highest))

    def _number(self, value: Any) -> int:
        if self.words:
            return self.lowest + self.words.index(value)
        if type(value) is not int or not self.lowest <= value <= self.highest:
            raise ValueError("out of bounds")
        return value


SECOND = CalendarUnit(0, 59)
MINUTE = CalendarUnit(0, 59)
HOUR = CalendarUnit(0, 23)
DAY_OF_MONTH = CalendarUnit(1, 31)
MONTH = CalendarUnit(1, 12, MONTHS)
YEAR = CalendarUnit(2000, 2100)
DAY_OF_WEEK = CalendarUnit(0, 6, DAYS)

_CALENDAR_UNITS = {
    "second": SECOND,
    "minute": MINUTE,
    "hour": HOUR,
    "day_of_month": DAY_OF_MONTH,
    "month": MONTH,
    "year": YEAR,
    "day_of_week": DAY_OF_WEEK,
}
"""The fields of `Calendar`."""
_CRON_UNITS = {"minute": MINUTE, "hour": HOUR, "dayOfMonth": DAY_OF_MONTH, "month": MONTH, "dayOfWeek": DAY_OF_WEEK}
"""The fields of a cron expression in their order, by their names in a calendar."""
_CRON_PART = re.compile(r"(?:\*|([A-Za-z]+|\d+)(?:-([A-Za-z]+|\d+))?)(?:/(\d{1,3}))?", re.ASCII)
_SUNDAY_AS_7 = 7
_FIVE_FIELDS = (
    'a cron expression of five fields (minute, hour, day of the month, month, day of the week), such as "30 6 * * '
    'MON-FRI"; words that begin with @ are not taken, and the time zone stands in timezone'
)
_ONE_DAY_FIELD = (
    "a cron expression in which the day of the month or the day of the week is *: with both, cron means days that "
    "match either of them, and a schedule of Temporal days that match both. Write an expression for each of the two"
)


def parse_cron(expression: str) -> dict[str, Any]:
    """Return the fields of the calendar whose times are those of a cron expression, as Temporal understands it.

    Raises:
        PydanticCustomError: It is no such expression; the error says what was expected.
    """
    texts = expression.split()
    if len(texts) != len(_CRON_UNITS) or "=" in texts[0] or len(expression) > _CRON_LENGTH:
        raise expected_error(_FIVE_FIELDS)
    calendar = {name: _parse_cron_field(name, text) for name, text in zip(_CRON_UNITS, texts, strict=True)}
    if not any(text in {"*", "?"} or text.startswith("*/") for text in (texts[2], texts[4])):
        raise expected_error(_ONE_DAY_FIELD)
    return calendar


def _parse_cron_field(name: str, text: str) -> Any:
    """Return the value that a field of a calendar has in the place of one of a cron expression."""
    unit = _CRON_UNITS[name]
    if text == "*" or (text == "?" and unit in {DAY_OF_MONTH, DAY_OF_WEEK}):
        return "*"
    try:
        values = [value for part in text.split(",") for value in _parse_cron_part(unit, part)]
    except ValueError as error:
        raise expected_error(
            f"a cron expression whose {name} is *, or numbers from {unit.lowest} to {_cron_highest(unit)}"
            f"{', or names such as ' + unit.words[1][:3] if unit.words else ''}, with ranges such as 2-5, steps such as"
            " */2, and commas"
        ) from error
    return values[0] if len(values) == 1 else values


def _parse_cron_part(unit: CalendarUnit, text: str) -> list[Any]:
    """Return what a part of a field, between commas, stands for. Raises ValueError."""
    part = _CRON_PART.fullmatch(text)
    if part is None:
        raise ValueError("another form")
    first, last, step = part.groups()
    start = unit.lowest if first is None else _parse_cron_value(unit, first)
    if last is not None:
        end = _parse_cron_value(unit, last)
    elif first is None:
        end = unit.highest
    else:  # 5/10 means from 5 on
        end = start if step is None else _cron_highest(unit)
    numbers = range(start, end + 1, 1 if step is None else int(step))
    if not numbers:
        raise ValueError("an end before the start")
    if end > unit.highest:  # Sunday comes last, and is the first day of a calendar
        return list(dict.fromkeys(unit.words[number % _SUNDAY_AS_7] for number in numbers))
    named = [unit.words[number - unit.lowest] if unit.words else number for number in (start, end)]
    if len(numbers) == 1:
        return named[:1]
    return [{"start": named[0], "end": named[1]} | ({"step": numbers.step} if numbers.step > 1 else {})]


def _parse_cron_value(unit: CalendarUnit, text: str) -> int:
    """Return the number for a number, or for a name of which three letters or more are given. Raises ValueError."""
    named = [word.startswith(text.upper()) for word in unit.words]
    number = unit.lowest + named.index(True) if len(text) >= 3 and any(named) else int(text)
    if not unit.lowest <= number <= _cron_highest(unit):
        raise ValueError("out of bounds")
    return number


def _cron_highest(unit: CalendarUnit) -> int:
    return _SUNDAY_AS_7 if unit is DAY_OF_WEEK else unit.highest


def _check_cron(value: str | list[str]) -> str | list[str]:
    if isinstance(value, str):
        parse_cron(value)
        return value
    for number, expression in enumerate(value, 1):
        try:
            parse_cron(expression)
        except PydanticCustomError as error:
            raise expected_error(f"as expression {number} {(error.context or {})['expected']}") from error
    return value


def _calendar_value(unit: CalendarUnit) -> AfterValidator:
    def validate(value: Any) -> Any:
        try:
            unit.ranges(value)
        except ValueError as error:
            raise expected_error(unit.expected) from error
        return value

    return AfterValidator(validate)


def _check_comment(text: str) -> str:
    if len(text.encode()) > _COMMENT_BYTES:
        raise ValueError("too long")
    return text


def _duration(expected: str, shortest: timedelta, whole: timedelta | None = None) -> WrapValidator:
    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> int | str:
        try:
            duration: int | str = handler(value)
            length = parse_duration(duration)
            if length < shortest or (whole is not None and length % whole):
                raise ValueError("too short, or between two steps")
        except ValueError as error:
            raise expected_error(f"{expected}, {_MILLISECONDS_OR_TEXT}") from error
        return duration

    return WrapValidator(validate)


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _check_time_zone(name: str) -> str:
    if name in _time_zones():
        return name
    hint = did_you_mean(name, _time_zones())
    raise expected_error(f"the name of a time zone, such as Europe/Berlin{f'.{hint}' if hint else ''}")


_Every = Annotated[int | str, _duration(f"whole seconds, from 1 second to {LONGEST.days} days", _SECOND, whole=_SECOND)]
_Jitter = Annotated[int | str, _duration(f"a duration of at most {LONGEST.days} days", timedelta())]
_CatchupWindow = Annotated[
    int | str, _duration(f"a duration from 10 seconds to {LONGEST.days} days", SHORTEST_CATCHUP_WINDOW)
]
_TimeZone = Annotated[str, AfterValidator(_check_time_zone), expects("the name of a time zone, such as Europe/Berlin")]
_Comment = Annotated[str, AfterValidator(_check_comment), expects(f"a text of at most {_COMMENT_BYTES} bytes")]
_Cron = Annotated[
    str | Annotated[list[str], FailFast()],
    AfterValidator(_check_cron),
    at_most(_LIMIT, "cron expressions"),
    expects("a cron expression, or an array of these"),
]
_Overlap = Annotated[Literal["skip", "allow", "queue"], expects('"skip", "allow" or "queue"')]


class Interval(RequestModel):
    """A period, counted from the beginning of 1970 in UTC."""

    every: _Every
    """Whole seconds, in milliseconds or as a text such as `"1h"`."""


class Calendar(RequestModel):
    """Times of the calendar: those that all fields match. Without `second`, `minute` or `hour`, these are 0."""

    second: Annotated[Any, _calendar_value(SECOND)] = 0
    minute: Annotated[Any, _calendar_value(MINUTE)] = 0
    hour: Annotated[Any, _calendar_value(HOUR)] = 0
    day_of_month: Annotated[Any, _calendar_value(DAY_OF_MONTH)] = "*"
    month: Annotated[Any, _calendar_value(MONTH)] = "*"
    year: Annotated[Any, _calendar_value(YEAR)] = "*"
    day_of_week: Annotated[Any, _calendar_value(DAY_OF_WEEK)] = "*"
    comment: _Comment | None = None

    def numbers(self) -> dict[str, tuple[int, ...]]:
        """Return the numbers that each field stands for, in their order. Days of the week begin with Sunday, as 0."""
        return {name: unit.numbers(getattr(self, name)) for name, unit in _CALENDAR_UNITS.items()}


class JobSchedule(RequestModel):
    """When JobRuns begin by themselves: at the times of all intervals, calendars and cron expressions together."""

    intervals: Annotated[list[Interval], FailFast(), at_most(_LIMIT, "intervals")] = Field(
        default_factory=list[Interval]
    )
    calendars: Annotated[list[Calendar], FailFast(), at_most(_LIMIT, "calendars")] = Field(
        default_factory=list[Calendar]
    )
    cron: _Cron = Field(default_factory=list[str])
    """Cron expressions of five fields, such as `"30 6 * * MON-FRI"`. An addition to the contract."""
    jitter: _Jitter | None = None
    """The longest random delay of each JobRun."""
    timezone: _TimeZone | None = None
    """The time zone of calendars and cron expressions; by default UTC. An addition to the contract."""
    overlap: _Overlap = "skip"
    """What becomes of a JobRun that begins while another one of the Job is active. An addition to the contract."""
    catchup_window: _CatchupWindow | None = None
    """How late a JobRun may begin that could not begin in time, as Temporal was down; by default ten minutes. An
    addition to the contract."""

    @model_validator(mode="after")
    def _has_times(self) -> Self:
        if self.intervals or self.calendars or self.cron:
            return self
        fields = {"jitter": self.jitter, "timezone": self.timezone, "catchupWindow": self.catchup_window}
        useless = [name for name, value in fields.items() if value is not None]
        if useless:
            raise expected_error(
                f"intervals, calendars or cron beside {' and '.join(useless)}: without them, no JobRun begins by itself"
            )
        if "overlap" not in self.model_fields_set:
            raise expected_error("an object with intervals, calendars, cron or overlap")
        return self

    @property
    def cron_expressions(self) -> list[str]:
        """All cron expressions."""
        return [self.cron] if isinstance(self.cron, str) else self.cron

    @property
    def overlap_policy(self) -> JobOverlap:
        """`overlap` as the definition of a Job has it."""
        return JobOverlap(self.overlap)
