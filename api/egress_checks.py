"""Checks of where a request's sink and proxies lead: they must not lead into the network of the workers."""

from __future__ import annotations

from api.dependencies import Services
from schemas.errors import EgressRefused
from schemas.rest.field_errors import field_error
from schemas.rest.proxy import split_proxy

_PUBLIC = "an address that is public"


async def check_sink(services: Services, path: str, url: str, label: str, *, hint: str = "") -> None:
    """Refuse a sink to which nothing may be sent.

    Args:
        services: The services of the request.
        path: The path of the field in the request's body.
        url: The URL to check.
        label: The text that begins the error message.
        hint: The text that ends the error message.

    Raises:
        BadRequest: The URL leads to an address that is not public, or to none at all.
    """
    try:
        await services.egress.check_url(url)
    except EgressRefused as error:
        raise field_error(path, _PUBLIC, f"{label}: {error.message}{hint}") from error


async def check_proxy(services: Services, path: str, url: str | None) -> None:
    """Refuse a proxy that leads to an address that is not public.

    A proxy whose name cannot be resolved here is accepted: it may be known where the browsers are. No more than this
    can be checked, because it is the browser that connects, and it resolves the name itself.

    Raises:
        BadRequest: The proxy leads to an address that is not public.
    """
    if url is None:
        return
    try:
        # The browser is given the server that is read from the URL, so that server is what must be checked.
        await services.egress.check_url(split_proxy(url).server, allow_unknown_host=True)
    except EgressRefused as error:
        raise field_error(path, _PUBLIC, f"{path}: {error.message}") from error
