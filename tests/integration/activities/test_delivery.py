"""Deliveries from the end of a Run to its receiver, on real parts; receivers do as they like."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook
from temporalio.client import Client, WorkflowExecutionStatus

from callboard.schemas.errors import NotFound
from callboard.schemas.workflow import names
from callboard.schemas.workflow.delivery import GIVEN_UP, NOTHING_TO_DELIVER, DeliveryStatus
from callboard.storage import object_keys
from callboard.temporal.deliveries import Deliveries
from tests.support.control_worker import DEADLINE, SECRET, Delivering, delivering, run_to_end
from tests.support.delivery_inputs import QUICK, delivery, sealed, webhook
from tests.support.polling import until
from tests.support.present import present
from tests.support.run_stage import RunStage, completed, ends
from tests.support.stage import WORKSPACE
from tests.support.webhook_receiver import Received, Receiver, answers, closes, hangs, receiver

HIDDEN = "t0p-s3cret"


def verified(request: Received, secret: str = SECRET) -> Any:
    return Webhook(secret).verify(request.body, request.headers)


# From a Run's end to its receiver.


async def test_the_result_of_a_run_arrives_signed_and_that_is_written_down(
    deliver: Delivering, stage: RunStage, inbox: Receiver
) -> None:
    await run_to_end(stage, webhook(f"{inbox.url}/hook?n=1", headers={"X-From": "us"}))
    state = await deliver.ended(stage.project, stage.run_id)
    assert (state.status, state.error) == (DeliveryStatus.DELIVERED, None)
    (request,) = inbox.received
    assert (request.method, request.target) == ("POST", "/hook?n=1")
    assert verified(request) == {
        "workspaceId": WORKSPACE,
        "project": {"id": stage.project, "name": stage.project},
        "apiInfo": {
            "name": "list",
            "parameters": {},
            "runId": stage.run_id,
            "result": {"status": "completed", "result": {"n": 1}, "statusCode": 200},
        },
    }
    assert request.headers["webhook-id"] == stage.run_id
    assert request.headers["x-from"] == "us"
    assert request.headers["user-agent"] == "callboard/test"
    (record,) = await deliver.tries(stage.project, stage.run_id)
    assert (record.status_code, record.error, record.answer) == (200, None, "thanks")
    assert record.at.timestamp() <= request.at
    assert present(record.latency) > timedelta()


async def test_a_receiver_that_asks_for_the_result_finds_the_run_closed(
    deliver: Delivering, stage: RunStage, client: Client
) -> None:
    found: list[Any] = []

    async def asks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.append((await client.get_workflow_handle(stage.run_id).describe()).status)
        await answers()(reader, writer)

    async with receiver(asks) as inbox:
        await run_to_end(stage, webhook(inbox.url))
        await deliver.ended(stage.project, stage.run_id)
    assert found == [WorkflowExecutionStatus.COMPLETED]


# What receivers do.


async def test_it_is_tried_until_it_has_arrived_with_the_same_bytes_and_id(
    deliver: Delivering, stage: RunStage
) -> None:
    async with receiver(answers("500 No"), closes, hangs, answers()) as inbox:
        await run_to_end(stage, webhook(inbox.url), schedule=QUICK.model_copy(update={"timeout": timedelta(seconds=1)}))
        assert (await deliver.ended(stage.project, stage.run_id)).status is DeliveryStatus.DELIVERED
        records = await deliver.tries(stage.project, stage.run_id)
    assert [record.status_code for record in records] == [500, None, None, 200]
    assert [record.error is None for record in records] == [True, False, False, True]
    assert None not in {record.latency for record in records}
    assert len({(request.body, request.headers["webhook-id"]) for request in inbox.received}) == 1
    for request in inbox.received:
        verified(request)


async def test_one_that_asks_to_wait_is_asked_no_sooner(deliver: Delivering, name: str) -> None:
    schedule = QUICK.model_copy(update={"max_delay": timedelta(minutes=1), "give_up_after": timedelta(hours=1)})
    async with receiver(answers("429 Slow Down", retry_after="50")) as inbox:
        await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name, schedule=schedule))
        sending = deliver.client.get_workflow_handle(names.delivery_workflow_id(name, names.SINK_DELIVERY))

        async def waits() -> list[timedelta]:
            pending = (await sending.describe()).raw_description.pending_activities
            return [each.current_retry_interval.ToTimedelta() for each in pending]

        (wait,) = await until(waits, true=any)
        assert round(wait.total_seconds()) == 50
        await deliver.end(name)


async def test_without_a_secret_nothing_is_sent_and_each_try_says_so(client: Client, tmp_path: Path, name: str) -> None:
    async with receiver() as inbox, delivering(client, tmp_path, secrets=()) as deliver:
        await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name))
        (record, *_) = await deliver.until_tried(name, name, 2)
        await deliver.end(name)
    error = present(record.error)
    assert error.type == "ConfigurationError"
    assert error.message.startswith("CALLBOARD_WEBHOOK_SECRETS is not set")
    assert inbox.connections == 0


# Secrets.


async def test_secrets_are_in_no_history_record_or_answer(
    deliver: Delivering, stage: RunStage, client: Client, tmp_path: Path
) -> None:
    async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = f"no token={HIDDEN} Bearer {HIDDEN} t0p%2Ds3cret".encode()
        await answers("500 No", said, retry_after="0")(reader, writer)

    async with receiver(echoes, echoes, answers("410 Gone", f"{HIDDEN}".encode())) as inbox:
        url = f"{inbox.url}/?token={HIDDEN}"
        await run_to_end(stage, webhook(url, headers={"Authorization": f"Bearer {HIDDEN}", "X-Key": HIDDEN}))
        state = await deliver.ended(stage.project, stage.run_id)
    assert state.sink["url"] == f"{inbox.url}/?***"
    assert state.sink["headers"] == {"Authorization": "***", "X-Key": "***"}
    told = [repr(state)]
    for workflow in (stage.run_id, names.delivery_workflow_id(stage.run_id, names.SINK_DELIVERY)):
        told.append((await client.get_workflow_handle(workflow).fetch_history()).to_json())
    told += [path.read_text() for path in tmp_path.rglob("*.json")]
    assert len(told) == 3 + 4
    assert [text for text in told if HIDDEN in text] == []
    (first, *_) = await deliver.tries(stage.project, stage.run_id)
    assert present(first.answer).startswith("no ***")
    assert inbox.received[0].headers["x-key"] == HIDDEN


async def test_what_was_sealed_for_another_run_ends_it_at_once(deliver: Delivering, inbox: Receiver, name: str) -> None:
    input = delivery(webhook(inbox.url), run_id=name, project=name)
    stolen = input.model_copy(update={"sink": sealed(webhook(inbox.url), name, "another-run")})
    await deliver.start(stolen)
    assert (await deliver.ended(name, name)).status is DeliveryStatus.FAILED
    assert inbox.connections == 0


# Sending again.


async def test_it_is_sent_again_when_asked_for_with_the_same_bytes(
    deliver: Delivering, stage: RunStage, inbox: Receiver
) -> None:
    await run_to_end(stage, webhook(inbox.url))
    first = await deliver.ended(stage.project, stage.run_id)
    again = await Deliveries(deliver.client).redeliver(WORKSPACE, stage.project, stage.run_id, "sink")
    assert again.sink == first.sink
    await inbox.until(2)
    assert await deliver.ended(stage.project, stage.run_id) == first
    one, other = inbox.received
    assert (one.body, one.headers["webhook-id"]) == (other.body, other.headers["webhook-id"])
    assert len(await deliver.tries(stage.project, stage.run_id)) == 2


async def test_one_that_waits_for_its_next_try_is_sent_now_when_asked_for(deliver: Delivering, name: str) -> None:
    hour = timedelta(hours=1)
    schedule = QUICK.model_copy(update={"first_delay": hour, "max_delay": hour, "give_up_after": 24 * hour})
    async with receiver(answers("503 Away"), answers()) as inbox:
        await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name, schedule=schedule))
        await deliver.until_tried(name, name, 1)
        await Deliveries(deliver.client).redeliver(WORKSPACE, name, name, "sink")
        assert (await deliver.ended(name, name)).status is DeliveryStatus.DELIVERED


async def test_nobody_else_s_delivery_is_seen_or_sent(deliver: Delivering, inbox: Receiver, name: str) -> None:
    await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name))
    await deliver.ended(name, name)
    deliveries = Deliveries(deliver.client)
    for workspace, project, delivery_id in (
        ("another", name, "sink"),
        (WORKSPACE, "another", "sink"),
        (WORKSPACE, name, "another"),
    ):
        if delivery_id == "sink":
            assert await deliveries.list_for_run(workspace, project, name) == []
        with pytest.raises(NotFound, match="There is no such Delivery"):
            await deliveries.redeliver(workspace, project, name, delivery_id)
    assert len(inbox.received) == 1


async def test_one_that_was_ended_in_temporal_itself_has_failed(deliver: Delivering, name: str) -> None:
    async with receiver(hangs) as inbox:
        await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name))
        await inbox.until(1)
        await deliver.end(name)
        state = await deliver.state(name, name)
    assert state.status is DeliveryStatus.FAILED
    assert present(state.error).message == "The Delivery was ended in Temporal, or with its project."


# The store fails.


async def test_a_record_that_cannot_be_written_costs_the_record_only(
    deliver: Delivering, inbox: Receiver, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.delivery._RECORD_TIMEOUT", timedelta(seconds=0.1))
    await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name))
    deliver.store.refuse = lambda key: "/tries/" in key
    assert (await deliver.ended(name, name)).status is DeliveryStatus.DELIVERED
    assert len(inbox.received) == 1


async def test_a_store_that_is_away_is_waited_for_before_anything_is_sent(
    deliver: Delivering, stage: RunStage, inbox: Receiver
) -> None:
    deliver.store.refuse = lambda key: key.endswith("body.json")
    await run_to_end(stage, webhook(inbox.url))
    async with asyncio.timeout(DEADLINE):
        while not any(key.endswith("body.json") for key in deliver.store.tries):
            await asyncio.sleep(0.02)
    assert inbox.connections == 0
    deliver.store.refuse = lambda _key: False
    assert (await deliver.ended(stage.project, stage.run_id)).status is DeliveryStatus.DELIVERED


async def test_what_is_gone_from_the_store_is_sent_no_more_and_leaves_nothing(
    deliver: Delivering, stage: RunStage
) -> None:
    hour = timedelta(hours=1)
    schedule = QUICK.model_copy(update={"first_delay": hour, "max_delay": hour, "give_up_after": 24 * hour})
    of_run = object_keys.run(stage.project, stage.run_id)
    async with receiver(answers("503 Away")) as inbox:
        await run_to_end(stage, webhook(inbox.url), schedule=schedule)
        await deliver.until_tried(stage.project, stage.run_id, 1)
        for key in [key async for key in deliver.store.list(of_run)]:
            await deliver.store.delete(key)
        for problem in (GIVEN_UP, NOTHING_TO_DELIVER):  # instead of its next try, and after its end
            await Deliveries(deliver.client).redeliver(WORKSPACE, stage.project, stage.run_id, "sink")
            state = await deliver.ended(stage.project, stage.run_id)
            assert present(state.error).type == problem
            assert "body.json is not in the artifact store any more" in present(state.error).message
            assert [key async for key in deliver.store.list(of_run)] == []
    assert len(inbox.received) == 1


async def test_a_result_that_is_not_in_the_store_any_more_is_told(
    deliver: Delivering, stage: RunStage, inbox: Receiver
) -> None:
    gone = completed().model_copy(update={"result": {"key": "runs/x/y/result.json", "size": 100_000}})
    await run_to_end(stage, webhook(inbox.url), ends(gone))
    state = await deliver.ended(stage.project, stage.run_id)
    assert present(state.error).message == "runs/x/y/result.json is not in the artifact store any more."
    assert inbox.connections == 0
