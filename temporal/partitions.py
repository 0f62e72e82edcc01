"""Find out into how many partitions Temporal divides a task queue: with more than one, it keeps no order."""

from __future__ import annotations

from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import ListTaskQueuePartitionsRequest
from temporalio.client import Client

from temporal.rpc_errors import RPC_TIMEOUT, translate_operator_errors

PARTITION_KEYS = ("matching.numTaskqueueReadPartitions", "matching.numTaskqueueWritePartitions")
"""Keys of Temporal's dynamic configuration that set it."""


async def count_partitions(client: Client, task_queue: str) -> int:
    """Return the number of partitions of `task_queue` for activities. The queue need not exist yet.

    Raises:
        ConfigurationError: Temporal refuses to say.
        Unavailable: Temporal cannot be reached.
    """
    request = ListTaskQueuePartitionsRequest(namespace=client.namespace, task_queue=TaskQueue(name=task_queue))
    with translate_operator_errors(client, f"list the partitions of the queue {task_queue}"):
        response = await client.workflow_service.list_task_queue_partitions(request, timeout=RPC_TIMEOUT)
    return len(response.activity_task_queue_partitions)
