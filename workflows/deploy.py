"""The workflow `Deploy`: an upload of a project becomes a version, and the deployed one."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutType, WorkflowAlreadyStartedError
from temporalio.exceptions import TimeoutError as TemporalTimeoutError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.base import MESSAGE_LIMIT, clip
    from callboard.schemas.workflow.deploy import (
        FAILED_MESSAGE,
        BuildInput,
        CheckedUpload,
        DeployInput,
        DeployStatus,
        DeployView,
        PublishedVersion,
    )
    from callboard.schemas.workflow.resources import ApplyResourcesInput
    from workflows.visibility import code_block, project_search_attributes

_RETRIES = RetryPolicy(maximum_interval=timedelta(seconds=20))
_HEARTBEAT_TIMEOUT = timedelta(seconds=10)
"""How long a step may send no heartbeat: somebody waits, and its worker may be lost."""
_CONTROL_TRY = timedelta(minutes=10)
_CONTROL_TIMEOUT = timedelta(minutes=15)
"""How long the check of an upload, and its publication, may take with all tries: an outage of the store is outlasted,
but nobody waits for hours."""
_BUILD_TRY = timedelta(minutes=20)
_BUILD_TIMEOUT = timedelta(minutes=25)
"""How long it may take to resolve and install packages, and to read annotations, with all tries."""
_BUILDER_TIMEOUT = timedelta(minutes=10)
"""How long a deploy waits for a worker with the role `browser`."""

_REMOVE_TRY = timedelta(seconds=10)
_REMOVE_TIMEOUT = timedelta(seconds=30)


@workflow.defn(name=names.DEPLOY)
class DeployWorkflow:
    """One deploy of an upload. Its memo tells how far it is, also after its end."""

    @workflow.run
    async def run(self, input: DeployInput) -> DeployView:
        """Check the upload, have its packages built, publish it, and return what was published.

        Raises:
            ApplicationError: The deploy has failed; the version that was deployed before still is.
        """
        self._view = DeployView(project=input.project, promote=input.promote)
        try:
            published = await self._deploy(input)
        except ActivityError as error:
            reason = clip(_reason(error), MESSAGE_LIMIT)
            self._show(status=DeployStatus.FAILED, message=FAILED_MESSAGE, reason=reason)
            raise ApplicationError(reason, self._view, type="DeployFailed", non_retryable=True) from error
        what = "is deployed" if input.promote else "is stored, and was not promoted"
        self._show(status=DeployStatus.COMPLETED, message=f"Version {published.version} {what}.", published=published)
        return self._view

    async def _deploy(self, input: DeployInput) -> PublishedVersion:
        self._show(message="The upload is being checked.")
        checked = await workflow.execute_activity(
            names.CHECK_UPLOAD,
            input,
            result_type=CheckedUpload,
            start_to_close_timeout=_CONTROL_TRY,
            schedule_to_close_timeout=_CONTROL_TIMEOUT,
            heartbeat_timeout=_HEARTBEAT_TIMEOUT,
            retry_policy=_RETRIES,
            summary=f"Check upload {input.upload}",
        )
        self._show(message="The packages are being resolved and installed, by a worker with the role browser.")
        await workflow.execute_activity(
            names.BUILD_VERSION,
            BuildInput(
                project=input.project,
                upload=input.upload,
                version=checked.version,
                frozen=checked.frozen,
            ),
            task_queue=names.BUILDS_QUEUE,
            schedule_to_start_timeout=_BUILDER_TIMEOUT,
            start_to_close_timeout=_BUILD_TRY,
            schedule_to_close_timeout=_BUILD_TIMEOUT,
            heartbeat_timeout=_HEARTBEAT_TIMEOUT,
            retry_policy=_RETRIES,
            summary=f"Build version {checked.version}",
        )
        self._show(message="The version is being published.")
        published = await workflow.execute_activity(
            names.PUBLISH_UPLOAD,
            input,
            result_type=PublishedVersion,
            start_to_close_timeout=_CONTROL_TRY,
            schedule_to_close_timeout=_CONTROL_TIMEOUT,
            heartbeat_timeout=_HEARTBEAT_TIMEOUT,
            retry_policy=_RETRIES,
            summary=f"Publish version {checked.version}",
        )
        if input.promote and published.has_resources:
            await _apply_resources(input, published)
        with suppress(ActivityError):  # a sweep removes what stays
            await workflow.execute_activity(
                names.REMOVE_UPLOAD,
                input,
                start_to_close_timeout=_REMOVE_TRY,
                schedule_to_close_timeout=_REMOVE_TIMEOUT,
                retry_policy=_RETRIES,
                summary=f"Remove upload {input.upload}",
            )
        return published

    def _show(self, **changes: Any) -> None:
        self._view = self._view.model_copy(update=changes)
        workflow.upsert_memo({names.MEMO_DEPLOY: self._view.model_dump(mode="json")})
        reason = "" if self._view.reason is None else code_block(self._view.reason)
        workflow.set_current_details(self._view.message + reason)


async def _apply_resources(input: DeployInput, published: PublishedVersion) -> None:
    """Start the workflow that follows each deploy of such a project, so that a client finds it at the end."""
    with suppress(WorkflowAlreadyStartedError):  # a worker that looks for deploys was faster
        await workflow.start_child_workflow(
            names.APPLY_RESOURCES,
            ApplyResourcesInput(workspace=input.workspace, project=input.project),
            id=names.apply_resources_workflow_id(input.project, published.deployed_at),
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            parent_close_policy=ParentClosePolicy.ABANDON,
            static_summary=f"Apply the files of Jobs and AuthSessions of {input.project}",
            memo={names.MEMO_WORKSPACE: input.workspace},
            search_attributes=project_search_attributes(input.project),
        )


def _reason(error: ActivityError) -> str:
    match error.cause:
        case TemporalTimeoutError(type=TimeoutType.SCHEDULE_TO_START):
            return (
                f"No worker with the role browser has taken the build within {_BUILDER_TIMEOUT.total_seconds() / 60:g}"
                " minutes. Is one running?"
            )
        case TemporalTimeoutError(cause=ApplicationError(message=message)):
            return f"It was tried until its time was over. The last try has failed: {message}"
        case TemporalTimeoutError():
            return "Its time was over, as the workers that had it have died or were too slow."
        case ApplicationError(message=message):
            return message
        case _:
            return f"It was ended: {error.message}."
