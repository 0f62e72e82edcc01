"""One receiver leaves places for the others."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta

import pytest

from activities.deliveries import receiver_limit
from activities.deliveries.receiver_limit import ReceiverBusyError, ReceiverLimit

LONGEST = timedelta(seconds=30)


def fill(limit: ReceiverLimit, receiver: str, stack: ExitStack) -> int:
    """Hold as many places as the receiver gets; how many these are."""
    held = 0
    while True:
        try:
            stack.enter_context(limit.hold_place(receiver, longest_delay=LONGEST))
        except ReceiverBusyError:
            return held
        held += 1


def test_each_receiver_leaves_as_many_places_as_it_has() -> None:
    limit = ReceiverLimit(500)
    with ExitStack() as stack:
        assert [fill(limit, receiver, stack) for receiver in "abcd"] == [250, 125, 63, 31]
    with ExitStack() as stack:
        assert fill(limit, "e", stack) == 250, "all places were given back"


def test_a_receiver_has_one_place_however_many_others_there_are() -> None:
    limit = ReceiverLimit(4)
    with ExitStack() as stack:
        assert [fill(limit, receiver, stack) for receiver in "abcdef"] == [2, 1, 1, 1, 1, 1]


def test_a_try_that_fails_gives_its_place_back() -> None:
    limit = ReceiverLimit(2)
    for _ in range(3):
        with pytest.raises(ValueError, match="no"), limit.hold_place("a", longest_delay=LONGEST):
            raise ValueError("no")


def test_the_delay_grows_with_the_receiver_s_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(receiver_limit.time, "monotonic", lambda: now)
    limit = ReceiverLimit(2)
    with limit.hold_place("a", longest_delay=LONGEST):
        for now, least, most in ((0.0, 1, 2), (5.0, 5, 10), (25.0, 25, 30), (1000.0, 30, 30)):  # noqa: B007
            with (
                pytest.raises(ReceiverBusyError, match="1 tries to a are under way") as busy,
                limit.hold_place("a", longest_delay=LONGEST),
            ):
                pass
            assert timedelta(seconds=least) <= busy.value.delay <= timedelta(seconds=most)
