"""Tell whether a Run that has not ended is pending or started, from what Temporal says of its workflow right now."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus

from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import PREPARES, WAITS_FOR_ROOM
from callboard.schemas.workflow.run import RunStatus
from callboard.temporal.rpc_errors import RPC_TIMEOUT, unless_missing
from workflows import visibility

_BROWSER_ACTIVITIES = {names.ATTEMPT, names.CHECK, names.CREATE_LOGIN, names.RECORD_LOGIN}

_STARTED_EVENTS = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT,
}
"""Events that only a Run has that was on a Machine, or whose Validate was."""


class Progress(Enum):
    """How far a Run has come that has not ended."""

    QUEUED = auto()
    """Neither an Attempt of the Run nor a check of its Validate is or was on a Machine. A worker may have taken it, and
    wait until it has room for one more Machine."""
    PREPARED = auto()
    """The Run is queued, and a worker that has taken it prepares its version and environment."""
    PAUSED = auto()
    """The Run is queued, and the activity that waits for a Machine is paused in Temporal."""
    STARTED = auto()


async def read_progress(client: Client, description: WorkflowExecutionDescription) -> Progress:
    """Tell how far an unfinished Run has come.

    A pending browser activity shows it: it is queued, paused, or a worker has it. Without any, the Run is between two
    steps: before its first one, or after an Attempt that ended so quickly that it never signaled its start. `describe`
    cannot tell these two apart, so in this case the history is searched for an activity that was ever started. From the
    next step on, the Run's own search attribute says it. So a Run that was started is never pending again; only one
    that a worker has taken without room for it may read as started for the first half second.

    Raises:
        RPCError: Temporal does not answer.
    """
    status = description.typed_search_attributes.get(visibility.STATUS, RunStatus.PENDING.value)
    if status != RunStatus.PENDING.value:
        return Progress.STARTED
    workflow = description.raw_description
    if workflow.pending_activities:
        return await _classify_activities(client, workflow.pending_activities)
    for child in workflow.pending_children:
        if child.workflow_type_name == names.VALIDATE:
            return await _read_validate_progress(client, child.workflow_id)
    return Progress.STARTED if await _was_started(client, description) else Progress.QUEUED


async def _classify_activities(client: Client, activities: Iterable[PendingActivityInfo]) -> Progress:
    progress = Progress.QUEUED
    for activity in activities:
        if activity.attempt > 1 or activity.activity_type.name not in _BROWSER_ACTIVITIES:
            return Progress.STARTED
        match activity.state:
            case PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED:
                pass
            case PendingActivityState.PENDING_ACTIVITY_STATE_PAUSED:
                progress = Progress.PAUSED
            case _:  # Also where a pause is requested, a worker still has it.
                match await client.data_converter.decode(activity.heartbeat_details.payloads):
                    case [told] if told == PREPARES:
                        progress = Progress.PREPARED
                    case [told] if told == WAITS_FOR_ROOM:
                        pass
                    case _:
                        return Progress.STARTED
    return progress


async def _was_started(client: Client, description: WorkflowExecutionDescription) -> bool:
    handle = client.get_workflow_handle(description.id, run_id=description.run_id)
    return any([event.event_type in _STARTED_EVENTS async for event in handle.fetch_history_events()])


async def _read_validate_progress(client: Client, run_id: str) -> Progress:
    description = await unless_missing(client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT))
    if description is None:
        return Progress.QUEUED  # The Validate is about to be started.
    if description.status is not WorkflowExecutionStatus.RUNNING:
        return Progress.STARTED
    return await read_progress(client, description)
