"""Durations in sentences for people."""

from __future__ import annotations

from datetime import timedelta

import pytest

from callboard.temporal.durations import format_duration


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (timedelta(days=1), "1 day"),
        (timedelta(days=1.5), "36 hours"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(minutes=90), "90 minutes"),
        (timedelta(seconds=0.5), "0.5 seconds"),
    ],
)
def test_durations_are_said_in_their_largest_whole_unit(duration: timedelta, words: str) -> None:
    assert format_duration(duration) == words
