"""Deliveries from the end of a Run to its receiver, on real parts; receivers do as they like."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook
from temporalio.client import Client, WorkflowExecutionStatus

from activities.delivery import next_delay
from devstack.data_folder import new_webhook_secret
from schemas.errors import NotFound
from schemas.workflow import names
from schemas.workflow.delivery import DeliveryStatus
from schemas.workflow.run import RunStatus
from security.egress import EgressPolicy
from temporal.deliveries import Deliveries
from tests.support.delivery_inputs import QUICK, delivery, sealed, webhook
from tests.support.delivery_worker import DEADLINE, SECRET, Delivering, delivering, run_to_end
from tests.support.run_stage import WORKSPACE, HeldAttempt, Stage, completed, ends, failed
from tests.support.webhook_receiver import Received, Receiver, Reply, answers, closes, hangs, receiver, resets

HIDDEN = "t0p-s3cret"


def verified(request: Received, secret: str = SECRET) -> Any:
    return Webhook(secret).verify(request.body, request.headers)


# From a Run's end to its receiver.


async def test_the_result_of_a_run_arrives_signed_and_that_is_written_down(
    deliver: Delivering, stage: Stage, inbox: Receiver
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
    assert abs(record.at.timestamp() - request.at) < 30
    assert record.latency is not None
    assert timedelta() < record.latency < timedelta(seconds=30)


async def test_a_receiver_that_asks_for_the_result_finds_the_run_closed(
    deliver: Delivering, stage: Stage, client: Client
) -> None:
    found: list[Any] = []

    async def asks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.append((await client.get_workflow_handle(stage.run_id).describe()).status)
        await answers()(reader, writer)

    async with receiver(asks) as inbox:
        await run_to_end(stage, webhook(inbox.url))
        await deliver.ended(stage.project, stage.run_id)
    assert found == [WorkflowExecutionStatus.COMPLETED]


async def test_a_failed_run_is_delivered_with_its_error(deliver: Delivering, stage: Stage, inbox: Receiver) -> None:
    await run_to_end(stage, webhook(inbox.url), ends(failed()), maximum_attempts=1)
    await deliver.ended(stage.project, stage.run_id)
    assert verified(inbox.received[0])["apiInfo"]["result"] == {
        "status": "failed",
        "error": "api-attempts-failed",
        "message": "the price is missing",
        "statusCode": 500,
    }


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"skipOnFail": True}, failed()),
        ({"apisToSend": ["another"]}, completed()),
        ({"apisToSend": []}, completed()),
    ],
    ids=["failed", "another-api", "no-api"],
)
async def test_what_the_sink_does_not_want_is_not_delivered(
    deliver: Delivering, stage: Stage, inbox: Receiver, options: dict[str, Any], part: Any
) -> None:
    await run_to_end(stage, webhook(inbox.url, **options), ends(part), maximum_attempts=1)
    assert await Deliveries(deliver.client).list_for_run(WORKSPACE, stage.project, stage.run_id) == []
    assert inbox.received == []


@pytest.mark.parametrize("options", [{"skipOnFail": True}, {"apisToSend": ["list"]}])
async def test_what_the_sink_wants_is(
    deliver: Delivering, stage: Stage, inbox: Receiver, options: dict[str, Any]
) -> None:
    await run_to_end(stage, webhook(inbox.url, **options))
    assert (await deliver.ended(stage.project, stage.run_id)).status is DeliveryStatus.DELIVERED


async def test_a_canceled_run_is_not_delivered(deliver: Delivering, stage: Stage, inbox: Receiver) -> None:
    await stage.start(sink=sealed(webhook(inbox.url), stage.project, stage.run_id))
    await stage.cancel()
    await stage.serve()
    assert (await stage.ended()).status is RunStatus.CANCELED
    assert await Deliveries(deliver.client).list_for_run(WORKSPACE, stage.project, stage.run_id) == []


async def test_a_cancel_as_the_run_completes_does_not_stop_its_delivery(
    deliver: Delivering, stage: Stage, inbox: Receiver
) -> None:
    held = HeldAttempt(stage)
    await stage.serve(held)
    await stage.start(sink=sealed(webhook(inbox.url), stage.project, stage.run_id))
    await held.began.wait()
    await stage.stop_serving_runs()
    held.end(completed('{"n":1}'))
    await stage.until("ACTIVITY_TASK_COMPLETED")
    await stage.cancel()
    await stage.serve_runs()
    assert (await stage.ended()).status is RunStatus.COMPLETED
    assert (await deliver.ended(stage.project, stage.run_id)).status is DeliveryStatus.DELIVERED


async def test_a_run_s_end_waits_for_no_receiver(deliver: Delivering, stage: Stage) -> None:
    async with receiver(hangs) as inbox:
        await run_to_end(stage, webhook(inbox.url))
        await inbox.until(1)
        assert (await deliver.state(stage.project, stage.run_id)).status is DeliveryStatus.PENDING
        await deliver.end(stage.run_id)


# What receivers do.


@pytest.mark.parametrize(
    ("script", "codes", "errors"),
    [
        ([answers("500 No"), answers("500 No"), answers()], [500, 500, 200], [None, None, None]),
        ([answers("302 Found", location="http://127.0.0.1:9/"), answers()], [302, 200], [None, None]),
        ([closes, answers()], [None, 200], ["RemoteProtocolError", None]),
        ([resets, answers()], [None, 200], ["ReadError", None]),
        ([answers("204 No Content", b"")], [204], [None]),
    ],
    ids=["500-500-200", "302", "closes-after-reading", "resets", "204"],
)
async def test_it_is_tried_until_it_has_arrived_with_the_same_bytes_and_id(
    deliver: Delivering, stage: Stage, script: list[Reply], codes: list[int | None], errors: list[str | None]
) -> None:
    async with receiver(*script) as inbox:
        await run_to_end(stage, webhook(inbox.url))
        assert (await deliver.ended(stage.project, stage.run_id)).status is DeliveryStatus.DELIVERED
        records = await deliver.tries(stage.project, stage.run_id)
    assert [record.status_code for record in records] == codes
    assert [record.error and record.error.type for record in records] == errors
    assert len({(request.body, request.headers["webhook-id"]) for request in inbox.received}) == 1
    for request in inbox.received:
        verified(request)


async def test_a_receiver_that_hangs_costs_one_try_and_its_time(deliver: Delivering, name: str) -> None:
    async with receiver(hangs, answers()) as inbox:
        schedule = QUICK.model_copy(update={"timeout": timedelta(seconds=0.5)})
        await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name, schedule=schedule))
        assert (await deliver.ended(name, name)).status is DeliveryStatus.DELIVERED
    first, second = await deliver.tries(name, name)
    assert first.error is not None
    assert first.error.message == "No answer within 0.5 seconds."
    assert first.latency is not None
    assert first.latency >= timedelta(seconds=0.5)
    assert second.status_code == 200


async def test_a_slow_receiver_is_waited_for(deliver: Delivering, name: str) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        await answers()(reader, writer)

    async with receiver(slow) as inbox:
        await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name))
        assert (await deliver.ended(name, name)).status is DeliveryStatus.DELIVERED
    assert len(await deliver.tries(name, name)) == 1


async def test_one_that_is_gone_is_left_alone(deliver: Delivering, name: str) -> None:
    async with receiver(answers("410 Gone", b"no more")) as inbox:
        await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name))
        state = await deliver.ended(name, name)
    assert state.status is DeliveryStatus.FAILED
    assert state.error is not None
    assert state.error.message == "The receiver answered 410: it wants nothing any more."
    (record,) = await deliver.tries(name, name)
    assert (record.status_code, record.answer) == (410, "no more")


async def test_one_that_asks_to_wait_is_asked_no_sooner(deliver: Delivering, name: str) -> None:
    schedule = QUICK.model_copy(update={"max_delay": timedelta(seconds=20)})
    async with receiver(answers("429 Slow Down", retry_after="1"), answers()) as inbox:
        await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name, schedule=schedule))
        assert (await deliver.ended(name, name)).status is DeliveryStatus.DELIVERED
        first, second = inbox.received
    assert second.at - first.at > 0.9


@pytest.mark.parametrize(
    ("asked", "attempt", "delay"),
    [
        (None, 1, None),
        (0, 1, None),  # sooner than planned: the schedule stands
        (3, 3, None),
        (5, 1, 5),
        (5, 3, 5),
        (600, 1, 300),  # no longer than the longest
        (400, 12, 300),
        (400, 5000, 300),
    ],
)
def test_a_requested_delay_stays_between_the_schedule_and_its_maximum(
    asked: int | None, attempt: int, delay: int | None
) -> None:
    schedule = QUICK.model_copy(
        update={"first_delay": timedelta(seconds=1), "factor": 2, "max_delay": timedelta(seconds=300)}
    )
    wanted = None if asked is None else timedelta(seconds=asked)
    assert next_delay(wanted, schedule, attempt, attempt) == (None if delay is None else timedelta(seconds=delay))


def test_attempts_that_found_the_receiver_busy_do_not_make_delays_longer() -> None:
    schedule = QUICK.model_copy(
        update={"first_delay": timedelta(seconds=1), "factor": 2, "max_delay": timedelta(seconds=300)}
    )
    assert next_delay(None, schedule, tries=1, attempt=9) == timedelta(seconds=1)
    assert next_delay(None, schedule, tries=3, attempt=9) == timedelta(seconds=4)
    assert next_delay(timedelta(seconds=5), schedule, tries=3, attempt=9) == timedelta(seconds=5)


async def test_a_name_that_leads_within_by_now_is_not_followed(client: Client, tmp_path: Path, name: str) -> None:
    looks = [["8.8.8.8"], ["127.0.0.1"]]

    async def rebinding(_host: str, _port: int) -> list[str]:
        return looks.pop(0) if len(looks) > 1 else looks[0]

    egress = EgressPolicy(resolve=rebinding)
    async with receiver() as inbox, delivering(client, tmp_path, egress=egress) as deliver:
        url = f"http://rebinding.example:{inbox.port}/"
        await egress.check_url(url)  # as it is accepted
        await deliver.start(delivery(webhook(url), run_id=name, project=name))
        record = (await deliver.until_tried(name, name, 1))[0]
        await deliver.end(name)
    assert record.error is not None
    assert record.error.type == "EgressRefused"
    assert "leads to a loopback address" in record.error.message
    assert inbox.connections == 0


# Signing.


async def test_while_secrets_are_rotated_receivers_of_both_verify(client: Client, tmp_path: Path, name: str) -> None:
    older = new_webhook_secret()
    async with receiver() as inbox, delivering(client, tmp_path, secrets=(SECRET, older)) as deliver:
        await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name))
        await deliver.ended(name, name)
    assert verified(inbox.received[0], SECRET) == verified(inbox.received[0], older) == {"n": 1}


async def test_without_a_secret_nothing_is_sent_and_the_try_says_so(client: Client, tmp_path: Path, name: str) -> None:
    async with receiver() as inbox, delivering(client, tmp_path, secrets=()) as deliver:
        await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name))
        record = (await deliver.until_tried(name, name, 1))[0]
        await deliver.end(name)
    assert record.error is not None
    assert record.error.message.startswith("CALLBOARD_WEBHOOK_SECRETS is not set")
    assert inbox.connections == 0


# Secrets.


async def test_secrets_are_in_no_history_record_or_answer(
    deliver: Delivering, stage: Stage, client: Client, tmp_path: Path
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
    assert first.answer is not None
    assert first.answer.startswith("no ***")
    assert inbox.received[0].headers["x-key"] == HIDDEN


async def test_what_a_key_of_the_ring_is_missing_for_is_said_and_tried_again(
    deliver: Delivering, inbox: Receiver, name: str
) -> None:
    input = delivery(webhook(inbox.url), run_id=name, project=name)
    assert input.sink.webhook is not None
    foreign = input.sink.webhook.sealed_url.replace(".", ".AAAAAAAAAAA", 1)[: len("cb1.") + 11]
    sealed_url = foreign + input.sink.webhook.sealed_url[len(foreign) :]
    hook = input.sink.webhook.model_copy(update={"sealed_url": sealed_url})
    sink = input.sink.model_copy(update={"webhook": hook})
    await deliver.start(input.model_copy(update={"sink": sink}))
    record = (await deliver.until_tried(name, name, 2))[0]
    await deliver.end(name)
    assert record.error is not None
    assert record.error.type == "ConfigurationError"
    assert "not in CALLBOARD_SECRET_KEY" in record.error.message


async def test_what_was_sealed_for_another_run_ends_it_at_once(deliver: Delivering, inbox: Receiver, name: str) -> None:
    input = delivery(webhook(inbox.url), run_id=name, project=name)
    stolen = input.model_copy(update={"sink": sealed(webhook(inbox.url), name, "another-run")})
    await deliver.start(stolen)
    assert (await deliver.ended(name, name)).status is DeliveryStatus.FAILED
    assert inbox.connections == 0


# Sending again.


@pytest.mark.parametrize("reply", [answers(), answers("410 Gone")], ids=["delivered", "given-up"])
async def test_it_is_sent_again_when_asked_for_with_the_same_bytes(
    deliver: Delivering, stage: Stage, reply: Reply
) -> None:
    deliveries = Deliveries(deliver.client)
    async with receiver(reply) as inbox:
        await run_to_end(stage, webhook(inbox.url))
        first = await deliver.ended(stage.project, stage.run_id)
        again = await deliveries.redeliver(WORKSPACE, stage.project, stage.run_id, "sink")
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
        state = await Deliveries(deliver.client).redeliver(WORKSPACE, name, name, "sink")
        assert state.status in (DeliveryStatus.PENDING, DeliveryStatus.DELIVERED)
        assert (await deliver.ended(name, name)).status is DeliveryStatus.DELIVERED
    assert [record.status_code for record in await deliver.tries(name, name)] == [503, 200]


@pytest.mark.parametrize(
    ("workspace", "project", "delivery_id"),
    [("another", None, "sink"), (WORKSPACE, "another", "sink"), (WORKSPACE, None, "another")],
)
async def test_nobody_else_s_delivery_is_seen_or_sent(
    deliver: Delivering, inbox: Receiver, name: str, workspace: str, project: str | None, delivery_id: str
) -> None:
    run_id = name[-40:]
    await deliver.start(delivery(webhook(inbox.url), run_id=run_id, project=name))
    await deliver.ended(name, run_id)
    deliveries = Deliveries(deliver.client)
    if delivery_id == "sink":
        assert await deliveries.list_for_run(workspace, project or name, run_id) == []
    with pytest.raises(NotFound, match="There is no such Delivery"):
        await deliveries.redeliver(workspace, project or name, run_id, delivery_id)
    assert len(inbox.received) == 1


async def test_one_that_was_ended_in_temporal_itself_has_failed(deliver: Delivering, name: str) -> None:
    async with receiver(hangs) as inbox:
        await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name))
        await inbox.until(1)
        await deliver.end(name)
        state = await deliver.state(name, name)
    assert state.status is DeliveryStatus.FAILED
    assert state.error is not None
    assert state.error.message == "The Delivery was ended in Temporal itself."


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
    deliver: Delivering, stage: Stage, inbox: Receiver
) -> None:
    deliver.store.refuse = lambda key: key.endswith("body.json")
    await run_to_end(stage, webhook(inbox.url))
    async with asyncio.timeout(DEADLINE):
        while not any(key.endswith("body.json") for key in deliver.store.tries):
            await asyncio.sleep(0.02)
    assert inbox.connections == 0
    deliver.store.refuse = lambda _key: False
    assert (await deliver.ended(stage.project, stage.run_id)).status is DeliveryStatus.DELIVERED


async def test_a_result_that_is_not_in_the_store_any_more_is_told(
    deliver: Delivering, stage: Stage, inbox: Receiver
) -> None:
    gone = completed().model_copy(update={"result": {"key": "runs/x/y/result.json", "size": 100_000}})
    await run_to_end(stage, webhook(inbox.url), ends(gone))
    state = await deliver.ended(stage.project, stage.run_id)
    assert state.error is not None
    assert state.error.message == "runs/x/y/result.json is not in the artifact store any more."
    assert inbox.connections == 0


# Many at once.


async def test_200_dead_receivers_hold_up_neither_runs_nor_other_deliveries(
    deliver: Delivering, stage: Stage, inbox: Receiver, name: str
) -> None:
    project = name[:30]
    schedule = QUICK.model_copy(update={"timeout": timedelta(minutes=2), "give_up_after": timedelta(hours=1)})
    async with receiver(hangs) as dead:
        inputs = [
            delivery(webhook(dead.url), run_id=f"{project}-{number}", project=project, schedule=schedule)
            for number in range(200)
        ]
        await asyncio.gather(*(deliver.start(input) for input in inputs))
        await dead.until(200)
        began = time.monotonic()
        await run_to_end(stage, webhook(inbox.url))
        assert (await deliver.ended(stage.project, stage.run_id)).status is DeliveryStatus.DELIVERED
        print(f"beside 200 dead receivers: Run and Delivery in {time.monotonic() - began:.2f} s")
        assert len(dead.received) == 200, "all of them still wait for their first answer"
        await asyncio.gather(*(deliver.end(input.run_id) for input in inputs))
