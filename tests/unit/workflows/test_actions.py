"""What docs/temporal-cloud.md lists as the actions of Runs is counted from histories of Runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from activities.heartbeat import HEARTBEAT_INTERVAL
from tests.support.auth_stage import LoginStage
from tests.support.repository import REPOSITORY
from tests.support.run_stage import PlayRun, completed, ends
from workflows.fleet import KEEP_INTERVAL

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


PAGE = (REPOSITORY / "docs" / "temporal-cloud.md").read_text()


def listed(run: str) -> int:
    """Return how many actions the page says that such a Run takes."""
    (count,) = re.findall(rf"^\| {re.escape(run)} \| (\d+)\b", PAGE, flags=re.MULTILINE)
    return int(count)


@pytest.mark.parametrize(
    ("shape", "run"),
    [
        ("completed-by-its-close", "that ends within half a second"),
        ("success-announced", "that runs for longer"),
        ("all-failed", "with two quick Attempts that fail"),
    ],
)
async def test_a_run_takes_as_many_actions_as_the_page_says(play: PlayRun, shape: str, run: str) -> None:
    stage = await play(shape)
    assert actions(await stage.events()) == listed(run)


async def test_a_run_with_a_login_takes_as_many_actions_as_the_page_says(login_stage: LoginStage) -> None:
    login_stage.valid = {1}
    await login_stage.serve(ends(completed()))
    await login_stage.bring_up()
    await login_stage.start(auth=login_stage.auth())
    await login_stage.ended()
    validate = await login_stage.events(f"{login_stage.run_id}-v1")
    assert actions(await login_stage.events()) + actions(validate) == listed("with a login, check and Attempt quick")


def test_what_no_history_shows_comes_as_often_as_the_page_says() -> None:
    said = " ".join(PAGE.split())
    assert "an Attempt adds six a minute" in said
    assert HEARTBEAT_INTERVAL == 10
    assert "each worker renews its lease every ten seconds" in said
    assert timedelta(seconds=10) == KEEP_INTERVAL
