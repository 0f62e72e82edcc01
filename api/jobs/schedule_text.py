"""The schedule of a Job in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from callboard.schemas.rest.job_schedule import CATCHUP_WINDOW, Calendar, JobSchedule, parse_cron, parse_duration
from callboard.temporal.durations import format_duration

_OVERLAPS = {
    "skip": "A JobRun that begins while another one is active is canceled at once.",
    "allow": "A JobRun begins also while another one is active.",
    "queue": "A JobRun that begins while another one is active waits for its end.",
}


@dataclass(frozen=True)
class ScheduleText:
    """What a schedule says, in words."""

    times: tuple[str, ...]
    """When JobRuns begin: a phrase for each interval, calendar and cron expression."""
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
    times = [
        f"every {format_duration(parse_duration(each.every))}".replace("every 1 ", "every ") for each in its.intervals
    ]
    by_cron = [Calendar.model_validate(parse_cron(expression)) for expression in its.cron_expressions]
    times += [f"{_describe_calendar(each)} ({its.timezone or 'UTC'})" for each in (*its.calendars, *by_cron)]
    notes: list[str] = []
    if its.jitter is not None and (jitter := parse_duration(its.jitter)):
        notes.append(f"Each JobRun is delayed at random, by {format_duration(jitter)} at most.")
    if times:
        catchup_window = CATCHUP_WINDOW if its.catchup_window is None else parse_duration(its.catchup_window)
        notes.append(f"A JobRun that was missed is made up for within {format_duration(catchup_window)}.")
    notes.append(_OVERLAPS[its.overlap])
    return ScheduleText(tuple(times), tuple(notes))


def _describe_calendar(calendar: Calendar) -> str:
    hour, minute, second = calendar.hour, calendar.minute, calendar.second
    if all(isinstance(each, int) for each in (hour, minute, second)):
        parts = [f"at {hour:02}:{minute:02}" + (f":{second:02}" if second else "")]
    else:
        units = {"hour": hour, "minute": minute} | ({"second": second} if second else {})
        parts = [f"every {unit}" if value == "*" else f"{unit} {_words(value)}" for unit, value in units.items()]
    dates = {"": calendar.day_of_week, "day ": calendar.day_of_month, "in ": calendar.month, "in year ": calendar.year}
    parts += [f"{before}{_words(value)}" for before, value in dates.items() if value != "*"] or ["every day"]
    return ", ".join(parts if calendar.comment is None else [*parts, f"“{calendar.comment}”"])


def _words(value: Any) -> str:
    """Return the words for the value of a field: a number or a name, a range, or an array of these."""
    match value:
        case list():
            return " and ".join(_words(each) for each in cast("list[Any]", value))
        case {"start": start, "end": end, **rest} if end is not None:
            step = rest.get("step") or 1
            return f"{_words(start)} to {_words(end)}" + (f" in steps of {step}" if step > 1 else "")
        case {"start": start}:
            return _words(start)
        case _:
            return str(value).capitalize()
