"""One request and its answer, on real receivers that do as they like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from activities.deliveries.http_sender import SendError, SinkResponse, exchange
from callboard.dev import ports
from callboard.security.egress import EgressPolicy
from callboard.security.pinned_transport import PinnedTransport
from tests.support.constants import LOOPBACK
from tests.support.present import present
from tests.support.webhook_receiver import Reply, answers, closes, hangs, receiver, resets, speaks_nonsense

SECOND = timedelta(seconds=1)


@pytest.fixture
async def transport() -> AsyncGenerator[PinnedTransport]:
    async with PinnedTransport(EgressPolicy(LOOPBACK)) as transport:
        yield transport


def post(url: str) -> httpx.Request:
    return httpx.Request("POST", url, content=b"hello")


async def test_status_headers_and_the_beginning_of_the_answer_are_told(transport: PinnedTransport) -> None:
    async with receiver(answers("202 Accepted", b"x" * 100_000, retry_after="7")) as inbox:
        answer = await exchange(transport, post(inbox.url), 20 * SECOND)
    assert (answer.status, answer.retry_after) == (202, 7 * SECOND)
    assert set(answer.beginning) == {ord("x")}
    assert 2048 < len(answer.beginning) < 20_000
    assert timedelta() < answer.latency < timedelta(seconds=20)


async def half(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A status, and then half of what was announced."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nthanks")
    await writer.drain()


async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A status, and then one byte now and then."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nthanks")
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("reply", [half, endless])
async def test_the_status_counts_whatever_becomes_of_the_answer_s_body(
    transport: PinnedTransport, reply: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.deliveries.http_sender._RESPONSE_WITHIN", 0.2)
    async with receiver(reply) as inbox:
        answer = await exchange(transport, post(inbox.url), 20 * SECOND)
    assert answer.status == 200
    assert answer.beginning.startswith(b"thanks")


async def drips(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Headers without end."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (hangs, {"Timeout", "ReadTimeout"}, "No answer within 0.3 seconds."),
        (drips, {"Timeout"}, "No answer within 0.3 seconds."),
        (resets, {"ReadError", "WriteError"}, None),
        (closes, {"RemoteProtocolError"}, "Server disconnected without sending a response."),
        (speaks_nonsense, {"RemoteProtocolError"}, None),
    ],
)
async def test_why_there_is_no_answer_is_told(
    transport: PinnedTransport, reply: Reply, kind: set[str], message: str | None
) -> None:
    async with receiver(reply) as inbox:
        with pytest.raises(SendError) as error:
            await exchange(transport, post(inbox.url), timedelta(seconds=0.3))
    assert error.value.problem.type in kind
    assert message in (None, error.value.problem.message)
    assert len(error.value.problem.message) > 10


async def test_a_receiver_that_is_not_there_is_told(transport: PinnedTransport) -> None:
    free = ports.choose_ports({"--port": 0})["--port"]
    with pytest.raises(SendError) as error:
        await exchange(transport, post(f"http://127.0.0.1:{free}"), 20 * SECOND)
    assert error.value.problem.type == "ConnectError"
    assert error.value.problem.message == f"127.0.0.1:{free}: Connection refused."


async def test_an_address_that_is_not_allowed_is_told() -> None:
    async with PinnedTransport(EgressPolicy()) as transport:
        with pytest.raises(SendError) as error:
            await exchange(transport, post("http://127.0.0.1:9"), 20 * SECOND)
    assert error.value.problem.type == "EgressRefused"
    assert "leads to a loopback address" in error.value.problem.message


async def test_nothing_is_added_to_what_was_made_and_no_cookie_is_kept(transport: PinnedTransport) -> None:
    async with receiver(answers(set_cookie="a=b")) as inbox:
        for _ in range(2):
            await exchange(transport, httpx.Request("PUT", inbox.url, headers={"x": "y"}, content=b"z"), 20 * SECOND)
    assert [set(request.headers) for request in inbox.received] == [{"host", "x", "content-length"}] * 2


def said(value: str | None) -> timedelta | None:
    headers = httpx.Headers() if value is None else httpx.Headers({"retry-after": value})
    return SinkResponse(429, headers, b"", timedelta()).retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 120 ", 120),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 400, None),
        ("Mon, 99 Nov 2026 00:00:00 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
    ],
)
def test_when_to_come_again_is_read_in_seconds_or_as_a_date(value: str | None, seconds: int | None) -> None:
    assert said(value) == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize("zone", [UTC, None])
def test_a_date_is_counted_from_now(zone: object) -> None:
    at = datetime.now(UTC) + timedelta(minutes=2)
    wait = said(format_datetime(at, usegmt=True) if zone else format_datetime(at.replace(tzinfo=None)))
    assert timedelta(seconds=60) < present(wait) <= timedelta(minutes=2)
