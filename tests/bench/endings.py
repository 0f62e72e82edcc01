"""Runs that end as their input says, without a Machine. For lists, they are like other Runs of the workflow `Run`.

A million Attempts would not change a list, but would take days.
"""

from __future__ import annotations

from typing import override

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.base import JsonRef
    from callboard.schemas.workflow.run import (
        ErrorCode,
        ReasonType,
        RunError,
        RunInput,
        RunOutcome,
        RunReason,
        RunStatus,
    )
    from workflows.run_workflow import RunWorkflow

_MESSAGE = (
    "Locator.click: Timeout 30000ms exceeded.\nCall log:\n  - waiting for locator('#buy')\n" + "  - retrying\n" * 20
)

_OUTCOMES = {
    RunStatus.COMPLETED: RunOutcome(
        status=RunStatus.COMPLETED, result=JsonRef(text='{"items": 50}', size=13), attempts=1
    ),
    RunStatus.FAILED: RunOutcome(
        status=RunStatus.FAILED,
        error=RunError(code=ErrorCode.API_ATTEMPTS_FAILED, category="execution", message=_MESSAGE),
        attempts=3,
    ),
    RunStatus.CANCELED: RunOutcome(
        status=RunStatus.CANCELED,
        reason=RunReason(type=ReasonType.CANCELLED_USER_ACTION, message="The Run was canceled."),
        attempts=1,
    ),
}


@workflow.defn(name=names.RUN)
class EndingRun(RunWorkflow):
    """The real Run workflow without Attempts.

    Its parameters are the status to end with. With a status that is not final, it never ends.
    """

    @workflow.run
    @override
    async def run(self, input: RunInput) -> RunOutcome:
        """End with the status that the parameters name."""
        return await super().run(input)

    @override
    async def _run_attempts(self, run: RunInput) -> RunOutcome:
        status = RunStatus(run.parameters.text or "")
        self._record_start(workflow.now(), first=True)
        if status is RunStatus.STARTED:
            self._set_status(status, "It is kept")
        await workflow.wait_condition(lambda: status in _OUTCOMES)
        return _OUTCOMES[status]
