"""Hosts of URLs: a text that two readers may take for two hosts is refused."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.host import parse_host


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("proxy.example", "proxy.example"),
        ("Proxy.Example.", "proxy.example."),
        ("compose_proxy-1", "compose_proxy-1"),
        ("_srv.example", "_srv.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("1.example", "1.example"),
        ("0x7f.0.0.1.example", "0x7f.0.0.1.example"),
        ("0xproxy", "0xproxy"),
        ("1.2.3.4a", "1.2.3.4a"),
        (".".join(["a" * 63] * 3 + ["a" * 61]), ".".join(["a" * 63] * 3 + ["a" * 61])),
        ("192.0.2.2", IPv4Address("192.0.2.2")),
        ("192.0.2.2.", IPv4Address("192.0.2.2")),
        ("2001:db8::2", IPv6Address("2001:db8::2")),
        ("2001:DB8:0:0:0:0:0:2", IPv6Address("2001:db8::2")),
        ("::ffff:192.0.2.2", IPv6Address("::ffff:c000:202")),
    ],
)
def test_a_name_and_an_address_in_its_usual_spelling_are_read(text: str, host: object):
    assert parse_host(text) == host


OTHER_SPELLINGS = [
    "0x",  # numbers, of which others are made below
    "127.0.0.0x",
    "192.0.514",
    "3221225986",
    "256.256.256.256",  # no address at all, and no name for a browser
    "1.2.3.4.5",
    "a.1",
    "\uff11\uff12\uff17.0.0.1",  # digits and dots of other scripts
    "127\u30020\u30020\u30021",
    "\u0661\u0662\u0667.0.0.1",
    "\u2460\u2461\u2466.0.0.1",
    "b\u00fccher.example",
    "\u212aelvin.example",
    "127.0.0.1\u200b",
    "%31%32%37.0.0.1",  # percent-encoding
    "127%2e0%2e0%2e1",
    "localhost%00.example",
    "fe80::1%eth0",  # zones
    "fe80::1%25eth0",
    "::1%1",
    "::ffff:192.0.2.2%25eth0",
    "::ffff:0300.0.2.2",
    "[::1]",
    "::1.",
]


@pytest.mark.parametrize("text", OTHER_SPELLINGS)
@pytest.mark.parametrize("end", ["", "."])
def test_any_other_spelling_of_an_address_is_refused(text: str, end: str):
    with pytest.raises(ValueError, match=r"^expected a host that is a name, .* or an IP address in its usual spelling"):
        parse_host(text + end)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", ".example", "proxy..example", "proxy.example..", "192.0.2.2..", "-a", "a-", "a.-b"),
        *("a b", "a\n", "a\x00", "a/b", "a@b", "a:b", "a\\b", "a,b", "a;b=c", "*", "a" * 64, "a." * 127 + "b"),
    ],
)
def test_what_is_no_name_is_refused(text: str):
    with pytest.raises(ValueError, match=r"^expected a host"):
        parse_host(text)


@given(st.ip_addresses())
def test_every_address_is_read_from_its_own_text(address: IPv4Address | IPv6Address):
    assert parse_host(str(address)) == address


@given(
    st.lists(
        st.tuples(st.integers(0, 255), st.sampled_from(["{}", "0x{:x}", "0X{:X}", "0{:o}"])), min_size=1, max_size=4
    )
)
def test_numbers_are_an_address_if_they_are_four_decimal_ones(parts: list[tuple[int, str]]):
    text = ".".join(form.format(number) for number, form in parts)
    if len(parts) == 4 and {form for _, form in parts} == {"{}"}:
        assert parse_host(text) == IPv4Address(text)
    else:
        with pytest.raises(ValueError, match="an IP address in its usual spelling"):
            parse_host(text)


@given(st.from_regex(r"[0-9a-fxX.:]{1,20}", fullmatch=True))
def test_no_other_reader_takes_for_an_address_what_is_read_as_a_name(text: str):
    try:
        host = parse_host(text)
    except ValueError:
        return
    if isinstance(host, str):
        with pytest.raises(OSError, match="illegal IP address"):
            socket.inet_aton(host.removesuffix("."))
    else:
        assert host == ip_address(text.removesuffix("."))
