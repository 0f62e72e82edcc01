"""Results on their way to sinks, through the whole stack: asked for by the published client, told over REST."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from intuned_client import AsyncIntunedClient, models
from standardwebhooks.webhooks import Webhook

from tests.support.polling import until
from tests.support.s3_server import BUCKET, s3_server
from tests.support.stack import Stack
from tests.support.webhook_receiver import Receiver, answers, receiver

HIDDEN = "t0p-s3cret-of-a-sink"


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[AsyncIntunedClient]:
    client = AsyncIntunedClient(
        api_key=stack.api_key,
        workspace_id=stack.workspace,
        base_url=f"{stack.url}/api/v1/workspace",
        timeout=30,
    )
    yield client
    await client.aclose()


@pytest.fixture
async def inbox() -> AsyncIterator[Receiver]:
    async with receiver() as inbox:
        yield inbox


async def start(client: AsyncIntunedClient, sink: Any, api: str = "echo", **parameters: Any) -> str:
    body = models.RunStartRequestBody(api=api, parameters=parameters, sink=sink, requestTimeout=60)
    return (await client.projects.runs.start(project_name="lab", body=body)).run_id


async def deliveries(stack: Stack, run_id: str) -> list[dict[str, Any]]:
    return (await stack.get(f"runs/{run_id}/deliveries"))["deliveries"]


async def ended(stack: Stack, run_id: str) -> dict[str, Any]:
    """The Run's one Delivery, once it is over."""
    await stack.result(run_id)
    (delivery,) = await until(
        lambda: deliveries(stack, run_id), true=lambda told: [each["status"] for each in told] != ["pending"]
    )
    return delivery


async def test_the_client_s_webhook_gets_the_result_signed(
    stack: Stack, client: AsyncIntunedClient, inbox: Receiver
) -> None:
    sink = models.RunStartRequestBodySinkWebhookSinkConfiguration.model_validate(
        {"type": "webhook", "url": f"{inbox.url}/in?token={HIDDEN}", "headers": {"Authorization": HIDDEN}}
    )
    run_id = await start(client, sink, n=1)
    delivery = await ended(stack, run_id)
    (request,) = inbox.received
    (secret,) = stack.dev.settings.webhook_secrets
    delivered = Webhook(secret.get_secret_value()).verify(request.body, request.headers)
    assert delivered == {
        "workspaceId": stack.workspace,
        "project": {"id": "lab", "name": "lab"},
        "apiInfo": {
            "name": "echo",
            "parameters": {"n": 1},
            "runId": run_id,
            "result": {"status": "completed", "result": {"n": 1}, "statusCode": 200},
        },
    }
    assert request.headers["authorization"] == HIDDEN
    (tried,) = delivery.pop("tries")
    assert delivery == {
        "id": "sink",
        "sink": {
            "type": "webhook",
            "url": f"{inbox.url}/in?***",
            "headers": {"Authorization": "***"},
            "skipOnFail": False,
            "apisToSend": None,
        },
        "status": "delivered",
    }
    assert (tried["statusCode"], tried["answer"]) == (200, "thanks")
    assert tried["latency"] > 0
    assert tried["at"].endswith("Z")


async def test_the_client_s_bucket_gets_an_object(stack: Stack, client: AsyncIntunedClient, tmp_path: Path) -> None:
    async with s3_server(tmp_path) as server:
        sink = models.RunStartRequestBodySinkS3SinkConfiguration.model_validate(
            {
                "type": "s3",
                "bucket": BUCKET,
                "accessKeyId": server.access_key,
                "secretAccessKey": server.secret_key,
                "region": "us-east-1",
                "prefix": "of/lab/",
                "endpoint": server.endpoint,
                "forcePathStyle": True,
                "skipOnFail": False,
                "apisToSend": ["echo"],
            }
        )
        run_id = await start(client, sink, big="x" * 100_000)
        assert (await ended(stack, run_id))["status"] == "delivered"
        stored = json.loads((tmp_path / "buckets" / BUCKET / "of" / "lab" / f"{run_id}.json").read_text())
    assert stored["apiInfo"]["result"] == {"status": "completed", "result": {"big": "x" * 100_000}, "statusCode": 200}


async def test_a_failed_run_is_delivered_unless_the_sink_says_otherwise(stack: Stack, inbox: Receiver) -> None:
    sink = {"type": "webhook", "url": inbox.url}
    wanted = await stack.start("fail", sink=sink, retry={"maximumAttempts": 1})
    unwanted = await stack.start("fail", sink={**sink, "skipOnFail": True}, retry={"maximumAttempts": 1})
    await ended(stack, wanted)
    assert (await stack.result(unwanted))["status"] == "failed"
    assert await deliveries(stack, unwanted) == []
    assert [json.loads(request.body)["apiInfo"]["runId"] for request in inbox.received] == [wanted]


async def test_a_canceled_run_is_not_delivered(stack: Stack, inbox: Receiver) -> None:
    run_id = await stack.start("wait", {"seconds": 600}, sink={"type": "webhook", "url": inbox.url})
    await stack.until_status(run_id, "started")
    assert (await stack.cancel(run_id))["status"] == "canceled"
    assert await deliveries(stack, run_id) == []
    assert inbox.received == []


async def test_a_run_under_way_has_no_delivery_and_an_unknown_run_is_404(stack: Stack, inbox: Receiver) -> None:
    run_id = await stack.start("wait", {"seconds": 600}, sink={"type": "webhook", "url": inbox.url})
    assert await deliveries(stack, run_id) == []
    assert (await stack.request("POST", f"runs/{run_id}/deliveries/sink/redeliver")).status_code == 404
    await stack.cancel(run_id)
    for unknown, project in (("nope", "lab"), (run_id, "shop")):
        answer = await stack.request("GET", f"runs/{unknown}/deliveries", project=project)
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_it_is_sent_again_when_asked_for(stack: Stack) -> None:
    async with receiver(answers("410 Gone"), answers()) as inbox:
        run_id = await stack.start("echo", {"n": 2}, sink={"type": "webhook", "url": inbox.url})
        failed = await ended(stack, run_id)
        assert failed["status"] == "failed"
        assert failed["error"]["message"] == "The receiver answered 410: it wants nothing any more."
        for count in (2, 3):
            answer = await stack.request("POST", f"runs/{run_id}/deliveries/sink/redeliver")
            assert answer.status_code == 202
            await inbox.until(count)
        delivery = await ended(stack, run_id)
    assert delivery["status"] == "delivered"
    assert [tried["statusCode"] for tried in delivery["tries"]] == [410, 200, 200]
    assert len({request.body for request in inbox.received}) == 1


async def test_a_result_is_there_before_its_receiver_has_answered(stack: Stack) -> None:
    go = asyncio.Event()

    async def when_told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await answers()(reader, writer)

    async with receiver(when_told) as inbox:
        run_id = await stack.start("echo", {"n": 3}, sink={"type": "webhook", "url": inbox.url})
        assert (await stack.result(run_id))["status"] == "completed"
        await inbox.until(1)
        (delivery,) = await deliveries(stack, run_id)
        assert (delivery["status"], delivery["tries"]) == ("pending", [])
        go.set()
        assert (await ended(stack, run_id))["status"] == "delivered"


async def test_secrets_of_sinks_are_in_no_file_of_the_stack(stack: Stack) -> None:
    async with receiver(answers("500 No", HIDDEN.encode()), answers()) as inbox:
        url = f"{inbox.url}/?token={HIDDEN}"
        sink = {"type": "webhook", "url": url, "headers": {"Authorization": f"Bearer {HIDDEN}"}}
        run_id = await stack.start("echo", {"n": 4}, sink=sink)
        told = json.dumps([await stack.result(run_id), await ended(stack, run_id)])
        bucket = {
            "type": "s3",
            "bucket": "b-1",
            "region": "us-east-1",
            "accessKeyId": HIDDEN,
            "secretAccessKey": HIDDEN,
        }
        other = await stack.start("echo", sink={**bucket, "endpoint": inbox.url})
        told += json.dumps([await stack.result(other), await ended(stack, other)])
    assert HIDDEN not in told
    assert '"answer": "***"' in told
    told_by = [file for file in stack.data.rglob("*") if file.is_file() and HIDDEN.encode() in file.read_bytes()]
    assert told_by == []


async def test_an_address_within_is_refused_before_anything_starts(stack: Stack) -> None:
    body = {"api": "echo", "parameters": {}, "sink": {"type": "webhook", "url": "http://169.254.169.254/latest/"}}
    answer = await stack.request("POST", "run/start", json=body)
    assert answer.status_code == 400
    assert answer.json()["details"]["path"] == "sink.url"
    assert "where clouds keep their metadata" in answer.json()["message"]
