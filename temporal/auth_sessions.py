"""Create, read, change and delete AuthSessions: each is a workflow as long as it exists, with its state in its memo."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import Priority, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from schemas.errors import Conflict, NotFound, Unavailable
from schemas.workflow import names
from schemas.workflow.auth import Imported
from schemas.workflow.auth_session import AuthSessionInput, AuthSessionView, LoginSpec, ValidateInput
from schemas.workflow.run import RunType
from temporal import search_attributes
from temporal.closing import wait_for_result
from temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors
from workflows.visibility import auth_run_memo, auth_run_search_attributes

_NOT_THERE = "There is no such AuthSession."
_WITHIN = timedelta(seconds=15)
"""How long a caller waits for a worker to carry out a request to an AuthSession."""
_LOOK_EVERY = 0.1
_AT_ONCE = 20
"""How many workflows are described at the same time."""


class AuthSessions:
    """The AuthSessions of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def create(self, order: AuthSessionInput) -> None:
        """Create an AuthSession: its login is made by `order.create`, or exists already.

        Raises:
            Conflict: There is an AuthSession with this id.
            ConfigurationError, Unavailable: As for a Run; if Temporal did not answer, it is not known whether the
                AuthSession was created.
        """
        with translate_rpc_errors():
            try:
                await self._client.start_workflow(
                    names.AUTH_SESSION,
                    order,
                    id=names.auth_session_workflow(order.project, order.ref.owner),
                    task_queue=names.CALLBOARD_QUEUE,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    static_summary=f"AuthSession {order.ref.id} of {order.project}",
                    priority=Priority(priority_key=names.PRIORITY_BEGUN),
                    memo={
                        names.MEMO_WORKSPACE: order.workspace,
                        names.MEMO_VIEW: order.view.model_dump(mode="json"),
                    },
                    search_attributes=search_attributes.of_auth_session(order.project, order.ref.id),
                    rpc_timeout=RPC_TIMEOUT,
                )
            except WorkflowAlreadyStartedError as error:
                raise Conflict(
                    f"There is an AuthSession {order.ref.id!r} in project {order.project} already. Update it, delete it"
                    " first, or choose another id."
                ) from error

    async def view(self, workspace: str, project: str, id: str) -> AuthSessionView:  # noqa: A002 - the contract's name
        """Return the current state of an AuthSession; no worker is needed for that.

        Raises:
            NotFound: There is none with this id.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors(_NOT_THERE):
            return await self._view(workspace, project, id)

    async def views(self, workspace: str, project: str) -> list[AuthSessionView]:
        """Return all AuthSessions of a project, sorted by id. One that was created a moment ago may be missing.

        Raises as `view` does.
        """
        limit = asyncio.Semaphore(_AT_ONCE)

        async def view(owner: str) -> AuthSessionView | None:
            async with limit:
                try:
                    return await self._view(workspace, project, owner)
                except NotFound:
                    return None
                except RPCError as error:
                    if error.status is RPCStatusCode.NOT_FOUND:
                        return None
                    raise

        query = (
            f"WorkflowType = '{names.AUTH_SESSION}' AND {names.SEARCH_PROJECT} = '{project}'"
            " AND ExecutionStatus = 'Running'"
        )
        prefix = names.auth_session_workflow(project, "")
        with translate_rpc_errors(_NOT_THERE):
            owners = [found.id.removeprefix(prefix) async for found in self._client.list_workflows(query)]
            # An AuthSession that lives for a single Run is not listed: it belongs to that Run alone.
            found = await asyncio.gather(*(view(owner) for owner in owners if not owner.startswith("~")))
        return sorted((each for each in found if each is not None), key=lambda each: each.id)

    async def update(self, workspace: str, project: str, id: str, order: LoginSpec) -> None:  # noqa: A002
        """Have the AuthSession log in with other parameters. Raises as `view` does."""
        with translate_rpc_errors(_NOT_THERE):
            await self._view(workspace, project, id)
            await self._handle(project, id).signal(names.UPDATE_LOGIN, order, rpc_timeout=RPC_TIMEOUT)

    async def record(self, workspace: str, project: str, id: str, key: str) -> AuthSessionView:  # noqa: A002
        """Give a recorded AuthSession another browser state, and return once it has it.

        Raises:
            NotFound: There is none with this id.
            Unavailable: Temporal cannot be reached, or no worker has carried it out yet (it will be).
        """
        with translate_rpc_errors(_NOT_THERE):
            before = await self._view(workspace, project, id)
            await self._handle(project, id).signal(names.IMPORTED, Imported(key=key), rpc_timeout=RPC_TIMEOUT)
            try:
                async with asyncio.timeout(_WITHIN.total_seconds()):
                    # A memo has to be polled. The version is compared, as a Run may save another state back.
                    while (view := await self._view(workspace, project, id)).login == before.login:  # noqa: ASYNC110
                        await asyncio.sleep(_LOOK_EVERY)
            except TimeoutError as error:
                raise _no_worker("recorded anew") from error
            return view

    async def validate(self, run_id: str, order: ValidateInput) -> None:
        """Start a Validate, which is a Run of its own. Raises as a start of a Run does."""
        with translate_rpc_errors(_NOT_THERE):
            await self._client.start_workflow(
                names.VALIDATE,
                order,
                id=run_id,
                task_queue=names.CALLBOARD_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                static_summary=f"Validate {order.ref.id} of {order.project}",
                priority=Priority(priority_key=names.PRIORITY_NOT_BEGUN),
                memo=auth_run_memo(order.workspace, order.version, None),
                search_attributes=auth_run_search_attributes(
                    order.project, order.ref.id, RunType.AUTH_SESSION_VALIDATE
                ),
                rpc_timeout=RPC_TIMEOUT,
            )

    async def delete(self, workspace: str, project: str, id: str) -> None:  # noqa: A002
        """Delete the AuthSession with its browser state and parameters, and return when it is gone.

        Raises:
            NotFound: There is none with this id.
            Unavailable: Temporal cannot be reached, or no worker has carried it out yet (it will be).
        """
        with translate_rpc_errors(_NOT_THERE):
            await self._view(workspace, project, id)
            handle = self._handle(project, id)
            await handle.signal(names.DELETE, rpc_timeout=RPC_TIMEOUT)
            try:
                async with asyncio.timeout(_WITHIN.total_seconds()):
                    await wait_for_result(handle)
            except TimeoutError as error:
                raise _no_worker("deleted") from error
            except WorkflowFailureError:
                return  # somebody ended the workflow in Temporal itself: the AuthSession is gone

    def _handle(self, project: str, owner: str) -> WorkflowHandle[object, object]:
        return self._client.get_workflow_handle(names.auth_session_workflow(project, owner))

    async def _view(self, workspace: str, project: str, owner: str) -> AuthSessionView:
        description = await self._handle(project, owner).describe(rpc_timeout=RPC_TIMEOUT)
        if await description.memo_value(names.MEMO_WORKSPACE, default=None) != workspace:
            raise NotFound(_NOT_THERE)
        return await view_of(description)


async def view_of(description: WorkflowExecutionDescription) -> AuthSessionView:
    """Return the state of an AuthSession from the memo of its workflow.

    Raises:
        NotFound: The AuthSession does not exist any more.
    """
    if description.status is not WorkflowExecutionStatus.RUNNING:
        raise NotFound(_NOT_THERE)
    return AuthSessionView.model_validate(await description.memo_value(names.MEMO_VIEW))


def _no_worker(done: str) -> Unavailable:
    return Unavailable(f"The AuthSession will be {done}, but no worker has taken that up yet. Look again later.")
