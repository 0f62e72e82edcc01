"""A sweep goes part by part, whatever the store does meanwhile."""

from temporalio.api.enums.v1 import EventType

from callboard.schemas.workflow.sweep import SweepPart, SweepTotals
from tests.support.activity_shapes import A_WEEK, ActivityStage
from tests.support.present import present
from tests.support.shapes import Play
from workflows.sweep import PARTS


async def test_it_ends_with_the_part_behind_which_there_is_nothing(play_activity: Play[ActivityStage]):
    sweeping = await play_activity("sweep-in-one-part")
    assert sweeping.outcome == SweepTotals(runs=3, artifacts=15)
    assert [input.after for input in sweeping.inputs] == [""]


async def test_each_part_begins_where_the_one_before_ended_with_the_same_age(play_activity: Play[ActivityStage]):
    sweeping = await play_activity("sweep-in-parts")
    assert sweeping.outcome == SweepTotals(runs=4, artifacts=20)
    before = sweeping.inputs[0].before
    assert abs((sweeping.began - A_WEEK - before).total_seconds()) < 1
    assert sweeping.inputs == [SweepPart(before=before, after=after) for after in ("", "runs/shop/a0", "runs/shop/b0")]


async def test_a_long_one_goes_on_with_a_fresh_history(play_activity: Play[ActivityStage]):
    sweeping = await play_activity("sweep-that-goes-on")
    assert sweeping.outcome == SweepTotals(runs=PARTS + 1, artifacts=5 * (PARTS + 1))
    assert len(sweeping.inputs) == PARTS + 1
    assert sweeping.inputs[-1].after == f"runs/shop/{PARTS - 1:02}0"
    assert {input.before for input in sweeping.inputs} == {sweeping.inputs[0].before}
    end = sweeping.first.events[-1].event_type
    assert end == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW


async def test_a_store_that_is_away_for_a_while_costs_time(play_activity: Play[ActivityStage]):
    sweeping = await play_activity("sweep-store-away-for-a-while")
    assert sweeping.outcome == SweepTotals(runs=2, artifacts=10)
    assert [input.after for input in sweeping.inputs] == ["", *["runs/shop/a0"] * 3]


async def test_a_store_that_is_away_for_long_ends_it_so_that_another_can_begin(play_activity: Play[ActivityStage]):
    sweeping = await play_activity("sweep-store-away-for-long")
    assert sweeping.outcome is None
    assert len(sweeping.inputs) > 50
    assert sweeping.first.events[-1].event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED


async def test_what_may_not_be_removed_is_told_when_all_else_is_done(play_activity: Play[ActivityStage]):
    sweeping = await play_activity("sweep-that-may-not-remove")
    assert present(sweeping.failure).message == (
        "10 artifacts of 2 Runs removed; those of 2 Runs could not be removed. The artifact store could not remove 'x'."
    )
    assert len(sweeping.inputs) == 4
