"""Checks of where a request's sink and proxies lead: they must not lead into the network of the workers."""

from __future__ import annotations

from schemas.bucket_address import bucket_address
from schemas.errors import EgressRefused
from schemas.rest.field_errors import field_error
from schemas.rest.proxy import split_proxy
from schemas.rest.sink import WebhookSink
from security.egress import EgressPolicy
from security.sealed_sinks import AnySink

_PUBLIC = "an address that is public"
_IN_HOST = " With forcePathStyle the bucket is part of the path, and not of the host's name."


async def check_sink(egress: EgressPolicy, sink: AnySink, label: str = "sink") -> None:
    """Refuse a sink to which nothing may be sent: the field `sink`, which the message calls `label`.

    Raises:
        BadRequest: The sink leads to an address that is not public, or to none at all.
    """
    if isinstance(sink, WebhookSink):
        await check_url(egress, "sink.url", sink.url, f"{label}.url")
    elif sink.endpoint is not None:
        address = bucket_address(sink.endpoint, sink.bucket, path_style=sink.force_path_style)
        in_host = not address.startswith(sink.endpoint.rstrip("/"))
        await check_url(egress, "sink.endpoint", address, f"{label}.endpoint", hint=_IN_HOST if in_host else "")


async def check_url(
    egress: EgressPolicy, path: str, url: str, label: str, *, hint: str = "", allow_unknown_host: bool = False
) -> None:
    """Refuse a URL to which nothing may be sent: the field at `path`. The message is `label`, why, and `hint`.

    With `allow_unknown_host`, a name that does not exist is accepted.

    Raises:
        BadRequest: The URL leads to an address that is not public, or to none at all.
    """
    try:
        await egress.check_url(url, allow_unknown_host=allow_unknown_host)
    except EgressRefused as error:
        raise field_error(path, _PUBLIC, f"{label}: {error.message}{hint}") from error


async def check_proxy(egress: EgressPolicy, path: str, url: str | None) -> None:
    """Refuse a proxy that leads to an address that is not public.

    A proxy whose name cannot be resolved here is accepted: it may be known where the browsers are. No more than this
    can be checked, because it is the browser that connects, and it resolves the name itself.

    Raises:
        BadRequest: The proxy leads to an address that is not public.
    """
    if url is not None:
        # The browser is given the server that is read from the URL, so that server is what must be checked.
        await check_url(egress, path, split_proxy(url).server, path, allow_unknown_host=True)
