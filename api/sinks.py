"""The sink of a Run: whose it is, whether it may be reached, and sealed before it goes anywhere."""

from __future__ import annotations

from api.parts import Parts
from api.reach import check_sink
from contract.flow.sink import DeliverySchedule, SealedBucket, SealedWebhook, SinkOrder, bucket_address
from contract.rest.sink import ProjectS3Sink, S3Sink, WebhookSink
from projects.manifest import Manifest
from security import bindings
from security.keyring import KeyRing
from security.masking import mask_url
from settings import Settings

AnySink = WebhookSink | S3Sink | ProjectS3Sink

_IN_HOST = " With forcePathStyle the bucket is part of the path, and not of the host's name."
_DEFAULT_REGION = "us-east-1"
"""Of a project's sink that names none: what every server that is not AWS takes."""


async def sink_of_run(
    parts: Parts, manifest: Manifest, said: WebhookSink | S3Sink | None, run_id: str
) -> SinkOrder | None:
    """The sink that a start names, else the project's; sealed for the Run.

    Raises:
        BadRequest: It leads where nothing may be sent.
        ConfigurationError: There is no key to seal it with.
    """
    settings = parts.settings
    sink = said or manifest.settings.sink_in(settings.environment)
    if sink is None:
        return None
    whose = "sink" if said is not None else "The project's defaults.sink"
    if isinstance(sink, WebhookSink):
        await check_sink(parts, "sink.url", sink.url, f"{whose}.url")
    elif sink.endpoint is not None:
        address = bucket_address(sink.endpoint, sink.bucket, path_style=sink.force_path_style)
        in_host = not address.startswith(sink.endpoint.rstrip("/"))
        await check_sink(parts, "sink.endpoint", address, f"{whose}.endpoint", hint=_IN_HOST if in_host else "")
    bound_to = bindings.run(settings.workspace, manifest.project, run_id)
    return seal_sink(sink, schedule_of(settings), parts.ring, bound_to)


def seal_sink(sink: AnySink, schedule: DeliverySchedule, ring: KeyRing, bound_to: str) -> SinkOrder:
    """The sink as it may stand in a history: addresses masked, all that is secret sealed.

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
    return SinkOrder(
        webhook=webhook,
        bucket=bucket,
        skip_on_fail=sink.skip_on_fail,
        apis_to_send=None if sink.apis_to_send is None else tuple(sink.apis_to_send),
        schedule=schedule,
    )


def schedule_of(settings: Settings) -> DeliverySchedule:
    """When a Delivery is tried again: decided for a Run when it is accepted."""
    return DeliverySchedule(
        first_delay=settings.delivery_first_delay,
        factor=settings.delivery_factor,
        max_delay=settings.delivery_max_delay,
        give_up_after=settings.delivery_give_up_after,
        timeout=settings.delivery_timeout,
    )
