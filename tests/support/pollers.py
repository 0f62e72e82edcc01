"""Whether a worker polls a task queue."""

from __future__ import annotations

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.client import Client

from callboard.temporal.pollers import fetch_pollers


async def is_polled(client: Client, task_queue: str) -> bool:
    """Tell whether a worker has polled this queue for activities lately. Temporal forgets pollers after minutes."""
    return bool(await fetch_pollers(client, task_queue, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY))
