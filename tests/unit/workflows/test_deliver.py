"""Workflow `Deliver` with scripted tries: its schedule, and what it is asked for meanwhile."""

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from callboard.schemas.workflow.delivery import DeliveryOutcome, DeliveryStatus
from callboard.temporal.closing import wait_for_delivery
from tests.support.delivery_inputs import delivery, webhook
from tests.support.delivery_stage import DELIVERIES, Play, Try, arrives, asks_to_wait, fails
from tests.support.present import present

Played = Callable[[str], Awaitable[Play]]

DELIVERED = DeliveryOutcome(status=DeliveryStatus.DELIVERED)


@asynccontextmanager
async def skipping(*script: Try) -> AsyncGenerator[Play]:
    """On a server whose clock goes on by itself while nothing is to be done."""
    program = Path(sys.executable).parent / "temporal-test-server"
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(program), data_converter=pydantic_data_converter
    ) as environment:
        play = Play(environment.client, "skipping", list(script))
        async with play.served():
            yield play


def delays(at: Sequence[datetime]) -> list[float]:
    return [(later - earlier).total_seconds() for earlier, later in pairwise(at)]


def about(expected: Sequence[float]) -> Any:
    """As long as that, or a bit longer: the server's clock also goes on while a slow host executes a try."""
    return pytest.approx([each + 1 for each in expected], abs=1.1)


async def test_a_receiver_that_never_answers_well_is_tried_for_a_day():
    async with skipping(fails) as play:
        outcome = await wait_for_delivery(await play.start())
    assert outcome.status is DeliveryStatus.FAILED
    assert present(outcome.error).message == "The receiver answered 500."
    waited = delays(play.at)
    assert waited == about([*(2**n for n in range(9)), *[300] * (len(waited) - 9)])
    assert timedelta(hours=23, minutes=54) < play.at[-1] - play.at[0] <= timedelta(hours=24)
    assert len({input.model_dump_json() for input in play.inputs}) == 1, "each try is the same"
    assert play.prepares == 1


async def test_a_receiver_may_ask_for_a_wait_and_the_schedule_goes_on():
    async with skipping(fails, asks_to_wait, fails, arrives) as play:
        outcome = await (await play.start()).result()
    assert outcome == DELIVERED
    assert delays(play.at) == about([1, 180, 4])


@pytest.fixture
async def played(temporal: Client, name: str) -> Callable[[str], Awaitable[Play]]:
    async def play(shape: str) -> Play:
        return await DELIVERIES[shape](temporal, name)

    return play


def why(play: Play) -> str:
    assert play.outcome is not None
    assert play.outcome.status is DeliveryStatus.FAILED
    assert play.outcome.error is not None
    return play.outcome.error.message


async def test_a_delivery_that_arrives_is_sent_until_it_has(played: Played):
    play = await played("delivery-arrives")
    assert (play.outcome, len(play.at)) == (DELIVERED, 2)
    input = play.inputs[0]
    assert input.body_key == play.prepared.body_key
    expected = delivery(webhook("https://hook.example"))
    assert input.delivery.model_copy(update={"sink": expected.sink}) == expected


async def test_a_receiver_that_wants_nothing_any_more_is_left_alone(played: Played):
    play = await played("delivery-given-up")
    assert (why(play), len(play.at)) == ("The receiver answered 410.", 1)
    with pytest.raises(WorkflowFailureError) as failure:  # so that Temporal shows it
        await play.handle.result()
    assert isinstance(failure.value.cause, ApplicationError)
    assert (failure.value.cause.type, failure.value.cause.message) == ("GivenUp", why(play))
    assert (await play.handle.describe()).status is WorkflowExecutionStatus.FAILED


async def test_when_the_time_is_over_it_is_given_up_with_what_came_last(played: Played):
    assert why(await played("delivery-out-of-time")) == "The receiver answered 500."


async def test_a_run_without_a_result_is_not_delivered(played: Played):
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
async def test_asked_for_before_its_end_it_is_sent_at_once_or_once_more(played: Played, shape: str, tries: int):
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
async def test_canceled_it_ends_as_soon_as_nothing_of_it_is_under_way(played: Played, shape: str, tries: int):
    play = await played(shape)
    assert (await play.handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert (why(play), len(play.at)) == ("The Delivery was ended in Temporal, or with its project.", tries)


async def test_asked_for_after_its_end_it_is_sent_again(played: Played):
    play = await played("delivery-once-more")
    assert (play.outcome, len(play.at), play.prepares) == (DELIVERED, 2, 2)
    assert play.inputs[0] == play.inputs[1].model_copy(update={"delivery": play.inputs[0].delivery})


def test_every_shape_is_known_by_a_test():
    text = Path(__file__).read_text()
    assert [shape for shape in DELIVERIES if f'"{shape}"' not in text] == []
