"""Publish and read which Machines are up and how they are used, by heartbeats in Temporal.

The SDK sends heartbeats for each of its workers, and does not know which Machines are up. So each worker process sends
additional ones of its own, one for each project, as if its Machines were a worker: used slots are busy Machines, free
slots are warm ones, and in place of a version stands how far they are isolated. The server keeps all heartbeats in
memory, and forgets them.
"""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat, WorkerHostInfo, WorkerSlotsInfo
from temporalio.api.workflowservice.v1 import ListWorkersRequest, RecordWorkerHeartbeatRequest
from temporalio.client import Client
from temporalio.service import RPCError

from schemas.workflow import names
from temporal.rpc_errors import RPC_TIMEOUT, is_refused

POOL_HEARTBEAT_INTERVAL = timedelta(seconds=5)
"""Time between two heartbeats in which a worker publishes its Machines; a change is published sooner."""
_PUBLISH_TIMEOUT = timedelta(seconds=2)
_POOL_SDK_NAME = "callboard-machines"
"""The value of the heartbeat's SDK name that marks a heartbeat about Machines."""
_PROJECT_QUEUE_PREFIX = names.project_queue("")
"""Prefix of the names of the projects' task queues."""


@dataclass(frozen=True)
class PoolUsage:
    """The Machines of a project that a worker has up, or that all workers have up."""

    busy: int = 0
    warm: int = 0
    """Number of Machines that are up without an Attempt."""
    isolation: str = ""
    """How far those are isolated that are least so: `full`, `open` or `none`; empty if nobody tells."""

    def __add__(self, other: PoolUsage) -> PoolUsage:
        return PoolUsage(
            self.busy + other.busy,
            self.warm + other.warm,
            max(self.isolation, other.isolation, key=_openness),
        )


def _openness(isolation: str) -> int:
    """Return a larger number for a level with fewer walls. A word of another version counts as none."""
    levels = ("", "full", "open")
    return levels.index(isolation) if isolation in levels else len(levels)


async def publish_usage(
    client: Client, identity: str, usage: Mapping[str, PoolUsage], *, shutting_down: bool = False
) -> None:
    """Publish which Machines this worker has up, or that it is shutting down, and has none any more.

    A project that `usage` leaves out stays as it was published last, and is forgotten after a while.

    Raises:
        RPCError: Temporal cannot be reached, or keeps no heartbeats.
    """
    status = WorkerStatus.WORKER_STATUS_SHUTDOWN if shutting_down else WorkerStatus.WORKER_STATUS_RUNNING
    host = WorkerHostInfo(host_name=socket.gethostname(), process_id=str(os.getpid()))
    heartbeats: list[WorkerHeartbeat] = []
    for project, project_usage in usage.items():
        heartbeat = WorkerHeartbeat(
            worker_instance_key=f"{identity}/{project}",
            worker_identity=identity,
            host_info=host,
            task_queue=names.project_queue(project),
            sdk_name=_POOL_SDK_NAME,
            sdk_version=project_usage.isolation,
            status=status,
            activity_task_slots_info=WorkerSlotsInfo(
                current_used_slots=project_usage.busy, current_available_slots=project_usage.warm
            ),
        )
        heartbeat.heartbeat_time.FromDatetime(datetime.now(UTC))
        heartbeats.append(heartbeat)
    request = RecordWorkerHeartbeatRequest(namespace=client.namespace, identity=identity, worker_heartbeat=heartbeats)
    await client.workflow_service.record_worker_heartbeat(request, timeout=_PUBLISH_TIMEOUT)


async def read_usage(client: Client) -> dict[str, PoolUsage] | None:
    """Return the Machines by project, as of some seconds ago; None if the server keeps no heartbeats, or for others.

    Raises RPCError.
    """
    heartbeats = await _list_heartbeats(client)
    if heartbeats is None:
        return None
    usage: defaultdict[str, PoolUsage] = defaultdict(PoolUsage)
    for heartbeat in heartbeats:
        slots = heartbeat.activity_task_slots_info
        usage[heartbeat.task_queue.removeprefix(_PROJECT_QUEUE_PREFIX)] += PoolUsage(
            slots.current_used_slots, slots.current_available_slots, heartbeat.sdk_version
        )
    return dict(usage)


async def _list_heartbeats(client: Client) -> list[WorkerHeartbeat] | None:
    """Return the heartbeats of live workers about their Machines; None if the server does not keep heartbeats."""
    heartbeats: list[WorkerHeartbeat] = []
    request = ListWorkersRequest(namespace=client.namespace, page_size=100)
    while True:
        try:
            response = await client.workflow_service.list_workers(request, timeout=RPC_TIMEOUT)
        except RPCError as error:
            if is_refused(error):
                return None
            raise
        for info in response.workers_info:
            heartbeat = info.worker_heartbeat
            if heartbeat.sdk_name == _POOL_SDK_NAME and _is_alive(heartbeat):
                heartbeats.append(heartbeat)
        if not response.next_page_token:
            return heartbeats
        request.next_page_token = response.next_page_token


def _is_alive(heartbeat: WorkerHeartbeat) -> bool:
    """Tell whether the worker runs and has sent heartbeats lately: the server remembers dead workers for a while."""
    sent_at = heartbeat.heartbeat_time.ToDatetime(tzinfo=UTC)
    running = heartbeat.status == WorkerStatus.WORKER_STATUS_RUNNING
    return running and datetime.now(UTC) - sent_at < 3 * POOL_HEARTBEAT_INTERVAL
