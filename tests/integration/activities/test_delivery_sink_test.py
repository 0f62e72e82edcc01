"""Tests of sinks that somebody sends by hand: the same way out as that of every Delivery."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook
from temporalio.client import Client

from callboard.schemas.errors import Unavailable
from callboard.security.egress import EgressPolicy
from callboard.temporal import deliveries
from callboard.temporal.deliveries import Deliveries
from tests.support.activity_shapes import sink_test
from tests.support.control_worker import SECRET, Delivering, delivering
from tests.support.webhook_receiver import Receiver, answers


async def test_it_looks_like_a_result_and_is_signed(client: Client, deliver: Delivering, inbox: Receiver) -> None:
    came = await Deliveries(client).test_sink(sink_test(inbox.url, "test-signed"))
    assert came.failure is None
    assert (came.record.status_code, came.record.answer) == (200, "thanks")
    (request,) = inbox.received
    body = Webhook(SECRET).verify(request.body, request.headers)
    assert body == json.loads(request.body)
    assert body["apiInfo"]["runId"] == request.headers["webhook-id"] == "test-signed"
    assert body["apiInfo"]["result"]["status"] == "completed"
    assert [entry async for entry in deliver.store.list("runs/")] == []


async def test_one_that_is_refused_is_not_sent_again(client: Client, deliver: Delivering, inbox: Receiver) -> None:
    inbox.script = [answers("503 Busy", b"later")]
    came = await Deliveries(client).test_sink(sink_test(inbox.url, "test-refused"))
    assert came.failure == "The receiver answered 503."
    assert came.record.answer == "later"
    assert len(inbox.received) == 1


async def test_it_goes_nowhere_that_a_delivery_may_not_go(client: Client, tmp_path: Path, inbox: Receiver) -> None:
    async with delivering(client, tmp_path, egress=EgressPolicy()):
        came = await Deliveries(client).test_sink(sink_test(inbox.url, "test-within"))
    assert came.record.error is not None
    assert came.record.error.type == "EgressRefused"
    assert inbox.received == []


async def test_without_a_worker_it_is_not_sent_later_either(
    client: Client, monkeypatch: pytest.MonkeyPatch, inbox: Receiver, tmp_path: Path
) -> None:
    with monkeypatch.context() as hasty:
        hasty.setattr(deliveries, "_TEST_TIMEOUT", timedelta(seconds=-9))  # of the ten of a try
        with pytest.raises(Unavailable, match="No worker"):
            await Deliveries(client).test_sink(sink_test(inbox.url, "test-late"))
    async with delivering(client, tmp_path):
        assert (await Deliveries(client).test_sink(sink_test(inbox.url, "test-in-time"))).failure is None
    assert [request.headers["webhook-id"] for request in inbox.received] == ["test-in-time"]
