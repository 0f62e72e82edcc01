"""Attempts that are paused, unpaused and reset in Temporal while they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil
import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client

from activities import heartbeat
from activities.attempts.attempt_artifacts import AttemptRecords
from activities.attempts.running_attempts import RunningAttempt
from callboard.schemas.workflow.attempt import AttemptStatus
from callboard.schemas.workflow.run import RunStatus
from tests.support.activity_operations import PendingActivity
from tests.support.attempt_worker import PROJECT, AttemptLab
from tests.support.polling import until
from tests.support.present import present

Heard = list[ActivityCancellationDetails | None]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """Why Attempts were told to end. Their heartbeats are quick."""
    monkeypatch.setattr(heartbeat, "FIRST_HEARTBEAT", 0.0)
    monkeypatch.setattr(heartbeat, "HEARTBEAT_INTERVAL", 0.05)
    heard: Heard = []
    told: Callable[..., None] = RunningAttempt.on_cancellation

    def listen(running_attempt: RunningAttempt, details: ActivityCancellationDetails | None) -> None:
        heard.append(details)
        told(running_attempt, details)

    monkeypatch.setattr(RunningAttempt, "on_cancellation", listen)
    return heard


@pytest.fixture
def activity(lab: AttemptLab, client: Client) -> PendingActivity:
    return PendingActivity(client, lab.stage.run_id)


async def paused(lab: AttemptLab, activity: PendingActivity, heard: Heard, **fields: Any) -> None:
    """Hold a Run whose Attempt has heard that it is paused."""
    await lab.hold(**fields)
    await activity.pause()
    await until(lambda: any(details and details.paused for details in heard))


async def test_one_that_is_paused_goes_on_and_its_outcome_counts(
    lab: AttemptLab, activity: PendingActivity, heard: Heard
) -> None:
    await paused(lab, activity, heard)
    seen = len(heard)
    await until(lambda: len(heard) > seen + 3)  # it still sends heartbeats
    assert len(list(lab.bench.running_attempts)) == 1
    assert (await activity.info()).state == PendingActivityState.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED
    lab.go()
    outcome = await lab.stage.ended()
    assert (outcome.status, outcome.attempts) == (RunStatus.COMPLETED, 1)


async def test_one_that_is_unpaused_goes_on(lab: AttemptLab, activity: PendingActivity, heard: Heard) -> None:
    await paused(lab, activity, heard)
    await activity.unpause()
    before = (await activity.info()).last_heartbeat_time.ToNanoseconds()

    async def beats() -> bool:
        return (await activity.info()).last_heartbeat_time.ToNanoseconds() > before

    await until(beats)
    assert (await activity.info()).state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    lab.go()
    outcome = await lab.stage.ended()
    assert (outcome.status, outcome.attempts) == (RunStatus.COMPLETED, 1)


@pytest.mark.parametrize("end", [AttemptStatus.CANCELED, AttemptStatus.INTERRUPTED])
async def test_one_that_was_paused_still_hears_that_its_run_is_canceled_or_gone(
    lab: AttemptLab, activity: PendingActivity, heard: Heard, end: AttemptStatus
) -> None:
    await paused(lab, activity, heard)
    running = lab.bench.user_process()
    if end is AttemptStatus.CANCELED:
        await lab.stage.cancel()  # nobody takes orders: only the heartbeat tells it
        assert (await lab.stage.ended()).status is RunStatus.CANCELED
    else:
        await lab.stage.handle.terminate()
    await lab.until_recorded(end)
    await until(lambda: list(lab.bench.running_attempts) == [])
    assert not psutil.pid_exists(running)


@pytest.mark.parametrize("pauses", [False, True], ids=["as-it-runs", "as-it-is-paused"])
@pytest.mark.parametrize(
    "message",
    ["The Attempt was reset in Temporal before it ended.", "The worker could not reach Temporal for 21 seconds."],
    ids=["reset", "let-go"],
)
async def test_one_that_is_reset_or_let_go_is_interrupted_and_another_follows(
    lab: AttemptLab, activity: PendingActivity, heard: Heard, message: str, pauses: bool
) -> None:
    await (paused(lab, activity, heard, maximum_attempts=2) if pauses else lab.hold(maximum_attempts=2))
    if "reset" in message:
        await activity.reset()
    else:
        lab.bench.running_attempts.interrupt_all(message)
    await lab.until_recorded(AttemptStatus.INTERRUPTED)
    lab.go()
    outcome = await lab.stage.ended()
    assert (outcome.status, outcome.attempts) == (RunStatus.COMPLETED, 2)
    assert (await lab.record()).error.message == message
    second = present(await lab.bench.record(PROJECT, lab.stage.run_id, 2))
    assert second.status is AttemptStatus.COMPLETED


async def test_an_attempt_that_failed_while_paused_counts_as_lost_for_its_run(
    lab: AttemptLab, activity: PendingActivity, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server tries again what fails while it is paused, though one try was asked for: found with server 1.32."""

    async def fails(*_arguments: Any, **_options: Any) -> None:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(AttemptRecords, "write", fails)
        await paused(lab, activity, heard, maximum_attempts=2)
        lab.go()
        await activity.until(PendingActivityState.PENDING_ACTIVITY_STATE_PAUSED)
    await activity.unpause()
    outcome = await lab.stage.ended()
    assert (outcome.status, outcome.attempts) == (RunStatus.COMPLETED, 2)
    assert [lost.cause for lost in lab.stage.lost] == [
        "The Attempt ended without an outcome while it was paused in Temporal."
    ]
