"""Creation of a Run: the last checks before it, and the input that it is created with, secrets sealed.

An api creates Runs for requests, and a worker those of a bulk rerun.
"""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from callboard.projects.manifest import Manifest
from callboard.projects.project_settings import ProjectSettings
from callboard.projects.variables import may_have_variables
from callboard.schemas.errors import BadRequest, NotFound, TooMany, Unavailable
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.run_auth_session import RuntimeAuthSession, StoredAuthSession
from callboard.schemas.rest.start_request import StartRequest
from callboard.schemas.suggestion import did_you_mean
from callboard.schemas.workflow import names
from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.auth import AuthSessionRef, AuthSessionType, RunAuth
from callboard.schemas.workflow.base import HISTORY_BUDGET, INLINE_LIMIT, JsonRef, clip
from callboard.schemas.workflow.run import RetryIntervals, RunInput
from callboard.schemas.workflow.trace import TraceMode
from callboard.starts.identity import RunIdentity, was_started
from callboard.starts.lookup import check_parameters, require_auth_session
from callboard.starts.request_secrets import (
    delete_artifacts,
    resolve_proxy,
    resolve_run_sink,
    seal_for_auth_session,
    start_with_artifacts,
)
from callboard.starts.services import StartServices
from callboard.storage import object_keys
from callboard.telemetry.log_context import add_log_fields

log = logging.getLogger(__name__)

_RETRY_AFTER = 5
"""Seconds after which a client that was refused may come again, if as many Runs wait as may wait."""

# The text up to the colon is the one that clients of the contract look for, so it stays word for word.
_AUTH_REQUIRED = (
    "Auth session is required for auth session validation runs: project {project} logs in, so the request needs "
    'authSession, such as {{"id": "…"}} with the id of an AuthSession.'
)


def check_api_and_auth(manifest: Manifest, request: StartRequest) -> None:
    """Check that the project offers what is requested.

    Raises:
        NotFound: The project has no such API.
        BadRequest: The project uses AuthSessions and the request names none, or the other way round.
    """
    require_named_auth_session(manifest, request.auth_session)
    if request.api not in manifest.apis:
        hint = did_you_mean(request.api, manifest.apis)
        message = f"Project {manifest.project} has no API {clip(request.api, 100)!r}.{hint}"
        raise NotFound(message, details={"path": "api"})
    if request.auth_session is not None and not manifest.settings.auth_sessions.enabled:
        message = f"authSession: project {manifest.project} does not use AuthSessions (authSessions.enabled is false)."
        raise field_error("authSession", "no authSession for this project", message)


async def create_run(
    services: StartServices,
    manifest: Manifest,
    request: StartRequest,
    identity: RunIdentity,
    by: Actor,
    *,
    rerun_of: str | None = None,
    bulk_id: str | None = None,
    by_hand: bool = False,
) -> None:
    """Start the Run `identity`, unless the very same request has started it before.

    Args:
        services: What a start needs.
        manifest: The manifest of the version that the Run is to execute.
        request: The request as it was sent, which `check_api_and_auth` has accepted. Its proxies are not checked here.
        identity: The identity of the Run.
        by: Who starts it.
        rerun_of: The id of the earlier Run if this one is a rerun.
        bulk_id: The id of the bulk that starts it, if one does: it gives way to Runs that somebody may wait for.
        by_hand: Whether the parameters are checked although the project does not want that of all starts.

    Raises:
        BadRequest: The parameters or the sink are not allowed.
        NotFound: There is no such AuthSession.
        Conflict: The Idempotency-Key was used with another body.
        TooMany: As many Runs of the project wait as may wait.
        ConfigurationError: Something must be sealed, and there is no key to seal it with.
        StoreError, Unavailable: It is not known that anything was started; repeating the request helps.
    """
    workspace, project = services.settings.workspace, manifest.project
    if by_hand or manifest.settings.api_access.validate_parameters:
        await _check_parameters(services, manifest, request, identity)
    await _check_queue(services, manifest, identity, is_bulk=bulk_id is not None)
    effective = _with_defaults(request, manifest.settings)
    auth = (
        None
        if effective.auth_session is None
        else await _build_run_auth(services, manifest, effective.auth_session, identity)
    )
    proxy = resolve_proxy(services, manifest, identity.run_id, effective.proxy, auth and auth.proxy)
    sink = await resolve_run_sink(services, manifest, effective.sink, identity.run_id)
    parameters, artifacts = _place_parameters(project, identity, effective)
    run_input = RunInput(
        workspace=workspace,
        project=project,
        version=manifest.version,
        api=effective.api,
        parameters=parameters,
        maximum_attempts=effective.retry.maximum_attempts,
        retry_intervals=RetryIntervals.first_said(request.retry, manifest.settings.defaults.retry),
        request_timeout=timedelta(seconds=effective.request_timeout),
        queue_timeout=None if effective.queue_timeout is None else timedelta(seconds=effective.queue_timeout),
        trace=TraceMode.of(effective.save_trace),
        proxy=proxy,
        auth=auth,
        sink=sink,
        reads_variables=await may_have_variables(services.store, project, services.settings.dev_projects),
        tags=tuple(request.tags),
        has_alerts=bool(manifest.settings.alerts),
        started_by=by,
    )
    login = await _seal_runtime_input(services, project, auth, effective.auth_session, identity)
    artifacts |= login
    if rerun_of is not None:
        marker = object_keys.rerun(project, rerun_of, identity.run_id)
        artifacts[marker] = json.dumps({"at": datetime.now(UTC).isoformat()}).encode("ascii")

    async def start() -> None:
        # From here on the Run may exist. What is refused before has no id in the log and the audit, as nothing has it.
        add_log_fields(runId=identity.run_id, project=project)
        created = await services.runs.start(
            identity.run_id, run_input, fingerprint=identity.fingerprint, rerun_of=rerun_of, batch=bulk_id
        )
        if login and not created:
            # Another copy of this request started the Run first. If that Run has ended already, nothing else will
            # delete the runtimeInput that was just stored.
            state = await services.runs.get_state(workspace, project, identity.run_id)
            if state.outcome is not None:
                await delete_artifacts(services, *login)

    # Artifacts of an Idempotency-Key belong to all requests with the same body, and another one of them may have
    # started the Run. After a conflict none did: the existing Run has another body, and so other store keys.
    await start_with_artifacts(services, artifacts, start, shared=bool(identity.fingerprint))


async def _check_parameters(
    services: StartServices, manifest: Manifest, request: StartRequest, identity: RunIdentity
) -> None:
    """Check the parameters. A request that has started its Run before is never refused.

    Raises:
        BadRequest: They are not what the API's schema says.
        Unavailable: Temporal does not answer.
    """
    try:
        await check_parameters(services, manifest, request.api, request.parameters, "parameters")
    except BadRequest:
        if not await was_started(services, manifest.project, identity):
            raise


async def _check_queue(services: StartServices, manifest: Manifest, identity: RunIdentity, *, is_bulk: bool) -> None:
    """Check by the setting `replication.maxQueued` that another Run of the project may wait, and count it.

    A bulk adds Runs while no more than half of these wait, so that meanwhile others may start some, too.

    Runs are counted about once a second, so somewhat more of them may wait than the project allows if they are started
    within moments. A request that has started its Run before is never refused.

    Raises:
        TooMany: As many Runs wait as the project allows.
        Unavailable: Temporal does not answer.
    """
    limit, project = manifest.settings.replication.max_queued, manifest.project
    if limit is None:
        return
    if is_bulk:
        limit = max(1, limit // 2)
    waiting = await services.queues.count(project, lambda: _read_count(services, project))
    if waiting >= limit and not await was_started(services, project, identity):
        raise TooMany(
            f"{waiting} Runs of project {project} wait for a Machine, and its setting replication.maxQueued allows "
            f"{limit}. Try again in {_RETRY_AFTER} seconds.",
            retry_after=_RETRY_AFTER,
        )
    services.queues.add(project)


async def _read_count(services: StartServices, project: str) -> int:
    """Return how many Runs wait; 0 if Temporal cannot say, as a start must not depend on its lists."""
    try:
        return await services.run_queries.count_waiting(project)
    except Unavailable as error:
        log.warning("Runs of project %s that wait for a Machine could not be counted: %s", project, error.message)
        return 0


def require_named_auth_session(manifest: Manifest, auth_session: object) -> None:
    """Raise BadRequest if the project logs in, and this, which a request has as its AuthSession, is nothing."""
    if manifest.settings.auth_sessions.enabled and auth_session is None:
        message = _AUTH_REQUIRED.format(project=manifest.project)
        raise field_error("authSession", "an object with the id of an AuthSession", message)


def _with_defaults(request: StartRequest, project: ProjectSettings) -> StartRequest:
    """Return the request with the project's defaults in the fields that it left out.

    The proxy is not among them, as `resolve_proxy` chooses it, nor are the intervals of `retry`.
    """
    defaults = project.defaults
    update: dict[str, Any] = {}
    if defaults.request_timeout is not None and "request_timeout" not in request.model_fields_set:
        update["request_timeout"] = defaults.request_timeout
    if request.queue_timeout is None:
        update["queue_timeout"] = defaults.queue_timeout
    if defaults.retry.maximum_attempts is not None and "maximum_attempts" not in request.retry.model_fields_set:
        update["retry"] = request.retry.model_copy(update={"maximum_attempts": defaults.retry.maximum_attempts})
    return request.model_copy(update=update)


async def _build_run_auth(
    services: StartServices,
    manifest: Manifest,
    requested: StoredAuthSession | RuntimeAuthSession,
    identity: RunIdentity,
) -> RunAuth:
    """Return the part of the Run's input that is about its AuthSession. Nothing is stored yet.

    Raises:
        BadRequest: The request has a `runtimeInput`, but people record the logins of this project.
        NotFound: There is no such AuthSession.
        ConfigurationError: A proxy must be sealed, and there is no key to seal it with.
        Unavailable: Temporal does not answer.
    """
    stored, parameters_key, is_recreatable = None, None, True
    if isinstance(requested, StoredAuthSession):
        view = await require_auth_session(services, manifest.project, requested.id, "authSession.id")
        ref, stored = AuthSessionRef(id=view.id, type=view.type, owner=view.id), view.proxy
        is_recreatable = manifest.settings.auth_sessions.can_recreate(view)
    else:
        if manifest.settings.auth_sessions.type == "MANUAL":
            raise field_error(
                "authSession.runtimeInput",
                "no runtimeInput for this project",
                f"authSession.runtimeInput: the logins of project {manifest.project} are recorded by people "
                '(authSessions.type is "MANUAL"), so none can be made from an input. Name an AuthSession by its id.',
            )
        ref = AuthSessionRef(
            id=requested.id or f"runtime-{identity.run_id}",
            type=AuthSessionType.RUNTIME,
            owner=names.runtime_owner(identity.run_id),
        )
        parameters_key = _login_parameters_key(manifest.project, ref.owner, identity)
    return RunAuth(
        ref=ref,
        auto_recreate=requested.auto_recreate and is_recreatable,
        check_attempts=requested.check_attempts,
        create_attempts=requested.create_attempts,
        request_timeout=timedelta(seconds=requested.request_timeout),
        trace=TraceMode.of(requested.save_trace),
        proxy=resolve_proxy(services, manifest, identity.run_id, requested.proxy, stored),
        save_back=manifest.settings.auth_sessions.save_back,
        is_exclusive=isinstance(requested, StoredAuthSession)
        and (requested.lease or manifest.settings.defaults.auth_session.lease) is not None,
        parameters_key=parameters_key,
    )


async def _seal_runtime_input(
    services: StartServices,
    project: str,
    auth: RunAuth | None,
    requested: StoredAuthSession | RuntimeAuthSession | None,
    identity: RunIdentity,
) -> dict[str, bytes]:
    """Return the artifact with the `runtimeInput` of the Run, sealed, by its store key.

    There is none without a `runtimeInput`, nor if the Run exists already, and has what it needs or does not need it any
    more.

    Raises:
        ConfigurationError: There is no key to seal with.
        Unavailable: Temporal does not answer.
    """
    if auth is None or auth.parameters_key is None or not isinstance(requested, RuntimeAuthSession):
        return {}
    if await was_started(services, project, identity):
        return {}
    text = json.dumps(requested.runtime_input, separators=(",", ":"))
    return {auth.parameters_key: seal_for_auth_session(services, project, auth.ref.owner, text)}


def _login_parameters_key(project: str, owner: str, identity: RunIdentity) -> str:
    # Two bodies with one Idempotency-Key get two artifacts: the second one must not replace that of the first.
    owner_key = (
        hashlib.sha256(identity.fingerprint.encode("ascii")).hexdigest() if identity.fingerprint else identity.run_id
    )
    return object_keys.auth_session_parameters(project, owner, owner_key)


def _place_parameters(project: str, identity: RunIdentity, request: StartRequest) -> tuple[JsonRef, dict[str, bytes]]:
    """Return the parameters as part of the Run's input, and as an artifact by its store key if they are large."""
    text = json.dumps(request.parameters, separators=(",", ":"))
    # The parameters are part of the input of every Attempt in the history, so more Attempts leave less room for each.
    if len(text) <= min(INLINE_LIMIT, HISTORY_BUDGET // request.retry.maximum_attempts):
        return JsonRef(text=text, size=len(text)), {}
    # The store key is made from the fingerprint of the whole body if there is one: two bodies with one Idempotency-Key
    # must not share an artifact, even if they differ only outside their parameters.
    digest = hashlib.sha256(identity.fingerprint.encode("ascii") or text.encode("ascii")).hexdigest()
    key = object_keys.parameters(project, identity.run_id, digest)
    return JsonRef(key=key, size=len(text)), {key: text.encode("ascii")}
