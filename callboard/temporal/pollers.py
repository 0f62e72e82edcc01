"""Find out which workers poll a task queue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from callboard.temporal.rpc_errors import RPC_TIMEOUT, translate_operator_errors

_MAX_POLL_AGE = timedelta(minutes=2)
"""Age up to which a poll counts: a worker polls again after a minute without work, and Temporal remembers it for
longer."""


async def list_pollers(client: Client, task_queue: str) -> set[str]:
    """Return the identities of the workers that have polled `task_queue` for workflow tasks in the last minutes.

    Raises:
        ConfigurationError: Temporal refuses to say.
        Unavailable: Temporal cannot be reached.
    """
    with translate_operator_errors(client, f"describe the queue {task_queue}"):
        return {poller.identity for poller in await fetch_recent_pollers(client, task_queue)}


async def fetch_recent_pollers(client: Client, task_queue: str) -> list[PollerInfo]:
    """Return the workers that have polled `task_queue` for workflow tasks in the last minutes. Raises RPCError."""
    pollers = await fetch_pollers(client, task_queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW)
    oldest = datetime.now(UTC) - _MAX_POLL_AGE
    return [poller for poller in pollers if poller.last_access_time.ToDatetime(tzinfo=UTC) > oldest]


async def fetch_pollers(client: Client, task_queue: str, queue_type: TaskQueueType.ValueType) -> Sequence[PollerInfo]:
    """Return the workers that Temporal remembers to have polled `task_queue`. Raises RPCError."""
    response = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=task_queue), task_queue_type=queue_type
        ),
        timeout=RPC_TIMEOUT,
    )
    return response.pollers
