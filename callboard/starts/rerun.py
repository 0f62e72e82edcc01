"""A rerun: a new Run with the inputs of an earlier one, executed by the version that is deployed now.

Secrets in the inputs are sealed for the Run that carries them, so they are opened here and sealed anew for the new Run.
Meanwhile they are held in this process in plain text, as they were when they came with the start.
"""

from __future__ import annotations

import json
from typing import Any

from callboard.projects.manifest import Manifest
from callboard.schemas.errors import BadRequest, Conflict
from callboard.schemas.rest.json_text import validate_body
from callboard.schemas.rest.start_request import StartRequest
from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.auth import AuthSessionType
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.schemas.workflow.run import RunInput
from callboard.security import seal_context
from callboard.security.sealed_proxies import open_proxy
from callboard.security.sealed_sinks import open_sink
from callboard.starts.create_run import check_api_and_auth, create_run
from callboard.starts.identity import RunIdentity
from callboard.starts.masked_input import masked_input
from callboard.starts.services import StartServices
from callboard.storage.raw_json import load_json
from callboard.telemetry.log_context import add_log_fields


async def start_rerun(
    services: StartServices,
    manifest: Manifest,
    run_id: str,
    identity: RunIdentity,
    by: Actor,
    *,
    bulk_id: str | None = None,
) -> None:
    """Start the Run `identity` with the inputs of `run_id`, unless the very same request has started it before.

    `bulk_id` is the id of the bulk that starts it, if one does.

    Raises:
        BadRequest: It is not a Run of an API, or a Run with these inputs may not be started (any more).
        NotFound: There is no such Run, or its API or its AuthSession does not exist any more.
        Conflict: It had an AuthSession of its own, which is gone; or the Idempotency-Key was used for another Run.
        TooMany: As many Runs of the project wait as may wait.
        SealError, ConfigurationError: A sealed input cannot be opened.
        StoreError, Unavailable: It is not known that anything was started; repeating the request helps.
    """
    details = await services.run_queries.get_details(services.settings.workspace, manifest.project, run_id)
    if not isinstance(details.input, RunInput):
        raise BadRequest(
            f"Run {run_id} makes or checks a login (type {details.list_item.type}), and only Runs of APIs can be "
            "started again. Update or validate its AuthSession instead."
        )
    request = validate_body(StartRequest, await _start_request_body(services, run_id, details.input))
    check_api_and_auth(manifest, request)
    add_log_fields(rerunOf=run_id)
    await create_run(services, manifest, request, identity, by, rerun_of=run_id, bulk_id=bulk_id)


async def _start_request_body(services: StartServices, run_id: str, run: RunInput) -> dict[str, Any]:
    """Return the body of a start request with the same inputs."""

    def open_own(proxy: SealedProxy | None) -> str | None:
        # The new Run finds the AuthSession's own proxy there.
        if proxy is None or proxy.belongs_to_auth_session:
            return None
        return open_proxy(proxy, services.ring, workspace=run.workspace, project=run.project, carrier=run_id)

    parameters = await load_json(run.parameters, "parameters", run_id, services.store)
    shown = masked_input(run)
    body: dict[str, Any] = {
        **shown,
        "parameters": json.loads(parameters.text),
        # Without an interval, the project's would count.
        "retry": {"initialInterval": 0, **shown["retry"]},
        "proxy": open_own(run.proxy),
    }
    if run.auth is not None:
        if run.auth.ref.type is AuthSessionType.RUNTIME:
            raise Conflict(
                f"Run {run_id} had an AuthSession of its own, and its runtimeInput is not kept. Start a new Run with "
                "it."
            )
        body["authSession"]["proxy"] = open_own(run.auth.proxy)
    if run.sink is not None:
        body["sink"] = open_sink(run.sink, services.ring, seal_context.run(run.workspace, run.project, run_id))
    return body
