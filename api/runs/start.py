"""Start of a Run: the checks before it is created, and the input that it is created with."""

from __future__ import annotations

import difflib
import hashlib
import json
from datetime import timedelta
from typing import Any

from api.deliveries.run_sink import sink_of_run
from api.dependencies import Services
from api.egress_checks import check_proxy
from api.http.json_body import read_as
from api.request_secrets import definitely_not_started, delete_artifacts, first_proxy
from api.runs.ids import Identity, identities, new_identity
from api.runs.run_auth import auth_order, keep_runtime_input
from projects.manifest import Manifest
from projects.settings import ProjectSettings
from schemas.errors import CallboardError, Conflict, NotFound
from schemas.rest.auth_session import RuntimeAuthSession
from schemas.rest.problems import bad_field
from schemas.rest.start import StartRequest, StartResponse
from schemas.workflow.base import HISTORY_BUDGET, INLINE_LIMIT, JsonRef, clip
from schemas.workflow.run import RunInput
from schemas.workflow.trace import TraceMode
from storage import keys

_AUTH_REQUIRED = (
    "Auth session is required for auth session validation runs: project {project} logs in, so the request needs "
    'authSession, such as {{"id": "…"}} with the id of an AuthSession.'
)


async def start_run(
    parts: Services, manifest: Manifest, body: dict[str, Any], idempotency_key: str | None
) -> StartResponse:
    """Start a Run of the version that `manifest` describes, or find the one that the Idempotency-Key stands for.

    Raises:
        BadRequest: A field is wrong.
        NotFound: The project has no such API, or no such AuthSession.
        Conflict: The Idempotency-Key was used with another body.
        ConfigurationError: Something must be sealed, and there is no key to seal it with.
        StoreError, Unavailable: It is not known that anything was started; repeating the request helps.
    """
    said = _read(manifest, body)
    await check_proxy(parts, "proxy", said.proxy)
    await check_proxy(parts, "authSession.proxy", said.auth_session and said.auth_session.proxy)
    # The fingerprint is made from the request before defaults are applied, so that a redeploy does not change it.
    who = await identify(parts, manifest.project, said.canonical(), idempotency_key)
    await begin_run(parts, manifest, said, who)
    return StartResponse(run_id=who.run_id)


async def begin_run(
    parts: Services, manifest: Manifest, said: StartRequest, who: Identity, *, rerun_of: str | None = None
) -> None:
    """Start the Run `who`, unless the very same request has started it before. Raises what `start_run` raises.

    Args:
        parts: The services of the request.
        manifest: The manifest of the version that the Run is to execute.
        said: The request, before the project's defaults are applied. Its proxies are not checked again.
        who: The identity of the Run.
        rerun_of: The id of the earlier Run if this one is a rerun.
    """
    _check_offered(manifest, said)
    workspace, project = parts.settings.workspace, manifest.project
    request = _with_defaults(said, manifest.settings)
    auth = None if request.auth_session is None else await auth_order(parts, manifest, request.auth_session, who)
    proxy = first_proxy(parts, manifest, who.run_id, request.proxy, auth and auth.proxy)
    sink = await sink_of_run(parts, manifest, request.sink, who.run_id)
    parameters = await _keep_parameters(parts, project, who, request)
    order = RunInput(
        workspace=workspace,
        project=project,
        version=manifest.version,
        api=request.api,
        parameters=parameters,
        maximum_attempts=request.retry.maximum_attempts,
        request_timeout=timedelta(seconds=request.request_timeout),
        trace=TraceMode.of(request.save_trace),
        proxy=proxy,
        auth=auth,
        sink=sink,
    )
    try:
        await _start(parts, order, request, who, rerun_of)
    except CallboardError as error:
        # Artifacts of an Idempotency-Key belong to all requests with the same body, and another one of them may have
        # started the Run. After a conflict none did: the existing Run has another body, and so other store keys.
        if isinstance(error, Conflict) or (definitely_not_started(error) and not who.fingerprint):
            await delete_artifacts(parts, parameters.key, auth and auth.parameters_key)
        raise


async def _start(parts: Services, order: RunInput, request: StartRequest, who: Identity, rerun_of: str | None) -> None:
    kept = False
    if order.auth is not None and isinstance(request.auth_session, RuntimeAuthSession):
        kept = await keep_runtime_input(parts, order.project, order.auth, request.auth_session, who)
    began = await parts.runs.start(who.run_id, order, fingerprint=who.fingerprint, rerun_of=rerun_of)
    if order.auth is not None and kept and not began:
        # Another copy of this request started the Run first. If that Run has ended already, nothing else will delete
        # the runtimeInput that was just stored.
        state = await parts.runs.state(order.workspace, order.project, who.run_id)
        if state.outcome is not None:
            await delete_artifacts(parts, order.auth.parameters_key)


def _read(manifest: Manifest, body: dict[str, Any]) -> StartRequest:
    # This comes before all other checks, because a missing authSession is what people forget.
    _check_logs_in(manifest, body.get("authSession"))
    request = read_as(StartRequest, body)
    _check_offered(manifest, request)
    return request


def _check_logs_in(manifest: Manifest, auth_session: object) -> None:
    if manifest.settings.auth_sessions.enabled and auth_session is None:
        message = _AUTH_REQUIRED.format(project=manifest.project)
        raise bad_field("authSession", "an object with the id of an AuthSession", message)


def _check_offered(manifest: Manifest, request: StartRequest) -> None:
    """Check that the project offers what is requested.

    Raises:
        NotFound: The project has no such API.
        BadRequest: The project uses AuthSessions and the request names none, or the other way round.
    """
    _check_logs_in(manifest, request.auth_session)
    if request.api not in manifest.apis:
        raise _no_such_api(manifest, request.api)
    if request.auth_session is not None and not manifest.settings.auth_sessions.enabled:
        message = f"authSession: project {manifest.project} does not use AuthSessions (authSessions.enabled is false)."
        raise bad_field("authSession", "no authSession for this project", message)


def _with_defaults(request: StartRequest, project: ProjectSettings) -> StartRequest:
    """Return the request with the project's defaults in the fields that it left out.

    The proxy is not among them: `first_proxy` chooses it.
    """
    defaults = project.defaults
    values: dict[str, Any] = {"request_timeout": defaults.request_timeout}
    if defaults.retry.maximum_attempts is not None and not request.retry.model_fields_set:
        values["retry"] = request.retry.model_copy(update={"maximum_attempts": defaults.retry.maximum_attempts})
    said = request.model_fields_set - {"retry"}
    return request.model_copy(
        update={name: value for name, value in values.items() if value is not None and name not in said}
    )


def _no_such_api(manifest: Manifest, api: str) -> NotFound:
    alike = difflib.get_close_matches(api, manifest.apis, n=1)
    hint = f" Is {alike[0]} meant?" if alike else ""
    return NotFound(f"Project {manifest.project} has no API {clip(api, 100)!r}.{hint}", details={"path": "api"})


async def identify(parts: Services, project: str, said: bytes, idempotency_key: str | None) -> Identity:
    """Return the identity of the Run that an Idempotency-Key and this body stand for; without a key, of a new Run.

    Raises:
        ConfigurationError: There is no secret key to derive an id with.
        Unavailable: Temporal does not answer.
    """
    if idempotency_key is None:
        return new_identity()
    workspace = parts.settings.workspace
    newest, *older = identities(parts.ring, workspace, project, idempotency_key, said)
    for identity in older:  # the Run may have been started before the key ring was rotated
        try:
            await parts.runs.state(workspace, project, identity.run_id)
        except NotFound:
            continue
        return identity
    return newest


async def _keep_parameters(parts: Services, project: str, who: Identity, request: StartRequest) -> JsonRef:
    text = json.dumps(request.parameters, separators=(",", ":"))
    # The parameters are part of the input of every Attempt in the history, so more Attempts leave less room for each.
    if len(text) <= min(INLINE_LIMIT, HISTORY_BUDGET // request.retry.maximum_attempts):
        return JsonRef(text=text, size=len(text))
    # The store key is made from the fingerprint of the whole body if there is one: two bodies with one Idempotency-Key
    # must not share an artifact, even if they differ only outside their parameters.
    digest = hashlib.sha256(who.fingerprint.encode("ascii") or text.encode("ascii")).hexdigest()
    key = keys.parameters(project, who.run_id, digest)
    await parts.store.put(key, text.encode("ascii"))
    return JsonRef(key=key, size=len(text))
