"""Calls about stored AuthSessions: create, update, validate and import them (docs/contract.md, section 7)."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from api.auth_sessions.operation_result import note_accepted
from api.contract_values import closed_auth_session
from api.dependencies import Services
from api.egress_checks import check_proxy
from api.guards import auth_session
from api.http.json_body import read_as
from api.request_secrets import definitely_not_started, delete_artifacts, first_proxy, put_sealed, seal_proxy
from api.runs.ids import new_identity
from projects.manifest import Manifest
from schemas.errors import BadRequest, CallboardError, Conflict, NotFound
from schemas.rest.auth_sessions import (
    AuthSessionBody,
    CreateAuthSession,
    ImportAuthSession,
    LoginStarted,
    UpdateAuthSession,
    ValidateAuthSession,
    ValidateStarted,
)
from schemas.workflow.auth import AuthSessionRef, AuthSessionStatus, AuthSessionType
from schemas.workflow.auth_session import AuthSessionInput, AuthSessionView, LoginSpec, ValidateInput
from schemas.workflow.proxy import owned_by_auth_session
from schemas.workflow.run import RunType
from schemas.workflow.trace import TraceMode
from storage import keys


async def create(parts: Services, manifest: Manifest, body: dict[str, Any]) -> LoginStarted:
    """Start the Run that creates an AuthSession from parameters.

    Raises:
        BadRequest: A field is wrong, or people record the logins of this project.
        Conflict: There is already an AuthSession with this id.
        ConfigurationError: Something must be sealed, and there is no key to seal it with.
        StoreError, Unavailable: It is not known that anything was started.
    """
    request = read_as(CreateAuthSession, body)
    await check_proxy(parts, "proxy", request.proxy)
    _check_made_here(manifest)
    owner = request.id or _new_id()
    if request.id is not None:
        await _check_free(parts, manifest.project, owner)
    order = _login_order(parts, manifest, owner, request, RunType.AUTH_SESSION_CREATE)
    own_proxy = order.proxy if request.proxy is not None else None
    view = _new_view(owner, AuthSessionType.CREDENTIALS, AuthSessionStatus.PENDING)
    being = AuthSessionInput(
        workspace=parts.settings.workspace,
        project=manifest.project,
        ref=AuthSessionRef(id=owner, type=AuthSessionType.CREDENTIALS, owner=owner),
        view=view.model_copy(update={"proxy": own_proxy}),
        create=order,
    )
    try:
        await _keep(parts, manifest.project, owner, request, order)
        await parts.auth_sessions.create(being)
    except CallboardError as error:
        await _take_back(parts, manifest.project, order, error)
        raise
    return LoginStarted(operation_id=order.run_id)


async def update(parts: Services, manifest: Manifest, given: str, body: dict[str, Any]) -> LoginStarted:
    """Start the Run in which an AuthSession logs in with other parameters; the old login stays if that fails.

    Raises:
        BadRequest: A field is wrong, the AuthSession was recorded, or people record the logins of this project.
        NotFound: There is no such AuthSession.
        ConfigurationError: Something must be sealed, and there is no key to seal it with.
        StoreError, Unavailable: It is not known that anything was started.
    """
    request = read_as(UpdateAuthSession, body)
    await check_proxy(parts, "proxy", request.proxy)
    view = await auth_session(parts, manifest.project, given)
    if view.type is AuthSessionType.RECORDER:
        raise _recorded(f"AuthSession {view.id} was recorded by a person")
    _check_made_here(manifest)
    order = _login_order(parts, manifest, view.id, request, RunType.AUTH_SESSION_UPDATE, view)
    try:
        await _keep(parts, manifest.project, view.id, request, order)
        await parts.auth_sessions.update(parts.settings.workspace, manifest.project, view.id, order)
    except CallboardError as error:
        await _take_back(parts, manifest.project, order, error)
        raise
    return LoginStarted(operation_id=order.run_id)


async def validate(parts: Services, manifest: Manifest, given: str, body: dict[str, Any]) -> ValidateStarted:
    """Start the Run that checks an AuthSession and, if `autoRecreate` allows it, recreates one that is not good.

    Raises:
        BadRequest: A field is wrong.
        NotFound: There is no such AuthSession.
        ConfigurationError: A proxy must be sealed, and there is no key to seal it with.
        Unavailable: Temporal does not answer.
    """
    request = read_as(ValidateAuthSession, body)
    await check_proxy(parts, "proxy", request.proxy)
    view = await auth_session(parts, manifest.project, given)
    run_id = new_identity().run_id
    order = ValidateInput(
        workspace=parts.settings.workspace,
        project=manifest.project,
        version=manifest.version,
        ref=AuthSessionRef(id=view.id, type=view.type, owner=view.id),
        auto_recreate=request.auto_recreate and view.type is not AuthSessionType.RECORDER,
        check_attempts=request.check_attempts,
        create_attempts=request.create_attempts,
        request_timeout=timedelta(seconds=request.request_timeout),
        save_back=manifest.settings.auth_sessions.save_back,
        proxy=first_proxy(parts, manifest, run_id, request.proxy, view.proxy),
    )
    await parts.auth_sessions.validate(run_id, order)
    return ValidateStarted(operation_id=run_id)


async def import_state(parts: Services, manifest: Manifest, body: dict[str, Any]) -> AuthSessionBody:
    """Import a login that a person has made elsewhere; a recorded AuthSession with this id gets the new state.

    Raises:
        BadRequest: A field is wrong, or the project makes its logins itself.
        Conflict: There is already an AuthSession with this id, and it was not recorded.
        ConfigurationError: There is no key to seal the state with.
        StoreError: The store failed.
        Unavailable: Temporal does not answer, or no worker took up the new state in time.
    """
    request = read_as(ImportAuthSession, body)
    if manifest.settings.auth_sessions.type != "MANUAL":
        raise BadRequest(
            f'Project {manifest.project} makes its logins itself (authSessions.type is not "MANUAL"), so none can be '
            "imported. Create the AuthSession from its parameters."
        )
    workspace, project, owner = parts.settings.workspace, manifest.project, request.id or _new_id()
    known = await _find(parts, project, owner) if request.id is not None else None
    if known is not None and known.type is not AuthSessionType.RECORDER:
        raise _taken(project, owner)
    key = keys.auth_session_state(project, owner, secrets.token_urlsafe(16))
    try:
        await put_sealed(parts, project, owner, key, request.state.to_json())
        if known is not None:
            return closed_auth_session(await parts.auth_sessions.record(workspace, project, owner, key))
        view = _new_view(owner, AuthSessionType.RECORDER, AuthSessionStatus.READY)
        view = view.model_copy(update={"login": 1, "state_key": key})
        ref = AuthSessionRef(id=owner, type=AuthSessionType.RECORDER, owner=owner)
        await parts.auth_sessions.create(AuthSessionInput(workspace=workspace, project=project, ref=ref, view=view))
    except CallboardError as error:
        if definitely_not_started(error):
            await delete_artifacts(parts, key)
        raise
    return closed_auth_session(view)


def _login_order(
    parts: Services,
    manifest: Manifest,
    owner: str,
    request: UpdateAuthSession,
    kind: RunType,
    view: AuthSessionView | None = None,
) -> LoginSpec:
    run_id = new_identity().run_id
    if request.proxy is not None:
        # The proxy becomes the AuthSession's own, so it is sealed for the AuthSession and not for the Run.
        proxy = seal_proxy(parts, manifest.project, request.proxy, owned_by_auth_session(owner))
    else:
        proxy = first_proxy(parts, manifest, run_id, None, view and view.proxy)
    return LoginSpec(
        run_id=run_id,
        type=kind,
        version=manifest.version,
        parameters_key=keys.auth_session_parameters(manifest.project, owner, run_id),
        create_attempts=request.create_attempts,
        check_attempts=request.check_attempts,
        request_timeout=timedelta(seconds=request.request_timeout),
        trace=TraceMode.of(request.save_trace),
        proxy=proxy,
    )


async def _keep(parts: Services, project: str, owner: str, request: UpdateAuthSession, order: LoginSpec) -> None:
    text = json.dumps(request.parameters, separators=(",", ":"))
    await put_sealed(parts, project, owner, order.parameters_key, text)
    await note_accepted(parts, project, order.run_id, order.type, owner)


async def _take_back(parts: Services, project: str, order: LoginSpec, error: CallboardError) -> None:
    if definitely_not_started(error):
        await delete_artifacts(parts, order.parameters_key, keys.accepted(project, order.run_id))


async def _check_free(parts: Services, project: str, owner: str) -> None:
    # Temporal refuses an id that is taken, too. This check comes before anything is stored, so that nothing is put
    # among the artifacts that are removed with an AuthSession that is just being deleted.
    if await _find(parts, project, owner) is not None:
        raise _taken(project, owner)


async def _find(parts: Services, project: str, owner: str) -> AuthSessionView | None:
    try:
        return await parts.auth_sessions.view(parts.settings.workspace, project, owner)
    except NotFound:
        return None


def _taken(project: str, owner: str) -> Conflict:
    return Conflict(
        f"There is an AuthSession {owner!r} in project {project} already. Update it, delete it first, or choose "
        "another id.",
        details={"path": "id"},
    )


def _check_made_here(manifest: Manifest) -> None:
    if manifest.settings.auth_sessions.type == "MANUAL":
        raise _recorded(
            f'The logins of project {manifest.project} are recorded by people (authSessions.type is "MANUAL")'
        )


def _recorded(why: str) -> BadRequest:
    return BadRequest(f"{why}, so Callboard cannot make them. Import a browser's state: POST …/auth-sessions/import.")


def _new_id() -> str:
    return f"auth-session-{new_identity().run_id}"


def _new_view(owner: str, kind: AuthSessionType, status: AuthSessionStatus) -> AuthSessionView:
    now = datetime.now(UTC)
    return AuthSessionView(id=owner, type=kind, status=status, created_at=now, updated_at=now)
