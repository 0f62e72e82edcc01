"""The workflow `JobLock`: the JobRuns of one Job that may not be active at the same time stand in line here."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.job_run import JobLockInput


@workflow.defn(name=names.JOB_LOCK)
class JobLockWorkflow:
    """The lock of one Job. There is one at a time, since Temporal starts no second workflow with its id."""

    @workflow.init
    def __init__(self, input: JobLockInput) -> None:
        self._holder = input.holder
        self._line = list(input.line or [input.holder])
        """The JobRun that holds the lock, and behind it those that wait, in the order in which they came."""

    @workflow.run
    async def run(self, input: JobLockInput) -> None:
        """Run until nobody holds the lock; tell each JobRun whose turn comes while it waits."""
        while self._line:
            if self._line[0] != self._holder:
                await self._hand_over(self._line[0])
            workflow.set_current_details(f"JobRun `{self._holder}` is active")
            await workflow.wait_condition(lambda: self._line[:1] != [self._holder] or self._is_long())
            if self._line and self._is_long():
                successor = input.model_copy(update={"holder": self._holder, "line": tuple(self._line)})
                workflow.continue_as_new(successor, memo={names.MEMO_HOLDER: self._holder})

    async def _hand_over(self, job_run_id: str) -> None:
        """Let the next JobRun hold the lock, unless it has ended while it waited."""
        self._holder = job_run_id
        workflow.upsert_memo({names.MEMO_HOLDER: job_run_id})
        try:
            await workflow.get_external_workflow_handle(job_run_id).signal(names.LOCKED)
        except ApplicationError as error:
            workflow.logger.info("JobRun %s has ended while it waited: %s", job_run_id, error)
            self.release(job_run_id)

    def _is_long(self) -> bool:
        return workflow.info().is_continue_as_new_suggested()

    @workflow.signal(name=names.WAIT_FOR_LOCK)
    def wait(self, job_run_id: str) -> None:
        """Let a JobRun wait for its turn."""
        if job_run_id not in self._line:
            self._line.append(job_run_id)

    @workflow.signal(name=names.RELEASE)
    def release(self, job_run_id: str) -> None:
        """Let a JobRun leave the line, wherever it stands."""
        self._line = [each for each in self._line if each != job_run_id]
