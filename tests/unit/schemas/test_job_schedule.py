"""When JobRuns begin by themselves: every value that a schedule may have, and what is said of any other."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from callboard.schemas.rest.field_errors import validation_error
from callboard.schemas.rest.job_schedule import DAYS, MONTHS
from callboard.schemas.rest.jobs import UpdateJob

NUMBERS = {"second": (0, 59), "minute": (0, 59), "hour": (0, 23), "dayOfMonth": (1, 31), "year": (2000, 2100)}
WORDS = {"month": MONTHS, "dayOfWeek": DAYS}


def refusal(schedule: Any) -> tuple[str, str] | None:
    """The field of a schedule that is refused, and what was expected there; None: it is taken as it is."""
    try:
        job = UpdateJob.model_validate({"payload": [], "configuration": {}, "schedule": schedule})
    except ValidationError as error:
        details = validation_error(error, UpdateJob).details
        assert details is not None
        return details["path"], details["expected"]
    assert job.schedule is not None
    assert job.schedule.model_dump(exclude_unset=True) == schedule
    return None


def of_calendar(field: str, value: Any) -> str | None:
    refused = refusal({"calendars": [{field: value}]})
    if refused is None:
        return None
    assert refused[0] == f"schedule.calendars[0].{field}"
    return refused[1]


@pytest.mark.parametrize("field", NUMBERS)
@given(st.integers())
def test_a_number_of_a_calendar_is_within_its_bounds_in_every_form(field: str, drawn: int):
    lowest, highest = NUMBERS[field]
    for number in (lowest - 1, lowest, highest, highest + 1, drawn):
        for value in (number, [lowest, number], {"start": number}, [{"start": number, "end": highest, "step": 7}]):
            expected = of_calendar(field, value)
            if lowest <= number <= highest:
                assert expected is None
            else:
                assert f"a whole number from {lowest} to {highest}" in (expected or "")


def test_a_field_of_a_calendar_has_so_many_values_at_most():
    assert of_calendar("hour", [1] * 100) is None
    assert "an array of at most 100 of these" in (of_calendar("hour", [1] * 101) or "")


@given(st.sampled_from(sorted(WORDS)), st.data())
def test_months_and_days_are_words_in_their_order(field: str, data: st.DataObject):
    start, end = (data.draw(st.sampled_from(WORDS[field])) for _ in range(2))
    in_order = WORDS[field].index(start) <= WORDS[field].index(end)
    assert (of_calendar(field, {"start": start, "end": end}) is None) is in_order
    assert of_calendar(field, [start, end]) is None
    for value in (start[:2], start.lower(), WORDS[field].index(start)):
        assert f"one of {', '.join(WORDS[field])}" in (of_calendar(field, value) or "")


@pytest.mark.parametrize("field", [*NUMBERS, *WORDS])
def test_every_value_of_a_field_is_a_star(field: str):
    assert of_calendar(field, "*") is None


@pytest.mark.parametrize(
    "value",
    [
        *("9", 9.0, True, [], [1, "*"], [[1]], {"end": 1}, {"start": 9, "end": 1}, {"start": 1, "step": 2}),
        *({"start": 1, "end": 9, "step": 0}, {"start": 1, "end": 9, "every": 2}),
    ],
)
def test_a_field_of_a_calendar_has_no_other_form(value: Any):
    expected = of_calendar("hour", value) or ""
    for words in ('{"start", "end", "step"}', "end not before start", "step at least 1", "only with end", "an array"):
        assert words in expected


@pytest.mark.parametrize(
    ("schedule", "path", "expected"),
    [
        ("daily", "schedule", "an object"),
        ({}, "schedule", "an object with intervals, calendars, cron or overlap"),
        ({"cron": []}, "schedule", "cron or overlap"),
        ({"cron": 5}, "schedule.cron", "a cron expression, or an array"),
        ({"cron": ["0 6 * * *"] * 101}, "schedule.cron", "at most 100"),
        ({"cron": ["0 6 * * *", "0 24 * * *"]}, "schedule.cron", "as expression 2 a cron expression whose hour"),
        ({"intervals": [], "jitter": "1m"}, "schedule", "intervals, calendars or cron beside jitter"),
        ({"timezone": "UTC"}, "schedule", "intervals, calendars or cron beside timezone"),
        ({"intervals": [{"every": 0}]}, "schedule.intervals[0].every", "from 1 second"),
        ({"intervals": [{"every": "1500ms"}]}, "schedule.intervals[0].every", "whole seconds"),
        ({"intervals": [{"every": "soon"}]}, "schedule.intervals[0].every", "a text such as"),
        ({"intervals": [{"every": 1000.5}]}, "schedule.intervals[0].every", "in milliseconds"),
        ({"intervals": [{}]}, "schedule.intervals[0].every", "required"),
        ({"intervals": [{"every": "1h", "offset": 1}]}, "schedule.intervals[0].offset", "one of the fields"),
        ({"intervals": [{"every": "1h"}] * 101}, "schedule.intervals", "at most 100"),
        ({"intervals": [{"every": "1h"}], "jitter": -1}, "schedule.jitter", "a duration"),
        ({"calendars": [{}], "timezone": "Europe/Berlni"}, "schedule.timezone", "Did you mean Europe/Berlin"),
        ({"calendars": [{}], "overlap": "cancel"}, "schedule.overlap", '"skip", "allow" or "queue"'),
        ({"calendars": [{}], "catchupWindow": "9s"}, "schedule.catchupWindow", "from 10 seconds"),
        ({"calendars": [{"weekday": "MONDAY"}]}, "schedule.calendars[0].weekday", "one of the fields"),
        ({"calendars": [{"comment": "ü" * 101}]}, "schedule.calendars[0].comment", "at most 200 bytes"),
    ],
)
def test_what_is_no_schedule_is_refused_with_its_path(schedule: Any, path: str, expected: str):
    refused = refusal(schedule)
    assert refused is not None
    assert refused[0] == path
    assert expected in refused[1]


@pytest.mark.parametrize(
    "cron",
    [
        *("* * * * *", "30 6 * * MON-FRI", "0 0 * * 7", "0 0 * * 5-7", "0 0 1,15 * ?", "0 0 ? jan-Mar Sunday"),
        *("*/5,7 8-18/2 * * *", "0 0 */2 * MON", "0 0 1 * */2", " 0\t0 * * * ", "5/20 00 * * *"),
        ["0 0 1 * *", "0 0 * * MON"],
    ],
)
def test_cron_is_taken_as_it_is_written(cron: str | list[str]):
    assert refusal({"cron": cron, "timezone": "Europe/Berlin"}) is None


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        *((wrong, "of five fields") for wrong in ("", "@reboot", "@daily", "@every 1h", "* * * *", "0 0 0 * * *")),
        *((f"{zone}=UTC {rest}", "timezone") for zone in ("CRON_TZ", "TZ") for rest in ("0 0 * * *", "0 0 * *")),
        ("0,0" + ",0" * 150 + " 0 * * *", "of five fields"),
        *((f"0 0 {days}", "Write an expression for each") for days in ("1 * MON", "1-31 * 0-6", "*,5 * 1", "1 * *,1")),
        *(
            (f"{minute} * * * *", "whose minute is")
            for minute in ("60", "-1", "5-2", "*/0", "1_0", "?", "MON", "1,", "+1")
        ),
        ("0 24 * * *", "numbers from 0 to 23"),
        *((f"0 0 {day} * *", "whose dayOfMonth is") for day in ("0", "32", "L", "15W")),
        *((f"0 0 * {month} *", "names such as FEB") for month in ("0", "13", "JA", "MAY-JAN")),
        *((f"0 0 * * {day}", "names such as MON") for day in ("8", "SAT-SUN", "MO", "5L", "MON#2")),
    ],
)
def test_what_is_no_cron_of_five_fields_is_refused_with_a_sentence(cron: str, expected: str):
    refused = refusal({"cron": cron})
    assert refused is not None
    assert refused[0] == "schedule.cron"
    assert expected in refused[1]
