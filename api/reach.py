"""Where what a request names may lead, its sink and its proxies: not into the network of the workers."""

from __future__ import annotations

from api.parts import Parts
from contract.errors import EgressRefused
from contract.rest.problems import bad_field
from contract.rest.proxy import split_proxy

_PUBLIC = "an address that is public"


async def check_sink(parts: Parts, path: str, url: str, whose: str, *, hint: str = "") -> None:
    """Refuse a sink that nothing may be sent to.

    Args:
        parts: Of the request.
        path: The field.
        url: What stands in it.
        whose: Begins the message.
        hint: Ends it.

    Raises:
        BadRequest: It leads to an address that is not public, or nowhere.
    """
    try:
        await parts.egress.check_url(url)
    except EgressRefused as error:
        raise bad_field(path, _PUBLIC, f"{whose}: {error.message}{hint}") from error


async def check_proxy(parts: Parts, path: str, url: str | None) -> None:
    """Refuse a proxy within. One whose name is not known here may be known where the browsers are.

    This is all that can be done: it is the browser that connects, and it looks the name up itself.

    Raises:
        BadRequest: It leads to an address that is not public.
    """
    if url is None:
        return
    try:
        # The browser is given the server that is read from the URL, so it is the server that is checked.
        await parts.egress.check_url(split_proxy(url).server, unknown=True)
    except EgressRefused as error:
        raise bad_field(path, _PUBLIC, f"{path}: {error.message}") from error
