"""Make the rules of where Machines may connect, from the settings of a worker and the addresses of its host."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_network
from urllib.parse import urlsplit

import psutil

from callboard.machines.reach import Reach
from callboard.schemas.errors import ConfigurationError
from callboard.security.dns import Resolve, resolve
from callboard.security.egress import parse_networks_and_hosts
from callboard.security.ip_policy import Address, Network, non_public_reason, parse_address
from callboard.settings import Settings

log = logging.getLogger(__name__)

_LOOKED_UP_WITHIN = 10.0
_DEFAULT_PORTS = {"http": 80, "https": 443}


async def find_reach(
    settings: Settings,
    *,
    temporal_address: str,
    other_parts: Sequence[str] = (),
    index: Iterable[tuple[str, int]] = (),
    resolve: Resolve = resolve,
) -> Reach:
    """Return where the Machines of a worker may connect. Names are looked up now, and not again.

    Args:
        settings: The settings of the worker.
        temporal_address: Host and port of the Temporal that the worker uses, which its settings need not name.
        other_parts: Addresses (URLs) of parts of the installation that no setting names, such as a collector of traces.
        index: Hosts and ports of package indexes, which are open in addition.
        resolve: Looks up the addresses of a host.

    Raises:
        ConfigurationError: A setting is wrong, or names a host to be closed that is not found.
    """
    allow, allowed_hosts = parse_networks_and_hosts("CALLBOARD_BROWSER_ALLOW", settings.browser_allow)
    deny, denied_hosts = parse_networks_and_hosts("CALLBOARD_BROWSER_DENY", settings.browser_deny)
    parts = list(_parts(settings, temporal_address, other_parts))
    index = set(index)
    hosts = {*allowed_hosts, *denied_hosts, *(host for host, _ in (*parts, *index))}
    found = await asyncio.gather(*(_look_up(host, resolve) for host in hosts))
    addresses = dict(zip(hosts, found, strict=True))
    for host in sorted(denied_hosts):
        if not addresses[host]:
            raise ConfigurationError(
                f"CALLBOARD_BROWSER_DENY names the host {host}, which is not found, so it cannot be closed. "
                "Correct the name, or write its address or network."
            )
    for host in sorted(allowed_hosts):
        if not addresses[host]:
            log.warning("CALLBOARD_BROWSER_ALLOW names the host %s, which is not found: it opens nothing.", host)
    private = [each for host, _ in parts for each in addresses[host] if non_public_reason(each) is not None]
    ports = [*(port for _, port in parts), settings.port, settings.viewer_listens_on, *settings.own_ports]
    ports += [int(each.rpartition(":")[2]) for each in (settings.metrics_address, settings.health_address) if each]
    return Reach.of(
        allow=[*allow, *_networks(allowed_hosts, addresses)],
        deny=[*deny, *_networks(denied_hosts, addresses)],
        own=[*addresses_of_this_host(), *(each for each in private if not _is_always_closed(each))],
        closed_ports=[port for port in ports if port],
        opened=[(address, port) for host, port in index for address in addresses[host]],
    )


def addresses_of_this_host() -> list[Address]:
    """Return the addresses of this host's network devices, without those that are closed as loopback or link-local."""
    texts = [
        each.address.partition("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for each in addresses
        if each.family in {socket.AF_INET, socket.AF_INET6}
    ]
    return [address for address in dict.fromkeys(map(parse_address, texts)) if not _is_always_closed(address)]


def _is_always_closed(address: Address) -> bool:
    """Tell whether the address is closed as it is: to close it once more would take more than it to open it."""
    return address.is_loopback or address.is_link_local


def _parts(settings: Settings, temporal_address: str, others: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield the hosts and ports of Callboard's other parts, as far as a worker knows them; 0: not known."""
    host, _, port = temporal_address.rpartition(":")
    yield host.strip("[]"), int(port) if port.isdigit() else 0
    for url in (settings.temporal_ui_url, settings.artifacts_endpoint, settings.url, *others):
        if url is not None and (split := urlsplit(url)).hostname is not None:
            yield split.hostname, split.port or _DEFAULT_PORTS.get(split.scheme, 0)


async def _look_up(host: str, resolve: Resolve) -> list[Address]:
    """Return the addresses of a host; none if it is not found in time."""
    try:
        async with asyncio.timeout(_LOOKED_UP_WITHIN):
            return [parse_address(text.partition("%")[0]) for text in await resolve(host, 0)]
    except (OSError, TimeoutError):
        return []


def _networks(hosts: Iterable[str], addresses: Mapping[str, Iterable[Address]]) -> list[Network]:
    return [ip_network(address) for host in hosts for address in addresses[host]]
