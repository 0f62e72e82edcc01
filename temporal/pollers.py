"""Find out which workers poll a task queue, and into how many partitions Temporal divides it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, ListTaskQueuePartitionsRequest
from temporalio.client import Client
from temporalio.service import RPCError

from temporal.rpc_errors import RPC_TIMEOUT, is_refused, translate_operator_errors

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


PARTITION_KEYS = ("matching.numTaskqueueReadPartitions", "matching.numTaskqueueWritePartitions")
"""Keys of Temporal's dynamic configuration that set it."""


async def count_partitions(client: Client, task_queue: str) -> int | None:
    """Return the number of partitions of `task_queue` for activities; None if Temporal does not tell this client.

    The queue need not exist yet.

    Raises:
        ConfigurationError: Temporal refuses for another reason.
        Unavailable: Temporal cannot be reached.
    """
    request = ListTaskQueuePartitionsRequest(namespace=client.namespace, task_queue=TaskQueue(name=task_queue))
    with translate_operator_errors(client, f"list the partitions of the queue {task_queue}"):
        try:
            response = await client.workflow_service.list_task_queue_partitions(request, timeout=RPC_TIMEOUT)
        except RPCError as error:
            if is_refused(error):
                return None
            raise
    return len(response.activity_task_queue_partitions)
