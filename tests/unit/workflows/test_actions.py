"""How many billed actions Runs take in Temporal, counted from histories of Runs."""

from collections.abc import Sequence

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from tests.support.auth_stage import LoginStage
from tests.support.run_stage import RunStage, completed, ends
from tests.support.shapes import Play

_BILLED = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    EventType.EVENT_TYPE_MARKER_RECORDED,
    EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
    EventType.EVENT_TYPE_TIMER_STARTED,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED,
}
"""Events that are one action each."""


def actions(events: Sequence[HistoryEvent]) -> int:
    """Count the actions that a history shows; heartbeats are in none."""
    further_tries = sum(
        event.activity_task_started_event_attributes.attempt - 1
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
    )
    return sum(event.event_type in _BILLED for event in events) + further_tries


@pytest.mark.parametrize(
    ("shape", "expected"),
    [("success", 3), ("success-announced", 6), ("all-failed", 6), ("retry", 6), ("retry-later", 8)],
)
async def test_a_run_takes_few_actions_and_one_for_each_attempt_that_reads_variables(
    play: Play[RunStage], shape: str, expected: int
):
    stage = await play(shape)
    assert actions(await stage.events()) == expected + len(stage.collected)
    assert len(stage.collected) == stage.outcome.attempts


async def test_a_run_without_variables_takes_three_actions(stage: RunStage):
    await stage.serve(ends(completed()))
    await stage.start(reads_variables=False)
    await stage.ended()
    assert actions(await stage.events()) == 3


async def test_a_run_with_a_login_takes_ten_actions(login_stage: LoginStage):
    login_stage.valid = {1}
    await login_stage.serve(ends(completed()))
    await login_stage.bring_up()
    await login_stage.start(auth=login_stage.auth())
    await login_stage.ended()
    validate = await login_stage.events(f"{login_stage.run_id}-v1")
    assert actions(await login_stage.events()) + actions(validate) == 10
