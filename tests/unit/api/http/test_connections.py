"""The two ports' protocol, over real connections: what is too large, too slow, too much or left half open."""

import asyncio
import resource
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from api.http.connections import Limits, ServerConfig, raise_open_files_limit
from callboard.schemas.errors import ConfigurationError
from tests.support.api_in_process import QuietServer
from tests.support.polling import until

HEAD = b"POST /x HTTP/1.1\r\nhost: x\r\n"
EMPTY = b"content-length: 0\r\n\r\n"
HOLD = b"POST /hold HTTP/1.1\r\nhost: x\r\n" + EMPTY
LARGE = b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n"


@dataclass
class Site:
    """The server, and what its application has seen."""

    limits: Limits
    port: int = 0
    server: Any = None
    bodies: list[bytes] = field(default_factory=list[bytes])
    left: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """`/hold` answers when it may, `/early` before it has the body, `/large` with a lot, all else with its body."""
        path, body = scope["path"], b""
        if path == "/hold":
            await self.go_on.wait()
        while path != "/early":
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left += 1
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.bodies.append(body)
        answer = b"a" * 50_000_000 if path == "/large" else b"got %d" % len(body)
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def connect(self, *parts: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for part in parts:
            writer.write(part)
            await writer.drain()
        return reader, writer

    async def talk(self, *parts: bytes) -> bytes:
        """What is answered, until the server closes the connection."""
        reader, writer = await self.connect(*parts)
        answer = await rest(reader)
        writer.close()
        return answer

    async def until_open(self, connections: int) -> None:
        await until(lambda: len(self.server.server_state.connections) == connections)


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server closes the connection."""
    async with asyncio.timeout(20):
        return await reader.read()


async def until_got(reader: asyncio.StreamReader, size: int = 0) -> None:
    """Wait for the answer to a body of this size."""
    async with asyncio.timeout(20):
        assert b"HTTP/1.1 200 OK" in await reader.readuntil(b"got %d" % size)


@asynccontextmanager
async def serving(**given: Any) -> AsyncGenerator[Site]:
    limits: dict[str, Any] = {"connections": 50, "linger": 0.2, **given}
    site = Site(Limits(**limits))
    config = ServerConfig(site, site.limits, host="127.0.0.1", port=0, lifespan="off", log_config=None)
    async with QuietServer.running(config) as site.server:
        site.port = site.server.port
        try:
            yield site
            await site.until_open(0)
            assert config.waiting == {}
        finally:
            site.go_on.set()


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([HEAD, b"x-a: ", *[b"a" * 65536] * 40], b"431 Request Header Fields Too Large"),
        ([HEAD, b"x-a: " + b"a" * 40_000 + b"\r\n\r\n"], b"431 "),
        ([HEAD, b"".join(b"h%d: v\r\n" % n for n in range(100_000)), b"\r\n"], b"431 "),
        ([HEAD, b"".join(b"h%d: v\r\n" % n for n in range(99)), b"h: v\r\n\r\n"], b"431 "),
        ([HEAD, b"transfer-encoding: chunked\r\n\r\n1;", *[b"e" * 65536] * 40], b"431 "),
        ([HEAD, b"transfer-encoding: chunked\r\n\r\n0\r\n", b"t: v\r\n" * 200, b"\r\n"], b"431 "),
        ([HEAD, b"not a header\r\n\r\n"], b"400 Bad Request"),
        ([b"GET /", *[b"a" * 65536] * 40], b"414 "),
        ([b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"], b"414 "),
    ],
)
async def test_headers_and_addresses_that_are_too_large_are_refused(parts: list[bytes], status: bytes):
    async with serving() as site:
        answer = await site.talk(*parts)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"connection: close\r\n" in answer
        assert b'"code":"bad-request"' in answer
        assert site.bodies == []


async def test_as_many_headers_as_are_allowed_and_a_large_body_pass():
    headers = b"".join(b"h%d: v\r\n" % n for n in range(97))
    head = HEAD + headers + b"connection: close\r\ncontent-length: 3000000\r\n\r\n"
    async with serving(body_timeout=20) as site:
        answer = await site.talk(head, *[b"a" * 100_000] * 30)
        assert answer.endswith(b"got 3000000")


async def test_each_request_of_a_connection_has_the_limit_for_itself():
    request = HEAD + b"x-a: " + b"a" * 20_000 + b"\r\ncontent-length: 2\r\n\r\nhi"
    async with serving() as site:
        reader, writer = await site.connect()
        for _ in range(5):
            writer.write(request)
            await until_got(reader, 2)
        writer.close()


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"\r\n\r\n", b"G", HEAD, HEAD + b"x-a: "])
async def test_headers_that_do_not_arrive_are_answered_with_408(sent: bytes):
    async with serving(head_timeout=0.3) as site:
        answer = await site.talk(sent)
        if sent.strip():
            assert answer.startswith(b"HTTP/1.1 408 Request Timeout")
            assert b"The headers of the request did not arrive within 0.3 seconds." in answer
        else:
            assert answer == b"", "where there is no request, there is no answer"


@pytest.mark.parametrize(
    "framing", [b"content-length: 10\r\n\r\nhello", b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"]
)
async def test_a_body_that_does_not_arrive_is_answered_with_408_and_given_up(framing: bytes):
    async with serving(body_timeout=0.3) as site:
        answer = await site.talk(HEAD + framing)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"The body of the request did not arrive" in answer
        assert (site.left, site.bodies) == (1, [])


async def test_a_trickle_does_not_keep_a_connection_open():
    async with serving(head_timeout=0.5) as site:
        reader, writer = await site.connect(HEAD)

        async def trickle() -> None:
            while not reader.at_eof():
                writer.write(b"a: b\r\n")
                await asyncio.sleep(0.05)

        trickling = asyncio.create_task(trickle())
        assert (await rest(reader)).startswith(b"HTTP/1.1 408 ")
        await trickling
        writer.close()


async def test_the_rest_of_a_body_is_bounded_too_when_it_was_answered_before():
    async with serving(body_timeout=0.3) as site:
        answer = await site.talk(b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhello")
        assert answer.endswith(b"got 0")


async def test_a_body_that_was_answered_without_being_read_is_not_kept():
    async with serving() as site:
        head = b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"
        reader, writer = await site.connect(head + b"a" * 50_000)
        await until_got(reader)
        (connection,) = site.server.server_state.connections
        assert connection.cycle.body == b""
        writer.close()


async def test_a_stray_line_end_after_an_answer_keeps_no_connection_open():
    async with serving(head_timeout=0.3) as site:
        reader, writer = await site.connect(HEAD + EMPTY)
        await until_got(reader)
        writer.write(b"\r\n")
        assert await rest(reader) == b""
        writer.close()


async def test_no_clock_runs_while_an_answer_is_awaited():
    async with serving(head_timeout=0.1, body_timeout=0.1) as site:
        reader, writer = await site.connect(HOLD)
        await asyncio.sleep(0.5)  # longer than both: nothing may happen, so there is nothing to be awaited
        site.go_on.set()
        await until_got(reader)
        writer.close()


async def test_no_clock_runs_out_while_the_api_itself_does_not_read():
    """The body of the second request is larger than what is read ahead while the first is being answered."""
    first = b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n"
    second = HEAD + b"connection: close\r\ncontent-length: 1000000\r\n\r\n"
    async with serving(head_timeout=1, body_timeout=1) as site:
        reader, writer = await site.connect(first + second)
        writer.write(b"a" * 1_000_000)
        await asyncio.sleep(1.9)  # longer than either clock: nothing may happen, so there is nothing to await
        site.go_on.set()
        assert (await rest(reader)).endswith(b"got 1000000")
        writer.close()


async def test_requests_that_were_sent_ahead_are_answered_in_order_up_to_a_limit():
    request = b"POST /hold HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s"
    async with serving(pipelined=4) as site:
        reader, writer = await site.connect(b"".join(request % (n, b"a" * n) for n in range(5)))
        site.go_on.set()
        for n in range(5):
            await until_got(reader, n)
        writer.close()
        site.go_on.clear()
        _, writer = await site.connect(HOLD * 6)
        await site.until_open(0)
        site.go_on.set()
        writer.close()


async def test_who_waits_longest_gives_way_when_there_are_too_many():
    async with serving(connections=10, head_timeout=20) as site:
        busy = await site.connect(HOLD)
        oldest = await site.connect(HEAD)
        await site.until_open(2)
        half_open = []
        for opened in range(3, 11):
            half_open.append(await site.connect(HEAD))
            await site.until_open(opened)
        answer = await site.talk(HEAD + b"connection: close\r\n" + EMPTY)
        assert answer.endswith(b"got 0")
        assert await rest(oldest[0]) == b""
        site.go_on.set()
        await until_got(busy[0])
        for _, writer in (busy, oldest, *half_open):
            writer.close()


async def test_answers_503_while_all_connections_are_busy():
    async with serving(connections=10) as site:
        busy = [await site.connect(HOLD) for _ in range(10)]
        await until(lambda: len(site.server.server_state.tasks) == 10)
        assert (await site.talk()).startswith(b"HTTP/1.1 503 ")
        site.go_on.set()
        for reader, writer in busy:
            await until_got(reader)
            writer.close()


async def test_who_does_not_read_their_answer_is_given_up():
    async with serving(peer_timeout=1) as site:
        _, writer = await site.connect(LARGE)
        await site.until_open(1)
        await site.until_open(0)
        writer.close()


async def test_another_protocol_is_not_spoken():
    upgrade = b"GET /x HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    key = b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    async with serving() as site:
        reader, writer = await site.connect(upgrade + key)
        await until_got(reader)
        writer.close()


def test_more_connections_than_the_system_allows_are_refused(monkeypatch: pytest.MonkeyPatch):
    given: list[tuple[int, int]] = []

    def getrlimit(_: int) -> tuple[int, int]:
        return 1024, 4096

    def setrlimit(_: int, limit: tuple[int, int]) -> None:
        given.append(limit)

    monkeypatch.setattr(resource, "getrlimit", getrlimit)
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    raise_open_files_limit(100)
    assert given == []
    raise_open_files_limit(2000)
    assert given == [(2200, 4096)]
    with pytest.raises(ConfigurationError, match="4000 connections on both ports need 4200 open files"):
        raise_open_files_limit(4000)
