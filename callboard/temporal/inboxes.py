"""The Inboxes of projects: where pushed codes and the questions that wait for them meet. Each is a workflow.

The first signal to an Inbox starts it, whether it brings a code or a question.
"""

from __future__ import annotations

from temporalio.client import Client
from temporalio.common import Priority

from callboard.schemas.workflow import names
from callboard.schemas.workflow.inbox import CodeWait, InboxInput, PushedCode
from callboard.temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors
from workflows.visibility import project_search_attributes


class Inboxes:
    """The Inboxes of one Temporal namespace. Each is found by its project and the keyed hash of its addressee."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def push(self, workspace: str, project: str, addressee: str, code: PushedCode) -> None:
        """Put a code into an Inbox.

        Raises:
            ConfigurationError: Temporal refuses.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors():
            await self._signal(workspace, project, addressee, names.PUSH_CODE, code)

    async def wait(self, workspace: str, project: str, addressee: str, wait: CodeWait) -> None:
        """Have an open Handoff wait for a code. To repeat it changes nothing. Raises RPCError."""
        await self._signal(workspace, project, addressee, names.WAIT_FOR_CODE, wait)

    async def _signal(
        self, workspace: str, project: str, addressee: str, signal: str, argument: PushedCode | CodeWait
    ) -> None:
        await self._client.start_workflow(
            names.INBOX,
            InboxInput(workspace=workspace, project=project),
            id=names.inbox_workflow_id(project, addressee),
            task_queue=names.CALLBOARD_QUEUE,
            start_signal=signal,
            start_signal_args=[argument],
            priority=Priority(priority_key=names.PRIORITY_STARTED),
            search_attributes=project_search_attributes(project),
            static_summary=f"Codes of {project}",
            rpc_timeout=RPC_TIMEOUT,
        )
