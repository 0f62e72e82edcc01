"""Implement the activity `send_test`: send one message to a sink as a Delivery would, to show what it answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from temporalio import activity

from activities.deliveries.delivery_sender import DeliverySender
from activities.deliveries.payload import body_of
from schemas.workflow import names
from schemas.workflow.base import JsonRef
from schemas.workflow.delivery import DeliverInput, SinkTestInput, SinkTestOutcome
from schemas.workflow.run import RunOutcome, RunStatus
from storage.store import Store

_RESULT = {"test": "This is a test of the sink, sent by hand from the Playground. No Run has this id."}


class SinkTestActivity:
    """The activity `send_test`, with the services that it needs."""

    def __init__(self, store: Store, delivery_sender: DeliverySender) -> None:
        self._store = store
        self._delivery_sender = delivery_sender

    @activity.defn(name=names.SEND_TEST)
    async def send_test(self, order: SinkTestInput) -> SinkTestOutcome:
        """Send the message once. A failure is an outcome, too, and is returned."""
        delivery = DeliverInput(
            workspace=order.workspace,
            project=order.project,
            run_id=order.test_id,
            delivery_id=names.SINK_DELIVERY,
            api=order.api,
            parameters=_json({}),
            sink=order.sink,
        )
        completed = RunOutcome(status=RunStatus.COMPLETED, result=_json(_RESULT))
        body = await body_of(delivery, completed, self._store)
        came = await self._delivery_sender.send(delivery, body, datetime.now(UTC))
        return SinkTestOutcome(record=came.record, failure=came.failure)


def _json(value: object) -> JsonRef:
    text = json.dumps(value)
    return JsonRef(text=text, size=len(text))
