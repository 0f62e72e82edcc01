"""Durations of schedules: milliseconds, and the texts of the contract's clients."""

from datetime import timedelta

import pytest

from callboard.schemas.rest.job_schedule import LONGEST, parse_duration


@pytest.mark.parametrize(
    ("texts", "meant"),
    [
        ([0, "0", "0 years"], timedelta()),
        ([250, "250", "250ms", "250 msecs", ".25s"], timedelta(milliseconds=250)),
        (["30s", "30 secs", "30 Seconds", ".5 min"], timedelta(seconds=30)),
        (["90 minutes", "90m", "1.5h", " 1.5 hrs "], timedelta(minutes=90)),
        (["1d", "1 Day", "24 hours"], timedelta(days=1)),
        (["1w", "1 week"], timedelta(weeks=1)),
        (["1y", " 1 year ", "365.25 days"], timedelta(days=365.25)),
        (["3660d"], LONGEST),
    ],
)
def test_a_duration_means_what_the_clients_mean(texts: list[int | str], meant: timedelta):
    assert [parse_duration(written) for written in texts] == [meant] * len(texts)


@pytest.mark.parametrize(
    "written",
    ["", " ", "h", "1 fortnight", "1h30m", "-1h", "1 2h", "1e3", "0x10", "1,5h", "１h", "9" * 30, -1, "3661d", 10**18],
)
def test_anything_else_is_none(written: int | str):
    with pytest.raises(ValueError, match=r"duration|long"):
        parse_duration(written)
