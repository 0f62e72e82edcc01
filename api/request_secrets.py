"""Secrets of a request: they are sealed before they enter Temporal or the artifact store, and deleted if unused."""

from __future__ import annotations

import logging

from api.dependencies import Services
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import BadRequest, CallboardError, ConfigurationError, Conflict, NotFound, StoreError
from callboard.schemas.rest.sink import S3Sink, WebhookSink
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.schemas.workflow.sink import SealedSink
from callboard.security import seal_context
from callboard.security.egress import check_sink
from callboard.security.sealed_proxies import seal_proxy
from callboard.security.sealed_sinks import delivery_schedule, seal_sink

log = logging.getLogger(__name__)


def resolve_proxy(
    services: Services, manifest: Manifest, run_id: str, requested: str | None, fallback: SealedProxy | None = None
) -> SealedProxy | None:
    """Return the proxy of the request, else `fallback`, else the project's; None if there is none of these.

    It is sealed for the Run, except for `fallback` (the proxy of the Run's AuthSession), which is sealed already.
    """
    if requested is None and fallback is not None:
        return fallback
    url = manifest.settings.proxy_in(services.settings.environment) if requested is None else requested
    if url is None:
        return None
    workspace = services.settings.workspace
    return seal_proxy(url, services.ring, workspace=workspace, project=manifest.project, owner=run_id)


async def resolve_run_sink(
    services: Services, manifest: Manifest, requested: WebhookSink | S3Sink | None, run_id: str
) -> SealedSink | None:
    """Return the sink that a start names, else the project's, sealed for the Run; None if there is neither.

    Raises:
        BadRequest: The sink leads where nothing may be sent.
        ConfigurationError: There is no key to seal it with.
    """
    settings = services.settings
    sink = requested or manifest.settings.sink_in(settings.environment)
    if sink is None:
        return None
    await check_sink(services.egress, sink, "sink" if requested is not None else "The project's defaults.sink")
    bound_to = seal_context.run(settings.workspace, manifest.project, run_id)
    return seal_sink(sink, delivery_schedule(settings), services.ring, bound_to)


async def store_sealed(services: Services, project: str, owner: str, key: str, text: str) -> None:
    """Store a secret of an AuthSession (parameters or a browser state) as a sealed artifact.

    Raises:
        ConfigurationError: There is no key to seal with.
        StoreError: The store failed.
    """
    bound_to = seal_context.auth_session(services.settings.workspace, project, owner)
    await services.store.put(key, services.ring.seal(text, bound_to=bound_to).encode("ascii"))


def definitely_not_started(error: CallboardError) -> bool:
    """Tell whether an error proves that nothing was started. If Temporal did not answer, something may have been."""
    return isinstance(error, BadRequest | NotFound | Conflict | ConfigurationError | StoreError)


async def delete_artifacts(services: Services, *keys: str | None) -> None:
    """Delete artifacts that nobody needs; log a warning for each that cannot be deleted."""
    for key in keys:
        if key is None:
            continue
        try:
            await services.store.delete(key)
        except StoreError:
            log.warning("%s is of no use and could not be removed", key, exc_info=True)
