"""Orders of Deliveries as the api makes them, for tests that carry them out."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter

from callboard.schemas.rest.sink import S3Sink, Sink, WebhookSink
from callboard.schemas.workflow import names
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.delivery import DeliverInput
from callboard.schemas.workflow.run import ErrorCode, RunError, RunOutcome, RunStatus
from callboard.schemas.workflow.sink import DeliverySchedule, SealedSink
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.security.sealed_sinks import seal_sink
from tests.support.stage import WORKSPACE

KEY = "the secret key of these tests"
RING = KeyRing([KEY])
QUICK = DeliverySchedule(
    first_delay=timedelta(milliseconds=20),
    factor=1,
    max_delay=timedelta(seconds=1),
    give_up_after=timedelta(minutes=1),
    timeout=timedelta(seconds=10),
)
"""For tests that wait for tries in real time."""

_SINK: TypeAdapter[WebhookSink | S3Sink] = TypeAdapter(Sink)


def sealed(sink: dict[str, Any], project: str, run_id: str, schedule: DeliverySchedule = QUICK) -> SealedSink:
    """A sink as a client writes it, as it stands in the order of a Run."""
    return seal_sink(_SINK.validate_python(sink), schedule, RING, seal_context.run(WORKSPACE, project, run_id))


def delivery(
    sink: dict[str, Any],
    *,
    run_id: str = "run-1",
    project: str = "shop",
    schedule: DeliverySchedule = QUICK,
    parameters: Any = None,
    **fields: Any,
) -> DeliverInput:
    """The order of a Delivery."""
    return DeliverInput(
        workspace=WORKSPACE,
        project=project,
        run_id=run_id,
        delivery_id=names.SINK_DELIVERY,
        api="list",
        parameters=json_text(parameters or {}),
        sink=sealed(sink, project, run_id, schedule),
        **fields,
    )


def webhook(url: str, **fields: Any) -> dict[str, Any]:
    return {"type": "webhook", "url": url, **fields}


def json_text(value: Any) -> JsonRef:
    text = json.dumps(value)
    return JsonRef(text=text, size=len(text))


def completed(value: Any = None) -> RunOutcome:
    return RunOutcome(status=RunStatus.COMPLETED, result=json_text(value), attempts=1)


def failed(code: ErrorCode = ErrorCode.API_ATTEMPTS_FAILED, **details: Any) -> RunOutcome:
    error = RunError(code=code, category="execution", message="the price is missing", details=details or None)
    return RunOutcome(status=RunStatus.FAILED, error=error, attempts=1)
