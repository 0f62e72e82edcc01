"""Results on their way to sinks, through the whole stack: asked for by the published client, told over REST."""

from __future__ import annotations

import json
from typing import Any

from intuned_client import AsyncIntunedClient, models
from standardwebhooks.webhooks import Webhook

from tests.support.polling import until
from tests.support.stack import Stack
from tests.support.webhook_receiver import answers, receiver

HIDDEN = "t0p-s3cret-of-a-sink"


async def deliveries(stack: Stack, run_id: str) -> list[dict[str, Any]]:
    return (await stack.get(f"runs/{run_id}/deliveries"))["deliveries"]


async def ended(stack: Stack, run_id: str) -> dict[str, Any]:
    """The Run's one Delivery, once it is over."""
    await stack.result(run_id)
    (delivery,) = await until(
        lambda: deliveries(stack, run_id), true=lambda told: [each["status"] for each in told] != ["pending"]
    )
    return delivery


async def test_the_client_s_webhook_gets_the_result_signed(stack: Stack) -> None:
    base_url = f"{stack.url}/api/v1/workspace"
    client = AsyncIntunedClient(api_key=stack.api_key, workspace_id=stack.workspace, base_url=base_url, timeout=30)
    async with receiver() as inbox:
        sink = models.RunStartRequestBodySinkWebhookSinkConfiguration.model_validate(
            {"type": "webhook", "url": f"{inbox.url}/in?token={HIDDEN}", "headers": {"Authorization": HIDDEN}}
        )
        body = models.RunStartRequestBody(api="echo", parameters={"n": 1}, sink=sink, requestTimeout=60)
        run_id = (await client.projects.runs.start(project_name="lab", body=body)).run_id
        await client.aclose()
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


async def test_a_run_under_way_has_no_delivery_and_an_unknown_run_is_404(stack: Stack) -> None:
    run_id = await stack.start("wait", {"seconds": 600}, sink={"type": "webhook", "url": "http://127.0.0.1:9/"})
    assert await deliveries(stack, run_id) == []
    assert (await stack.request("POST", f"runs/{run_id}/deliveries/sink/redeliver")).status_code == 404
    await stack.cancel(run_id)
    assert await deliveries(stack, run_id) == [], "a Run that was canceled has none"
    for unknown, project in (("nope", "lab"), (run_id, "shop")):
        answer = await stack.request("GET", f"runs/{unknown}/deliveries", project=project)
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_secrets_of_sinks_are_in_no_file_of_the_stack(stack: Stack) -> None:
    async with receiver(answers("500 No", HIDDEN.encode()), answers()) as inbox:
        url = f"{inbox.url}/?token={HIDDEN}"
        sink = {"type": "webhook", "url": url, "headers": {"Authorization": f"Bearer {HIDDEN}"}}
        run_id = await stack.start("echo", {"n": 4}, sink=sink)
        told = json.dumps([await stack.result(run_id), await ended(stack, run_id)])
        keys = {"accessKeyId": HIDDEN, "secretAccessKey": HIDDEN}
        bucket = {"type": "s3", "bucket": "b-1", "region": "us-east-1", "endpoint": inbox.url, **keys}
        other = await stack.start("echo", sink=bucket)
        told += json.dumps([await stack.result(other), await ended(stack, other)])
    assert HIDDEN not in told
    assert '"answer": "***"' in told
    told_by = [file for file in stack.data.rglob("*") if file.is_file() and HIDDEN.encode() in file.read_bytes()]
    assert told_by == []
