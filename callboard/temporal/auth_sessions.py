"""Create, read, change and delete AuthSessions: each is a workflow as long as it exists, with its state in its memo."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import Priority, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from callboard.schemas.errors import Conflict, NotFound, Unavailable
from callboard.schemas.workflow import names
from callboard.schemas.workflow.auth import Imported
from callboard.schemas.workflow.auth_session import AuthSessionInput, AuthSessionView, LoginSpec, ValidateInput
from callboard.schemas.workflow.run import RunType
from callboard.temporal.closing import wait_for_result
from callboard.temporal.rpc_errors import RPC_TIMEOUT, read_found, translate_rpc_errors, unless_missing
from workflows.visibility import (
    auth_run_memo,
    auth_run_search_attributes,
    auth_session_memo,
    auth_session_search_attributes,
)

log = logging.getLogger(__name__)

_NOT_FOUND = "There is no such AuthSession."
_CHANGE_TIMEOUT = timedelta(seconds=15)
"""How long a caller waits until a worker has made a change to an AuthSession."""
_BEGIN_TIMEOUT = timedelta(seconds=5)
"""How long a caller waits until an AuthSession has started the Run of a Create or Update. It does so at once, unless no
worker is there."""
_POLL_SECONDS = 0.1
_BEGIN_POLL_SECONDS = 0.02


class AuthSessions:
    """The AuthSessions of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def create(self, auth_session: AuthSessionInput) -> None:
        """Create an AuthSession: its login is made by `auth_session.create`, or exists already.

        When this returns, the Run that makes it can be read; if no worker takes that up soon, it can be later.

        Raises:
            Conflict: There is an AuthSession with this id.
            ConfigurationError, Unavailable: As for a Run; if Temporal did not answer, it is not known whether the
                AuthSession was created.
        """
        with translate_rpc_errors():
            try:
                await self._client.start_workflow(
                    names.AUTH_SESSION,
                    auth_session,
                    id=names.auth_session_workflow_id(auth_session.project, auth_session.ref.owner),
                    task_queue=names.CALLBOARD_QUEUE,
                    static_summary=f"AuthSession {auth_session.ref.id} of {auth_session.project}",
                    priority=Priority(
                        priority_key=names.PRIORITY_STARTED, fairness_key=names.fairness_key(auth_session.project)
                    ),
                    memo=auth_session_memo(auth_session.workspace, auth_session.view),
                    search_attributes=auth_session_search_attributes(auth_session.project, auth_session.ref.id),
                    rpc_timeout=RPC_TIMEOUT,
                )
            except WorkflowAlreadyStartedError as error:
                raise Conflict(
                    f"There is an AuthSession {auth_session.ref.id!r} in project {auth_session.project} already."
                    " Update it, delete it first, or choose another id."
                ) from error
        if auth_session.create is not None:
            await self._until_begun(auth_session.create.run_id)

    async def get(self, workspace: str, project: str, auth_session_id: str) -> AuthSessionView:
        """Return the current state of an AuthSession; no worker is needed for that.

        Raises:
            NotFound: There is none with this id.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors(_NOT_FOUND):
            return await self._view(workspace, project, auth_session_id)

    async def list_all(self, workspace: str, project: str) -> list[AuthSessionView]:
        """Return all AuthSessions of a project, sorted by id. One that was created a moment ago may be missing.

        Raises as `get` does.
        """
        query = (
            f"WorkflowType = '{names.AUTH_SESSION}' AND {names.SEARCH_PROJECT} = '{project}'"
            " AND ExecutionStatus = 'Running'"
        )
        prefix = names.auth_session_workflow_id(project, "")
        with translate_rpc_errors(_NOT_FOUND):
            owners = [workflow.id.removeprefix(prefix) async for workflow in self._client.list_workflows(query)]
            # An AuthSession that lives for a single Run is not listed: it belongs to that Run alone.
            listed = [owner for owner in owners if not names.is_runtime_owner(owner)]
            views = await read_found(listed, lambda owner: self.get(workspace, project, owner))
        return sorted(views, key=lambda view: view.id)

    async def update(self, workspace: str, project: str, auth_session_id: str, login: LoginSpec) -> None:
        """Have the AuthSession log in with other parameters. Raises as `get` does.

        When this returns, the Run that does it can be read; if the AuthSession logs in already, or a Run uses its login
        alone, it can be after that.
        """
        with translate_rpc_errors(_NOT_FOUND):
            view = await self._view(workspace, project, auth_session_id)
            await self._handle(project, auth_session_id).signal(names.UPDATE_LOGIN, login, rpc_timeout=RPC_TIMEOUT)
        if view.pending_run_id is None and view.lease.holder is None:
            await self._until_begun(login.run_id)

    async def replace_state(
        self, workspace: str, project: str, auth_session_id: str, state_key: str
    ) -> AuthSessionView:
        """Replace the browser state of an imported AuthSession, and return once it has the new one.

        Raises:
            NotFound: There is none with this id.
            Unavailable: Temporal cannot be reached, or no worker has carried it out yet (it will be).
        """
        with translate_rpc_errors(_NOT_FOUND):
            before = (await self._view(workspace, project, auth_session_id)).login_version
            await self._handle(project, auth_session_id).signal(
                names.IMPORTED, Imported(key=state_key), rpc_timeout=RPC_TIMEOUT
            )
            try:
                async with asyncio.timeout(_CHANGE_TIMEOUT.total_seconds()):
                    # A memo has to be polled. The version is compared, as a Run may save another state back.
                    while (view := await self._view(workspace, project, auth_session_id)).login_version == before:  # noqa: ASYNC110
                        await asyncio.sleep(_POLL_SECONDS)
            except TimeoutError as error:
                raise _no_worker("replaced") from error
            return view

    async def validate(self, run_id: str, validate_input: ValidateInput) -> None:
        """Start a Validate, which is a Run of its own. Raises as a start of a Run does."""
        with translate_rpc_errors(_NOT_FOUND):
            await self._client.start_workflow(
                names.VALIDATE,
                validate_input,
                id=run_id,
                task_queue=names.RUNS_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=f"Validate {validate_input.ref.id} of {validate_input.project}",
                static_details=validate_input.started_by and validate_input.started_by.start_note,
                priority=Priority(
                    priority_key=names.PRIORITY_PENDING, fairness_key=names.fairness_key(validate_input.project)
                ),
                memo=auth_run_memo(validate_input.workspace, validate_input.version, None),
                search_attributes=auth_run_search_attributes(
                    validate_input.project, validate_input.ref.id, RunType.AUTH_SESSION_VALIDATE
                ),
                rpc_timeout=RPC_TIMEOUT,
            )

    async def delete(self, workspace: str, project: str, auth_session_id: str) -> None:
        """Delete the AuthSession with its browser state and parameters, and return when it is gone.

        Raises:
            NotFound: There is none with this id.
            Unavailable: Temporal cannot be reached, or no worker has carried it out yet (it will be).
        """
        with translate_rpc_errors(_NOT_FOUND):
            await self._view(workspace, project, auth_session_id)
            handle = self._handle(project, auth_session_id)
            await handle.signal(names.DELETE, rpc_timeout=RPC_TIMEOUT)
            try:
                async with asyncio.timeout(_CHANGE_TIMEOUT.total_seconds()):
                    await wait_for_result(handle)
            except TimeoutError as error:
                raise _no_worker("deleted") from error
            except WorkflowFailureError:
                return  # somebody ended the workflow in Temporal itself: the AuthSession is gone

    async def _until_begun(self, run_id: str) -> None:
        """Wait until a Run exists that an AuthSession starts, but not for long: it was accepted in any case."""
        handle = self._client.get_workflow_handle(run_id)
        try:
            async with asyncio.timeout(_BEGIN_TIMEOUT.total_seconds()):
                while await unless_missing(handle.describe(rpc_timeout=RPC_TIMEOUT)) is None:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(_BEGIN_POLL_SECONDS)
        except (TimeoutError, RPCError) as error:
            log.info("Run %s is accepted, and was not seen to begin yet: %s", run_id, error)

    def _handle(self, project: str, owner: str) -> WorkflowHandle[object, object]:
        return self._client.get_workflow_handle(names.auth_session_workflow_id(project, owner))

    async def _view(self, workspace: str, project: str, owner: str) -> AuthSessionView:
        """Return the state of an AuthSession from the memo of its workflow. Raises NotFound, or RPCError."""
        description = await self._handle(project, owner).describe(rpc_timeout=RPC_TIMEOUT)
        is_running = description.status is WorkflowExecutionStatus.RUNNING
        if not is_running or await description.memo_value(names.MEMO_WORKSPACE, default=None) != workspace:
            raise NotFound(_NOT_FOUND)
        return await description.memo_value(names.MEMO_VIEW, type_hint=AuthSessionView)


def _no_worker(change: str) -> Unavailable:
    return Unavailable(f"The AuthSession will be {change}, but no worker has taken that up yet. Look again later.")
