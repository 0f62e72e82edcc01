"""Connect to Temporal in one way, for the API, for workers and for commands."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client
from temporalio.common import HeaderCodecBehavior
from temporalio.runtime import Runtime
from temporalio.service import ConnectConfig, RetryConfig

from callboard.settings import Settings
from callboard.telemetry.log_interceptor import LogContextInterceptor
from callboard.telemetry.tracing import tracing_interceptors
from callboard.temporal.connection_config import Connection, find_connection
from callboard.temporal.data_converter import data_converter
from callboard.temporal.rpc_errors import connect_error


async def connect(
    settings: Settings,
    *,
    connection: Connection | None = None,
    lazy: bool = False,
    identity: str | None = None,
    retry_timeout: timedelta = timedelta(seconds=10),
    runtime: Runtime | None = None,
) -> Client:
    """Return a Temporal client with the data converter that the settings ask for.

    Args:
        settings: Address and namespace; what they leave open, and TLS and keys, come from Temporal's own configuration.
            Also whether payloads are encrypted, with which keys.
        connection: What `find_connection` has made of the settings, if it was asked already.
        lazy: Connect at the first call, so that a process can start while Temporal is down.
        identity: The name that Temporal shows for this process.
        retry_timeout: How long the SDK repeats a call while Temporal cannot be reached; with 0, each call is made once.
        runtime: The SDK runtime; a default one if absent.

    Raises:
        ConfigurationError: Temporal's own configuration cannot be used, payloads are to be encrypted without a key, or
            Temporal refuses this client (the latter only if not lazy).
        Unavailable: Temporal cannot be reached (only if not lazy).
    """
    connection = connection or find_connection(settings)
    converter = data_converter(settings, connection.namespace)
    tls = connection.tls or False  # False, since None would be TLS for the SDK if there is an API key
    try:
        return await Client.connect(
            connection.address,
            namespace=connection.namespace,
            tls=tls,
            api_key=connection.api_key,
            rpc_metadata=connection.metadata,
            data_converter=converter,
            header_codec_behavior=HeaderCodecBehavior.CODEC,  # headers are encrypted as all else is
            interceptors=(LogContextInterceptor(), *tracing_interceptors()),
            lazy=lazy,
            identity=identity,
            runtime=runtime,
            # A call is repeated about once a second until its time is over. By default, the tenth time is the last one.
            retry_config=RetryConfig(
                max_interval_millis=1_000,
                max_elapsed_time_millis=int(retry_timeout.total_seconds() * 1000),
                max_retries=1_000,
            ),
        )
    except RuntimeError as error:
        raise connect_error(ConnectConfig(connection.address, connection.api_key, tls), error) from error
