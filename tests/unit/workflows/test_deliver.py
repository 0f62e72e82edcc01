"""Workflow `Deliver` with scripted tries: its schedule, and what it is asked for meanwhile."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from callboard.schemas.workflow.delivery import DeliveryOutcome, DeliveryStatus
from callboard.temporal.closing import wait_for_delivery
from tests.support.delivery_inputs import delivery, webhook
from tests.support.delivery_stage import DeliveryStage, arrives, asks_to_wait, fails
from tests.support.present import present
from tests.support.shapes import Play, playing, shapes_of

DELIVERED = DeliveryOutcome(status=DeliveryStatus.DELIVERED)


def delays(at: Sequence[datetime]) -> list[float]:
    return [(later - earlier).total_seconds() for earlier, later in pairwise(at)]


def about(expected: Sequence[float]) -> Any:
    """As long as that, or a bit longer: the server's clock also goes on while a slow host executes a try."""
    return pytest.approx([each + 1 for each in expected], abs=1.1)


async def test_a_receiver_that_never_answers_well_is_tried_for_a_day(skipping: Client, name: str):
    async with DeliveryStage(skipping, name) as play:
        await play.serve(fails)
        outcome = await wait_for_delivery(await play.start())
    assert outcome.status is DeliveryStatus.FAILED
    assert present(outcome.error).message == "The receiver answered 500."
    waited = delays(play.at)
    assert waited == about([*(2**n for n in range(9)), *[300] * (len(waited) - 9)])
    assert timedelta(hours=23, minutes=54) < play.at[-1] - play.at[0] <= timedelta(hours=24)
    assert len({input.model_dump_json() for input in play.inputs}) == 1, "each try is the same"
    assert play.prepares == 1


async def test_a_receiver_may_ask_for_a_wait_and_the_schedule_goes_on(skipping: Client, name: str):
    async with DeliveryStage(skipping, name) as play:
        await play.serve(fails, asks_to_wait, fails, arrives)
        outcome = await (await play.start()).result()
    assert outcome == DELIVERED
    assert delays(play.at) == about([1, 180, 4])


@pytest.fixture
async def played(temporal: Client, name: str) -> AsyncIterator[Play[DeliveryStage]]:
    async with playing(DeliveryStage, temporal, name) as played:
        yield played


def why(play: DeliveryStage) -> str:
    assert play.outcome is not None
    assert play.outcome.status is DeliveryStatus.FAILED
    assert play.outcome.error is not None
    return play.outcome.error.message


async def test_a_delivery_that_arrives_is_sent_until_it_has(played: Play[DeliveryStage]):
    play = await played("delivery-arrives")
    assert (play.outcome, len(play.at)) == (DELIVERED, 2)
    input = play.inputs[0]
    assert input.body_key == play.prepared.body_key
    expected = delivery(webhook("https://hook.example"))
    assert input.delivery.model_copy(update={"sink": expected.sink}) == expected


async def test_a_receiver_that_wants_nothing_any_more_is_left_alone(played: Play[DeliveryStage]):
    play = await played("delivery-given-up")
    assert (why(play), len(play.at)) == ("The receiver answered 410.", 1)
    with pytest.raises(WorkflowFailureError) as failure:  # so that Temporal shows it
        await play.handle.result()
    assert isinstance(failure.value.cause, ApplicationError)
    assert (failure.value.cause.type, failure.value.cause.message) == ("GivenUp", why(play))
    assert (await play.handle.describe()).status is WorkflowExecutionStatus.FAILED


async def test_when_the_time_is_over_it_is_given_up_with_what_came_last(played: Play[DeliveryStage]):
    assert why(await played("delivery-out-of-time")) == "The receiver answered 500."


async def test_a_run_without_a_result_is_not_delivered(played: Play[DeliveryStage]):
    play = await played("delivery-of-nothing")
    assert (why(play), play.at) == (play.prepared.reason, [])


@pytest.mark.parametrize(
    ("shape", "tries"),
    [
        ("delivery-asked-for-as-it-waits", 3),
        ("delivery-asked-for-as-it-arrives", 2),
        ("delivery-asked-for-as-it-fails", 2),
    ],
)
async def test_asked_for_before_its_end_it_is_sent_at_once_or_once_more(
    played: Play[DeliveryStage], shape: str, tries: int
):
    play = await played(shape)
    assert (play.outcome, len(play.at)) == (DELIVERED, tries)


@pytest.mark.parametrize(
    ("shape", "tries"),
    [
        ("delivery-canceled-as-it-waits", 1),
        ("delivery-canceled-as-it-fails", 1),
        ("delivery-canceled-before-it-is-sent", 0),
    ],
)
async def test_canceled_it_ends_as_soon_as_nothing_of_it_is_under_way(
    played: Play[DeliveryStage], shape: str, tries: int
):
    play = await played(shape)
    assert (await play.handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert (why(play), len(play.at)) == ("The Delivery was ended in Temporal, or with its project.", tries)


async def test_asked_for_after_its_end_it_is_sent_again(played: Play[DeliveryStage]):
    play = await played("delivery-once-more")
    assert (play.outcome, len(play.at), play.prepares) == (DELIVERED, 2, 2)
    assert play.inputs[0] == play.inputs[1].model_copy(update={"delivery": play.inputs[0].delivery})


def test_every_shape_is_known_by_a_test():
    text = Path(__file__).read_text()
    assert [shape for shape in shapes_of(DeliveryStage) if f'"{shape}"' not in text] == []
