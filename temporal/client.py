"""Connect to Temporal in one way, for the API and for workers."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import Runtime
from temporalio.service import RetryConfig

from settings import Settings

WORKER_HEARTBEAT_INTERVAL = timedelta(seconds=10)
"""Time between two heartbeats in which a worker tells Temporal what it offers."""


async def connect(
    settings: Settings,
    *,
    lazy: bool = False,
    identity: str | None = None,
    retry_timeout: timedelta = timedelta(seconds=10),
    runtime: Runtime | None = None,
) -> Client:
    """Return a Temporal client with the pydantic converter.

    Args:
        settings: Address and namespace.
        lazy: Connect at the first call, so that a process can start while Temporal is down.
        identity: The name that Temporal shows for this process.
        retry_timeout: How long the SDK repeats a call while Temporal cannot be reached.
        runtime: The SDK runtime; a default one if absent.

    Raises:
        RuntimeError: Temporal cannot be reached (only if not lazy).
    """
    return await Client.connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        data_converter=pydantic_data_converter,
        lazy=lazy,
        identity=identity,
        runtime=runtime,
        retry_config=RetryConfig(max_elapsed_time_millis=int(retry_timeout.total_seconds() * 1000)),
    )
