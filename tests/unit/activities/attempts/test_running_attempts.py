"""Tickets: which Attempts run here, and how one is stopped."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.activity import ActivityCancellationDetails

from activities.attempts.attempt_context import Cause, RunningAttempts


async def forever() -> None:
    await asyncio.Event().wait()


@pytest.fixture
def running_attempts() -> RunningAttempts:
    return RunningAttempts()


async def test_one_attempt_is_stopped_and_no_other(running_attempts: RunningAttempts) -> None:
    one, other = asyncio.create_task(forever()), asyncio.create_task(forever())
    with (
        running_attempts.register("run", 1, one) as running_attempt,
        running_attempts.register("run", 2, other) as second,
    ):
        assert len(list(running_attempts)) == 2
        assert running_attempts.stop("run", 1)
        await asyncio.wait({one})
        assert (running_attempt.cause, second.cause) == (Cause.CANCELED, None)
        assert not other.done()
        other.cancel()
    assert list(running_attempts) == []


async def test_what_is_not_here_cannot_be_stopped(running_attempts: RunningAttempts) -> None:
    assert not running_attempts.stop("run", 1)
    work = asyncio.create_task(forever())
    with running_attempts.register("run", 1, work):
        assert not running_attempts.stop("other", 1)
        work.cancel()
    assert not running_attempts.stop("run", 1)


async def test_a_later_try_is_stopped_for_the_one_that_was_heard_of(running_attempts: RunningAttempts) -> None:
    """A check that is tried again has another number by then; its Run has one Attempt at a time."""
    work = asyncio.create_task(forever())
    with running_attempts.register("run", 2, work) as running_attempt:
        assert running_attempts.stop("run", 1)
        assert running_attempt.cause is Cause.CANCELED
        await asyncio.wait({work})


async def test_all_are_let_go_with_the_reason(running_attempts: RunningAttempts) -> None:
    works = [asyncio.create_task(forever()) for _ in range(3)]
    with (
        running_attempts.register("a", 1, works[0]) as a,
        running_attempts.register("b", 1, works[1]) as b,
        running_attempts.register("c", 2, works[2]) as c,
    ):
        running_attempts.interrupt_all("no Temporal")
        await asyncio.wait(works)
        assert {(running_attempt.cause, running_attempt.message) for running_attempt in (a, b, c)} == {
            (Cause.INTERRUPTED, "no Temporal")
        }


async def test_the_first_reason_to_stop_stays(running_attempts: RunningAttempts) -> None:
    work = asyncio.create_task(forever())
    with running_attempts.register("run", 1, work) as running_attempt:
        running_attempts.interrupt_all("no Temporal")
        assert running_attempts.stop("run", 1)
        assert (running_attempt.cause, running_attempt.message) == (Cause.INTERRUPTED, "no Temporal")
        await asyncio.wait({work})


async def test_an_attempt_that_has_ended_is_not_stopped_any_more(running_attempts: RunningAttempts) -> None:
    work = asyncio.create_task(asyncio.sleep(0))
    await work
    with running_attempts.register("run", 1, work) as running_attempt:
        running_attempts.stop("run", 1)
        running_attempts.interrupt_all("no Temporal")
        assert running_attempt.cause is None


async def test_a_ticket_is_given_back_also_when_the_attempt_fails(running_attempts: RunningAttempts) -> None:
    work = asyncio.create_task(forever())
    with pytest.raises(ValueError), running_attempts.register("run", 1, work):
        raise ValueError
    work.cancel()
    assert list(running_attempts) == []


@pytest.mark.parametrize(
    ("details", "cause", "message"),
    [
        ({"paused": True}, None, ""),
        ({"cancel_requested": True}, Cause.CANCELED, ""),
        ({"cancel_requested": True, "paused": True}, Cause.CANCELED, ""),
        ({"cancel_requested": True, "reset": True}, Cause.CANCELED, ""),
        ({"reset": True}, Cause.INTERRUPTED, "The Attempt was reset in Temporal before it ended."),
        ({"reset": True, "paused": True}, Cause.INTERRUPTED, "The Attempt was reset in Temporal before it ended."),
        ({"worker_shutdown": True}, Cause.INTERRUPTED, "The worker was stopped before the Attempt ended."),
        (None, Cause.INTERRUPTED, "The worker was stopped before the Attempt ended."),
    ],
    ids=str,
)
async def test_what_temporal_says_stops_it_unless_it_is_paused(
    running_attempts: RunningAttempts, details: dict[str, bool] | None, cause: Cause | None, message: str
) -> None:
    work = asyncio.create_task(forever())
    with running_attempts.register("run", 1, work) as running_attempt:
        running_attempt.on_cancellation(None if details is None else ActivityCancellationDetails(**details))
        assert (running_attempt.cause, running_attempt.message) == (cause, message)
        work.cancel()
        await asyncio.wait({work})
