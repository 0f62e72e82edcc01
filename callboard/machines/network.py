"""Give each Machine a network of its own, where this host allows it, and find out whether it does.

Where the network leads is made of the settings of a worker and the addresses of its host (`find_reach`).

That takes Linux's user and network namespaces, the program `pasta` (of the package passt) and `ip` (of iproute2).
Distributions, containers and security modules all have ways of taking one of them away, so a network is made for trial.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from callboard.machines import network_launcher
from callboard.machines.loopback_watch import LoopbackWatch, write_unserved_ports
from callboard.machines.network_launcher import GATEWAY, Plan
from callboard.machines.reach import Reach
from callboard.machines.trial import trial_refusal
from callboard.schemas.errors import ConfigurationError
from callboard.security.egress import Resolve, parse_networks_and_hosts, resolve
from callboard.security.ip_policy import Address, non_public_reason, parse_address
from callboard.security.ip_policy import Network as IpNetwork
from callboard.settings import Settings

log = logging.getLogger(__name__)

_RESOLV_CONF = Path("/etc/resolv.conf")
_DEFAULT_NAMESERVER = "127.0.0.1"
"""What resolvers ask if `resolv.conf` names nobody."""
_SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
"""Where programs of administrators are, which users may not have on their path."""
_LOOKED_UP_WITHIN = 10.0
"""Seconds in which the addresses of a host are found, or it has none."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Network:
    """The network that each Machine of a worker gets."""

    plan: Plan
    resolv_conf: Path
    """The file that has to be `/etc/resolv.conf` for what runs in it: it names the one nameserver that is reached."""
    watch: LoopbackWatch | None = None
    """Tells what listens at loopback of this host. None: the network goes by what listened when this was made."""

    @classmethod
    def of(cls, reach: Reach, folder: Path) -> Network:
        """Return a network in which `reach` holds, and write the files that it takes to a folder.

        Raises:
            FileNotFoundError: A program is not installed; `network_refusal` says so in words.
        """
        printed = _RESOLV_CONF.read_text(errors="replace") if _RESOLV_CONF.exists() else ""
        nameserver = find_nameserver(printed)
        file = folder / "resolv.conf"
        file.write_text(rewrite_resolv_conf(printed, nameserver))
        unserved = folder / "unserved.json"
        plan = Plan(_find_program("pasta"), _find_program("ip"), reach, nameserver, str(unserved))
        if plan.loopback != "none":
            write_unserved_ports(unserved)
        return cls(plan, file)

    def watching(self) -> Network:
        """Return the same network, which follows what listens on this host, if loopback is open, until `close`."""
        if self.plan.loopback == "none":
            return self
        watch = LoopbackWatch(Path(self.plan.unserved))
        return replace(self, plan=replace(self.plan, changed=watch.changed), watch=watch)

    async def close(self) -> None:
        """Look no more at what listens on this host. No Machine may be left."""
        if self.watch is not None:
            await self.watch.close()

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command that executes `command` in such a network, with one more argument: see the launcher."""
        return [sys.executable, "-I", "-S", network_launcher.__file__, self.plan.to_json(), *command]


def find_nameserver(resolv_conf: str) -> str | None:
    """Return the first nameserver of a `resolv.conf` that pasta can ask; None if there is none of that kind."""
    named = [
        words[1] for line in resolv_conf.splitlines() if (words := line.split())[:1] == ["nameserver"] and words[1:]
    ]
    for text in named or [_DEFAULT_NAMESERVER]:
        try:
            address = ip_address(text)
        except ValueError:
            continue
        if "%" not in text:  # a link-local address with the name of a device, which pasta does not take
            return str(address)
    return None


def rewrite_resolv_conf(resolv_conf: str, nameserver: str | None) -> str:
    """Return a `resolv.conf` for inside the network, with all else that this host's one says."""
    if nameserver is None:
        return resolv_conf
    lines = [line for line in resolv_conf.splitlines() if line.split()[:1] != ["nameserver"]]
    return "\n".join([*lines, f"nameserver {GATEWAY[ip_address(nameserver).version]}", ""])


@lru_cache
def network_refusal() -> str | None:
    """Say why Machines cannot have networks of their own here; None if they can.

    The reason is the end of a sentence without its period. This call blocks.
    """
    try:
        plan = Plan(_find_program("pasta"), _find_program("ip"), Reach.of(), None)
    except FileNotFoundError as error:
        return str(error)
    command = [sys.executable, "-I", "-S", network_launcher.__file__, plan.to_json()]
    return trial_refusal(command, {"PATH": os.environ.get("PATH", os.defpath)})


def _find_program(name: str) -> str:
    path = f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}"
    if (found := shutil.which(name, path=path)) is None:
        raise FileNotFoundError(f"the program `{name}` is not installed (`callboard setup` installs it)")
    return found


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


def _networks(hosts: Iterable[str], addresses: Mapping[str, Iterable[Address]]) -> list[IpNetwork]:
    return [ip_network(address) for host in hosts for address in addresses[host]]
