"""The next times of a schedule that Temporal does not know yet: the times that it will find itself."""

from __future__ import annotations

import heapq
from calendar import monthrange
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby, islice, product
from typing import Any
from zoneinfo import ZoneInfo

from callboard.schemas.rest.job_schedule import Calendar, JobSchedule, parse_cron, parse_duration

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def next_times(schedule: Mapping[str, Any], after: datetime, count: int = 10) -> list[datetime]:
    """Return the next times of a schedule that was validated, in UTC; fewer if there are no more."""
    its = JobSchedule.model_validate(schedule)
    zone = ZoneInfo(its.timezone or "UTC")
    by_cron = [Calendar.model_validate(parse_cron(expression)) for expression in its.cron_expressions]
    found = heapq.merge(
        *(_of_interval(parse_duration(each.every), after) for each in its.intervals),
        *(_of_calendar(each, zone, after) for each in (*its.calendars, *by_cron)),
    )
    return [at for at, _ in islice(groupby(found), count)]


def _of_interval(every: timedelta, after: datetime) -> Iterator[datetime]:
    at = after - (after - _EPOCH) % every
    while True:
        at += every
        yield at


def _of_calendar(calendar: Calendar, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield the times of a calendar. What lies before `after` is passed over by the largest unit that does."""
    its = calendar.numbers()
    begin = after.astimezone(zone).replace(tzinfo=None)
    for year, month in product(its["year"], its["month"]):
        if (year, month) < (begin.year, begin.month):
            continue
        last = monthrange(year, month)[1]
        for on in (date(year, month, day) for day in its["day_of_month"] if day <= last):
            if on < begin.date() or on.isoweekday() % 7 not in its["day_of_week"]:
                continue
            for hour in its["hour"]:
                if (on, hour) < (begin.date(), begin.hour):
                    continue
                yield from _of_hour(datetime(year, month, on.day, hour, tzinfo=zone), its, after)


def _of_hour(begin: datetime, its: Mapping[str, Sequence[int]], after: datetime) -> Iterator[datetime]:
    """Yield the times of a calendar within an hour: twice if clocks are set back to it, never if they leave it out.

    Temporal takes both west of Greenwich. East of it, it leaves out some of them in that hour of the year.
    """
    for fold in (0, 1) if begin.utcoffset() != begin.replace(fold=1).utcoffset() else (0,):
        for minute, second in product(its["minute"], its["second"]):
            at = begin.replace(minute=minute, second=second, fold=fold).astimezone(UTC)
            if at > after and at.astimezone(begin.tzinfo).hour == begin.hour:
                yield at
