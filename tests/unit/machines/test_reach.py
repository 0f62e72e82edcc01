"""Where a Machine may connect: what is closed by default, what opens it, and what stays closed."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest

from callboard.machines.reach import Reach

NOTHING_SET = Reach.of()


def is_open(reach: Reach, address: str) -> bool:
    return reach.is_open(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.255", "::1", "0.0.0.0", "0.1.2.3", "::"),  # this host
        *("169.254.169.254", "fe80::1", "febf::1"),  # link-local
        *("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),  # metadata of clouds
        *("224.0.0.1", "239.255.255.250", "ff02::1", "240.0.0.1", "255.255.255.255", "fec0::1"),  # multicast, reserved
        *("::7f00:2", "2002:7f00:1::", "2002:a9fe:a9fe::1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe"),  # IPv4 in IPv6
        *("64:ff9b:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    ],
)
def test_this_host_link_local_and_metadata_addresses_are_closed(address: str) -> None:
    assert not is_open(NOTHING_SET, address)


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "2606:4700:4700::1111", "64:ff9b::1.1.1.1", "2002:101:101::1"),
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fc00::1", "fd00::2"),
    ],
)
def test_public_addresses_and_private_networks_are_open(address: str) -> None:
    assert is_open(NOTHING_SET, address)


def test_the_longest_rule_decides_and_of_equals_the_one_that_opens() -> None:
    reach = Reach.of(
        allow=[ip_network("10.1.2.0/24"), ip_network("10.9.0.0/16"), ip_network("169.254.7.7/32")],
        deny=[ip_network("10.0.0.0/8"), ip_network("10.1.2.3/32"), ip_network("10.9.0.0/16")],
    )
    assert not is_open(reach, "10.1.1.1")
    assert is_open(reach, "10.1.2.4")
    assert not is_open(reach, "10.1.2.3")
    assert is_open(reach, "10.9.9.9")
    assert is_open(reach, "169.254.7.7")
    assert not is_open(reach, "169.254.7.8")
    assert not is_open(reach, "2002:a01:101::"), "6to4 of a closed address"
    assert is_open(reach, "64:ff9b::10.1.2.4"), "NAT64 of an open address"


def test_an_open_network_reaches_the_host_s_own_addresses_only_if_named() -> None:
    own = [ip_address("10.1.2.3"), ip_address("fd00::2")]
    assert not is_open(Reach.of(own=own), "10.1.2.3")
    assert not is_open(Reach.of(own=own, allow=[ip_network("10.0.0.0/8")]), "10.1.2.3")
    assert is_open(Reach.of(own=own, allow=[ip_network("10.1.2.3/32")]), "10.1.2.3")
    assert is_open(Reach.of(own=own), "fd00::3")


def test_rules_survive_the_way_through_json() -> None:
    own = ip_address("10.1.2.3")
    reach = Reach.of(allow=[ip_network("10.0.0.0/8")], own=[own], closed_ports=[7233, 8400], opened=[(own, 443)])
    assert Reach.from_json(json.loads(json.dumps(reach.to_json()))) == reach
