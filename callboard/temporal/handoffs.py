"""The Handoffs of Runs, read from their memos, and the answers that people give to them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from callboard.schemas.errors import Conflict, Unavailable
from callboard.schemas.workflow import names
from callboard.schemas.workflow.auth_session import AuthSessionView
from callboard.schemas.workflow.handoff import (
    LINK_USED,
    NOT_OPEN,
    Handoff,
    HandoffAnswer,
    HandoffEnd,
    HandoffStatus,
    OpenedLink,
)
from callboard.temporal.rpc_errors import (
    RPC_TIMEOUT,
    cancels_kept,
    is_missing_entity,
    translate_rpc_errors,
    unless_missing,
)
from callboard.temporal.visibility_queries import is_one_of
from workflows import visibility

_ANSWER_TIMEOUT = timedelta(seconds=10)
"""How long an answer waits for a worker that takes it to its Run."""


class Handoffs:
    """The Handoffs of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def list_open(self, workspace: str, project: str) -> list[Handoff]:
        """Return the open Handoffs of a project, the oldest first. One that was opened a moment ago may be missing.

        Raises:
            ConfigurationError: Temporal refuses: the namespace or its search attributes are missing.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors():
            return await open_handoffs(self._client, workspace, project)

    async def answer(self, handoff_id: str, end: HandoffEnd, *, answer_id: str | None = None) -> None:
        """End an open Handoff as a person wants it, or as a code does. With an id, the answer may be repeated.

        Raises:
            Conflict: It is not open any more.
            Unavailable: Temporal, or a worker, has not taken the answer in time; it may still be taken.
        """
        await self._update(handoff_id, names.ANSWER, HandoffAnswer(id=handoff_id, end=end), answer_id)

    async def open_link(self, handoff_id: str, link: str) -> None:
        """Open a Handoff by a link, which opens nothing from then on.

        Raises:
            Conflict: It was used before, or the Handoff is not open any more.
            Unavailable: As for `answer`.
        """
        await self._update(handoff_id, names.OPEN_LINK, OpenedLink(id=handoff_id, link=link))

    async def _update(
        self, handoff_id: str, update: str, argument: HandoffAnswer | OpenedLink, update_id: str | None = None
    ) -> None:
        handle = self._client.get_workflow_handle(names.run_of_handoff(handoff_id))
        with translate_rpc_errors():
            try:
                async with asyncio.timeout(_ANSWER_TIMEOUT.total_seconds()):
                    with cancels_kept():
                        await handle.execute_update(  # pyright: ignore[reportUnknownMemberType]
                            update, argument, id=update_id
                        )
            except WorkflowUpdateFailedError as error:
                kind = error.cause.type if isinstance(error.cause, ApplicationError) else None
                if kind == NOT_OPEN:
                    raise not_open(handoff_id) from error
                if kind == LINK_USED:
                    raise Conflict(
                        "This link was used before: each opens its question once. Ask for another."
                    ) from error
                raise
            except RPCError as error:
                if is_missing_entity(error):  # its Run has ended
                    raise not_open(handoff_id) from error
                raise
            except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
                raise Unavailable("No worker has taken the answer yet. Look whether the Handoff is open.") from error


def not_open(handoff_id: str) -> Conflict:
    """Return the error for an answer that comes too late."""
    return Conflict(f"Handoff {handoff_id} is not open: it was answered, has expired, or nobody waits for it any more.")


async def open_handoffs(client: Client, workspace: str, project: str) -> list[Handoff]:
    """Return the open Handoffs of a project, the oldest first. Raises RPCError."""
    query = (
        f"{is_one_of(names.SEARCH_PROJECT, [project])} AND {names.SEARCH_HANDOFF} IS NOT NULL"
        " AND ExecutionStatus = 'Running'"
    )
    found = [
        handoff
        async for execution in client.list_workflows(query, rpc_timeout=RPC_TIMEOUT)
        if await execution.memo_value(names.MEMO_WORKSPACE, None) == workspace
        for handoff in await read_handoffs(execution)
        if handoff.is_open
    ]
    return sorted(found, key=lambda handoff: handoff.created_at)


async def read_handoffs(execution: WorkflowExecution) -> list[Handoff]:
    """Return the last Handoffs of a Run, from its memo, the oldest first. None is open of a Run that was terminated."""
    found = await execution.memo_value(names.MEMO_HANDOFFS, list[Handoff](), type_hint=list[Handoff])
    if execution.status is WorkflowExecutionStatus.RUNNING:
        return found
    withdrawn = {"status": HandoffStatus.WITHDRAWN}
    return [each.model_copy(update=withdrawn) if each.is_open else each for each in found]


def first_open(handoffs: list[Handoff]) -> Handoff | None:
    """Return the first of the Handoffs that waits for a person."""
    return next((each for each in handoffs if each.is_open), None)


async def find_handoffs(client: Client, description: WorkflowExecutionDescription) -> list[Handoff]:
    """Return the last Handoffs of a Run, and of the check and the Create that it waits for, the oldest first.

    Raises RPCError.
    """
    executions = (description, *await _awaited(client, description))
    found = [handoff for execution in executions for handoff in await read_handoffs(execution)]
    return sorted(found, key=lambda handoff: handoff.created_at)


async def _awaited(client: Client, description: WorkflowExecutionDescription) -> list[WorkflowExecutionDescription]:
    """Return the Validate that this Run waits for, and the Create that the Validate waits for, as far as they do."""
    session = description.typed_search_attributes.get(visibility.AUTH_SESSION)
    if session is None or description.status is not WorkflowExecutionStatus.RUNNING:
        return []
    validate, project = description, description.typed_search_attributes[visibility.PROJECT]
    if description.workflow_type != names.VALIDATE:
        children = description.raw_description.pending_children
        validate_id = next((each.workflow_id for each in children if each.workflow_type_name == names.VALIDATE), "")
        validate = await _describe(client, validate_id)
    if validate is None:
        return []
    awaited = [] if validate is description else [validate]
    if validate.raw_description.pending_activities:  # its check is under way, so it waits for no Create
        return awaited
    run_id = await validate.memo_value(names.MEMO_PARENT, None)
    # A login that lives for its Run alone comes first: another one may have the name that it was given.
    for owner in (*([] if run_id is None else [names.runtime_owner(run_id)]), session):
        auth_session = await _describe(client, names.auth_session_workflow_id(project, owner))
        if auth_session is not None and auth_session.status is WorkflowExecutionStatus.RUNNING:
            view = await auth_session.memo_value(names.MEMO_VIEW, type_hint=AuthSessionView)
            create = None if view.pending_run_id is None else await _describe(client, view.pending_run_id)
            return [*awaited, *([] if create is None else [create])]
    return awaited


async def _describe(client: Client, workflow_id: str) -> WorkflowExecutionDescription | None:
    if not workflow_id:
        return None
    return await unless_missing(client.get_workflow_handle(workflow_id).describe(rpc_timeout=RPC_TIMEOUT))
