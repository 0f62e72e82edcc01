"""The workflow `TriggerJob`: what the Schedule of a Job starts. It starts a JobRun, and ends."""

from __future__ import annotations

import string

from temporalio import workflow
from temporalio.workflow import ChildWorkflowCancellationType, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.job import JobRef
    from callboard.schemas.workflow.job_run import JobRunInput, JobRunType
    from workflows.visibility import job_run_memo, job_run_search_attributes, job_run_static_details

_ALPHABET = string.ascii_letters + string.digits + "_-"


@workflow.defn(name=names.TRIGGER_JOB)
class TriggerJobWorkflow:
    """One action of a Job's Schedule. Its own id is the Schedule's choice; a JobRun has an id of its own form."""

    @workflow.run
    async def run(self, input: JobRef) -> str:
        """Start a JobRun, which lives on, and return its id."""
        random = workflow.random()
        job_run_id = names.job_run_id("".join(random.choices(_ALPHABET, k=names.JOB_RUN_TOKEN_LENGTH)))
        job_run = JobRunInput(
            workspace=input.workspace,
            project=input.project,
            job_id=input.job_id,
            definition=input.definition,
            type=JobRunType.SCHEDULED,
        )
        await workflow.start_child_workflow(
            names.JOB_RUN,
            job_run,
            id=job_run_id,
            parent_close_policy=ParentClosePolicy.ABANDON,
            cancellation_type=ChildWorkflowCancellationType.ABANDON,
            memo=job_run_memo(job_run),
            search_attributes=job_run_search_attributes(job_run),
            static_summary=f"Job {job_run.job_id} of {job_run.project}",
            static_details=job_run_static_details(job_run),
        )
        return job_run_id
