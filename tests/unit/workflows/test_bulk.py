"""Many Runs are handled piece by piece, and it can be told at any time how far that is."""

from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus

from callboard.schemas.workflow import names
from callboard.schemas.workflow.bulk import BulkFailure, BulkView
from tests.support.activity_shapes import ActivityStage, bulk
from tests.support.shapes import Play
from workflows.bulk import PIECE, PIECES

ALL = bulk(13).run_ids


async def shown(asking: ActivityStage) -> tuple[Any, Any]:
    """What the memo tells at the end: done and failed, and the failures."""
    description = await asking.handle.describe()
    view = await description.memo_value(names.MEMO_BULK, type_hint=BulkView)
    return (view.done, view.failed), await description.memo_value(names.MEMO_BULK_FAILURES, [], type_hint=list[Any])


async def test_each_piece_begins_where_the_one_before_ended(play_activity: Play[ActivityStage]):
    asking = await play_activity("many-runs-handled")
    assert [piece.run_ids for piece in asking.inputs] == [ALL[:10], ALL[4:], ALL[4:]], "one was tried again"
    failure = BulkFailure(run_id="run-2", message="It had ended.")
    assert await shown(asking) == ((12, 1), [failure.model_dump()])


async def test_an_abort_waits_for_what_is_at_hand_and_leaves_the_rest(play_activity: Play[ActivityStage]):
    asking = await play_activity("many-runs-aborted")
    assert len(asking.inputs) == 2
    assert await shown(asking) == ((3, 0), [])
    assert (await asking.handle.describe()).status is WorkflowExecutionStatus.CANCELED


async def test_a_long_one_goes_on_with_a_fresh_history(play_activity: Play[ActivityStage]):
    asking = await play_activity("many-runs-that-go-on")
    assert len(asking.inputs) == PIECES + 1
    assert [run_id for piece in asking.inputs for run_id in piece.run_ids] == [*bulk(PIECE * PIECES + 1).run_ids]
    assert asking.first.events[-1].event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW
    counts, failures = await shown(asking)
    assert counts == (PIECE * (PIECES - 1) + 1, PIECE)
    assert len(failures) == PIECE
