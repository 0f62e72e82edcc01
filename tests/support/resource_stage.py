"""The shapes that workflow `ApplyResources` can take, on a server that skips time; each has a recorded history."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from schemas.workflow import names
from schemas.workflow.resources import AppliedResources, ApplyResourcesInput, ResourceChanges
from tests.support.run_stage import IDENTITY, WORKSPACE
from workflows.apply_resources import ApplyResourcesWorkflow

Applying = WorkflowHandle[ApplyResourcesWorkflow, AppliedResources]

REFUSED = "intuned-resources/jobs/a.job.json: there is a Job 'a' that was created by a request."


async def applying(client: Client, shape: str, tries: Sequence[AppliedResources | Exception]) -> Applying:
    """Let the tries of the activity come to this, and wait for the end."""
    left = list(tries)

    @activity.defn(name=names.UPDATE_RESOURCES)
    async def update_resources(_input: ApplyResourcesInput) -> AppliedResources:
        came = left.pop(0)
        if isinstance(came, Exception):
            raise came
        return came

    queue = f"{names.CALLBOARD_QUEUE}-{shape}"
    async with Worker(
        client, task_queue=queue, workflows=[ApplyResourcesWorkflow], activities=[update_resources], identity=IDENTITY
    ):
        handle = await client.start_workflow(
            ApplyResourcesWorkflow.run,
            ApplyResourcesInput(workspace=WORKSPACE, project="shop"),
            id=shape,
            task_queue=queue,
        )
        await handle.result()
    assert not left
    return handle


async def _applied(client: Client, shape: str) -> Applying:
    jobs = ResourceChanges(created=("a", "b"), updated=("c",), removed=("d",))
    return await applying(client, shape, [AppliedResources(version="0123456789abcdef", jobs=jobs)])


async def _applied_at_last(client: Client, shape: str) -> Applying:
    away = ApplicationError("The artifact store could not read 'projects/shop/current.json'.", type="StoreError")
    refused = AppliedResources(version="0123456789abcdef", jobs=ResourceChanges(refused=(REFUSED,)))
    return await applying(client, shape, [away, away, refused])


APPLICATIONS: dict[str, Callable[[Client, str], Awaitable[Applying]]] = {
    "resources-applied": _applied,
    "resources-applied-at-last": _applied_at_last,
}
