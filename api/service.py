"""Starting a Run: all that must be true before it is accepted, and what it is then ordered with."""

from __future__ import annotations

import difflib
import hashlib
import json
from datetime import timedelta
from typing import Any

from api.identity import Identity, identities, new_identity
from api.parts import Parts
from api.reach import check_proxy
from api.reading import read_as
from api.sealing import first_proxy, forget, is_undone
from api.sinks import sink_of_run
from api.start_auth import auth_order, keep_runtime_input
from contract.errors import CallboardError, Conflict, NotFound
from contract.flow.base import HISTORY_BUDGET, INLINE_LIMIT, JsonText, clip
from contract.flow.run import RunInput
from contract.flow.trace import TraceMode
from contract.rest.auth_session import RuntimeAuthSession
from contract.rest.problems import bad_field
from contract.rest.start import StartRequest, StartResponse
from projects.manifest import Manifest
from projects.settings import ProjectSettings
from storage import keys

_AUTH_REQUIRED = (
    "Auth session is required for auth session validation runs: project {project} logs in, so the request needs "
    'authSession, such as {{"id": "…"}} with the id of an AuthSession.'
)


async def start_run(
    parts: Parts, manifest: Manifest, body: dict[str, Any], idempotency_key: str | None
) -> StartResponse:
    """Start a Run of the version that `manifest` describes, or find the one that the Idempotency-Key stands for.

    Raises:
        BadRequest: A field is wrong.
        NotFound: The project has no such API, or no such AuthSession.
        Conflict: The Idempotency-Key was used with another body.
        ConfigurationError: Something must be sealed, and there is no key to seal it with.
        StoreError, Unavailable: Nothing is known to have been started; repeating helps.
    """
    said = _read(manifest, body)
    await check_proxy(parts, "proxy", said.proxy)
    await check_proxy(parts, "authSession.proxy", said.auth_session and said.auth_session.proxy)
    # By what was said: another version's defaults do not make the same request another one.
    who = await identify(parts, manifest.project, said.canonical(), idempotency_key)
    await begin_run(parts, manifest, said, who)
    return StartResponse(run_id=who.run_id)


async def begin_run(
    parts: Parts, manifest: Manifest, said: StartRequest, who: Identity, *, rerun_of: str | None = None
) -> None:
    """Start the Run `who`, unless it was started by the very same request. Raises what `start_run` raises.

    Args:
        parts: Of the request.
        manifest: Of the version that it is to execute.
        said: What it is ordered to do, without the project's defaults. Its proxies may be used.
        who: Its identity.
        rerun_of: The Run whose inputs these are.
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
        # What lies in the store for an Idempotency-Key belongs to all requests that say the same, and one of them may
        # have been heard. After a conflict none was: the Run that exists has another body, and so other keys.
        if isinstance(error, Conflict) or (is_undone(error) and not who.fingerprint):
            await forget(parts, parameters.key, auth and auth.parameters_key)
        raise


async def _start(parts: Parts, order: RunInput, request: StartRequest, who: Identity, rerun_of: str | None) -> None:
    kept = False
    if order.auth is not None and isinstance(request.auth_session, RuntimeAuthSession):
        kept = await keep_runtime_input(parts, order.project, order.auth, request.auth_session, who)
    began = await parts.runs.start(who.run_id, order, fingerprint=who.fingerprint, rerun_of=rerun_of)
    if order.auth is not None and kept and not began:
        # The very same request was heard first. If its Run has ended already, nobody will remove what was just kept.
        state = await parts.runs.state(order.workspace, order.project, who.run_id)
        if state.outcome is not None:
            await forget(parts, order.auth.parameters_key)


def _read(manifest: Manifest, body: dict[str, Any]) -> StartRequest:
    # Before anything else is looked at: it is what people forget.
    _check_logs_in(manifest, body.get("authSession"))
    request = read_as(StartRequest, body)
    _check_offered(manifest, request)
    return request


def _check_logs_in(manifest: Manifest, auth_session: object) -> None:
    if manifest.settings.auth_sessions.enabled and auth_session is None:
        message = _AUTH_REQUIRED.format(project=manifest.project)
        raise bad_field("authSession", "an object with the id of an AuthSession", message)


def _check_offered(manifest: Manifest, request: StartRequest) -> None:
    """Raises NotFound if the project has no such API, and BadRequest if its logins and the request do not fit."""
    _check_logs_in(manifest, request.auth_session)
    if request.api not in manifest.apis:
        raise _no_such_api(manifest, request.api)
    if request.auth_session is not None and not manifest.settings.auth_sessions.enabled:
        message = f"authSession: project {manifest.project} does not use AuthSessions (authSessions.enabled is false)."
        raise bad_field("authSession", "no authSession for this project", message)


def _with_defaults(request: StartRequest, project: ProjectSettings) -> StartRequest:
    """The request, with the project's defaults in the fields that it left out; the proxy has an order of its own."""
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


async def identify(parts: Parts, project: str, said: bytes, idempotency_key: str | None) -> Identity:
    """The Run that an Idempotency-Key stands for with what is said; without one, a new Run.

    Raises:
        ConfigurationError: There is no key to make an id with.
        Unavailable: Temporal does not answer.
    """
    if idempotency_key is None:
        return new_identity()
    workspace = parts.settings.workspace
    newest, *older = identities(parts.ring, workspace, project, idempotency_key, said)
    for identity in older:  # a Run that was started before the key ring was rotated
        try:
            await parts.runs.state(workspace, project, identity.run_id)
        except NotFound:
            continue
        return identity
    return newest


async def _keep_parameters(parts: Parts, project: str, who: Identity, request: StartRequest) -> JsonText:
    text = json.dumps(request.parameters, separators=(",", ":"))
    # They stand in the order of every Attempt: the more there may be, the less each may hold.
    if len(text) <= min(INLINE_LIMIT, HISTORY_BUDGET // request.retry.maximum_attempts):
        return JsonText(text=text, size=len(text))
    # The key is made from the whole body's fingerprint where there is one: two bodies of one Idempotency-Key must
    # not share an object, also where only something beside their parameters differs.
    digest = hashlib.sha256(who.fingerprint.encode("ascii") or text.encode("ascii")).hexdigest()
    key = keys.parameters(project, who.run_id, digest)
    await parts.store.put(key, text.encode("ascii"))
    return JsonText(key=key, size=len(text))
