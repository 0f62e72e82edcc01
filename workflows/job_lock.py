"""The workflow `JobLock`: it runs for as long as a JobRun holds the lock of its Job, so that no other one begins."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.workflow import names
    from schemas.workflow.job_activities import JobLockInput


@workflow.defn(name=names.JOB_LOCK)
class JobLockWorkflow:
    """The lock of one Job. There is one at a time, since Temporal starts no second workflow with its id."""

    def __init__(self) -> None:
        self._released = False

    @workflow.run
    async def run(self, input: JobLockInput) -> None:
        """Run until the JobRun that holds the lock has released it."""
        workflow.set_current_details(f"JobRun `{input.holder}` is active")
        await workflow.wait_condition(lambda: self._released)

    @workflow.signal(name=names.RELEASE)
    def release(self) -> None:
        """Release the lock."""
        self._released = True
