"""Durations of schedules: milliseconds, and the texts of the contract's clients."""

from datetime import timedelta

import pytest

from schemas.rest.durations import LONGEST, parse_duration


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (0, timedelta()),
        (1500, timedelta(seconds=1.5)),
        ("1500", timedelta(seconds=1.5)),
        ("250ms", timedelta(milliseconds=250)),
        ("250 msecs", timedelta(milliseconds=250)),
        ("1s", timedelta(seconds=1)),
        ("30 secs", timedelta(seconds=30)),
        ("90 minutes", timedelta(minutes=90)),
        ("5m", timedelta(minutes=5)),
        ("1h", timedelta(hours=1)),
        ("1.5h", timedelta(minutes=90)),
        (".5h", timedelta(minutes=30)),
        ("2 hrs", timedelta(hours=2)),
        ("2 Days", timedelta(days=2)),
        ("1d", timedelta(days=1)),
        ("1w", timedelta(weeks=1)),
        ("1y", timedelta(days=365.25)),
        (" 1 year ", timedelta(days=365.25)),
        ("3660d", LONGEST),
    ],
)
def test_a_duration_means_what_the_clients_mean(written: int | str, meant: timedelta) -> None:
    assert parse_duration(written) == meant


@pytest.mark.parametrize(
    "written",
    ["", " ", "h", "1 fortnight", "1h30m", "-1h", "1 2h", "1e3", "0x10", "1,5h", "１h", "9" * 30, -1, "3661d", 10**18],
)
def test_anything_else_is_none(written: int | str) -> None:
    with pytest.raises(ValueError, match=r"duration|long"):
        parse_duration(written)
