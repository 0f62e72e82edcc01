"""Translate the schedule of a Job into that of a Temporal Schedule."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import ScheduleCalendarSpec, ScheduleIntervalSpec, ScheduleRange, ScheduleSpec

from schemas.rest.durations import parse_duration
from schemas.rest.job_schedule import (
    CATCHUP_WINDOW,
    DAY_OF_MONTH,
    DAY_OF_WEEK,
    HOUR,
    MINUTE,
    MONTH,
    SECOND,
    YEAR,
    Calendar,
    CalendarUnit,
    JobSchedule,
)


def schedule_spec(schedule: dict[str, Any] | None) -> ScheduleSpec:
    """Return the times of a schedule, as a `JobDefinition` has it; those of None never come."""
    if schedule is None:
        return ScheduleSpec()
    written = JobSchedule.model_validate(schedule)
    return ScheduleSpec(
        calendars=[_calendar(calendar) for calendar in written.calendars],
        intervals=[ScheduleIntervalSpec(every=parse_duration(interval.every)) for interval in written.intervals],
        jitter=None if written.jitter is None else parse_duration(written.jitter),
        time_zone_name=written.timezone,
    )


def catchup_window(schedule: dict[str, Any] | None) -> timedelta:
    """Return how late a JobRun may begin that could not begin in time."""
    written = None if schedule is None else JobSchedule.model_validate(schedule).catchup_window
    return CATCHUP_WINDOW if written is None else parse_duration(written)


def _calendar(calendar: Calendar) -> ScheduleCalendarSpec:
    return ScheduleCalendarSpec(
        second=_ranges(SECOND, calendar.second),
        minute=_ranges(MINUTE, calendar.minute),
        hour=_ranges(HOUR, calendar.hour),
        day_of_month=_ranges(DAY_OF_MONTH, calendar.day_of_month),
        month=_ranges(MONTH, calendar.month),
        year=() if calendar.year == "*" else _ranges(YEAR, calendar.year),
        day_of_week=_ranges(DAY_OF_WEEK, calendar.day_of_week),
        comment=calendar.comment,
    )


def _ranges(unit: CalendarUnit, value: Any) -> Sequence[ScheduleRange]:
    return [ScheduleRange(start=each.start, end=each.end, step=each.step) for each in unit.ranges(value)]
