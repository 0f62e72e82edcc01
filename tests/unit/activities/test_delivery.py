"""When a Delivery that failed is tried again."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from activities.delivery import next_delay
from tests.support.delivery_inputs import QUICK

SECOND = timedelta(seconds=1)
SCHEDULE = QUICK.model_copy(update={"first_delay": SECOND, "factor": 2, "max_delay": 300 * SECOND})


@given(st.none() | st.integers(0, 1000), st.integers(1, 5000), st.integers(0, 9))
def test_a_requested_delay_stays_between_the_schedule_and_its_maximum(
    asked: int | None, tries: int, found_busy: int
) -> None:
    planned = min(2 ** (tries - 1), 300)
    delay = next_delay(None if asked is None else asked * SECOND, SCHEDULE, tries, attempt=tries + found_busy)
    if asked is not None and asked > planned:
        assert delay == min(asked, 300) * SECOND
    else:
        assert delay == (planned * SECOND if found_busy else None), "attempts that found it busy make no delay longer"
