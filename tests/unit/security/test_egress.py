"""Where requests on a caller's behalf may go: whatever the name, however it is spelled, whenever it is looked up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.schemas.errors import ConfigurationError, EgressRefused
from callboard.security.egress import EgressPolicy
from tests.support.constants import LOOPBACK

Names = dict[str, list[str]]


def names(table: Names) -> Callable[[str, int], Awaitable[list[str]]]:
    async def look_up(host: str, port: int) -> list[str]:
        if host not in table:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return table[host]

    return look_up


def egress(*allow: str, **table: list[str]) -> EgressPolicy:
    return EgressPolicy(allow, resolve=names({name.replace("_", "."): found for name, found in table.items()}))


async def test_a_name_with_public_addresses_is_allowed_with_all_of_them() -> None:
    guard = egress(receiver_example=["2606:4700:4700::1111", "8.8.8.8"])
    await guard.check_url("https://receiver.example/hook?x=1")
    assert [str(each) for each in await guard.resolve_allowed("receiver.example", 443)] == [
        "2606:4700:4700::1111",
        "8.8.8.8",
    ]


@pytest.mark.parametrize("position", range(3))
async def test_one_address_that_is_not_public_refuses_them_all(position: int) -> None:
    found = ["8.8.8.8", "1.1.1.1"]
    found.insert(position, "169.254.169.254")
    with pytest.raises(EgressRefused, match=r"^receiver.example leads to a link-local address, where clouds"):
        await egress(receiver_example=found).resolve_allowed("receiver.example", 443)


async def test_the_reason_says_what_to_do_and_tells_no_address_of_the_network() -> None:
    with pytest.raises(EgressRefused) as error:
        await egress(intern_example=["10.20.30.40"]).check_url("http://intern.example")
    assert "CALLBOARD_EGRESS_ALLOW" in error.value.message
    assert "10.20" not in error.value.message
    assert error.value.status == 400


INSIDE = ["127.0.0.1", "0.0.0.0", "10.0.0.1", "169.254.169.254", "192.0.2.2", "::1", "fe80::1", "fd00:ec2::254"]
"""An address of each kind that is not public (tests/unit/security/test_ip_policy.py has all of them)."""


def numbers(address: IPv4Address) -> st.SearchStrategy[str]:
    """Spellings of an address that browsers and `inet_aton` read: in fewer parts, and to other bases."""
    octets = address.packed
    parts = [[*octets[: count - 1], int.from_bytes(octets[count - 1 :])] for count in range(1, 5)]
    bases = st.lists(st.sampled_from(["{:d}", "0x{:x}", "0X{:X}", "0{:o}"]), min_size=4, max_size=4)

    def spelled(values: list[int], forms: list[str]) -> str:
        return ".".join(form.format(value) for form, value in zip(forms, values, strict=False))

    return st.builds(spelled, st.sampled_from(parts), bases)


def disguised(text: str) -> st.SearchStrategy[str]:
    """The same text, with a dot behind it, percent-encoded, or in digits and dots of other scripts."""
    percent = "".join(f"%{ord(letter):02x}" for letter in text)
    wide = "".join(chr(0xFF10 + int(letter)) if letter.isdigit() else letter for letter in text)
    return st.sampled_from([text, f"{text}.", f"{text}..", percent, wide, text.replace(".", "\u3002")])


@st.composite
def hosts_inside(draw: st.DrawFn) -> str:
    """A host to which some reader would connect within, or which nobody reads."""
    address = ip_address(draw(st.sampled_from(INSIDE)))
    if isinstance(address, IPv4Address):
        mapped = [f"[::ffff:{address}]", f"[::ffff:{address}%25eth0]", f"[64:ff9b::{address}]"]
        return draw(numbers(address).flatmap(disguised) | st.sampled_from(mapped))
    return draw(st.sampled_from([f"[{address}]", f"[{address.exploded}]", f"[{address}%25lo]", f"[{address}%1]"]))


@given(
    hosts_inside() | st.sampled_from(["localhost", "LocalHost.", "a.localhost", "a.b.localhost.", "", "a b", "[::1"])
)
async def test_no_spelling_of_an_address_within_slips_through(host: str) -> None:
    for guard in (EgressPolicy(), egress()):  # by this host's own look-up, and where no name is known
        with pytest.raises(EgressRefused):
            await guard.check_url(f"http://{host}/hook")
    with pytest.raises(EgressRefused):
        await egress().check_url(f"http://{host}:3128", allow_unknown_host=True)


@pytest.mark.parametrize("host", ["0x7f.1", "127.1.", "2130706433", "0177.0.0.1", "[::1%251]", "127.0.0.1.."])
async def test_another_spelling_is_refused_even_where_its_address_is_open(host: str) -> None:
    with pytest.raises(EgressRefused, match=r"an IP address in its usual spelling, such as 192\.0\.2\.2"):
        await EgressPolicy(LOOPBACK).check_url(f"http://{host}/", allow_unknown_host=True)


async def test_a_dot_behind_an_address_goes_and_one_behind_a_name_stays() -> None:
    asked: list[str] = []

    async def look_up(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["8.8.8.8"]

    guard = EgressPolicy(resolve=look_up)
    assert [str(each) for each in await guard.resolve_allowed("8.8.4.4.", 80)] == ["8.8.4.4"]
    assert [str(each) for each in await guard.resolve_allowed("Receiver.Example.", 80)] == ["8.8.8.8"]
    assert asked == ["receiver.example."]


async def test_a_name_of_this_host_is_loopback_whatever_a_name_server_says() -> None:
    table = {"a.localhost": ["8.8.8.8"]}
    with pytest.raises(EgressRefused, match=r"^a\.localhost leads to a loopback address"):
        await EgressPolicy(resolve=names(table)).check_url("http://a.localhost/")
    for allow in (LOOPBACK, ["a.localhost"]):
        await EgressPolicy(allow, resolve=names(table)).check_url("http://a.localhost/")


async def test_a_name_that_nobody_has_is_refused_unless_others_may_know_it() -> None:
    with pytest.raises(EgressRefused, match=r"^There is no host nowhere.example\.$"):
        await egress().check_url("https://nowhere.example/hook")
    await egress().check_url("https://nowhere.example/hook", allow_unknown_host=True)


async def test_a_name_that_cannot_be_looked_up_just_now_is_not_refused() -> None:
    async def away(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    await EgressPolicy(resolve=away).check_url("https://receiver.example/")


async def test_a_look_up_that_takes_too_long_holds_up_no_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr("callboard.security.egress._LOOKUP_TIMEOUT_SECONDS", 0.01)
    await EgressPolicy(resolve=never).check_url("https://receiver.example/")


# What the operator has opened.


@pytest.mark.parametrize("allow", ["10.1.0.0/16", "10.1.2.3", "receiver.example", "RECEIVER.example."])
@pytest.mark.parametrize("host", ["receiver.example", "receiver.example.", "Receiver.Example"])
async def test_what_is_opened_is_allowed(allow: str, host: str) -> None:
    guard = EgressPolicy([allow], resolve=names({name: ["10.1.2.3"] for name in (host, host.lower())}))
    await guard.check_url(f"http://{host}/")


@pytest.mark.parametrize("allow", ["10.2.0.0/16", "10.1.2.4", "other.example", "example", "a.receiver.example"])
async def test_nothing_else_is(allow: str) -> None:
    with pytest.raises(EgressRefused):
        await egress(allow, receiver_example=["10.1.2.3"]).check_url("http://receiver.example/")


async def test_a_network_that_is_opened_is_open_for_each_of_its_addresses() -> None:
    guard = EgressPolicy(LOOPBACK)
    for url in ("http://127.0.0.1:8401/inbox", "http://127.0.0.2./", "http://[::1]/", "http://[::ffff:127.0.0.1]/"):
        await guard.check_url(url)
    with pytest.raises(EgressRefused):
        await guard.check_url("http://10.0.0.1/")


async def test_a_translation_that_is_opened_opens_only_what_is_public_behind_it() -> None:
    guard = egress("64:ff9b::/96", "2002::/16", far_example=["64:ff9b::808:808", "2002:808:808::1"])
    await guard.check_url("http://far.example/")
    for url in ("http://[64:ff9b::a9fe:a9fe]/", "http://[2002:7f00:1::]/"):
        with pytest.raises(EgressRefused):
            await EgressPolicy(["64:ff9b::/96", "2002::/16"]).check_url(url)


@pytest.mark.parametrize(
    "entry", ["10.0.0.0/33", "http://a", "a b", "*.example.com", "127.1", "2130706433", "0x7f.1", "10.1.2.3.", "a..b"]
)
def test_what_is_neither_network_nor_host_is_told_at_the_start(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="CALLBOARD_EGRESS_ALLOW"):
        EgressPolicy([entry])


async def test_a_host_that_is_opened_need_not_be_known_here() -> None:
    await egress("receiver.internal").check_url("https://receiver.internal/hook")


# Looking up.
