"""A workflow in the place of `JobRun` that does what it is told, for tests of those who start and steer JobRuns."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.job_run import JobRunHandover, JobRunInput, JobRunPlan, JobRunProgress, JobRunStatus
    from workflows.job_run_display import JobRunDisplay
    from workflows.job_run_ends import JobRunEnd
    from workflows.visibility import job_run_memo, job_run_search_attributes, job_run_view

FINISH = "finish"
"""Signal to end with this status."""
CONTINUE = "continue"
"""Signal to go on in a new execution."""


_PLAN = JobRunPlan(
    workspace="",
    project="",
    job_id="",
    job_run_id="",
    definition="",
    version="",
    payload_count=0,
    window=1,
    maximum_attempts=1,
    request_timeout=timedelta(minutes=10),
)
"""The plan of a JobRun that executes nothing."""


@workflow.defn(name=names.JOB_RUN)
class StubJobRun:
    """Is paused and resumed by signals, and ends when it is told to."""

    @workflow.init
    def __init__(self, input: JobRunInput) -> None:
        self._input = input
        self._display = JobRunDisplay(job_run_view(input))
        self._end: JobRunStatus | None = None
        self._continues = False

    @workflow.run
    async def run(self, input: JobRunInput) -> dict[str, Any]:
        """Run until a signal says how it ends."""
        if input.state is None:
            self._display.show(started_at=workflow.info().workflow_start_time)
            self._display.show(version="0123456789abcdef", progress=JobRunProgress(total=2))
        await workflow.wait_condition(lambda: self._continues or self._end is not None)
        if self._end is None:
            state = JobRunHandover(view=self._display.view, plan=_PLAN, piece=0, is_locked=False)
            going_on = input.model_copy(update={"state": state})
            workflow.continue_as_new(
                going_on, memo=job_run_memo(going_on), search_attributes=job_run_search_attributes(going_on)
            )
        self._display.show(progress=JobRunProgress(total=2, next=2, succeeded=1, failed=1))
        self._display.show_end(JobRunEnd(self._end))
        view = self._display.view.model_dump(mode="json")
        if self._end is not JobRunStatus.SUCCESS:
            raise ApplicationError("It was told to.", view, type=self._end, non_retryable=True)
        return view

    @workflow.signal(name=names.PAUSE_JOB_RUN)
    def pause(self) -> None:
        """Be paused."""
        self._display.show_status(JobRunStatus.PAUSED, None)

    @workflow.signal(name=names.RESUME_JOB_RUN)
    def resume(self) -> None:
        """Go on."""
        self._display.show_status(JobRunStatus.PENDING, None)

    @workflow.signal(name=names.TERMINATE_JOB_RUN)
    def terminate(self) -> None:
        """End as terminated."""
        self._end = JobRunStatus.TERMINATED

    @workflow.signal(name=FINISH)
    def finish(self, status: JobRunStatus) -> None:
        """End with this status."""
        self._end = status

    @workflow.signal(name=CONTINUE)
    def continue_as_new(self) -> None:
        """Go on in a new execution."""
        self._continues = True
