"""Sinks as they are stored in histories, with sealed secrets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field

from callboard.schemas.mask import MASK
from callboard.schemas.workflow import names
from callboard.schemas.workflow.base import FlowModel


class SealedWebhook(FlowModel):
    """A webhook whose secrets are sealed for the Run that carries it."""

    url: str
    """URL that may be shown, with its secrets masked."""
    sealed_url: str
    """The complete URL, sealed."""
    headers: dict[str, str] = Field(default_factory=dict[str, str])
    """Names of the headers, with sealed values."""
    secret: str | None = None
    """What it is signed with, sealed; None for the secrets of the installation."""


class SealedBucket(FlowModel):
    """A bucket whose keys are sealed for the Run that carries it."""

    bucket: str
    region: str
    prefix: str = ""
    endpoint: str | None = None
    """Address of the S3 service; None for AWS."""
    force_path_style: bool = False
    access_key_id: str
    """Access key id, sealed."""
    secret_access_key: str
    """Secret access key, sealed."""


class DeliverySchedule(FlowModel):
    """When a Delivery that fails is tried again, and for how long."""

    first_delay: timedelta = timedelta(seconds=1)
    factor: float = 2
    """How many times as long each delay is as the one before it."""
    max_delay: timedelta = timedelta(minutes=5)
    """No delay is longer, also if a receiver asks for more (`Retry-After`)."""
    give_up_after: timedelta
    timeout: timedelta
    """Time limit of one try."""


class SealedSink(FlowModel):
    """Where a Run's result is delivered: to a webhook or to a bucket."""

    webhook: SealedWebhook | None = None
    bucket: SealedBucket | None = None
    skip_on_fail: bool = False
    apis_to_send: tuple[str, ...] | None = None
    """The APIs whose Runs are delivered; None for all."""
    schedule: DeliverySchedule

    def delivers(self, api: str, *, failed: bool) -> bool:
        """Tell whether a Run of this API is delivered that has failed, or completed."""
        if failed and self.skip_on_fail:
            return False
        return self.apis_to_send is None or api in self.apis_to_send

    @property
    def kind(self) -> str:
        """What it is, in one word."""
        return "s3" if self.webhook is None else "webhook"

    @property
    def target(self) -> str:
        """The host of the webhook or the bucket, for people; nothing secret is in it."""
        if self.webhook is not None:
            return urlsplit(self.webhook.url).hostname or self.webhook.url
        return f"s3://{self.bucket.bucket}" if self.bucket is not None else "nowhere"

    @property
    def receiver(self) -> str:
        """What answers or does not: host and port of the webhook, or bucket and endpoint, as ASCII text."""
        if self.webhook is not None:
            return ascii(urlsplit(self.webhook.url).netloc)[1:-1]
        return f"{self.target} {(self.bucket and self.bucket.endpoint) or ''}".rstrip()

    @property
    def fairness_key(self) -> str:
        """The key by which Temporal serves receivers by turns. Receivers that differ only behind its end share one."""
        return names.fairness_key(self.receiver)

    def masked(self) -> dict[str, Any]:
        """Return the sink as a client wrote it, with its secrets masked."""
        apis = None if self.apis_to_send is None else list(self.apis_to_send)
        shared = {"skipOnFail": self.skip_on_fail, "apisToSend": apis}
        if self.webhook is not None:
            headers = dict.fromkeys(self.webhook.headers, MASK)
            return {"type": "webhook", "url": self.webhook.url, "headers": headers, **shared}
        if self.bucket is None:
            raise ValueError("A sink is a webhook or a bucket")
        bucket = self.bucket
        return {
            "type": "s3",
            "bucket": bucket.bucket,
            "region": bucket.region,
            "prefix": bucket.prefix,
            "endpoint": bucket.endpoint,
            "forcePathStyle": bucket.force_path_style,
            "accessKeyId": MASK,
            "secretAccessKey": MASK,
            **shared,
        }
