"""Every shape that a Run's workflow can take: each is played by the tests, and its history recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from callboard.schemas.workflow.attempt import (
    AttemptInput,
    AttemptOutcome,
    AttemptStatus,
    InterruptedInput,
    SealedVariables,
)
from callboard.schemas.workflow.run import ErrorCode, ReasonType, RetryIntervals, RunReason
from callboard.schemas.workflow.sink import SealedSink
from tests.support.delivery_inputs import sealed, webhook
from tests.support.run_stage import (
    CANCELED,
    LOST,
    Gone,
    HeldAttempt,
    Part,
    RunStage,
    completed,
    ends,
    failed,
    interrupted,
    raises,
)
from tests.support.stage import DEADLINE, Server, keep, name_of_shape

Play = Callable[[RunStage], Awaitable[None]]


def _keep(name: str, play: Play, server: Server = Server.DEV) -> None:
    """Keep a shape that ends with its Run."""

    async def to_its_end(stage: RunStage) -> None:
        await play(stage)
        stage.outcome = await stage.ended()

    keep(name, RunStage, to_its_end, server=server)


def _shape(play: Play) -> None:
    _keep(name_of_shape(play), play)


def _long_shape(play: Play) -> None:
    _keep(name_of_shape(play), play, Server.OWN_SKIPPING)


# Attempts that end as a script says.


def _scripted(name: str, *parts: Part, sink: dict[str, Any] | None = None, **fields: Any) -> None:
    """Keep a shape in which Attempt n plays the nth part; `fields` are the Run's, and `sink` those of its sink."""

    async def play(stage: RunStage) -> None:
        await stage.serve(*parts)
        await stage.start(**fields, sink=None if sink is None else _sink(stage, **sink))

    _keep(name, play)


def _sink(stage: RunStage, **fields: Any) -> SealedSink:
    return sealed(webhook("https://hook.example", **fields), stage.project, stage.run_id)


_scripted("success", ends(completed('{"n": 1}')))
_scripted("retry", ends(failed("first")), ends(failed("second")), ends(completed()))
_scripted("all-failed", ends(failed("first")), ends(failed("second")), maximum_attempts=2)
_scripted("final", ends(failed("3 MiB", ErrorCode.RESULT_TOO_BIG, final=True)))
_scripted("unexpected-error", raises(ValueError("a defect")), ends(completed()))
_scripted(
    "access-turned-off-while-it-waits",
    ends(
        AttemptOutcome(
            status=AttemptStatus.CANCELED,
            reason=RunReason(type=ReasonType.API_ACCESS_DISABLED, message="The API access was turned off."),
        )
    ),
)
_scripted("handed-over", ends(completed()), sink={})
_scripted("handed-over-failed", ends(failed()), sink={}, maximum_attempts=1)
_scripted("not-handed-over-failed", ends(failed()), sink={"skipOnFail": True}, maximum_attempts=1)
_scripted("counted-for-alerts", ends(failed()), has_alerts=True, maximum_attempts=1)
_scripted("interrupted-once", interrupted(), ends(failed()), ends(completed()), maximum_attempts=2)
_scripted("interrupted-again-and-again", *[interrupted()] * 4, maximum_attempts=2)
_scripted("interrupted-at-most-once", interrupted(), maximum_attempts=1)


# Attempts that are waited for.

MINUTE = timedelta(minutes=1)


async def _waited_for(stage: RunStage, *waits: timedelta) -> None:
    """Let these waits pass, one after the other."""
    for number, wait in enumerate(waits, 1):
        await stage.until("TIMER_STARTED", number)
        await stage.pass_time(seconds=wait.total_seconds())


@_long_shape
async def waits_for_longer_and_longer(stage: RunStage) -> None:
    await stage.serve(*[ends(failed())] * 3, interrupted(), ends(completed()))
    intervals = RetryIntervals(initial_interval=MINUTE, backoff_coefficient=3, maximum_interval=5 * MINUTE)
    await stage.start(maximum_attempts=4, retry_intervals=intervals)
    await _waited_for(stage, MINUTE, 3 * MINUTE, 5 * MINUTE)


@_long_shape
async def retry_later(stage: RunStage) -> None:
    """What user code says goes before the intervals, also that there is to be no wait."""
    later, at_once = (ends(failed(retry_after=wait)) for wait in (2 * MINUTE, timedelta()))
    await stage.serve(later, at_once, ends(completed()))
    await stage.start(retry_intervals=RetryIntervals(initial_interval=MINUTE))
    await _waited_for(stage, 2 * MINUTE)


@_shape
async def retry_later_for_the_last_time(stage: RunStage) -> None:
    await stage.serve(ends(failed(retry_after=MINUTE)))
    await stage.start(maximum_attempts=1)


@_shape
async def cancel_while_it_waits(stage: RunStage) -> None:
    await stage.serve(ends(failed()), ends(completed()))
    await stage.start(retry_intervals=RetryIntervals(initial_interval=MINUTE))
    await stage.until("TIMER_STARTED")
    await stage.cancel()


# Attempts with environment variables, and without.

_scripted("without-variables", ends(failed()), ends(completed()), reads_variables=False)


@_shape
async def variables_when_the_store_is_back(stage: RunStage) -> None:
    async def second_time(input: AttemptInput) -> SealedVariables:
        if len(stage.collected) == 1:
            raise ApplicationError("the artifact store is away", type="StoreError")
        return SealedVariables(key=f"runs/p/{input.run_id}/variables-1.sealed")

    stage.on_collect = second_time
    await stage.serve(ends(completed()))
    await stage.start()


@_shape
async def variables_that_cannot_be_opened(stage: RunStage) -> None:
    async def refused(_input: AttemptInput) -> SealedVariables:
        raise ApplicationError("A sealed secret cannot be opened.", type="SealError")

    stage.on_collect = refused
    await stage.serve(ends(completed()))
    await stage.start()


@_shape
async def cancel_while_variables_are_collected(stage: RunStage) -> None:
    async def canceled(_input: AttemptInput) -> None:
        await stage.cancel()
        await asyncio.Event().wait()

    stage.on_collect = canceled
    await stage.serve(ends(completed()))
    # A cancel is heard as the workflow task is about to time out, in which the local activity runs.
    await stage.start(task_timeout=timedelta(seconds=1))


# Attempts of which more is to be told.


@_shape
async def success_announced(stage: RunStage) -> None:
    held = HeldAttempt(stage, announced=True)
    await stage.serve(held)
    await stage.start()
    await held.began.wait()
    held.end(completed())


@_shape
async def queued_too_long(stage: RunStage) -> None:
    await stage.serve_runs()
    await stage.start(queue_timeout=timedelta(seconds=0.2), sink=_sink(stage))


# Results that are delivered.


@_shape
async def not_handed_over_canceled(stage: RunStage) -> None:
    await stage.serve_runs()
    await stage.start(sink=_sink(stage))
    await stage.until("ACTIVITY_TASK_SCHEDULED")
    await stage.cancel()


# Attempts that are lost.


@_long_shape
async def worker_lost(stage: RunStage) -> None:
    gone = Gone(stage, announced=True)
    await stage.serve(gone, ends(completed()))
    await stage.start()
    await gone.began.wait()
    await stage.pass_time(seconds=31, held=True)


@_long_shape
async def record_not_written(stage: RunStage) -> None:
    async def fails(_lost: InterruptedInput) -> AttemptOutcome | None:
        raise ApplicationError("the artifact store is away")

    stage.on_lost = fails
    await stage.serve(interrupted(), ends(completed()))
    await stage.start()
    async with asyncio.timeout(DEADLINE):
        while len(stage.inputs) < 2:
            await stage.pass_time(seconds=1)


def _stored(name: str, outcome: AttemptOutcome, then: AttemptOutcome, **fields: Any) -> None:
    """Keep a shape whose first Attempt is lost after it has stored this outcome."""

    async def find(_lost: InterruptedInput) -> AttemptOutcome | None:
        return outcome

    async def play(stage: RunStage) -> None:
        stage.on_lost = find
        await stage.serve(interrupted(), ends(then))
        await stage.start(**fields)

    _keep(name, play)


_stored("lost-after-it-completed", completed('"stored"'), completed())
# A failure that was stored counts, and the next Attempt is made.
_stored("lost-after-it-failed", failed("stored"), failed("second"), maximum_attempts=2)


# Cancel.


@_shape
async def cancel_with_the_start(stage: RunStage) -> None:
    await stage.serve_attempts(ends(completed()))
    await stage.start()
    await stage.cancel()
    await stage.serve_runs()


@_shape
async def cancel_queued(stage: RunStage) -> None:
    await stage.serve_runs()
    await stage.start()
    await stage.until("ACTIVITY_TASK_SCHEDULED")
    await stage.cancel()


def _canceled(name: str, *, stops: AttemptOutcome | None = None, **held: bool) -> None:
    """Keep a shape of a Run that is canceled during its Attempt, which ends so (`stops`) when it is told to stop."""

    async def play(stage: RunStage) -> None:
        attempt = HeldAttempt(stage, **held)
        await stage.serve(attempt if stops is None else stage.stopping(attempt, stops))
        await stage.start()
        await attempt.began.wait()
        await stage.cancel()

    _keep(name, play)


_canceled("cancel-running", announced=True, stops=CANCELED)
_canceled("cancel-of-no-avail", announced=True, stops=completed())
_canceled("cancel-heard-by-heartbeat", beats=True)  # it ends by itself before anybody could be told to stop it


@_shape
async def cancel_before_the_announcement(stage: RunStage) -> None:
    held = stage.stopping(HeldAttempt(stage))
    await stage.serve(held)
    await stage.start()
    await held.began.wait()
    await stage.cancel()
    await stage.until("ACTIVITY_TASK_CANCEL_REQUESTED")
    await stage.announce(1)


@_long_shape
async def cancel_never_announced(stage: RunStage) -> None:
    """Ten seconds without a word of where the Attempt is."""
    held = HeldAttempt(stage)
    await stage.serve(held)
    await stage.start()
    await held.began.wait()
    await stage.cancel()
    await stage.until("TIMER_STARTED")
    await stage.pass_time(seconds=10, held=True)
    await stage.until("TIMER_FIRED")
    held.end()


@_shape
async def cancel_worker_gone(stage: RunStage) -> None:
    """Nobody takes the request to stop; in the end the worker that comes after says that the Attempt is lost."""
    gone = Gone(stage, announced=True)
    await stage.serve_runs()
    await stage.serve_attempts(gone)
    await stage.start()
    await gone.began.wait()
    await stage.cancel()
    await stage.until("ACTIVITY_TASK_TIMED_OUT")
    await stage.client.get_async_activity_handle(task_token=gone.token).fail(LOST)


@_shape
async def cancel_while_the_loss_is_recorded(stage: RunStage) -> None:
    async def canceled_meanwhile(_lost: InterruptedInput) -> AttemptOutcome | None:
        await stage.cancel()
        # Only once the workflow has seen the cancel may this end.
        await stage.until("WORKFLOW_TASK_COMPLETED", 3)
        return None

    stage.on_lost = canceled_meanwhile
    await stage.serve(interrupted(), ends(completed()))
    await stage.start()


def _at_once(
    name: str,
    outcome: AttemptOutcome,
    *then: Part,
    cancel_first: bool = False,
    sink: dict[str, Any] | None = None,
) -> None:
    """Keep a shape whose workflow hears of the Attempt's end and of the cancel in one and the same task."""
    ended = "ACTIVITY_TASK_FAILED" if outcome.status is AttemptStatus.FAILED else "ACTIVITY_TASK_COMPLETED"

    async def play(stage: RunStage) -> None:
        held = HeldAttempt(stage)
        await stage.serve(held, *then)
        await stage.start(sink=None if sink is None else _sink(stage, **sink))
        await held.began.wait()
        await stage.stop_serving_runs()
        if cancel_first:
            await stage.cancel()
            await stage.until("WORKFLOW_EXECUTION_CANCEL_REQUESTED")
        held.end(outcome)
        await stage.until(ended)
        if not cancel_first:
            await stage.cancel()
        await stage.serve_runs()

    _keep(name, play)


_at_once("cancel-as-it-completes", completed())
_at_once("handed-over-as-it-is-canceled", completed(), sink={})
_at_once("cancel-just-before-it-completes", completed(), cancel_first=True)
_at_once("cancel-between-attempts", failed(), ends(completed()))
_at_once("cancel-just-before-it-fails", failed(), ends(completed()), cancel_first=True)
_at_once("cancel-as-it-fails-for-good", failed("3 MiB", ErrorCode.RESULT_TOO_BIG, final=True))


# The outer wall.


@_long_shape
async def wall(stage: RunStage) -> None:
    """An Attempt that lives, and never ends."""
    held = HeldAttempt(stage)
    await stage.serve(held)
    await stage.start(maximum_attempts=1)
    await held.began.wait()
    beat = stage.client.get_async_activity_handle(task_token=held.token)
    with suppress(RPCError):  # the Attempt is known no more
        while True:
            await stage.pass_time(seconds=29, held=True)
            await beat.heartbeat()
    held.end()
