"""Handoffs of which a project's webhook is told, on real parts (docs/contract.md, section 22)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook
from temporalio.client import Client

from callboard.schemas.rest.handoffs import HandoffBody
from callboard.schemas.workflow import names
from callboard.schemas.workflow.delivery import NOTHING_TO_DELIVER, DeliveryStatus
from callboard.schemas.workflow.handoff import HandoffEnd, HandoffStatus
from callboard.security.signed_links import HandoffRef, read_link
from callboard.temporal.deliveries import Deliveries, DeliveryState
from callboard.temporal.run_queries import RunQueries
from tests.support.control_worker import DEADLINE, SECRET, Delivering, delivering
from tests.support.delivery_inputs import QUICK, RING, sealed, webhook
from tests.support.handoffs import Asking, answer_handoff, shown_handoffs
from tests.support.polling import until
from tests.support.present import present
from tests.support.run_stage import RunStage
from tests.support.stage import WORKSPACE
from tests.support.webhook_receiver import Received, Reply, answers, receiver


def verified(request: Received) -> Any:
    return Webhook(SECRET).verify(request.body, request.headers)


@pytest.fixture
async def linking(client: Client, tmp_path: Path) -> AsyncGenerator[Delivering]:
    """What knows at which address people open links."""
    async with delivering(client, tmp_path, public_url="https://callboard.example/") as deliver:
        yield deliver


async def asking_with(stage: RunStage, url: str) -> Asking:
    """A Run that waits for a person, of which a webhook at this address is told."""
    asking = Asking(stage, 1, sink=sealed(webhook(url), stage.project, stage.run_id))
    await stage.serve(asking)
    await stage.start()
    await asking.asked(1)
    return asking


async def told(deliver: Delivering, stage: RunStage, status: DeliveryStatus) -> DeliveryState:
    """The only Delivery of the Run, once it is so."""
    return await until(
        lambda: deliver.state(stage.project, stage.run_id), DEADLINE, true=lambda state: state.status is status
    )


async def test_a_webhook_is_told_of_a_question_with_a_link_that_stands_nowhere_else(
    linking: Delivering, stage: RunStage, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def sends_back(status: str) -> Reply:
        async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answers(status, b"\n".join(each.body for each in inbox.received))(reader, writer)

        return reply

    async with receiver(sends_back("500 No"), sends_back("200 OK")) as inbox:
        await asking_with(stage, inbox.url)
        state = await told(linking, stage, DeliveryStatus.DELIVERED)
        first, second = map(verified, inbox.received)
        (shown,) = await shown_handoffs(stage)
        assert (await RunQueries(client).get_details(WORKSPACE, stage.project, stage.run_id)).has_told
        await answer_handoff(stage, 1, HandoffEnd(status=HandoffStatus.COMPLETED, values="sealed"))
        await stage.ended()
    assert {request.headers["webhook-id"] for request in inbox.received} == {f"{stage.run_id}:1:1"}
    links = [body.pop("url") for body in (first, second)]
    handoff = HandoffBody.of(shown).model_dump(mode="json", by_alias=True)
    body = {"type": "handoff.opened", "project": stage.project, "runId": stage.run_id, "handoff": handoff}
    assert (first, second, state.id) == (body, body, handoff["id"])
    tokens: list[str] = []
    for link in links:
        address, _, token = link.partition("#")
        ref = present(read_link(token, HandoffRef, RING))
        of = (stage.project, stage.run_id, shown.id, None)
        assert (address, (ref.project, ref.run_id, ref.handoff_id, ref.key_id)) == (
            "https://callboard.example/answer",
            of,
        )
        tokens.append(token)
    assert len({*tokens}) == 2, "each try has its own"
    stored = [await linking.store.get(key) async for key in linking.store.list("runs/")]
    assert len(stored) == 2
    deliver_id = names.delivery_workflow_id(stage.run_id, shown.id)
    histories = [
        (await client.get_workflow_handle(workflow_id).fetch_history()).to_json()
        for workflow_id in (stage.run_id, deliver_id)
    ]
    left = f"{stored} {histories} {caplog.text}"
    assert [token for token in tokens if token in left] == []
    assert "***" in f"{stored}", "what the receiver has sent back"


async def test_nobody_is_told_of_a_question_that_has_ended(linking: Delivering, stage: RunStage) -> None:
    schedule = QUICK.model_copy(update={"first_delay": timedelta(hours=1), "max_delay": timedelta(hours=1)})
    async with receiver(answers("500 No"), answers()) as inbox:
        asking = Asking(stage, 1, sink=sealed(webhook(inbox.url), stage.project, stage.run_id, schedule))
        await stage.serve(asking)
        await stage.start()
        await inbox.until(1)
        await answer_handoff(stage, 1, HandoffEnd(status=HandoffStatus.DECLINED))
        await stage.ended()
        (shown,) = await shown_handoffs(stage)
        await Deliveries(linking.client).redeliver(WORKSPACE, stage.project, stage.run_id, shown.id)
        state = await told(linking, stage, DeliveryStatus.FAILED)
    assert (present(state.error).type, len(inbox.received)) == (NOTHING_TO_DELIVER, 1)


async def test_a_question_is_told_once_more_while_it_is_open_and_without_a_link_where_none_can_be_made(
    deliver: Delivering, stage: RunStage
) -> None:
    async with receiver(answers("410 Gone"), answers()) as inbox:
        await asking_with(stage, inbox.url)
        state = await told(deliver, stage, DeliveryStatus.FAILED)
        await Deliveries(deliver.client).redeliver(WORKSPACE, stage.project, stage.run_id, state.id)
        await told(deliver, stage, DeliveryStatus.DELIVERED)
        assert [verified(request)["url"] for request in inbox.received] == [None, None]
        await answer_handoff(stage, 1, HandoffEnd(status=HandoffStatus.DECLINED))
        await stage.ended()
