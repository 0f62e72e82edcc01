"""A project is moved or deleted however often that takes, and a deletion that is refused removes nothing."""

from callboard.schemas.workflow.project_changes import DeleteProjectResult
from tests.support.activity_shapes import OPEN_RUNS, ActivityStage
from tests.support.shapes import Play


async def test_a_move_is_tried_until_it_succeeds(play_activity: Play[ActivityStage]):
    moving = await play_activity("pointer-moved")
    assert moving.outcome.version == "0123456789abcdef"
    assert len(moving.inputs) == 2


async def test_a_deletion_goes_on_until_all_is_removed(play_activity: Play[ActivityStage]):
    deleting = await play_activity("project-deleted")
    assert deleting.outcome == DeleteProjectResult()
    assert len(deleting.inputs) == 4


async def test_a_refused_deletion_removes_nothing(play_activity: Play[ActivityStage]):
    deleting = await play_activity("project-not-deleted")
    assert deleting.outcome.refused == OPEN_RUNS
    assert len(deleting.inputs) == 1, "it is not even begun"
