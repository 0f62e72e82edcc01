"""Tickets: which Attempts run here, and how one is stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.activity import ActivityCancellationDetails

from activities.attempts.running_attempts import Cause, RunningAttempt, RunningAttempts
from tests.support.attempt_worker import attempt_input, running_attempt


async def forever() -> Any:
    await asyncio.Event().wait()


def running(run_id: str, number: int, work: Coroutine[Any, Any, Any] | None = None) -> RunningAttempt:
    """An Attempt that does this work, which has no end by default."""
    return running_attempt(attempt_input(run_id, number), work or forever())


@pytest.fixture
def running_attempts() -> RunningAttempts:
    return RunningAttempts()


async def test_one_attempt_is_stopped_and_no_other(running_attempts: RunningAttempts) -> None:
    one, other = running("run", 1), running("run", 2)
    with running_attempts.register(one), running_attempts.register(other):
        assert len(list(running_attempts)) == 2
        assert running_attempts.stop("run", 1)
        await asyncio.wait({one.task})
        assert (one.cause, other.cause) == (Cause.CANCELED, None)
        assert not other.task.done()
        other.task.cancel()
    assert list(running_attempts) == []


async def test_a_later_try_is_stopped_for_the_one_that_was_heard_of(running_attempts: RunningAttempts) -> None:
    """A check that is tried again has another number by then; its Run has one Attempt at a time."""
    attempt = running("run", 2)
    with running_attempts.register(attempt):
        assert running_attempts.stop("run", 1)
        assert attempt.cause is Cause.CANCELED
        await asyncio.wait({attempt.task})


async def test_all_are_let_go_with_the_reason(running_attempts: RunningAttempts) -> None:
    attempts = [running("a", 1), running("b", 1), running("c", 2)]
    with contextlib.ExitStack() as registered:
        for attempt in attempts:
            registered.enter_context(running_attempts.register(attempt))
        running_attempts.interrupt_all("no Temporal")
        await asyncio.wait([attempt.task for attempt in attempts])
        assert {(attempt.cause, attempt.message) for attempt in attempts} == {(Cause.INTERRUPTED, "no Temporal")}


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
    attempt = running("run", 1)
    with running_attempts.register(attempt):
        attempt.on_cancellation(None if details is None else ActivityCancellationDetails(**details))
        assert (attempt.cause, attempt.message) == (cause, message)
        attempt.task.cancel()
        await asyncio.wait({attempt.task})


async def test_secrets_that_come_at_the_same_time_are_all_masked() -> None:
    attempt = running("run", 1)
    attempt.log = cast("Any", SimpleNamespace(file=SimpleNamespace()))
    secrets = ("493027", "618840")
    await asyncio.gather(*(attempt.mask_with(lambda old, new=new: old.with_secrets([new])) for new in secrets))
    assert attempt.log.file.masker.mask_text("493027 and 618840") == "*** and ***"
    attempt.task.cancel()
