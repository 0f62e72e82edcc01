"""What the workflow `Bulk` and its activity exchange: many Runs are canceled, or started again, one after the other."""

from __future__ import annotations

from datetime import datetime

from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.base import FlowModel, OpenStrEnum

FAILURES_SHOWN = 50
"""How many of the Runs that could not be canceled or started again are shown with the reason; all of them count. They
stand in a memo, which Temporal wants to be small."""

REASON_LIMIT = 200
"""How many characters of a reason are shown."""


class BulkAction(OpenStrEnum):
    """What is done with each of the Runs."""

    CANCEL = "cancel"
    RERUN = "rerun"


class BulkRequester(FlowModel):
    """Who has asked for it, and by which request, as the entries of the audit say."""

    key: Actor
    signed_in: bool
    """Whether the request came from a page, by somebody who has signed in with the key."""
    client: str | None
    """The address of the client."""
    request: str | None
    """The method, and the path with the names of its parameters."""
    correlation_id: str


class BulkFailure(FlowModel):
    """A Run that could not be canceled or started again."""

    run_id: str
    message: str


class BulkView(FlowModel):
    """What is shown of a bulk, beside its failures."""

    action: BulkAction
    matched: int
    """How many Runs there were when it was asked for."""
    done: int = 0
    """How many of them were canceled or started again."""
    failed: int = 0
    """How many of them could not be."""
    created_at: datetime
    requested_by: Actor


class BulkInput(FlowModel):
    """Input of the workflow `Bulk`, at its start or as it continues as new."""

    workspace: str
    project: str
    bulk_id: str
    requester: BulkRequester
    fingerprint: str = ""
    """Keyed hash of the request, if it had an Idempotency-Key."""
    run_ids: tuple[str, ...]
    """The Runs that are left."""
    view: BulkView
    failures: tuple[BulkFailure, ...] = ()
    """The first of the Runs that have failed."""


class BulkPiece(FlowModel):
    """Input of the activity `act_on_runs`: the next Runs."""

    workspace: str
    project: str
    bulk_id: str
    action: BulkAction
    requester: BulkRequester
    run_ids: tuple[str, ...]


class BulkPieceResult(FlowModel):
    """Result of the activity `act_on_runs`."""

    handled: int
    """How many Runs, from the first one on, were canceled or started again, or could not be."""
    failures: tuple[BulkFailure, ...] = ()
    """Those of them that could not be."""
    retry_after: int | None = None
    """Seconds after which to go on, as the next Run may not be started yet; None if nothing is against it."""
