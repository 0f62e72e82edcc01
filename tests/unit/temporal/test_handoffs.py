"""Answers to Handoffs, where whoever gives one does not wait for Temporal any more."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from temporalio.client import WorkflowUpdateRPCTimeoutOrCancelledError

from callboard.schemas.workflow.handoff import HandoffEnd, HandoffStatus
from callboard.temporal.handoffs import Handoffs


class Silent:
    """A Temporal that does not answer; a cancel becomes what the SDK makes of it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def get_workflow_handle(self, _workflow_id: str) -> Silent:
        return self

    async def execute_update(self, _update: str, _argument: Any, **_options: Any) -> None:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            raise WorkflowUpdateRPCTimeoutOrCancelledError from error


async def test_a_cancel_of_an_answer_stays_one() -> None:
    temporal = Silent()
    end = HandoffEnd(status=HandoffStatus.DECLINED)
    answering = asyncio.create_task(Handoffs(cast("Any", temporal)).answer("run.1.1", end))
    await temporal.asked.wait()
    answering.cancel()
    await asyncio.wait({answering})
    assert answering.cancelled()
