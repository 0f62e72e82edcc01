"""Serve the workflow `Fleet`, which every worker does."""

from __future__ import annotations

import hashlib
import inspect
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, UnsandboxedWorkflowRunner, Worker

import workflows.allocation
import workflows.fleet
from callboard.schemas.workflow import names
from callboard.temporal.fleet import without_encryption
from workflows.fleet import FleetWorkflow

_STICKY_TIMEOUT = timedelta(seconds=1)
_GRACE = timedelta()


def fleet_worker(client: Client, identity: str) -> Worker:
    """Return the Temporal worker for the workflow `Fleet`."""
    return Worker(
        without_encryption(client),
        build_id=_build_id(),
        task_queue=names.FLEET_QUEUE,
        workflows=[FleetWorkflow],
        identity=identity,
        workflow_runner=UnsandboxedWorkflowRunner(),  # it is Callboard's own, and tests run it in the sandbox
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(2),
        sticky_queue_schedule_to_start_timeout=_STICKY_TIMEOUT,
        graceful_shutdown_timeout=_GRACE,
    )


def _build_id() -> str:
    """Return an id of the code that decides; see "granted_by" in `workflows/fleet.py`."""
    code = inspect.getsource(workflows.fleet) + inspect.getsource(workflows.allocation)
    return f"fleet-{hashlib.sha256(code.encode()).hexdigest()[:16]}"
