"""Publish and read how many Machines live workers offer, and how these are used, by heartbeats in Temporal.

The SDK reports slots every ten seconds: a slot is a Machine that there may be. The SDK does not know which Machines are
up. So each worker sends additional heartbeats of its own, one for each project, as if its Machines were a worker: used
slots are busy Machines, and free slots are warm ones. The server keeps all heartbeats in memory, and forgets them.
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
from temporalio.service import RPCError, RPCStatusCode

from schemas.workflow import names
from temporal.client import WORKER_HEARTBEAT
from temporal.rpc_errors import RPC_TIMEOUT

MACHINES_HEARTBEAT = timedelta(seconds=5)
"""How often a worker publishes its Machines; a change is published sooner."""
_TOLD_WITHIN = timedelta(seconds=2)
_MACHINES = "callboard-machines"
"""The value of the heartbeat's SDK name that marks a heartbeat about Machines."""
_QUEUES = names.project_queue("")
"""Prefix of the names of the projects' task queues."""


@dataclass(frozen=True)
class Up:
    """The Machines of a project that a worker has up."""

    busy: int = 0
    warm: int = 0
    """Number of Machines that are up without an Attempt."""


@dataclass(frozen=True)
class Machines:
    """The Machines of one project."""

    offered: int = 0
    busy: int = 0
    warm: int = 0

    def plus(self, other: Machines) -> Machines:
        """Return the sums of both."""
        return Machines(self.offered + other.offered, self.busy + other.busy, self.warm + other.warm)


async def tell(client: Client, identity: str, up: Mapping[str, Up], *, leaving: bool = False) -> None:
    """Tell Temporal which Machines this worker has up.

    Args:
        client: The worker's connection.
        identity: The identity of the worker.
        up: The Machines by project. A project that is left out stays as it was published last, and is forgotten after a
            while.
        leaving: Whether the worker stops, and has no Machines any more.

    Raises:
        RPCError: Temporal cannot be reached, or keeps no heartbeats.
    """
    status = WorkerStatus.WORKER_STATUS_SHUTDOWN if leaving else WorkerStatus.WORKER_STATUS_RUNNING
    host = WorkerHostInfo(host_name=socket.gethostname(), process_id=str(os.getpid()))
    told: list[WorkerHeartbeat] = []
    for project, its in up.items():
        heartbeat = WorkerHeartbeat(
            worker_instance_key=f"{identity}/{project}",
            worker_identity=identity,
            host_info=host,
            task_queue=names.project_queue(project),
            sdk_name=_MACHINES,
            status=status,
            activity_task_slots_info=WorkerSlotsInfo(current_used_slots=its.busy, current_available_slots=its.warm),
        )
        heartbeat.heartbeat_time.FromDatetime(datetime.now(UTC))
        told.append(heartbeat)
    request = RecordWorkerHeartbeatRequest(namespace=client.namespace, identity=identity, worker_heartbeat=told)
    await client.workflow_service.record_worker_heartbeat(request, timeout=_TOLD_WITHIN)


async def machines(client: Client) -> dict[str, Machines] | None:
    """Return the Machines by project, as of some seconds ago; None if the server does not keep heartbeats.

    Raises RPCError.
    """
    workers = await _workers(client)
    if workers is None:
        return None
    slots: defaultdict[tuple[str, str], Machines] = defaultdict(Machines)
    up: dict[tuple[str, str], Up] = {}
    for worker in workers:
        of = worker.task_queue.removeprefix(_QUEUES), worker.worker_identity
        info = worker.activity_task_slots_info
        used, free = info.current_used_slots, info.current_available_slots
        if worker.sdk_name == _MACHINES:
            up[of] = Up(used, free)
        else:  # a worker can have several shares of a project
            slots[of] = slots[of].plus(Machines(offered=used + free, busy=used))
    found: defaultdict[str, Machines] = defaultdict(Machines)
    for of in slots.keys() | up.keys():
        its = slots[of]
        if (known := up.get(of)) is not None:  # the worker's own heartbeat is newer
            its = Machines(its.offered, known.busy, known.warm)
        found[of[0]] = found[of[0]].plus(its)
    return dict(found)


async def _workers(client: Client) -> list[WorkerHeartbeat] | None:
    """Return the heartbeats of live workers of projects; None if the server does not keep heartbeats."""
    found: list[WorkerHeartbeat] = []
    request = ListWorkersRequest(namespace=client.namespace, page_size=100)
    while True:
        try:
            answer = await client.workflow_service.list_workers(request, timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.UNIMPLEMENTED:
                return None
            raise
        heartbeats = (info.worker_heartbeat for info in answer.workers_info)
        found += [worker for worker in heartbeats if worker.task_queue.startswith(_QUEUES) and _is_alive(worker)]
        if not answer.next_page_token:
            return found
        request.next_page_token = answer.next_page_token


def _is_alive(worker: WorkerHeartbeat) -> bool:
    """Tell whether the worker runs and was heard of lately: the server remembers dead workers for a while."""
    heard = worker.heartbeat_time.ToDatetime(tzinfo=UTC)
    every = MACHINES_HEARTBEAT if worker.sdk_name == _MACHINES else WORKER_HEARTBEAT
    return worker.status == WorkerStatus.WORKER_STATUS_RUNNING and datetime.now(UTC) - heard < 3 * every
