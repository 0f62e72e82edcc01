"""Calls about stored AuthSessions: create, update, validate, import and record them (docs/contract.md, section 7)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from api.auth_sessions.results import accepted_note
from api.dependencies import Services
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import BadRequest, Conflict, NotFound
from callboard.schemas.rest.auth_sessions import (
    AuthSessionBody,
    CreateAuthSession,
    ImportAuthSession,
    OperationStarted,
    RecordAuthSession,
    RenewAuthSession,
    UpdateAuthSession,
    ValidateAuthSession,
    ValidateStarted,
)
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.json_text import validate_body
from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.auth import AuthSessionRef, AuthSessionStatus, AuthSessionType
from callboard.schemas.workflow.auth_session import (
    RECORD_TIMEOUT,
    AuthSessionInput,
    AuthSessionView,
    LoginSpec,
    ValidateInput,
)
from callboard.schemas.workflow.proxy import SealedProxy, owned_by_auth_session
from callboard.schemas.workflow.run import RunType
from callboard.schemas.workflow.trace import TraceMode
from callboard.security.egress import check_field, check_proxy
from callboard.security.sealed_proxies import seal_proxy
from callboard.starts.identity import new_run_id
from callboard.starts.lookup import find_auth_session, require_auth_session
from callboard.starts.request_secrets import resolve_proxy, seal_for_auth_session, start_with_artifacts
from callboard.storage import object_keys
from callboard.telemetry.log_context import add_log_fields

_RECORD_CHECK_ATTEMPTS = 3
"""How often the login that a person has made is checked at most."""


async def create(services: Services, manifest: Manifest, body: dict[str, Any], by: Actor) -> OperationStarted:
    """Start the Run that creates an AuthSession from parameters.

    Raises:
        BadRequest: A field is wrong, or people record the logins of this project.
        Conflict: There is already an AuthSession with this id.
        ConfigurationError: Something must be sealed, and there is no key to seal it with.
        StoreError, Unavailable: It is not known that anything was started.
    """
    request = validate_body(CreateAuthSession, body)
    await check_proxy(services.egress, "proxy", request.proxy)
    _require_automatic_logins(manifest)
    owner = request.id or _new_id()
    # Temporal refuses an id that is taken, too. This check comes before anything is stored, so that nothing is put
    # among the artifacts that are removed with an AuthSession that is just being deleted.
    if request.id is not None and await find_auth_session(services, manifest.project, owner) is not None:
        raise _already_exists(manifest.project, owner)
    spec = _login_spec(services, manifest, owner, request, RunType.AUTH_SESSION_CREATE, by)
    own_proxy = spec.proxy if request.proxy is not None else None
    view = _new_view(owner, AuthSessionType.CREDENTIALS, AuthSessionStatus.PENDING)
    session = AuthSessionInput(
        workspace=services.settings.workspace,
        project=manifest.project,
        ref=AuthSessionRef(id=owner, type=AuthSessionType.CREDENTIALS, owner=owner),
        view=view.model_copy(update={"proxy": own_proxy}),
        create=spec,
    )
    begin = partial(services.auth_sessions.create, session)
    return await _start(services, manifest.project, owner, spec, begin, request.parameters)


async def update(
    services: Services, manifest: Manifest, auth_session_id: str, body: dict[str, Any], by: Actor
) -> OperationStarted:
    """Start the Run in which an AuthSession logs in with other parameters; the old login stays if that fails.

    Raises:
        BadRequest: A field is wrong, the AuthSession was recorded, or people record the logins of this project.
        Conflict: The AuthSession is a file of the project.
        NotFound: There is no such AuthSession.
        ConfigurationError: Something must be sealed, and there is no key to seal it with.
        StoreError, Unavailable: It is not known that anything was started.
    """
    request = validate_body(UpdateAuthSession, body)
    await check_proxy(services.egress, "proxy", request.proxy)
    view = await require_changeable_auth_session(services, manifest.project, auth_session_id)
    _require_automatic_logins(manifest)
    if view.type is AuthSessionType.RECORDER:
        raise BadRequest(
            f"AuthSession {view.id} was recorded by a person, so it has no parameters. Delete it, and create it from"
            " them."
        )
    spec = _login_spec(services, manifest, view.id, request, RunType.AUTH_SESSION_UPDATE, by, view)
    workspace, project = services.settings.workspace, manifest.project
    begin = partial(services.auth_sessions.update, workspace, project, view.id, spec)
    return await _start(services, project, view.id, spec, begin, request.parameters)


async def validate(
    services: Services, manifest: Manifest, auth_session_id: str, body: dict[str, Any], by: Actor
) -> ValidateStarted:
    """Start the Run that checks an AuthSession and, if `autoRecreate` allows it, recreates one that is not good.

    Raises:
        BadRequest: A field is wrong.
        NotFound: There is no such AuthSession.
        ConfigurationError: A proxy must be sealed, and there is no key to seal it with.
        Unavailable: Temporal does not answer.
    """
    request = validate_body(ValidateAuthSession, body)
    await check_proxy(services.egress, "proxy", request.proxy)
    view = await require_auth_session(services, manifest.project, auth_session_id)
    run_id = new_run_id()
    add_log_fields(operationId=run_id)
    spec = ValidateInput(
        workspace=services.settings.workspace,
        project=manifest.project,
        version=manifest.version,
        ref=AuthSessionRef(id=view.id, type=view.type, owner=view.id),
        auto_recreate=request.auto_recreate and manifest.settings.auth_sessions.can_recreate(view),
        check_attempts=request.check_attempts,
        create_attempts=request.create_attempts,
        request_timeout=timedelta(seconds=request.request_timeout),
        save_back=manifest.settings.auth_sessions.save_back,
        takes_lease=True,
        proxy=resolve_proxy(services, manifest, run_id, request.proxy, view.proxy),
        started_by=by,
    )
    await services.auth_sessions.validate(run_id, spec)
    return ValidateStarted(operation_id=run_id)


async def import_state(services: Services, manifest: Manifest, body: dict[str, Any]) -> AuthSessionBody:
    """Import a login that a person has made elsewhere; a recorded AuthSession with this id gets the new state.

    Raises:
        BadRequest: A field is wrong, or the project creates its AuthSessions from parameters.
        Conflict: There is already an AuthSession with this id, and it was not recorded.
        ConfigurationError: There is no key to seal the state with.
        StoreError: The store failed.
        Unavailable: Temporal does not answer, or no worker took up the new state in time.
    """
    request = validate_body(ImportAuthSession, body)
    _require_recorded_logins(manifest)
    number = request.state.first_with_databases
    if number is not None and not manifest.settings.auth_sessions.indexed_db:
        expected = "nothing, as authSessions.indexedDb is not true in the settings of the project"
        wrong = {"path": f"state.origins[{number}].indexedDB", "expected": expected}
        raise BadRequest(
            f"{wrong['path']}: expected {expected}. Set it to true and deploy the project, or save the state without "
            "IndexedDB.",
            details={**wrong, "errors": [wrong]},
        )
    workspace, project, owner = services.settings.workspace, manifest.project, request.id or _new_id()
    add_log_fields(authSessionId=owner)
    existing = await find_auth_session(services, project, owner) if request.id is not None else None
    if existing is not None and existing.type is not AuthSessionType.RECORDER:
        raise _already_exists(project, owner)
    key = object_keys.auth_session_state(project, owner, secrets.token_urlsafe(16))
    artifacts = {key: seal_for_auth_session(services, project, owner, request.state.to_json())}
    if existing is not None:
        replaced = await start_with_artifacts(
            services, artifacts, lambda: services.auth_sessions.replace_state(workspace, project, owner, key)
        )
        return contract_auth_session(replaced)
    view = _new_view(owner, AuthSessionType.RECORDER, AuthSessionStatus.READY)
    view = view.model_copy(update={"login_version": 1, "state_key": key})
    ref = AuthSessionRef(id=owner, type=AuthSessionType.RECORDER, owner=owner)
    created = AuthSessionInput(workspace=workspace, project=project, ref=ref, view=view)
    await start_with_artifacts(services, artifacts, lambda: services.auth_sessions.create(created))
    return contract_auth_session(view)


async def record(services: Services, manifest: Manifest, body: dict[str, Any], by: Actor) -> OperationStarted:
    """Start the Run in which a person makes the login of a new AuthSession, in a browser of Callboard.

    Raises:
        BadRequest: A field is wrong, leads to an address that is not public, or the project makes its logins itself.
        Conflict: There is already an AuthSession with this id.
        ConfigurationError: A proxy must be sealed, and there is no key to seal it with.
        StoreError, Unavailable: It is not known that anything was started.
    """
    request = validate_body(RecordAuthSession, body)
    start_url = await _check_record(services, manifest, request, None)
    owner = request.id or _new_id()
    if request.id is not None and await find_auth_session(services, manifest.project, owner) is not None:
        raise _already_exists(manifest.project, owner)
    spec = _record_spec(services, manifest, owner, start_url, request.proxy, by)
    session = AuthSessionInput(
        workspace=services.settings.workspace,
        project=manifest.project,
        ref=AuthSessionRef(id=owner, type=AuthSessionType.RECORDER, owner=owner),
        view=_new_view(owner, AuthSessionType.RECORDER, AuthSessionStatus.PENDING),
        create=spec,
    )
    return await _start(services, manifest.project, owner, spec, partial(services.auth_sessions.create, session))


async def renew(
    services: Services, manifest: Manifest, auth_session_id: str, body: dict[str, Any], by: Actor
) -> OperationStarted:
    """Start the Run in which a person makes the login of an AuthSession anew; the old one stays if that fails.

    Raises:
        BadRequest: As for `record`, or there is no start address, or the AuthSession was made from parameters.
        Conflict: A person is asked for this login already, or is to be.
        NotFound: There is no such AuthSession.
        ConfigurationError: A proxy must be sealed, and there is no key to seal it with.
        StoreError, Unavailable: It is not known that anything was started.
    """
    request = validate_body(RenewAuthSession, body)
    workspace, project = services.settings.workspace, manifest.project
    view = await require_changeable_auth_session(services, project, auth_session_id)
    start_url = await _check_record(services, manifest, request, view)
    if view.type is not AuthSessionType.RECORDER:
        raise BadRequest(f"AuthSession {view.id} was created from parameters. Update it.")
    if (record_id := view.pending_run_id or view.lease.record) is not None:
        raise await _is_recorded(services, project, view.id, record_id)
    spec = _record_spec(services, manifest, view.id, start_url, request.proxy, by, view)
    begin = partial(services.auth_sessions.update, workspace, project, view.id, spec)
    return await _start(services, project, view.id, spec, begin)


async def _check_record(
    services: Services, manifest: Manifest, request: RenewAuthSession, view: AuthSessionView | None
) -> str:
    """Return where a record is to begin, which is checked, as is that people record the logins of this project.

    Raises:
        BadRequest: They do not, or there is no such address, or it, or the proxy, leads to one that is not public.
    """
    _require_recorded_logins(manifest)
    start_url = request.start_url or (view and view.start_url) or manifest.settings.auth_sessions.start_url
    if start_url is None:
        wrong = "an http or https URL, as neither the AuthSession nor the project's settings have one"
        raise field_error("startUrl", wrong, f"startUrl: expected {wrong} (authSessions.startUrl).")
    await check_proxy(services.egress, "proxy", request.proxy)
    # A proxy resolves the name itself, and may know others, whoever has named it.
    default = manifest.settings.proxy_in(services.settings.environment)
    has_proxy = any((request.proxy, view and view.proxy, default))
    await check_field(services.egress, "startUrl", start_url, "startUrl", allow_unknown_host=has_proxy)
    return start_url


async def require_changeable_auth_session(services: Services, project: str, auth_session_id: str) -> AuthSessionView:
    """Return the project's AuthSession with this id, which requests may change and delete.

    Raises:
        NotFound: There is no such AuthSession.
        Conflict: It is a file of the project.
        Unavailable: Temporal does not answer.
    """
    view = await require_auth_session(services, project, auth_session_id)
    if view.from_file:
        raise Conflict(
            f"AuthSession {view.id} is a file of project {project}. Edit the file, or remove it, and deploy the "
            "project."
        )
    return view


def contract_auth_session(view: AuthSessionView) -> AuthSessionBody:
    """Return an AuthSession in words of the contract.

    A type that is not known becomes RECORDER, the type of a login that only its owner can make again. A status that is
    not known becomes EXPIRED, which promises no login.
    """
    return AuthSessionBody(
        id=view.id,
        type=view.type if view.type.is_known else AuthSessionType.RECORDER,
        status=view.status if view.status.is_known else AuthSessionStatus.EXPIRED,
    )


def _login_spec(
    services: Services,
    manifest: Manifest,
    owner: str,
    request: UpdateAuthSession,
    run_type: RunType,
    by: Actor,
    view: AuthSessionView | None = None,
) -> LoginSpec:
    run_id = new_run_id()
    return LoginSpec(
        run_id=run_id,
        type=run_type,
        version=manifest.version,
        parameters_key=object_keys.auth_session_parameters(manifest.project, owner, run_id),
        create_attempts=request.create_attempts,
        check_attempts=request.check_attempts,
        request_timeout=timedelta(seconds=request.request_timeout),
        trace=TraceMode.of(request.save_trace),
        proxy=_login_proxy(services, manifest, owner, run_id, request.proxy, view),
        started_by=by,
    )


def _record_spec(
    services: Services,
    manifest: Manifest,
    owner: str,
    start_url: str,
    proxy: str | None,
    by: Actor,
    view: AuthSessionView | None = None,
) -> LoginSpec:
    run_id = new_run_id()
    return LoginSpec(
        run_id=run_id,
        type=RunType.AUTH_SESSION_RECORD,
        version=manifest.version,
        start_url=start_url,
        create_attempts=1,
        check_attempts=_RECORD_CHECK_ATTEMPTS,
        request_timeout=RECORD_TIMEOUT,
        proxy=_login_proxy(services, manifest, owner, run_id, proxy, view),
        started_by=by,
    )


def _login_proxy(
    services: Services, manifest: Manifest, owner: str, run_id: str, requested: str | None, view: AuthSessionView | None
) -> SealedProxy | None:
    if requested is None:
        return resolve_proxy(services, manifest, run_id, None, view and view.proxy)
    # The proxy becomes the AuthSession's own, so it is sealed for the AuthSession and not for the Run.
    return seal_proxy(
        requested,
        services.ring,
        workspace=services.settings.workspace,
        project=manifest.project,
        owner=owned_by_auth_session(owner),
    )


async def _start(
    services: Services,
    project: str,
    owner: str,
    spec: LoginSpec,
    begin: Callable[[], Awaitable[object]],
    parameters: dict[str, Any] | None = None,
) -> OperationStarted:
    """Store what the Run needs, and start it by `begin`."""
    add_log_fields(authSessionId=owner, operationId=spec.run_id)
    artifacts = {object_keys.accepted(project, spec.run_id): accepted_note(spec.type, owner)}
    if spec.parameters_key is not None:
        text = json.dumps(parameters, separators=(",", ":"))
        artifacts[spec.parameters_key] = seal_for_auth_session(services, project, owner, text)
    await start_with_artifacts(services, artifacts, begin)
    return OperationStarted(operation_id=spec.run_id)


def _already_exists(project: str, owner: str) -> Conflict:
    return Conflict(
        f"There is an AuthSession {owner!r} in project {project} already. Update it, delete it first, or choose "
        "another id.",
        details={"path": "id"},
    )


async def _is_recorded(services: Services, project: str, auth_session_id: str, run_id: str) -> Conflict:
    """Return the error for who would record a login that a Run records already, or is to. Raises Unavailable."""
    handoff_id = None
    with suppress(NotFound):  # that has not begun
        listed = await services.runs.list_handoffs(services.settings.workspace, project, run_id)
        handoff_id = next((each.id for each in listed if each.is_open), None)
    waits = "" if handoff_id is None else f", whose Handoff {handoff_id} waits for a person"
    return Conflict(
        f"AuthSession {auth_session_id} is being recorded by Run {run_id}{waits}. Log in there, or cancel that Run.",
        details={"operationId": run_id, "handoffId": handoff_id},
    )


def _require_automatic_logins(manifest: Manifest) -> None:
    if manifest.settings.auth_sessions.type == "MANUAL":
        raise _recorded_error(
            f'The logins of project {manifest.project} are recorded by people (authSessions.type is "MANUAL")'
        )


def _recorded_error(reason: str) -> BadRequest:
    return BadRequest(
        f"{reason}, so Callboard cannot create them. Record the login, or import a browser's state: "
        "POST …/auth-sessions/record, POST …/auth-sessions/import."
    )


def _require_recorded_logins(manifest: Manifest) -> None:
    if manifest.settings.auth_sessions.type != "MANUAL":
        raise BadRequest(
            f"The AuthSessions of project {manifest.project} are created from parameters (authSessions.type is not "
            '"MANUAL"), so none can be recorded or imported. Create the AuthSession from its parameters.'
        )


def _new_id() -> str:
    return f"auth-session-{new_run_id()}"


def _new_view(owner: str, run_type: AuthSessionType, status: AuthSessionStatus) -> AuthSessionView:
    now = datetime.now(UTC)
    return AuthSessionView(id=owner, type=run_type, status=status, created_at=now, updated_at=now)
