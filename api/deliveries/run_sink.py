"""The sink of a Run: chosen from the request or the project, checked, and sealed before it is passed on."""

from __future__ import annotations

from api.dependencies import Services
from projects.manifest import Manifest
from schemas.rest.sink import S3Sink, WebhookSink
from schemas.workflow.sink import SealedSink
from security import seal_context
from security.egress_checks import check_sink
from security.sealed_sinks import delivery_schedule, seal_sink


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
