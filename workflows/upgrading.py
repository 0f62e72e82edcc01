"""Workflows that outlast builds, for workers that have a build id: they move to the current build.

An AuthSession may last for years, and a JobRun that is paused, with the lock of its Job, for weeks. Temporal takes a
versioning behavior from workers with a build id only, so the workflows themselves cannot have it.
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import VersioningBehavior

with workflow.unsafe.imports_passed_through():
    from schemas.workflow import names
    from schemas.workflow.auth_session import AuthSessionInput
    from schemas.workflow.job_activities import JobLockInput
    from schemas.workflow.job_run import JobRunInput, JobRunView
    from workflows.auth_session import AuthSessionWorkflow
    from workflows.job_lock import JobLockWorkflow
    from workflows.job_run import JobRunWorkflow


@workflow.defn(name=names.AUTH_SESSION, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class UpgradingAuthSessionWorkflow(AuthSessionWorkflow):
    """One AuthSession, on the current build."""

    @workflow.init
    def __init__(self, input: AuthSessionInput) -> None:
        super().__init__(input)

    @workflow.run
    async def run(self, input: AuthSessionInput) -> None:
        """Run as the workflow itself."""
        await super().run(input)


@workflow.defn(name=names.JOB_RUN, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class UpgradingJobRunWorkflow(JobRunWorkflow):
    """One JobRun, on the current build."""

    @workflow.init
    def __init__(self, input: JobRunInput) -> None:
        super().__init__(input)

    @workflow.run
    async def run(self, input: JobRunInput) -> JobRunView:
        """Run as the workflow itself."""
        return await super().run(input)


@workflow.defn(name=names.JOB_LOCK, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class UpgradingJobLockWorkflow(JobLockWorkflow):
    """The lock of one Job, on the current build."""

    @workflow.run
    async def run(self, input: JobLockInput) -> None:
        """Run as the workflow itself."""
        await super().run(input)
