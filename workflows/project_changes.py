"""The workflows that change a project as a whole: `MovePointer` and `DeleteProject`.

Both have the same id for the same project, as the workflow `Deploy` has, so that only one of them runs at a time.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.project_changes import (
        DeleteProjectInput,
        DeleteProjectResult,
        MovePointerInput,
        MovePointerResult,
    )

_RETRIES = RetryPolicy(maximum_interval=timedelta(minutes=1))


@workflow.defn(name=names.MOVE_POINTER)
class MovePointerWorkflow:
    """A promote or a rollback: another version of the project is deployed."""

    @workflow.run
    async def run(self, input: MovePointerInput) -> MovePointerResult:
        """Move the pointer, and return what is deployed then, or why the pointer stays where it is."""
        return await workflow.execute_activity(
            names.MOVE_POINTER_ACTIVITY,
            input,
            result_type=MovePointerResult,
            start_to_close_timeout=timedelta(minutes=1),
            retry_policy=_RETRIES,
            summary=f"{input.action} {input.version or ''}".strip(),
        )


@workflow.defn(name=names.DELETE_PROJECT)
class DeleteProjectWorkflow:
    """The end of a project, however long that takes."""

    @workflow.run
    async def run(self, input: DeleteProjectInput) -> DeleteProjectResult:
        """Take the project out of service, and then remove all that belongs to it."""
        withdrawn = await workflow.execute_activity(
            names.WITHDRAW_PROJECT,
            input,
            result_type=DeleteProjectResult,
            start_to_close_timeout=timedelta(minutes=1),
            retry_policy=_RETRIES,
            summary="No new Runs",
        )
        if withdrawn.refused is None:
            workflow.set_current_details(f"{input.project} is out of service, and what belongs to it is being removed")
            await workflow.execute_activity(
                names.REMOVE_PROJECT,
                input,
                start_to_close_timeout=timedelta(hours=6),
                heartbeat_timeout=timedelta(seconds=30),
                retry_policy=_RETRIES,
                summary="End what runs, and remove all that is stored",
            )
            workflow.set_current_details(f"{input.project} is deleted")
        return withdrawn
