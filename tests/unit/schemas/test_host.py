"""Hosts of URLs: a text that two readers may take for two hosts is refused."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.schemas.host import parse_host

LONGEST = ".".join(["a" * 63] * 3 + ["a" * 61])


@pytest.mark.parametrize(
    "name",
    [
        *("proxy.example", "proxy.example.", "compose_proxy-1", "_srv.example", "xn--bcher-kva.example", LONGEST),
        *("1.example", "0x7f.0.0.1.example", "0xproxy", "1.2.3.4a"),
    ],
)
def test_a_name_is_read_in_small_letters(name: str):
    assert parse_host(name) == parse_host(name.upper()) == name


@given(st.ip_addresses())
def test_every_address_is_read_from_its_own_text(address: IPv4Address | IPv6Address):
    other = f"{address}." if address.version == 4 else address.exploded.upper()
    assert parse_host(str(address)) == parse_host(other) == address


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_may_stand_in_one_of_ipv6(address: IPv4Address):
    assert parse_host(f"::ffff:{address}") == IPv6Address(0xFFFF << 32 | int(address))


@pytest.mark.parametrize(
    "text",
    [
        *("0x", "127.0.0.0x", "192.0.514", "3221225986", "a.1"),  # numbers, of which others are made below
        *("256.256.256.256", "1.2.3.4.5"),  # no address at all, and no name for a browser
        *("\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021"),  # digits and dots of other scripts
        *("\u0661\u0662\u0667.0.0.1", "\u2460\u2461\u2466.0.0.1"),
        *("b\u00fccher.example", "\u212aelvin.example", "127.0.0.1\u200b"),
        *("%31%32%37.0.0.1", "127%2e0%2e0%2e1", "localhost%00.example"),  # percent-encoding
        *("fe80::1%eth0", "fe80::1%25eth0", "::1%1", "::ffff:192.0.2.2%25eth0"),  # zones
        *("::ffff:0300.0.2.2", "[::1]", "::1."),
        *("", ".", ".example", "proxy..example", "proxy.example..", "192.0.2.2..", "-a", "a-", "a.-b"),
        *("a b", "a\n", "a\x00", "a/b", "a@b", "a:b", "a\\b", "a,b", "a;b=c", "*", "a" * 64, "a." * 127 + "b"),
    ],
)
def test_any_other_spelling_is_refused_also_with_a_dot_behind_it(text: str):
    for spelling in (text, f"{text}."):
        with pytest.raises(
            ValueError, match=r"^expected a host that is a name, .* or an IP address in its usual spelling"
        ):
            parse_host(spelling)


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
