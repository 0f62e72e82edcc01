"""The sink of a Run: chosen from the request or the project, checked, and sealed before it is passed on."""

from __future__ import annotations

from api.dependencies import Services
from api.egress_checks import check_sink
from projects.manifest import Manifest
from schemas.bucket_address import bucket_address
from schemas.rest.sink import ProjectS3Sink, S3Sink, WebhookSink
from schemas.workflow.sink import DeliverySchedule, SealedBucket, SealedSink, SealedWebhook
from security import seal_context
from security.keyring import KeyRing
from security.masking import mask_url
from settings import Settings

AnySink = WebhookSink | S3Sink | ProjectS3Sink

_IN_HOST = " With forcePathStyle the bucket is part of the path, and not of the host's name."
_DEFAULT_REGION = "us-east-1"
"""Region of a project's sink that names none: every server that is not AWS accepts it."""


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
    label = "sink" if requested is not None else "The project's defaults.sink"
    if isinstance(sink, WebhookSink):
        await check_sink(services, "sink.url", sink.url, f"{label}.url")
    elif sink.endpoint is not None:
        address = bucket_address(sink.endpoint, sink.bucket, path_style=sink.force_path_style)
        in_host = not address.startswith(sink.endpoint.rstrip("/"))
        await check_sink(services, "sink.endpoint", address, f"{label}.endpoint", hint=_IN_HOST if in_host else "")
    bound_to = seal_context.run(settings.workspace, manifest.project, run_id)
    return seal_sink(sink, delivery_schedule(settings), services.ring, bound_to)


def seal_sink(sink: AnySink, schedule: DeliverySchedule, ring: KeyRing, bound_to: str) -> SealedSink:
    """Return the sink as it may appear in a workflow's history: with masked addresses and sealed secrets.

    Raises:
        ConfigurationError: There is no key to seal it with.
    """

    def seal(text: str) -> str:
        return ring.seal(text, bound_to=bound_to)

    webhook = bucket = None
    if isinstance(sink, WebhookSink):
        headers = {name: seal(value) for name, value in sink.headers.items()}
        webhook = SealedWebhook(url=mask_url(sink.url), sealed_url=seal(sink.url), headers=headers)
    else:
        bucket = SealedBucket(
            bucket=sink.bucket,
            region=sink.region or _DEFAULT_REGION,
            prefix=sink.prefix,
            endpoint=sink.endpoint,
            force_path_style=sink.force_path_style,
            access_key_id=seal(sink.access_key_id),
            secret_access_key=seal(sink.secret_access_key),
        )
    return SealedSink(
        webhook=webhook,
        bucket=bucket,
        skip_on_fail=sink.skip_on_fail,
        apis_to_send=None if sink.apis_to_send is None else tuple(sink.apis_to_send),
        schedule=schedule,
    )


def delivery_schedule(settings: Settings) -> DeliverySchedule:
    """Return when a Delivery is tried again; this is decided for a Run when it is created."""
    return DeliverySchedule(
        first_delay=settings.delivery_first_delay,
        factor=settings.delivery_factor,
        max_delay=settings.delivery_max_delay,
        give_up_after=settings.delivery_give_up_after,
        timeout=settings.delivery_timeout,
    )
