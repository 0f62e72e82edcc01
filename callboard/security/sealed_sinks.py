"""Seal the secrets of sinks for whoever carries them, open them again, and seal them for another owner.

An owner is what `callboard.security.seal_context` returns: a Run, or a Job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callboard.schemas.rest.sink import ProjectS3Sink, S3Sink, WebhookSink
from callboard.schemas.workflow.sink import DeliverySchedule, SealedBucket, SealedSink, SealedWebhook
from callboard.security.keyring import KeyRing
from callboard.security.masking import mask_url
from callboard.settings import Settings

AnySink = WebhookSink | S3Sink | ProjectS3Sink

_DEFAULT_REGION = "us-east-1"
"""Region of a project's sink that names none: every server that is not AWS accepts it."""


def delivery_schedule(settings: Settings) -> DeliverySchedule:
    """Return when a Delivery is tried again; this is decided when a Run, or a Job, is created."""
    return DeliverySchedule(give_up_after=settings.delivery_give_up_after, timeout=settings.delivery_timeout)


def seal_sink(sink: AnySink, schedule: DeliverySchedule, ring: KeyRing, bound_to: str) -> SealedSink:
    """Return the sink as it may appear in a workflow's history: with masked addresses and sealed secrets.

    Raises:
        ConfigurationError: There is no key to seal it with.
    """
    webhook = bucket = None
    if isinstance(sink, WebhookSink):
        webhook = seal_webhook(sink.url, sink.headers, ring, bound_to)
    else:
        bucket = SealedBucket(
            bucket=sink.bucket,
            region=sink.region or _DEFAULT_REGION,
            prefix=sink.prefix,
            endpoint=sink.endpoint,
            force_path_style=sink.force_path_style,
            access_key_id=ring.seal(sink.access_key_id, bound_to=bound_to),
            secret_access_key=ring.seal(sink.secret_access_key, bound_to=bound_to),
        )
    return SealedSink(
        webhook=webhook,
        bucket=bucket,
        skip_on_fail=sink.skip_on_fail,
        apis_to_send=None if sink.apis_to_send is None else tuple(sink.apis_to_send),
        schedule=schedule,
    )


def seal_webhook(
    url: str, headers: Mapping[str, str], ring: KeyRing, bound_to: str, *, secret: str | None = None
) -> SealedWebhook:
    """Return a webhook with its secrets sealed. Raises ConfigurationError if there is no key to seal them with."""
    sealed_headers = {name: ring.seal(value, bound_to=bound_to) for name, value in headers.items()}
    return SealedWebhook(
        url=mask_url(url),
        sealed_url=ring.seal(url, bound_to=bound_to),
        headers=sealed_headers,
        secret=None if secret is None else ring.seal(secret, bound_to=bound_to),
    )


def open_sink(sink: SealedSink, ring: KeyRing, bound_to: str) -> dict[str, Any]:
    """Return the sink as a client writes it, with its secrets.

    Raises:
        SealError: A secret cannot be opened: it was sealed for another owner.
        ConfigurationError: There is no key to open it with.
    """
    opened = sink.masked()
    if sink.webhook is not None:
        headers = {name: ring.open(value, bound_to=bound_to) for name, value in sink.webhook.headers.items()}
        opened |= {"url": ring.open(sink.webhook.sealed_url, bound_to=bound_to), "headers": headers}
    elif sink.bucket is not None:
        opened["accessKeyId"] = ring.open(sink.bucket.access_key_id, bound_to=bound_to)
        opened["secretAccessKey"] = ring.open(sink.bucket.secret_access_key, bound_to=bound_to)
    return opened


def reseal_sink(sink: SealedSink, ring: KeyRing, *, bound_to: str, for_owner: str) -> SealedSink:
    """Return the sink, which is sealed for `bound_to`, sealed for another owner. Raises what `open_sink` raises."""
    if sink.webhook is not None:
        webhook = reseal_webhook(sink.webhook, ring, bound_to=bound_to, for_owner=for_owner)
        return sink.model_copy(update={"webhook": webhook})
    if sink.bucket is None:
        raise ValueError("A sink is a webhook or a bucket")
    opened = (sink.bucket.access_key_id, sink.bucket.secret_access_key)
    key_id, key = (ring.seal(ring.open(secret, bound_to=bound_to), bound_to=for_owner) for secret in opened)
    bucket = sink.bucket.model_copy(update={"access_key_id": key_id, "secret_access_key": key})
    return sink.model_copy(update={"bucket": bucket})


def reseal_webhook(webhook: SealedWebhook, ring: KeyRing, *, bound_to: str, for_owner: str) -> SealedWebhook:
    """Return a webhook, which is sealed for `bound_to`, sealed for another owner. Raises what `open_sink` raises."""
    headers = {name: ring.open(value, bound_to=bound_to) for name, value in webhook.headers.items()}
    secret = None if webhook.secret is None else ring.open(webhook.secret, bound_to=bound_to)
    return seal_webhook(ring.open(webhook.sealed_url, bound_to=bound_to), headers, ring, for_owner, secret=secret)
