from typing import Any

import pytest

from api.jobs.schedule_text import describe_schedule


@pytest.mark.parametrize(
    ("calendar", "words"),
    [
        ({}, "at 00:00, every day (UTC)"),
        ({"hour": 6, "minute": 30}, "at 06:30, every day (UTC)"),
        ({"hour": 6, "second": 5}, "at 06:00:05, every day (UTC)"),
        ({"hour": [9, 17], "minute": 30}, "hour 9 and 17, minute 30, every day (UTC)"),
        ({"second": "*", "minute": "*", "hour": "*"}, "every hour, every minute, every second, every day (UTC)"),
        ({"minute": 15, "hour": "*"}, "every hour, minute 15, every day (UTC)"),
        (
            {"minute": {"start": 0, "end": 59, "step": 5}, "hour": {"start": 9, "end": 17}},
            "hour 9 to 17, minute 0 to 59 in steps of 5, every day (UTC)",
        ),
        (
            {"hour": 12, "minute": 51, "dayOfWeek": {"start": "MONDAY", "end": "FRIDAY"}},
            "at 12:51, Monday to Friday (UTC)",
        ),
        ({"dayOfMonth": [1, {"start": 15}]}, "at 00:00, day 1 and 15 (UTC)"),
        ({"dayOfMonth": 1, "month": "JANUARY", "year": 2027}, "at 00:00, day 1, in January, in year 2027 (UTC)"),
        (
            {"month": [{"start": "MARCH", "end": "MAY"}, "OCTOBER"], "comment": "spring & one more"},
            "at 00:00, in March to May and October, “spring & one more” (UTC)",
        ),
    ],
)
def test_a_calendar_reads_as_a_phrase(calendar: dict[str, Any], words: str):
    assert describe_schedule({"calendars": [calendar]}).times == (words,)


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("30 6 * * MON-FRI", "at 06:30, Monday to Friday (UTC)"),
        ("0 0 1,15 FEB ?", "at 00:00, day 1 and 15, in February (UTC)"),
        ("*/15 9-17 * * *", "hour 9 to 17, minute 0 to 59 in steps of 15, every day (UTC)"),
        ("5 * * * 5-7", "every hour, minute 5, Friday and Saturday and Sunday (UTC)"),
    ],
)
def test_cron_reads_as_a_phrase(cron: str, words: str):
    assert describe_schedule({"cron": cron}).times == (words,)


def test_intervals_and_calendars_stand_beside_each_other_with_their_zone():
    schedule = {
        "intervals": [{"every": "1h"}, {"every": 90_000}, {"every": "2 days"}],
        "calendars": [{"hour": 6}],
        "timezone": "Europe/Berlin",
    }
    text = describe_schedule(schedule)
    assert text.short == "every hour; every 90 seconds; every 2 days; at 06:00, every day (Europe/Berlin)"


def test_what_holds_for_all_times_reads_as_sentences():
    schedule = {"intervals": [{"every": "1h"}], "jitter": "5 minutes", "overlap": "queue", "catchupWindow": "1 minute"}
    assert describe_schedule(schedule).notes == (
        "Each JobRun is delayed at random, by 5 minutes at most.",
        "A JobRun that was missed is made up for within 1 minute.",
        "A JobRun that begins while another one is active waits for its end.",
    )


def test_a_job_without_times_has_no_words_for_them():
    assert describe_schedule(None).times == ()
    text = describe_schedule({"overlap": "allow"})
    assert (text.short, text.notes) == ("", ("A JobRun begins also while another one is active.",))
