"""A project is moved or deleted however often that takes, and a deletion that is refused removes nothing."""

from temporalio.client import Client

from callboard.schemas.workflow.project_changes import DeleteProjectResult
from tests.support.activity_shapes import OPEN_RUNS, play


async def test_a_move_is_tried_until_it_succeeds(skipping: Client):
    moving = await play(skipping, "pointer-moved")
    assert moving.outcome.version == "0123456789abcdef"
    assert len(moving.inputs) == 2


async def test_a_deletion_goes_on_until_all_is_removed(skipping: Client):
    deleting = await play(skipping, "project-deleted")
    assert deleting.outcome == DeleteProjectResult()
    assert len(deleting.inputs) == 4


async def test_a_refused_deletion_removes_nothing(skipping: Client):
    deleting = await play(skipping, "project-not-deleted")
    assert deleting.outcome.refused == OPEN_RUNS
    assert len(deleting.inputs) == 1, "it is not even begun"
