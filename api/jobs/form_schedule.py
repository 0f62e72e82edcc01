"""The schedule in the form of a Job: as fields for the usual ones, and as JSON for all others."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from api.dashboard.forms import FormReader
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.job_schedule import DAYS, Calendar, JobSchedule, parse_duration

WEEK = (*DAYS[1:], DAYS[0])
"""The days of the week as people begin it: with Monday."""

_UNITS = {"days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)
_MOST_WORDS = 101
"""More times, or days, than a schedule may have: of a longer text, the rest is taken for one word, which is wrong."""
_A_RANGE = 3
"""From how many days in a row on these are written as a range."""


def read_schedule(reader: FormReader) -> dict[str, Any] | None:
    """Return the schedule that the form describes, as a request has it; None if there is none."""
    kind = reader.text("when")
    if kind == "json":
        return reader.json("scheduleJson", "schedule")
    schedule: dict[str, Any] = {}
    match kind:
        case "every":
            schedule["intervals"] = [{"every": f"{reader.text('every') or ''} {reader.text('everyUnit') or ''}"}]
        case "times":
            schedule["calendars"] = _calendars(reader)
        case "cron":
            expressions = [line.strip() for line in (reader.text("cron") or "").splitlines() if line.strip()]
            schedule["cron"] = expressions[0] if len(expressions) == 1 else expressions
        case _:
            pass
    if kind in ("times", "cron"):
        reader.set_if_given(schedule, "timezone", reader.text("timezone"))
    if kind is not None:
        reader.set_if_given(schedule, "jitter", reader.text("jitter"))
        reader.set_if_given(schedule, "catchupWindow", reader.text("catchupWindow"))
    reader.set_if_given(schedule, "overlap", reader.text("overlap"))
    return schedule or None


def schedule_values(schedule: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the values of the form for a schedule that was accepted: as JSON, if no fields say all of it."""
    if schedule is None:
        return {}
    its = JobSchedule.model_validate(schedule)
    values = {
        "timezone": its.timezone or "",
        "overlap": schedule.get("overlap") or "",
        **{name: str(schedule.get(name) or "") for name in ("jitter", "catchupWindow")},
        **_kind_values(its),
    }
    read = read_schedule(FormReader(values))
    if read is not None and _meaning(read) == _meaning(schedule):
        return values
    return {"when": "json", "scheduleJson": json.dumps(schedule, indent=2, ensure_ascii=False)}


def _kind_values(its: JobSchedule) -> dict[str, str]:
    if its.intervals:
        every = parse_duration(its.intervals[0].every) // timedelta(seconds=1)
        unit = next(unit for unit, size in _UNITS.items() if every % size == 0)
        return {"when": "every", "every": str(every // _UNITS[unit]), "everyUnit": unit}
    if its.calendars:
        return {"when": "times", **_calendar_values(its.calendars)}
    if its.cron_expressions:
        return {"when": "cron", "cron": "\n".join(its.cron_expressions)}
    return {}


def _calendar_values(calendars: Sequence[Calendar]) -> dict[str, str]:
    """Return what the fields say of these calendars, which may be less than all of it."""
    numbers = [each.numbers() for each in calendars]
    days, dates = numbers[0]["day_of_week"], numbers[0]["day_of_month"]
    return {
        "times": " ".join(_clock(each["hour"][0], each["minute"][0], each["second"][0]) for each in numbers),
        "days": " ".join(DAYS[day] for day in days) if len(days) < len(DAYS) else "",
        "dates": " ".join(map(str, dates)) if calendars[0].day_of_month != "*" else "",
    }


def _clock(hour: int, minute: int, second: int) -> str:
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")


def _calendars(reader: FormReader) -> list[dict[str, Any]]:
    """Return a calendar for each time of the day, all of them for the same days."""
    days = _day_of_week((reader.text("days") or "").split())
    words = (reader.text("dates") or "").replace(",", " ").split(maxsplit=_MOST_WORDS)
    dates = [int(each) if re.fullmatch(r"\d{1,2}", each, re.ASCII) else each for each in words]
    calendars: list[dict[str, Any]] = []
    expected = "times of the day, such as 06:30 18:00"
    for text in (reader.text("times") or "").replace(",", " ").split(maxsplit=_MOST_WORDS):
        clock = _TIME.fullmatch(text)
        if clock is None:
            reader.note(field_error("schedule.calendars", expected))
            return []
        hour, minute, second = (int(each or 0) for each in clock.groups())
        calendar: dict[str, Any] = {"hour": hour, "minute": minute}
        reader.set_if_given(calendar, "second", second or None)
        reader.set_if_given(calendar, "dayOfWeek", days)
        reader.set_if_given(calendar, "dayOfMonth", (dates[0] if len(dates) == 1 else dates) if dates else None)
        calendars.append(calendar)
    if not calendars:
        reader.note(field_error("schedule.calendars", expected))
    return calendars


def _day_of_week(days: Sequence[str]) -> Any:
    """Return the value of `dayOfWeek` for these days; None for all of them."""
    if len(days) in (0, len(DAYS)):
        return None
    chosen = [day for day in DAYS if day in days]
    first = DAYS.index(chosen[0]) if chosen else 0
    if len(chosen) >= _A_RANGE and chosen == list(DAYS[first : first + len(chosen)]):
        return {"start": chosen[0], "end": chosen[-1]}
    return chosen[0] if len(chosen) == 1 else chosen


def _meaning(schedule: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what is equal of two schedules whose JobRuns begin at the same times, in the same way."""
    its = JobSchedule.model_validate(schedule)
    return (
        [parse_duration(each.every) for each in its.intervals],
        [(each.numbers(), each.comment) for each in its.calendars],
        its.cron_expressions,
        [each if each is None else parse_duration(each) for each in (its.jitter, its.catchup_window)],
        its.timezone,
        its.overlap,
    )
