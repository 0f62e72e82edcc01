"""Decide which IP addresses are public: all others are a way in, to this host, its network or its cloud.

`ipaddress` knows most of the special ranges, but not all of them, and not the same ones in every version of Python; so
what must hold is written down here, and `ipaddress` is asked in addition.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_PRIVATE = "an address of a private network"
_LINK_LOCAL = "a link-local address, where clouds keep their metadata"
_TRANSLATED = "an IPv6 address that stands for an IPv4 address"
_RESERVED = "an address that is reserved"

_SPECIAL: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "an address of this host"),
        ("10.0.0.0/8", _PRIVATE),
        ("100.64.0.0/10", "an address that a provider shares between its customers"),
        ("127.0.0.0/8", "a loopback address"),
        ("168.63.129.16/32", "an address where a cloud keeps its metadata"),  # Azure's, of a public range
        ("169.254.0.0/16", _LINK_LOCAL),
        ("172.16.0.0/12", _PRIVATE),
        ("192.0.0.0/24", _RESERVED),
        ("192.0.2.0/24", "an address for documentation"),
        ("192.88.99.0/24", _TRANSLATED),  # the relays of 6to4
        ("192.168.0.0/16", _PRIVATE),
        ("198.18.0.0/15", "an address for benchmarks"),
        ("198.51.100.0/24", "an address for documentation"),
        ("203.0.113.0/24", "an address for documentation"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", _RESERVED),
        ("::/128", "an address of this host"),
        ("::1/128", "a loopback address"),
        ("::/96", _TRANSLATED),  # v4-compatible
        ("64:ff9b::/96", _TRANSLATED),  # NAT64, `_NAT64`
        ("64:ff9b:1::/48", _TRANSLATED),  # NAT64 of a network's own
        ("2001::/32", _TRANSLATED),  # Teredo
        ("2001::/23", _RESERVED),
        ("2001:db8::/32", "an address for documentation"),
        ("2002::/16", _TRANSLATED),  # 6to4
        ("3fff::/20", "an address for documentation"),
        ("fc00::/7", _PRIVATE),
        ("fe80::/10", _LINK_LOCAL),
        ("fec0::/10", _PRIVATE),
        ("ff00::/8", "a multicast address"),
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
"""The range of all IPv6 addresses that have ever been assigned to the public."""
_NAT64 = IPv6Network("64:ff9b::/96")


def parse_address(text: str) -> Address:
    """Parse an address; return an IPv4-mapped one as the IPv4 address that it connects to.

    Raises:
        ValueError: The text is no address.
    """
    return unmap_ipv4(ip_address(text))


def unmap_ipv4(address: Address) -> Address:
    """Return the address itself, or the IPv4 address that an IPv4-mapped one connects to."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def non_public_reason(address: Address) -> str | None:
    """Return in words what kind of address it is; None if it is public."""
    for network, what in _SPECIAL:
        if address in network:
            return what
    outside = isinstance(address, IPv6Address) and address not in _GLOBAL_V6
    return _RESERVED if outside or not address.is_global else None


def embedded_ipv4(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to by NAT64 or 6to4, if any."""
    if isinstance(address, IPv4Address):
        return None
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else address.sixtofour
