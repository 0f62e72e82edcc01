"""Which addresses are public: the special ranges one by one, in every spelling."""

from __future__ import annotations

import pytest

from callboard.security.ip_policy import embedded_ipv4, non_public_reason, parse_address

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
]

LOOPBACK = ["127.0.0.1", "127.1.2.3", "127.255.255.255", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1"]
THIS_HOST = ["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0"]
PRIVATE = [
    *("10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255"),
    *("::ffff:10.0.0.1", "::ffff:192.168.1.1", "fc00::1", "fd00:ec2::254", "fdff:ffff::1", "fec0::1", "feff::1"),
]
LINK_LOCAL = ["169.254.0.1", "169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "fe80::1", "febf::1"]
SHARED = ["100.64.0.0", "100.100.100.200", "100.127.255.255", "::ffff:100.64.0.1"]
TRANSLATED = [
    *("::127.0.0.1", "::7f00:1", "::8.8.8.8"),  # v4-compatible
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "64:ff9b:1:ffff::a00:1"),
    *("2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1"),
    *("2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),  # Teredo
    "192.88.99.1",
]
OTHERS = {
    "192.0.0.1": "reserved",
    "192.0.0.192": "reserved",
    "192.0.2.1": "documentation",
    "198.18.0.1": "benchmarks",
    "198.19.255.255": "benchmarks",
    "198.51.100.1": "documentation",
    "203.0.113.255": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "168.63.129.16": "metadata",
    "100::1": "reserved",
    "2001:2::1": "reserved",
    "2001:10::1": "reserved",
    "2001:db8::1": "documentation",
    "3fff::1": "documentation",
    "4000::1": "reserved",
    "5f00::1": "reserved",
    "ff02::1": "multicast",
    "ff0e::1": "multicast",
}


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_public(text: str) -> None:
    assert non_public_reason(parse_address(text)) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *((text, "a loopback address") for text in LOOPBACK),
        *((text, "an address of this host") for text in THIS_HOST),
        *((text, "an address of a private network") for text in PRIVATE),
        *((text, "a link-local address") for text in LINK_LOCAL),
        *((text, "shares between its customers") for text in SHARED),
        *((text, "stands for an IPv4 address") for text in TRANSLATED),
        *OTHERS.items(),
    ],
)
def test_no_other_address_is(text: str, kind: str) -> None:
    assert kind in (non_public_reason(parse_address(text)) or "public")


@pytest.mark.parametrize("text", ["", "localhost", "0x7f.1", "127.1", "0177.0.0.1", "1.2.3.4.5", "[::1]"])
def test_what_is_no_address_in_its_one_spelling_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("64:ff9b::a9fe:a9fe", "169.254.169.254"),
        ("2002:7f00:1::", "127.0.0.1"),
        ("8.8.8.8", None),
        ("2606:4700::1", None),
    ],
)
def test_what_a_translated_address_leads_to_is_known(text: str, inside: str | None) -> None:
    assert embedded_ipv4(parse_address(text)) == (inside and parse_address(inside))
