"""Files of a project are applied however often that takes, and the Web UI says what has changed."""

from typing import Any

from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from callboard.schemas.workflow import names
from callboard.schemas.workflow.resources import ResourceChanges
from tests.support.activity_shapes import REFUSED, play
from workflows.apply_resources import ApplyResourcesWorkflow


async def details(client: Client, handle: WorkflowHandle[Any, Any]) -> str:
    """What the Web UI shows of a workflow that has ended."""
    queue = f"{names.CALLBOARD_QUEUE}-{handle.id}"
    async with Worker(client, task_queue=queue, workflows=[ApplyResourcesWorkflow]):
        metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return metadata.current_details


async def test_what_has_changed_is_returned_and_told(skipping: Client):
    applying = await play(skipping, "resources-applied")
    assert applying.outcome.jobs == ResourceChanges(created=("a", "b"), updated=("c",), removed=("d",))
    assert await details(skipping, applying.handle) == "Jobs created: a, b; Jobs updated: c; Jobs removed: d"


async def test_it_is_tried_until_it_succeeds_and_what_was_refused_is_told(skipping: Client):
    applying = await play(skipping, "resources-applied-at-last")
    assert applying.outcome.jobs.refused == (REFUSED,)
    assert len(applying.inputs) == 3
    told = await details(skipping, applying.handle)
    assert told.startswith("Jobs refused: 1")
    assert REFUSED in told
