from __future__ import annotations

from datetime import timedelta

import pytest

from api.dashboard.jobs.job_run_progress import (
    BAR_WIDTH,
    MEASURED,
    JobRunCounts,
    bar_segments,
    format_time_left,
    runs_per_minute,
    time_left,
)


def test_the_bar_shows_what_has_succeeded_failed_and_is_in_flight_to_scale() -> None:
    segments = bar_segments(JobRunCounts(items=200, succeeded=100, failed=20, in_flight=4))
    assert [(each.kind, each.x, each.width) for each in segments] == [
        ("completed", 0, 500),
        ("failed", 500, 100),
        ("started", 600, 20),
    ]


def test_a_job_run_that_has_not_begun_has_an_empty_bar() -> None:
    assert bar_segments(JobRunCounts(items=0, succeeded=0, failed=0, in_flight=0)) == []


def test_all_runs_fill_the_bar() -> None:
    (segment,) = bar_segments(JobRunCounts(items=3, succeeded=3, failed=0, in_flight=0))
    assert (segment.x, segment.width) == (0, BAR_WIDTH)


def test_runs_beyond_the_largest_number_are_not_waited_for() -> None:
    counts = JobRunCounts(items=100, succeeded=3, failed=1, in_flight=2, max_runs=10)
    assert (counts.wanted, counts.left) == (10, 4)
    assert JobRunCounts(items=100, succeeded=3, failed=1, in_flight=2).left == 94


def test_a_young_job_run_has_no_throughput_and_so_no_time_left() -> None:
    counts = JobRunCounts(items=100, succeeded=3, failed=1, in_flight=2)
    assert runs_per_minute(counts, 4, timedelta(seconds=2), has_ended=False) is None
    assert time_left(counts, None) is None
    assert time_left(counts, 0.0) is None


def test_the_throughput_is_that_of_the_whole_time_at_first_and_of_the_last_minutes_later() -> None:
    counts = JobRunCounts(items=1000, succeeded=380, failed=20, in_flight=2)
    assert runs_per_minute(counts, 400, timedelta(minutes=4), has_ended=False) == 100
    assert runs_per_minute(counts, 50, MEASURED * 20, has_ended=False) == 10
    assert runs_per_minute(counts, 0, timedelta(minutes=100), has_ended=True) == 4


def test_the_time_left_is_that_of_all_runs_that_have_not_ended() -> None:
    counts = JobRunCounts(items=1000, succeeded=380, failed=20, in_flight=2)
    assert time_left(counts, 100.0) == timedelta(minutes=6)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (timedelta(), "less than a minute"),
        (timedelta(seconds=59), "less than a minute"),
        (timedelta(seconds=80), "about 1 minute"),
        (timedelta(minutes=7, seconds=40), "about 8 minutes"),
        (timedelta(hours=2, minutes=10), "about 2 hours"),
        (timedelta(days=3), "about 3 days"),
    ],
)
def test_a_time_left_is_told_as_roughly_as_it_is_known(value: timedelta, words: str) -> None:
    assert format_time_left(value) == words
