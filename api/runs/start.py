"""Start of a Run by a request: what its body says is checked, and its secrets are kept out of its tags."""

from __future__ import annotations

from typing import Any

from api.dependencies import Services
from callboard.projects.job_definition import proxy_secrets, sink_secrets
from callboard.projects.manifest import Manifest
from callboard.projects.tag_check import TagCheck
from callboard.schemas.rest.json_text import validate_body
from callboard.schemas.rest.run_auth_session import RuntimeAuthSession
from callboard.schemas.rest.start_request import StartRequest, StartResponse
from callboard.schemas.workflow.actor import Actor
from callboard.security.egress import check_proxy
from callboard.security.secret_detection import find_secrets_in_parameters
from callboard.starts.create_run import check_api_and_auth, create_run, require_named_auth_session
from callboard.starts.identity import resolve_identity
from callboard.starts.lookup import read_version


async def start_run(
    services: Services,
    manifest: Manifest,
    body: dict[str, Any],
    idempotency_key: str | None,
    by: Actor,
    *,
    by_hand: bool = False,
) -> StartResponse:
    """Start a Run of the version that the body names, else of the one that `manifest` describes.

    If the Idempotency-Key stands for a Run, find that one. Parameters that somebody has written by hand are checked by
    the API's schema also where the project does not want that of all starts.

    Raises:
        BadRequest: A field is wrong.
        NotFound: The project has no such version, no such API, or no such AuthSession.
        Conflict: The Idempotency-Key was used with another body.
        TooMany: As many Runs of the project wait as may wait.
        ConfigurationError: Something must be sealed, and there is no key to seal it with.
        StoreError, Unavailable: It is not known that anything was started; repeating the request helps.
    """
    if body.get("version") is None:
        # This comes before all other checks, because a missing authSession is what people forget.
        require_named_auth_session(manifest, body.get("authSession"))
    request = validate_body(StartRequest, body)
    if request.version is not None:
        manifest = await read_version(services, manifest.project, request.version)
    check_api_and_auth(manifest, request)
    tag_check = TagCheck(services.job_definer.variables, manifest.project, _own_secrets(manifest, request))
    await tag_check.refuse_secrets(request.tags, "tags")
    await check_proxy(services.egress, "proxy", request.proxy)
    await check_proxy(services.egress, "authSession.proxy", request.auth_session and request.auth_session.proxy)
    # The fingerprint is made from the request before defaults are applied, so that a redeploy does not change it.
    identity = await resolve_identity(services, manifest.project, request.canonical(), idempotency_key)
    await create_run(services, manifest, request, identity, by, by_hand=by_hand)
    return StartResponse(run_id=identity.run_id)


def _own_secrets(manifest: Manifest, request: StartRequest) -> list[str | None]:
    """Return the secrets that a start has in its own body."""
    auth = request.auth_session
    secrets = [secret for _, found in sink_secrets(request.sink) for secret in found]
    secrets += [*proxy_secrets(request.proxy), *proxy_secrets(auth and auth.proxy)]
    if isinstance(auth, RuntimeAuthSession):
        names_of_secrets = manifest.settings.auth_sessions.secret_parameters
        secrets += find_secrets_in_parameters(auth.runtime_input, names_of_secrets)
    return secrets
