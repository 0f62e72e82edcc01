"""Find out which workers poll a task queue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from temporal.rpc_errors import RPC_TIMEOUT, translate_operator_errors

_LATELY = timedelta(minutes=2)
"""Age up to which a poll counts: a worker polls again after a minute without work, and Temporal remembers it for
longer."""


async def pollers(client: Client, queue: str) -> set[str]:
    """Return the identities of the workers that have polled `queue` for workflow tasks lately.

    Raises:
        ConfigurationError: Temporal refuses to say.
        Unavailable: Temporal cannot be reached.
    """
    with translate_operator_errors(client, f"describe the queue {queue}"):
        answer = await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=client.namespace,
                task_queue=TaskQueue(name=queue),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            ),
            timeout=RPC_TIMEOUT,
        )
    oldest = datetime.now(UTC) - _LATELY
    return {poller.identity for poller in answer.pollers if poller.last_access_time.ToDatetime(tzinfo=UTC) > oldest}
