"""AuthSessions: each is a workflow for as long as it exists, and its memo says how it stands."""

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
"""How long a caller waits for a worker to carry out what was asked of an AuthSession."""
_LOOK_EVERY = 0.1
_AT_ONCE = 20
"""Descriptions that are asked for side by side."""


class AuthSessions:
    """The AuthSessions of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def create(self, order: AuthSessionInput) -> None:
        """Bring an AuthSession into being: it is made by `order.create`, or has its login already.

        Raises:
            Conflict: There is one with this id.
            ConfigurationError, Unavailable: As for a Run; whether it was made is not known if Temporal did not answer.
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
        """How an AuthSession stands at this moment; no worker is needed.

        Raises:
            NotFound: There is none with this id.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors(_NOT_THERE):
            return await self._view(workspace, project, id)

    async def views(self, workspace: str, project: str) -> list[AuthSessionView]:
        """All of a project, by id. One that was made a moment ago may be missing. Errors as for `view`."""
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
            # One that lives for a single Run is that Run's own affair.
            found = await asyncio.gather(*(view(owner) for owner in owners if not owner.startswith("~")))
        return sorted((each for each in found if each is not None), key=lambda each: each.id)

    async def update(self, workspace: str, project: str, id: str, order: LoginSpec) -> None:  # noqa: A002
        """Have it log in with other parameters. Errors as for `view`."""
        with translate_rpc_errors(_NOT_THERE):
            await self._view(workspace, project, id)
            await self._handle(project, id).signal(names.UPDATE_LOGIN, order, rpc_timeout=RPC_TIMEOUT)

    async def record(self, workspace: str, project: str, id: str, key: str) -> AuthSessionView:  # noqa: A002
        """Give an AuthSession of the recorder another state; returns once it has it.

        Raises:
            NotFound: There is none with this id.
            Unavailable: Temporal cannot be reached, or no worker has carried it out yet (it will be).
        """
        with translate_rpc_errors(_NOT_THERE):
            before = await self._view(workspace, project, id)
            await self._handle(project, id).signal(names.IMPORTED, Imported(key=key), rpc_timeout=RPC_TIMEOUT)
            try:
                async with asyncio.timeout(_WITHIN.total_seconds()):
                    # A memo can be looked at, not waited for. By its number, as a Run may save another state back.
                    while (view := await self._view(workspace, project, id)).login == before.login:  # noqa: ASYNC110
                        await asyncio.sleep(_LOOK_EVERY)
            except TimeoutError as error:
                raise _no_worker("recorded anew") from error
            return view

    async def validate(self, run_id: str, order: ValidateInput) -> None:
        """Start a Validate, a Run of its own. Errors as for a start of a Run."""
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
        """Remove it with its login and parameters; returns when it is gone.

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
                return  # somebody ended it in Temporal itself: it is gone

    def _handle(self, project: str, owner: str) -> WorkflowHandle[object, object]:
        return self._client.get_workflow_handle(names.auth_session_workflow(project, owner))

    async def _view(self, workspace: str, project: str, owner: str) -> AuthSessionView:
        description = await self._handle(project, owner).describe(rpc_timeout=RPC_TIMEOUT)
        if await description.memo_value(names.MEMO_WORKSPACE, default=None) != workspace:
            raise NotFound(_NOT_THERE)
        return await view_of(description)


async def view_of(description: WorkflowExecutionDescription) -> AuthSessionView:
    """What the memo of an AuthSession says.

    Raises:
        NotFound: It is an AuthSession no more.
    """
    if description.status is not WorkflowExecutionStatus.RUNNING:
        raise NotFound(_NOT_THERE)
    return AuthSessionView.model_validate(await description.memo_value(names.MEMO_VIEW))


def _no_worker(done: str) -> Unavailable:
    return Unavailable(f"The AuthSession will be {done}, but no worker has taken that up yet. Look again later.")
