"""What tests of workflows look at when a Run has ended: its outcome, its status for lists, its scheduled activities."""

from __future__ import annotations

from typing import Any

from temporalio.api.history.v1 import ActivityTaskScheduledEventAttributes

from callboard.schemas.workflow.run import ErrorCode, ReasonType, RunOutcome, RunStatus
from callboard.temporal.listing import read_list_item
from tests.support.run_stage import RunStage, scheduled

FALSY = {"code": "auth-check-failed", "category": "auth", "message": "what it returned is not true"}
"""The error of a check that has found the login bad."""


def assert_failed(outcome: RunOutcome, code: ErrorCode, message: str) -> dict[str, Any]:
    """The details of its error."""
    assert outcome.status is RunStatus.FAILED
    assert outcome.error
    assert (outcome.error.code, outcome.error.category) == (code, "auth")
    assert message in outcome.error.message
    return outcome.error.details or {}


def assert_canceled(outcome: RunOutcome) -> None:
    assert outcome.status is RunStatus.CANCELED
    assert outcome.reason
    assert outcome.reason.type is ReasonType.CANCELLED_USER_ACTION
    assert (outcome.error, outcome.login) == (None, None)


async def scheduled_of(stage: RunStage, activity: str) -> list[ActivityTaskScheduledEventAttributes]:
    return [attributes for attributes in scheduled(await stage.events()) if attributes.activity_type.name == activity]


async def status_in_lists(stage: RunStage) -> str:
    return (await read_list_item(await stage.handle.describe())).status
