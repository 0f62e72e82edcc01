"""How many Machines the live workers offer, and how many are busy, by the heartbeats that they send to Temporal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.api.workflowservice.v1 import ListWorkersRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from contract.flow import names
from engine.client import WORKER_HEARTBEAT
from engine.reaching import RPC_TIMEOUT


@dataclass(frozen=True)
class Machines:
    """Those of one project."""

    offered: int = 0
    busy: int = 0

    def plus(self, other: Machines) -> Machines:
        """Both together."""
        return Machines(self.offered + other.offered, self.busy + other.busy)


async def machines(client: Client) -> dict[str, Machines] | None:
    """By project; None where the server does not keep heartbeats. As of some seconds ago. Raises RPCError."""
    found: dict[str, Machines] = {}
    prefix = names.project_queue("")
    request = ListWorkersRequest(namespace=client.namespace, page_size=100)
    while True:
        try:
            answer = await client.workflow_service.list_workers(request, timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.UNIMPLEMENTED:
                return None
            raise
        for worker in (info.worker_heartbeat for info in answer.workers_info):
            if worker.task_queue.startswith(prefix) and _is_alive(worker):
                slots = worker.activity_task_slots_info
                its = Machines(slots.current_available_slots + slots.current_used_slots, slots.current_used_slots)
                project = worker.task_queue.removeprefix(prefix)
                found[project] = found.get(project, Machines()).plus(its)
        if not answer.next_page_token:
            return found
        request.next_page_token = answer.next_page_token


def _is_alive(worker: WorkerHeartbeat) -> bool:
    """Running, and heard of lately: the server remembers the dead for a while."""
    heard = worker.heartbeat_time.ToDatetime(tzinfo=UTC)
    return worker.status == WorkerStatus.WORKER_STATUS_RUNNING and datetime.now(UTC) - heard < 3 * WORKER_HEARTBEAT
