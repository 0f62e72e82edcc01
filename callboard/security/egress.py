"""Decide where requests on behalf of callers may go: to public addresses, and to what the operator has opened.

Fields of a request that name a sink or a proxy are checked by the same rules, so that neither leads into the network of
the workers.

Every address of a name must be allowed, since nobody knows which one would be taken. The check is made when a request
is accepted, and once more when it is sent (`callboard.security.pinned_transport`), by connecting to an address that was
checked: by then, the name may resolve to other addresses.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv6Address, ip_network

import httpx

from callboard.schemas.bucket_address import bucket_address
from callboard.schemas.errors import ConfigurationError, EgressRefused
from callboard.schemas.host import HOST_EXPECTED, parse_host
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.proxy import split_proxy
from callboard.schemas.rest.sink import WebhookSink
from callboard.security.ip_policy import Address, Network, embedded_ipv4, non_public_reason, parse_address, unmap_ipv4
from callboard.security.sealed_sinks import AnySink

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Function that resolves host and port to addresses, in the order in which they should be tried. Raises
socket.gaierror."""


async def resolve(host: str, port: int) -> list[str]:
    """Resolve a name as every program of this host does (`getaddrinfo`: files, then DNS).

    This runs on a thread of its own that nobody waits for: a name server that does not answer blocks it for half a
    minute, and that must delay neither the few threads of the event loop, nor other lookups, nor the end of the
    process.
    """
    answer = Future[list[str]]()
    answer.set_running_or_notify_cancel()  # so that a caller who leaves does not cancel it under the thread's hands

    def ask() -> None:
        try:
            found = [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        except (OSError, UnicodeError) as error:
            answer.set_exception(error)
        else:
            answer.set_result(found)

    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    return await asyncio.wrap_future(answer)


_LOCALHOST = (IPv4Address("127.0.0.1"), IPv6Address("::1"))

_LOOKUP_TIMEOUT_SECONDS = 5.0
"""Seconds for a lookup when a request is accepted, while a client waits."""

_MALFORMED = f"The URL must have {HOST_EXPECTED}."
_UNKNOWN_HOST_ERRORS = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}

_PUBLIC = "an address that is public"
_IN_HOST = " With forcePathStyle the bucket is part of the path, and not of the host's name."


class EgressPolicy:
    """The rules for outgoing requests, with what the operator has opened."""

    def __init__(self, allow: Sequence[str] = (), *, resolve: Resolve = resolve) -> None:
        """Set up without looking up anything yet.

        Args:
            allow: Networks (`10.1.0.0/16`), addresses and names of hosts that are allowed although not public.
            resolve: Resolves names to addresses.

        Raises:
            ConfigurationError: An entry of `allow` is none of these.
        """
        self._resolve = resolve
        self._networks, self._hosts = parse_networks_and_hosts("CALLBOARD_EGRESS_ALLOW", allow)

    async def check_url(self, url: str, *, allow_unknown_host: bool = False) -> None:
        """Refuse `url` if a request to it would be refused now.

        A name that cannot be looked up at this moment is not refused, as it is looked up again before connecting. With
        `allow_unknown_host`, a name that does not exist is not refused, either.

        Raises:
            EgressRefused: The URL leads, or may lead, to an address that is not public; or nowhere at all.
        """
        try:
            parsed = httpx.URL(url)  # the client that will connect parses it in the same way
            host, port = parsed.raw_host.decode("ascii"), parsed.port or (443 if parsed.scheme == "https" else 80)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise EgressRefused(_MALFORMED) from error
        try:
            async with asyncio.timeout(_LOOKUP_TIMEOUT_SECONDS):
                await self.resolve_allowed(host, port)
        except TimeoutError:
            return
        except socket.gaierror as error:
            # A host that the operator has opened may be known to workers only.
            if error.errno in _UNKNOWN_HOST_ERRORS and not allow_unknown_host and not self._is_allowed_host(host):
                raise EgressRefused(f"There is no host {host}.") from error

    async def resolve_allowed(self, host: str, port: int) -> list[Address]:
        """Return the addresses that may be connected to for `host`, all of them checked.

        Raises:
            EgressRefused: One of them is not allowed, or `host` is a text that others may read as another host.
            socket.gaierror: The name cannot be looked up.
        """
        try:
            parsed = parse_host(host.removeprefix("[").removesuffix("]"))
        except ValueError as error:
            raise EgressRefused(_MALFORMED) from error
        if not isinstance(parsed, str):
            found = [unmap_ipv4(parsed)]
        else:
            if _normalize_host(parsed).rpartition(".")[2] == "localhost":
                # Browsers connect to loopback for such a name, without looking it up (RFC 6761, section 6.3).
                self._require_allowed(parsed, _LOCALHOST)
            found = [parse_address(text.partition("%")[0]) for text in await self._resolve(parsed, port)]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        self._require_allowed(host, found)
        return found

    def _require_allowed(self, host: str, addresses: Sequence[Address]) -> None:
        """Raise EgressRefused unless `host` is open, or all its `addresses` are allowed."""
        if self._is_allowed_host(host):
            return
        for address in addresses:
            if (why := self._refusal_reason(address)) is not None:
                raise EgressRefused(
                    f"{host} leads to {why}. Callboard sends no caller's request there. Use an address that is "
                    "public, or have the operator open this one with CALLBOARD_EGRESS_ALLOW."
                )

    def _is_allowed_host(self, host: str) -> bool:
        """Tell whether the operator has opened the host by its name."""
        return _normalize_host(host) in self._hosts

    def _refusal_reason(self, address: Address) -> str | None:
        if not any(address in network for network in self._networks):
            return non_public_reason(address)
        # Opening a translating network does not open the addresses that it translates to.
        inside = embedded_ipv4(address)
        return None if inside is None else self._refusal_reason(inside)


async def check_sink(egress: EgressPolicy, sink: AnySink, label: str = "sink") -> None:
    """Refuse a sink to which nothing may be sent: the field `sink`, which the message calls `label`.

    Raises:
        BadRequest: The sink leads to an address that is not public, or to none at all.
    """
    if isinstance(sink, WebhookSink):
        await check_field(egress, "sink.url", sink.url, f"{label}.url")
    elif sink.endpoint is not None:
        address = bucket_address(sink.endpoint, sink.bucket, path_style=sink.force_path_style)
        in_host = not address.startswith(sink.endpoint.rstrip("/"))
        await check_field(egress, "sink.endpoint", address, f"{label}.endpoint", hint=_IN_HOST if in_host else "")


async def check_field(
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
        await check_field(egress, path, split_proxy(url).server, path, allow_unknown_host=True)


def parse_networks_and_hosts(setting: str, entries: Sequence[str]) -> tuple[list[Network], set[str]]:
    """Return the networks that a setting lists, with addresses as networks of one, and the names of hosts.

    Raises:
        ConfigurationError: An entry is neither; the message names the setting.
    """
    networks: list[Network] = []
    hosts: set[str] = set()
    for entry in entries:
        try:
            networks.append(ip_network(entry, strict=False))
        except ValueError:
            hosts.add(_parse_host_name(setting, entry))
    return networks, hosts


def _parse_host_name(setting: str, entry: str) -> str:
    try:
        parsed = parse_host(entry)
    except ValueError:
        parsed = None
    if not isinstance(parsed, str):
        raise ConfigurationError(
            f"{setting}: {entry!r} is neither a network such as 10.1.0.0/16, nor an address, nor the name of a host."
        )
    return _normalize_host(parsed)


def _normalize_host(host: str) -> str:
    """Return the name for comparison: in lower case, without the dot that makes it absolute."""
    return host.removesuffix(".").lower()
