"""What a Delivery is given, and what it leaves (docs/contract.md, section 11)."""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas.workflow.base import FlowModel, JsonRef, OpenStrEnum
from schemas.workflow.sink import SealedSink

TRY_FAILED = "TryFailed"
"""Type of the application failure of a try that another one may follow."""

GIVEN_UP = "GivenUp"
"""Type of the application failure of a try that says that no other can do better."""


class DeliverInput(FlowModel):
    """The one argument of workflow `Deliver` and of its activities."""

    workspace: str
    project: str
    run_id: str
    delivery_id: str
    api: str
    parameters: JsonRef
    auth_session_id: str | None = None
    sink: SealedSink


class Prepared(FlowModel):
    """Result of activity `prepare_delivery`: the Run is closed, and what is sent lies in the store, for good."""

    body_key: str | None = None
    """None: there is nothing to be delivered."""
    why_not: str | None = None


class TryInput(FlowModel):
    """Argument of activity `send_delivery`, whose tries follow each other by its retry policy."""

    order: DeliverInput
    body_key: str


class TryProblem(FlowModel):
    """Why there was no good answer."""

    type: str
    message: str


class TryRecord(FlowModel):
    """One try, as its record in the artifact store has it."""

    at: datetime
    status_code: int | None = None
    error: TryProblem | None = None
    latency: timedelta | None = None
    """To the answer's status, or to the error. None: nobody knows, its worker was lost."""
    answer: str | None = None
    """Its beginning, secrets masked."""


class DeliveryStatus(OpenStrEnum):
    """Status words of a Delivery (docs/contract.md, section 13.5)."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class DeliveryOutcome(FlowModel):
    """What workflow `Deliver` returns. A Delivery that failed is an outcome, not an exception."""

    status: DeliveryStatus
    error: TryProblem | None = None


class SinkTestInput(FlowModel):
    """The one argument of workflow `SinkTest` and of its activity: somebody wants to see what a sink answers."""

    workspace: str
    project: str
    test_id: str
    """Stands where a Run's id does: in what is sent, and in what the sink is sealed for."""
    api: str
    sink: SealedSink


class SinkTestOutcome(FlowModel):
    """What came of a test."""

    record: TryRecord
    failure: str | None = None
    """Why it did not arrive. None: it did."""
