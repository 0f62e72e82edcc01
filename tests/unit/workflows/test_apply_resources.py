"""Files of a project are applied however often that takes, and the Web UI says what has changed."""

from temporalio.api.sdk.v1 import WorkflowMetadata

from callboard.schemas.workflow.resources import ResourceChanges
from tests.support.activity_shapes import REFUSED, ActivityStage
from tests.support.shapes import Play


async def details(applying: ActivityStage) -> str:
    """What the Web UI shows of a workflow that has ended."""
    metadata = await applying.handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return metadata.current_details


async def test_what_has_changed_is_returned_and_told(play_activity: Play[ActivityStage]):
    applying = await play_activity("resources-applied")
    assert applying.outcome.jobs == ResourceChanges(created=("a", "b"), updated=("c",), removed=("d",))
    assert await details(applying) == "Jobs created: a, b; Jobs updated: c; Jobs removed: d"


async def test_it_is_tried_until_it_succeeds_and_what_was_refused_is_told(play_activity: Play[ActivityStage]):
    applying = await play_activity("resources-applied-at-last")
    assert applying.outcome.jobs.refused == (REFUSED,)
    assert len(applying.inputs) == 3
    told = await details(applying)
    assert told.startswith("Jobs refused: 1")
    assert REFUSED in told
