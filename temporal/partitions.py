"""Find out into how many partitions Temporal divides a task queue: with more than one, it keeps no order."""

from __future__ import annotations

from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import ListTaskQueuePartitionsRequest
from temporalio.client import Client
from temporalio.service import RPCError

from temporal.rpc_errors import RPC_TIMEOUT, is_refused, translate_operator_errors

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
