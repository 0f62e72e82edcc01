"""Decide where a Machine may connect: which addresses are closed to it, and which ports of addresses that are open.

The worker makes the rules from its settings and hands them on as JSON. They become the routing rules of the network
namespace that a Machine has at the level `full`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any, Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

CLOSED = (
    "0.0.0.0/8",  # this host
    "100.100.100.200/32",  # metadata of Alibaba Cloud
    "127.0.0.0/8",  # loopback
    "168.63.129.16/32",  # metadata of Azure
    "169.254.0.0/16",  # link-local, where clouds keep their metadata
    "192.0.0.192/32",  # metadata of Oracle Cloud
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved; 255.255.255.255 is the broadcast address
    "::/96",  # an IPv4 address, v4-compatible
    "::/128",  # this host
    "::1/128",  # loopback
    "64:ff9b:1::/48",  # an IPv4 address by a network's own NAT64: where in it that address stands is not known
    "2001::/32",  # an IPv4 address, Teredo
    "fd00:ec2::254/128",  # metadata of AWS
    "fd20:ce::254/128",  # metadata of Google Cloud
    "fe80::/10",  # link-local
    "fec0::/10",  # reserved, once site-local
    "ff00::/8",  # multicast
)
"""What is closed unless it is opened by name. Private networks are not in it: people automate their intranet."""

_LOCALHOST = tuple(ip_network(network) for network in ("0.0.0.0/8", "127.0.0.0/8", "::/128", "::1/128"))
_TRANSLATING = tuple(ip_network(network) for network in ("2002::/16", "64:ff9b::/96"))
"""6to4 and NAT64. The IPv4 address that is connected to follows the prefix, so rules of IPv4 hold in them, too."""


@dataclass(frozen=True)
class Reach:
    """Where a Machine may connect. The longest rule that has an address in it decides, and an address in none is open.

    Of two rules of one length, the one that opens wins.
    """

    rules: tuple[tuple[str, bool], ...] = ()
    """Networks, each with whether it is open."""
    closed_ports: frozenset[int] = frozenset()
    """Ports of Callboard's own parts: closed on loopback and on the addresses of `own`, even where these are open."""
    own: tuple[str, ...] = ()
    """Addresses, besides loopback, of this host and of Callboard's own parts."""
    opened: tuple[tuple[str, int], ...] = ()
    """Addresses with one port each that is open whatever the rules say; on loopback, if it is not in `closed_ports`."""

    @classmethod
    def of(
        cls,
        *,
        allow: Iterable[Network] = (),
        deny: Iterable[Network] = (),
        own: Iterable[Address] = (),
        closed_ports: Iterable[int] = (),
        opened: Iterable[tuple[Address, int]] = (),
    ) -> Self:
        """Return an installation's rules, for addresses that are closed everywhere, its own, and the operator's."""
        named = tuple(dict.fromkeys(str(ip_network(address)) for address in own))
        closed = [*CLOSED, *named, *map(str, deny)]
        rules = dict.fromkeys([*((network, False) for network in closed), *((str(network), True) for network in allow)])
        doors = tuple((str(address), port) for address, port in opened)
        return cls(tuple(rules), frozenset(closed_ports), named, doors)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Return the rules that `to_json` has written."""
        rules = tuple((network, allowed) for network, allowed in value["rules"])
        opened = tuple((address, port) for address, port in value["opened"])
        return cls(rules, frozenset(value["closedPorts"]), tuple(value["own"]), opened)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON value that `from_json` reads."""
        return {
            "rules": list(self.rules),
            "closedPorts": sorted(self.closed_ports),
            "own": list(self.own),
            "opened": list(self.opened),
        }

    def is_open(self, address: Address) -> bool:
        """Tell whether an address is open. Its `closed_ports` may be closed all the same."""
        return next((allowed for network, allowed in self.networks if address in network), True)

    @cached_property
    def networks(self) -> tuple[tuple[Network, bool], ...]:
        """All rules, the deciding one first, with those for IPv6 addresses that lead to an IPv4 address of a rule."""
        rules = dict.fromkeys(
            (form, allowed) for network, allowed in self.rules for form in _forms(ip_network(network))
        )
        return tuple(sorted(rules, key=lambda rule: (-rule[0].prefixlen, not rule[1])))

    @cached_property
    def own_networks(self) -> tuple[Network, ...]:
        """The networks on which `closed_ports` are closed."""
        named = (*_LOCALHOST, *map(ip_network, self.own))
        return tuple(form for network in named for form in _forms(network))


def _forms(network: Network) -> Iterator[Network]:
    """Yield the network itself and, of an IPv4 one, the IPv6 networks whose addresses lead to it."""
    yield network
    if isinstance(network, IPv4Network):
        for outer in _TRANSLATING:
            length = outer.prefixlen + network.prefixlen
            inside = int(network.network_address) << (128 - outer.prefixlen - 32)
            yield IPv6Network((int(outer.network_address) + inside, length))
