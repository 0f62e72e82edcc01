"""Seal the secrets of a request, store the artifacts of what it starts, and remove these again if nobody needs them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from callboard.projects.manifest import Manifest
from callboard.schemas.errors import BadRequest, CallboardError, ConfigurationError, Conflict, NotFound, StoreError
from callboard.schemas.rest.sink import S3Sink, WebhookSink
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.schemas.workflow.sink import SealedSink
from callboard.security import seal_context
from callboard.security.egress import check_sink
from callboard.security.sealed_proxies import seal_proxy
from callboard.security.sealed_sinks import delivery_schedule, seal_sink
from callboard.starts.services import StartServices

log = logging.getLogger(__name__)


def resolve_proxy(
    services: StartServices, manifest: Manifest, run_id: str, requested: str | None, fallback: SealedProxy | None = None
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
    services: StartServices, manifest: Manifest, requested: WebhookSink | S3Sink | None, run_id: str
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


def seal_for_auth_session(services: StartServices, project: str, owner: str, text: str) -> bytes:
    """Return a secret of an AuthSession (parameters or a browser state) as an artifact.

    Raises:
        ConfigurationError: There is no key to seal with.
    """
    bound_to = seal_context.auth_session(services.settings.workspace, project, owner)
    return services.ring.seal(text, bound_to=bound_to).encode("ascii")


async def start_with_artifacts[T](
    services: StartServices, artifacts: Mapping[str, bytes], start: Callable[[], Awaitable[T]], *, shared: bool = False
) -> T:
    """Store these artifacts, all at the same time, and only then start what needs them; return what that returns.

    If nothing was started, they are removed again, also if the request was canceled before. If Temporal has not
    answered, something may have been started, and they stay.

    Args:
        services: The services of the request.
        artifacts: What to store, by store key.
        start: Starts it.
        shared: Whether another request may have started it with the same artifacts. They are removed after a conflict
            only: what was started then has other artifacts.

    Raises:
        StoreError: An artifact could not be stored, and nothing was started.
    """
    asked = False
    try:
        await _store_all(services, artifacts)
        asked = True
        return await start()
    except BaseException as error:  # also a cancel: nobody else knows of what was stored
        nothing_started = not asked or (isinstance(error, CallboardError) and definitely_not_started(error))
        if isinstance(error, Conflict) or (nothing_started and not shared):
            await delete_artifacts(services, *artifacts)
        raise


async def _store_all(services: StartServices, artifacts: Mapping[str, bytes]) -> None:
    """Store artifacts. Each write has ended afterwards, whatever becomes of the others. Raises StoreError."""
    writes = asyncio.gather(
        *(services.store.put(key, content) for key, content in artifacts.items()), return_exceptions=True
    )
    try:
        results = await asyncio.shield(writes)
    except asyncio.CancelledError:
        await writes  # A write that has begun goes on in its thread, so what it leaves could not be removed now.
        raise
    failed = [result for result in results if result is not None]
    for error in failed[1:]:
        log.error("An artifact could not be stored, and was not the only one: %s", error)
    if failed:
        raise failed[0]


def definitely_not_started(error: CallboardError) -> bool:
    """Tell whether an error proves that nothing was started. If Temporal did not answer, something may have been."""
    return isinstance(error, BadRequest | NotFound | Conflict | ConfigurationError | StoreError)


async def delete_artifacts(services: StartServices, *keys: str) -> None:
    """Delete artifacts that nobody needs; log a warning for each that cannot be deleted."""
    for key in keys:
        try:
            await services.store.delete(key)
        except StoreError:
            log.warning("%s is of no use and could not be removed", key, exc_info=True)
