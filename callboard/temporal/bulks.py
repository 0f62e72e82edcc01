"""Start bulks, which cancel many Runs or start them again; tell how far they are, and abort them.

Memos of workflows tell it, so no worker is needed, and it can be read as long as Runs can.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.common import Priority, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from callboard.schemas.errors import Conflict, NotFound
from callboard.schemas.rest.bulk import BulkStatus
from callboard.schemas.workflow import names
from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.bulk import BulkFailure, BulkInput, BulkView
from callboard.temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors, unless_missing
from workflows.visibility import MEMO_FINGERPRINT, bulk_memo, project_search_attributes

_NOT_FOUND = "There is no such bulk. They are known for as long as Runs are."


@dataclass(frozen=True)
class Bulk:
    """A request about many Runs, and how far it has come."""

    id: str
    status: BulkStatus
    view: BulkView
    failures: tuple[BulkFailure, ...]
    ended_at: datetime | None


class Bulks:
    """The bulks in one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self, bulk: BulkInput) -> BulkView:
        """Start a bulk, or find the one that the very same request has started before, and return how far it is.

        Raises:
            Conflict: There is one with this id, which was started by another request.
            ConfigurationError, Unavailable: Temporal refuses, or cannot be reached.
        """
        with translate_rpc_errors():
            try:
                await self._start(bulk)
            except WorkflowAlreadyStartedError:
                return await self.get_same(bulk.workspace, bulk.project, bulk.bulk_id, bulk.fingerprint)
        return bulk.view

    async def get_same(self, workspace: str, project: str, bulk_id: str, fingerprint: str) -> BulkView:
        """Return how far the bulk is that the very same request has started before.

        Raises:
            NotFound: There is none with this id.
            Conflict: It was started by another request.
            ConfigurationError, Unavailable: Temporal refuses, or cannot be reached.
        """
        with translate_rpc_errors():
            known = await self._describe(workspace, project, bulk_id)
            if await known.memo_value(MEMO_FINGERPRINT, None) != fingerprint:
                raise Conflict(
                    "This Idempotency-Key was used before with another body. Send the same body, or a new key."
                )
            return await known.memo_value(names.MEMO_BULK, type_hint=BulkView)

    async def _start(self, bulk: BulkInput) -> None:
        view = bulk.view
        await self._client.start_workflow(
            names.BULK,
            bulk,
            id=names.bulk_workflow_id(bulk.project, bulk.bulk_id),
            task_queue=names.CALLBOARD_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            static_summary=f"{view.action} {view.matched} Runs of {bulk.project}",
            static_details=view.requested_by.start_note,
            priority=Priority(priority_key=names.PRIORITY_STARTED, fairness_key=names.fairness_key(bulk.project)),
            memo=bulk_memo(bulk),
            search_attributes=project_search_attributes(bulk.project),
            rpc_timeout=RPC_TIMEOUT,
        )

    async def get(self, workspace: str, project: str, bulk_id: str) -> Bulk:
        """Return a bulk of the project.

        Raises:
            NotFound: There is none with this id.
            ConfigurationError, Unavailable: Temporal refuses, or cannot be reached.
        """
        with translate_rpc_errors():
            description = await self._describe(workspace, project, bulk_id)
            view = await description.memo_value(names.MEMO_BULK, type_hint=BulkView)
            # Temporal takes a field with an empty list out of a memo that is changed.
            failures = await description.memo_value(
                names.MEMO_BULK_FAILURES, list[BulkFailure](), type_hint=list[BulkFailure]
            )
        match description.status:
            case WorkflowExecutionStatus.RUNNING:
                status = BulkStatus.RUNNING
            case WorkflowExecutionStatus.COMPLETED:
                status = BulkStatus.COMPLETED
            case _:
                status = BulkStatus.ABORTED
        return Bulk(bulk_id, status, view, tuple(failures), description.close_time)

    async def abort(self, workspace: str, project: str, bulk_id: str, *, by: Actor) -> None:
        """Have a bulk end, without waiting for it. One that has ended stays as it is. Raises as `get` does."""
        with translate_rpc_errors():
            await self._describe(workspace, project, bulk_id)
            handle = self._client.get_workflow_handle(names.bulk_workflow_id(project, bulk_id))
            await unless_missing(handle.cancel(reason=by.cancel_reason, rpc_timeout=RPC_TIMEOUT))

    async def _describe(self, workspace: str, project: str, bulk_id: str) -> WorkflowExecutionDescription:
        """Describe the workflow of a bulk in this workspace and project. Raises NotFound, or RPCError."""
        description = None
        if names.is_run_id(bulk_id):  # ids of bulks are of the same characters
            handle = self._client.get_workflow_handle(names.bulk_workflow_id(project, bulk_id))
            description = await unless_missing(handle.describe(rpc_timeout=RPC_TIMEOUT))
        if description is None or await description.memo_value(names.MEMO_WORKSPACE, None) != workspace:
            raise NotFound(_NOT_FOUND)
        return description
