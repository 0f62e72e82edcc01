"""Inputs and results of a Delivery (docs/contract.md, section 11)."""

from __future__ import annotations

from datetime import datetime, timedelta

from callboard.schemas.workflow.alert import Alert
from callboard.schemas.workflow.base import FlowModel, JsonRef, OpenStrEnum
from callboard.schemas.workflow.handoff import Handoff
from callboard.schemas.workflow.run import RunJob
from callboard.schemas.workflow.sink import SealedSink

TRY_FAILED = "TryFailed"
"""Type of the application failure of a try after which another one may follow."""

RECEIVER_BUSY = "ReceiverBusy"
"""Type of the application failure of an activity that made no try, because its receiver has as many as it may have."""

GIVEN_UP = "GivenUp"
"""Type of the application failure of a try after which no other try can succeed, and of a Delivery that was given
up."""

NOTHING_TO_DELIVER = "NothingToDeliver"
"""Type of the failure of a Delivery whose Run has no result that could be sent (any more)."""


class DeliverInput(FlowModel):
    """The input of the workflow `Deliver` and of its activities."""

    workspace: str
    project: str
    run_id: str
    """The Run whose result is delivered, or of whose Handoff a receiver is told, or the JobRun of whose end one is.
    `names.ALERTS_OWNER` for an alert."""
    delivery_id: str
    api: str = ""
    """The API of the Run; empty for a JobRun."""
    parameters: JsonRef = JsonRef(text="{}", size=2)
    auth_session_id: str | None = None
    sink: SealedSink
    job: RunJob | None = None
    """The JobRun that the Run belongs to."""
    handoff: Handoff | None = None
    """The Handoff of which a receiver is told; None if it is sent something else."""
    alert: Alert | None = None
    """The alert of which a receiver is told, as it was opened or closed; None if it is sent something else."""
    was_prepared: bool = False
    """Whether this is a Delivery of before that is sent again: what is sent is stored, or is gone for good."""

    @property
    def is_notification(self) -> bool:
        """Whether a receiver is told of the end of a JobRun."""
        return self.job is not None and self.job.job_run_id == self.run_id

    @property
    def is_stored(self) -> bool:
        """Whether what is sent is stored first: a Handoff has a link, made as it is sent, and an alert is all here."""
        return self.handoff is None and self.alert is None

    @property
    def message_id(self) -> str:
        """What receivers recognize a message by that comes twice. It has no full stop, which would end it."""
        if self.alert is not None:
            return self.alert.message_id
        return self.run_id if self.handoff is None else self.handoff.id.replace(".", ":")


class PreparedDelivery(FlowModel):
    """Result of the activity `prepare_delivery`: the Run is closed, and what is sent is stored for good."""

    body_key: str | None = None
    """Key of the artifact that is sent; None if there is nothing to be delivered."""
    reason: str | None = None
    """Why nothing is delivered."""


class SendInput(FlowModel):
    """Input of the activity `send_delivery`, whose tries follow each other by its retry policy."""

    delivery: DeliverInput
    body_key: str | None = None
    """Key of the artifact that is sent; None if nothing is stored (`DeliverInput.is_stored`)."""


class TryProblem(FlowModel):
    """Why a try got no successful answer."""

    type: str
    message: str


class TryRecord(FlowModel):
    """The record of one try in the artifact store."""

    at: datetime
    status_code: int | None = None
    error: TryProblem | None = None
    latency: timedelta | None = None
    """Time until the answer's status, or until the error; None if it is not known, because the worker was lost."""
    answer: str | None = None
    """Beginning of the answer, with secrets masked."""


class DeliveryStatus(OpenStrEnum):
    """The status of a Delivery (docs/contract.md, section 13.5)."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class DeliveryOutcome(FlowModel):
    """How a Delivery ended: what workflow `Deliver` returns, or the detail of the failure that it closes with."""

    status: DeliveryStatus
    error: TryProblem | None = None


class SinkTestInput(FlowModel):
    """The input of the workflow `SinkTest` and of its activity: somebody wants to see what a sink answers."""

    workspace: str
    project: str
    test_id: str
    """Id that takes the place of a Run's id: in what is sent, and in what the sink is sealed for."""
    api: str
    sink: SealedSink


class SinkTestOutcome(FlowModel):
    """The result of a test of a sink."""

    record: TryRecord
    failure: str | None = None
    """Why the test did not arrive; None if it did."""
