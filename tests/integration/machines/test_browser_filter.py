"""The filter connects to whatever a Machine may reach and to nothing else, and says why (SOCKS5, RFC 1928)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import ProxySettings

from machines.runner import browser_filter, dialing, splicing
from machines.runner.browser_filter import BrowserFilter, UnsupportedProxyError
from machines.runner.dialing import DialError, RefusedError, Stream, UnknownHostError, UnreachableError
from machines.runner.reach import Reach
from tests.support.tls import make_certificate

OPEN = "127.0.0.9"
"""A loopback address that the tests open."""


@dataclass
class World:
    """A filter that lets connections to `OPEN` pass, and what it has said about the others."""

    filter: BrowserFilter
    port: int
    errors: list[DialError] = field(default_factory=list[DialError])
    opened: list[asyncio.StreamWriter] = field(default_factory=list[asyncio.StreamWriter])

    async def ask(self, host: str, port: int, command: int = 1) -> tuple[int, Stream]:
        """Its reply to a request, and the connection."""
        stream = await self.connect()
        stream.writer.write(b"\x05\x01\x00")
        assert await stream.reader.readexactly(2) == b"\x05\x00"
        stream.writer.write(b"\x05%c\x00%b%b" % (command, _address(host), port.to_bytes(2)))
        answer = await stream.reader.readexactly(10)
        assert (answer[0], answer[2:]) == (5, b"\x00\x01" + bytes(6))
        return answer[1], stream

    async def connect(self) -> Stream:
        return await self._open("127.0.0.1", self.port)

    async def _open(self, host: str | None, port: int | None) -> Stream:
        reader, writer = await asyncio.open_connection(host, port)
        self.opened.append(writer)
        return Stream(reader, writer)

    async def ask_by(self, proxy: ProxySettings, words: bytes) -> bytes:
        """What comes back by a forward."""
        parts = urlsplit(proxy.get("server", ""))
        stream = await self._open(parts.hostname, parts.port)
        stream.writer.write(words)
        stream.writer.write_eof()
        return await rest_of(stream)


async def rest_of(stream: Stream) -> bytes:
    """What is still answered. A server that closes before it has read all resets the connection."""
    try:
        return await stream.reader.read()
    except ConnectionResetError:
        return b""


def _address(host: str) -> bytes:
    try:
        packed = ip_address(host).packed
    except ValueError:
        return b"\x03%c%b" % (len(host), host.encode())
    return (b"\x01" if len(packed) == 4 else b"\x04") + packed


@asynccontextmanager
async def open_world(reach: Reach | None = None) -> AsyncGenerator[World]:
    errors: list[DialError] = []
    async with BrowserFilter.serving(reach or Reach.of(allow=[ip_network(OPEN)]), errors.append) as made:
        port = urlsplit(made.proxy.get("server", "")).port
        assert port is not None
        world = World(made, port, errors)
        yield world
    for writer in world.opened:
        writer.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with open_world() as world:
        yield world


@dataclass
class Echo:
    """A server that answers, once its client has said all, with what that was in capitals."""

    port: int = 0
    connections: int = 0


@asynccontextmanager
async def echoing(host: str = OPEN, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Echo]:
    echo = Echo()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        echo.connections += 1
        writers.append(writer)
        # TLS has no half of a connection, so there the words are one line.
        words = await (reader.readline() if tls else reader.read())
        writer.write(words.upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, host, 0, ssl=tls)
    echo.port = server.sockets[0].getsockname()[1]
    try:
        yield echo
    finally:
        server.close()
        for writer in writers:
            writer.close()


def names(monkeypatch: pytest.MonkeyPatch, known: dict[str, list[str]]) -> list[str]:
    """Have only these names, and return the list of those that are looked up."""
    asked: list[str] = []

    def addresses(host: str) -> list[str]:
        asked.append(host)
        return known[host]

    monkeypatch.setattr(dialing, "_addresses", addresses)
    return asked


async def test_bytes_go_both_ways_and_the_end_of_either_side_is_passed_on(world: World) -> None:
    async with echoing() as echo:
        answer, stream = await world.ask(OPEN, echo.port)
        assert answer == 0
        stream.writer.write(b"words " * 100_000)
        stream.writer.write_eof()
        assert await stream.reader.read() == b"WORDS " * 100_000
    assert world.errors == []


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1.2.3", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "169.254.169.254", "fd00:ec2::254"),
        *("localhost", "127.1", "0x7f000001", "::ffff:a9fe:a9fe"),
    ],
)
async def test_what_is_closed_is_refused_in_whatever_form_it_is_named(world: World, host: str) -> None:
    answer, stream = await world.ask(host, 80)
    assert answer == 2
    assert await stream.reader.read() == b""
    (error,) = world.errors
    assert isinstance(error, RefusedError)
    assert "CALLBOARD_BROWSER_ALLOW opens addresses" in str(error)


async def test_an_address_of_ipv6_is_reached_where_it_is_open() -> None:
    async with open_world(Reach.of(allow=[ip_network("::1")])) as world, echoing("::1") as echo:
        answer, _ = await world.ask("::1", echo.port)
        assert answer == 0


async def test_a_name_is_looked_up_once_and_the_address_that_was_checked_is_connected_to(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = names(monkeypatch, {"shop.test": ["127.0.0.1", OPEN]})
    async with echoing() as echo, echoing("127.0.0.1") as closed:
        for port, reached in ((echo.port, 0), (closed.port, 5)):
            answer, _ = await world.ask("shop.test", port)
            assert answer == reached, "of its addresses, the open one is taken"
        assert asked == ["shop.test", "shop.test"]
        assert closed.connections == 0


async def test_a_name_that_leads_to_a_closed_address_is_refused_with_that_address(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, {"metadata.test": ["169.254.169.254"]})
    answer, _ = await world.ask("metadata.test", 80)
    assert answer == 2
    assert str(world.errors[0]).startswith(
        "metadata.test:80 was refused, as it leads to 169.254.169.254, a link-local address"
    )


async def test_the_next_address_is_tried_if_one_does_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, {"shop.test": ["127.0.0.8", OPEN]})
    reach = Reach.of(allow=[ip_network("127.0.0.8/31")])
    async with open_world(reach) as world, echoing() as echo:
        answer, _ = await world.ask("shop.test", echo.port)
        assert answer == 0


async def test_why_there_is_no_connection_is_answered_and_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with echoing() as gone:
        pass
    answer, _ = await world.ask(OPEN, gone.port)
    assert answer == 5
    assert (await world.ask("nowhere.invalid", 80))[0] == 4
    assert (await world.ask("a" * 70 + ".test", 80))[0] == 4  # no label of a name is as long

    async def never(*_: Any, **__: Any) -> Stream:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    monkeypatch.setattr(dialing, "_CONNECTED_WITHIN", 0.01)
    monkeypatch.setattr(dialing, "_opened", never)
    assert (await world.ask(OPEN, 80))[0] == 6
    refused, unknown, wrong, slow = world.errors
    assert isinstance(refused, UnreachableError)
    assert str(refused) == f"{OPEN}:{gone.port} could not be connected to: Connection refused."
    assert isinstance(unknown, UnknownHostError)
    assert str(unknown).startswith("nowhere.invalid:80 was not found: ")
    assert isinstance(wrong, UnknownHostError)
    assert str(slow) == f"{OPEN}:80 has not answered within 0.01 seconds."


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"\x05\x01\x02", b"\x05\xff"),  # credentials
        (b"\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x09\x00\x50", b"\x05\x00\x05\x07\x00\x01" + bytes(6)),  # BIND
        (b"\x05\x01\x00\x05\x03\x00\x01\x7f\x00\x00\x09\x00\x50", b"\x05\x00\x05\x07\x00\x01" + bytes(6)),  # UDP
        (b"\x05\x01\x00\x05\x01\x00\x02", b"\x05\x00\x05\x08\x00\x01" + bytes(6)),
        (b"\x04\x01\x00\x50\x7f\x00\x00\x09\x00", b""),
        (b"GET / HTTP/1.1\r\n\r\n", b""),
        (b"\x05\x01\x00\x04", b"\x05\x00"),
    ],
)
async def test_what_is_not_served_is_answered_as_the_protocol_has_it(world: World, said: bytes, answer: bytes) -> None:
    stream = await world.connect()
    stream.writer.write(said)
    stream.writer.write_eof()
    assert await rest_of(stream) == answer
    assert world.errors == []


async def test_its_own_ports_are_closed_where_loopback_is_open() -> None:
    reach = Reach.of(allow=[ip_network("127.0.0.0/8"), ip_network("::1")])
    async with open_world(reach) as world, echoing("127.0.0.1") as echo:
        assert (await world.ask("127.0.0.1", echo.port))[0] == 0
        world.filter.close_port(echo.port)
        for host, port in (("127.0.0.1", echo.port), ("127.0.0.1", world.port), ("localhost", world.port)):
            assert (await world.ask(host, port))[0] == 2
        assert f"port {world.port}, where a part of Callboard itself listens" in str(world.errors[-1])


async def test_there_are_no_more_connections_than_may_be(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_filter, "_MOST_CONNECTIONS", 1)
    async with echoing() as echo:
        answer, stream = await world.ask(OPEN, echo.port)
        assert answer == 0
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await world.ask(OPEN, echo.port)
        stream.writer.write_eof()
        await stream.reader.read()
        await _until_no_connection(world)
        answer, _ = await world.ask(OPEN, echo.port)
        assert answer == 0


async def _until_no_connection(world: World) -> None:
    while connections := world.filter._connections:
        await asyncio.wait(set(connections))


async def test_the_end_ends_all_connections() -> None:
    async with echoing() as echo:
        async with open_world() as world:
            _, stream = await world.ask(OPEN, echo.port)
        assert await stream.reader.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await world.connect()


async def test_what_an_attempt_still_waits_for_is_given_up_with_it_and_told_to_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialing_begun = asyncio.Event()

    async def never(*_: Any) -> Stream:
        dialing_begun.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    monkeypatch.setattr(dialing, "_opened", never)
    stream = await world.connect()
    stream.writer.write(b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x09\x00\x50")
    await dialing_begun.wait()
    world.filter.end_attempt()
    assert await rest_of(stream) == b"\x05\x00"
    assert world.errors == []
    monkeypatch.undo()
    async with echoing() as echo:
        assert (await world.ask(OPEN, echo.port))[0] == 0


async def test_no_more_is_read_than_the_other_side_takes() -> None:
    class Slow:
        """The writing end of a connection that takes nothing until it may."""

        def __init__(self) -> None:
            self.taken: list[bytes] = []
            self.full, self.may = asyncio.Event(), asyncio.Event()

        def write(self, data: bytes) -> None:
            self.taken.append(data)

        async def drain(self) -> None:
            self.full.set()
            await self.may.wait()

        def can_write_eof(self) -> bool:
            return False

    source, slow, silent = asyncio.StreamReader(), Slow(), asyncio.StreamReader()
    whole = bytes(10 * splicing._CHUNK)
    source.feed_data(whole)
    source.feed_eof()
    sink: Any = slow
    joined = asyncio.create_task(splicing.splice(Stream(source, sink), Stream(silent, sink)))
    await slow.full.wait()
    assert len(b"".join(slow.taken)) <= splicing._CHUNK
    slow.may.set()
    silent.feed_eof()
    await joined
    assert b"".join(slow.taken) == whole


async def test_a_side_that_does_not_end_after_the_other_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splicing, "_HALF_CLOSED_WITHIN", 0.01)
    told = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        told.set()
        await reader.read()

        writer.close()

    async with await asyncio.start_server(silent, OPEN, 0) as server:
        _, stream = await world.ask(OPEN, server.sockets[0].getsockname()[1])
        stream.writer.write_eof()
        await told.wait()
        assert await stream.reader.read() == b""


def _at(scheme: str, port: int, host: str = OPEN) -> ProxySettings:
    return {"server": f"{scheme}://{host}:{port}", "username": "ada", "password": "p:w"}


async def test_a_proxy_is_reached_by_a_forward_which_keeps_its_kind_and_credentials(world: World) -> None:
    async with echoing() as echo:
        for scheme in ("http", "socks5"):
            proxy = await world.filter.forward(_at(scheme, echo.port))
            assert (proxy.get("username"), proxy.get("password")) == ("ada", "p:w")
            assert proxy.get("bypass") == "<-loopback>"
            assert proxy.get("server", "").startswith(f"{scheme}://127.0.0.")
            assert urlsplit(proxy.get("server", "")).port == world.port, "one port is all that the browser needs"
            assert await world.ask_by(proxy, b"words") == b"WORDS"
        again = await world.filter.forward(_at("socks5", echo.port))
        assert again == proxy
        world.filter.end_attempt()
        with pytest.raises(ConnectionRefusedError):
            await world.ask_by(proxy, b"words")


async def test_a_proxy_at_a_closed_address_is_not_connected_to(world: World) -> None:
    async with echoing("127.0.0.1") as closed:
        proxy = await world.filter.forward(_at("http", closed.port, "127.0.0.1"))
        assert await world.ask_by(proxy, b"words") == b""
        assert closed.connections == 0
    (error,) = world.errors
    assert error.proxy
    assert str(error).startswith(f"The proxy 127.0.0.1:{closed.port} was refused, as it is a loopback address.")


async def test_a_proxy_over_tls_is_spoken_to_over_tls_if_its_certificate_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    reach = Reach.of(allow=[ip_network("127.0.0.1"), ip_network("::1"), ip_network(OPEN)])
    async with open_world(reach) as world, echoing("127.0.0.1", certificate.server) as echo:
        untrusted = await world.filter.forward(_at("https", echo.port, "localhost"))
        assert await world.ask_by(untrusted, b"words\n") == b""
        world.filter.end_attempt()
        monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(tmp_path / "missing"))
        assert await world.ask_by(await world.filter.forward(_at("https", echo.port, "localhost")), b"words\n") == b""
        world.filter.end_attempt()
        monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(certificate.file))
        trusted = await world.filter.forward(_at("https", echo.port, "localhost"))
        assert trusted.get("server", "").startswith("http://")
        assert await world.ask_by(trusted, b"words\n") == b"WORDS\n"
        assert echo.connections == 1
    error, _ = world.errors
    assert str(error).startswith(f"The proxy localhost:{echo.port} could not be connected to: its certificate is not")


@pytest.mark.parametrize(
    "server",
    ["direct://", "socks4://127.0.0.9", "quic://127.0.0.9", "http://a:b:c", "", "per-context"],
)
async def test_what_is_no_proxy_is_refused(world: World, server: str) -> None:
    if server == "per-context":  # to Chromium that is the name of a host, like any other word
        assert (await world.filter.forward({"server": server})).get("server", "").startswith("http://127.")
        return
    with pytest.raises(UnsupportedProxyError, match="scheme http, https or socks5"):
        await world.filter.forward({"server": server})


@pytest.mark.parametrize("bypass", ["shop.test", "*", "127.0.0.1, shop.test", "<local>"])
async def test_no_host_goes_past_the_proxy_of_a_context(world: World, bypass: str) -> None:
    with pytest.raises(UnsupportedProxyError, match="bypass"):
        await world.filter.forward({**_at("http", 80), "bypass": bypass})


async def test_there_are_no_more_proxies_than_may_be(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_filter, "_MOST_FORWARDS", 1)
    await world.filter.forward(_at("http", 80))
    with pytest.raises(UnsupportedProxyError, match="may have 1 prox"):
        await world.filter.forward(_at("http", 81))
