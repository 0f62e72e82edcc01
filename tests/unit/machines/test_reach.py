"""Where a Machine may connect: what is closed by default, what opens it, and what stays closed."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest

from machines.runner.reach import Reach

NOTHING_SET = Reach.of()


def refusal(reach: Reach, address: str, port: int = 443) -> str | None:
    return reach.refusal(ip_address(address), port)


@pytest.mark.parametrize(
    ("address", "what"),
    [
        *((address, "loopback") for address in ("127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1")),
        *((address, "this host") for address in ("0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0")),
        *((address, "link-local") for address in ("169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "febf::1")),
        *((address, "metadata") for address in ("100.100.100.200", "168.63.129.16", "192.0.0.192")),
        *((address, "metadata") for address in ("fd00:ec2::254", "fd20:ce::254")),
        *((address, "multicast") for address in ("224.0.0.1", "239.255.255.250", "ff02::1")),
        *((address, "reserved") for address in ("240.0.0.1", "255.255.255.255", "fec0::1")),
        *((address, "stands for an IPv4") for address in ("::7f00:2", "2002:7f00:1::", "2002:a9fe:a9fe::1")),
        *((address, "stands for an IPv4") for address in ("64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1")),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "stands for an IPv4"),
    ],
)
def test_this_host_link_local_and_metadata_addresses_are_closed(address: str, what: str) -> None:
    assert what in (refusal(NOTHING_SET, address) or "")


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "2606:4700:4700::1111", "64:ff9b::1.1.1.1", "2002:101:101::1"),
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fc00::1", "fd00::2", "::ffff:10.0.0.1"),
    ],
)
def test_public_addresses_and_private_networks_are_open(address: str) -> None:
    assert refusal(NOTHING_SET, address) is None


def test_the_longest_rule_decides_and_of_equals_the_one_that_opens() -> None:
    reach = Reach.of(
        allow=[ip_network("10.1.2.0/24"), ip_network("10.9.0.0/16"), ip_network("169.254.7.7/32")],
        deny=[ip_network("10.0.0.0/8"), ip_network("10.1.2.3/32"), ip_network("10.9.0.0/16")],
    )
    assert "CALLBOARD_BROWSER_DENY" in (refusal(reach, "10.1.1.1") or "")
    assert refusal(reach, "10.1.2.4") is None
    assert refusal(reach, "10.1.2.3") is not None
    assert refusal(reach, "10.9.9.9") is None
    assert refusal(reach, "169.254.7.7") is None
    assert refusal(reach, "169.254.7.8") is not None
    assert refusal(reach, "2002:a01:101::") is not None, "6to4 of a closed address"
    assert refusal(reach, "64:ff9b::10.1.2.4") is None, "NAT64 of an open address"


def test_addresses_of_this_host_stay_closed_in_an_open_network_unless_they_are_named() -> None:
    own = [ip_address("10.1.2.3"), ip_address("fd00::2")]
    assert "this host" in (refusal(Reach.of(own=own), "10.1.2.3") or "")
    assert refusal(Reach.of(own=own, allow=[ip_network("10.0.0.0/8")]), "10.1.2.3") is not None
    assert refusal(Reach.of(own=own, allow=[ip_network("10.1.2.3/32")]), "10.1.2.3") is None
    assert refusal(Reach.of(own=own), "fd00::3") is None


def test_own_ports_stay_closed_on_an_open_loopback() -> None:
    loopback = [ip_network("127.0.0.0/8"), ip_network("::1/128"), ip_network("0.0.0.0/8")]
    reach = Reach.of(allow=[*loopback, ip_network("10.1.2.3/32")], own=[ip_address("10.1.2.3")], closed_ports=[7233])
    for address in ("127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::ffff:127.0.0.1", "10.1.2.3"):
        assert refusal(reach, address, 3000) is None
        assert "port 7233" in (refusal(reach, address, 7233) or "")
    assert refusal(reach, "10.1.2.4", 7233) is None, "the port is closed on addresses of our own only"


def test_rules_survive_the_way_through_json() -> None:
    reach = Reach.of(allow=[ip_network("10.0.0.0/8")], own=[ip_address("10.1.2.3")], closed_ports=[7233, 8400])
    assert Reach.from_json(json.loads(json.dumps(reach.to_json()))) == reach
