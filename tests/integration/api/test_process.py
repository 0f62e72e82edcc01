"""`python -m api` as a process: over a real Temporal, without it, misconfigured, and told to stop."""

import asyncio
import signal
import socket
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from callboard.dev import ports
from callboard.dev.temporal import TemporalServer
from tests.integration.api.conftest import ApiProcess, MakeApi
from tests.support.api_in_process import KEY
from tests.support.polling import until

START = {"api": "list", "parameters": {"x": "é😀"}}


def no_temporal() -> str:
    return f"127.0.0.1:{ports.choose_ports({'--temporal-port': 0})['--temporal-port']}"


@pytest.fixture(scope="module")
async def serving(make_api: MakeApi, temporal: TemporalServer) -> AsyncGenerator[ApiProcess]:
    """An api with Temporal. It believes no proxy."""
    async with make_api("serving", CALLBOARD_TEMPORAL_ADDRESS=temporal.address, CALLBOARD_TRUSTED_PROXIES="") as api:
        await api.alive()
        yield api


@pytest.fixture(scope="module")
async def asking(make_api: MakeApi, temporal: TemporalServer) -> AsyncGenerator[ApiProcess]:
    """An api with Temporal whose readiness asks for workers. It believes proxies of another network."""
    environment = {"CALLBOARD_READY_NEEDS_WORKERS": "true", "CALLBOARD_TRUSTED_PROXIES": "203.0.113.0/24"}
    async with make_api("asking", CALLBOARD_TEMPORAL_ADDRESS=temporal.address, **environment) as api:
        await api.alive()
        yield api


@pytest.fixture(scope="module")
async def alone(make_api: MakeApi) -> AsyncGenerator[ApiProcess]:
    """An api whose Temporal is away. It believes proxies of this host."""
    trusted = "203.0.113.9, 127.0.0.0/8"
    async with make_api("alone", CALLBOARD_TEMPORAL_ADDRESS=no_temporal(), CALLBOARD_TRUSTED_PROXIES=trusted) as api:
        await api.alive()
        yield api


async def test_without_a_worker_a_run_is_pending_and_everything_else_works(serving: ApiProcess):
    assert (await serving.client.get(f"{serving.url}/readyz")).json()["status"] == "ready"
    run = f"{serving.base}/shop/run"
    first = await serving.client.post(f"{run}/start", json=START, headers={"idempotency-key": "one"})
    assert first.status_code == 201
    run_id = first.json()["runId"]
    assert "server" not in first.headers
    pending = {"runId": run_id, "status": "pending"}
    for answer in (
        await serving.client.post(f"{run}/start", json=START, headers={"idempotency-key": "one"}),
        await serving.client.get(f"{run}/{run_id}/result"),
        await serving.client.get(f"{run}/{run_id}/result", params={"wait": 0.1}),
        await serving.client.post(f"{run}/{run_id}/cancel", params={"wait": 0}),
        await serving.client.post(f"{run}/{run_id}/cancel", params={"wait": 0.1}),
    ):
        assert answer.is_success
        assert answer.json() == pending
    other = {**START, "requestTimeout": 5}
    conflict = await serving.client.post(f"{run}/start", json=other, headers={"idempotency-key": "one"})
    assert (conflict.status_code, conflict.json()["code"]) == (409, "conflict")
    for stranger in (f"{run}/nope", f"{serving.base}/members/run/{run_id}"):
        assert (await serving.client.get(f"{stranger}/result")).status_code == 404
        assert (await serving.client.post(f"{stranger}/cancel")).status_code == 404


async def test_readiness_can_ask_for_workers(asking: ApiProcess):
    answer = await asking.client.get(f"{asking.url}/readyz")
    assert answer.status_code == 503
    assert answer.json()["projects"]["shop"]["status"] == "failed"
    assert answer.json()["temporal"]["status"] == "ok"


async def test_with_temporal_away_it_is_alive_not_ready_and_says_try_again(alone: ApiProcess):
    ready = await alone.client.get(f"{alone.url}/readyz")
    assert ready.status_code == 503
    assert ready.json()["temporal"]["status"] == "failed"
    for answer in (
        await alone.client.post(f"{alone.base}/shop/run/start", json=START),
        await alone.client.get(f"{alone.base}/shop/run/x/result"),
    ):
        assert answer.status_code == 503
        assert answer.json()["retirable"] is True


async def test_an_address_for_metrics_that_is_taken_is_refused_in_a_sentence(api_process: Any):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with api_process(CALLBOARD_TEMPORAL_ADDRESS=no_temporal(), CALLBOARD_METRICS_ADDRESS=address) as api:
            async with asyncio.timeout(30):
                assert await api.process.wait() == 2
            last = api.log.read_text().splitlines()[-1]
    assert f"Nothing can listen at {address} (Address already in use)." in last
    assert "Choose another host and port with CALLBOARD_METRICS_ADDRESS, or unset it." in last


async def test_on_sigterm_it_answers_waiting_calls_and_ends_with_its_viewer(api_process: Any, temporal: TemporalServer):
    async with api_process(CALLBOARD_TEMPORAL_ADDRESS=temporal.address) as api:
        await api.alive()
        assert (await api.client.get(f"{api.viewer_url}/index.html")).status_code == 200
        run_id = (await api.client.post(f"{api.base}/shop/run/start", json=START)).json()["runId"]
        address = urlsplit(f"{api.base}/shop/run/{run_id}/result?wait=60")
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = (
            f"GET {address.path}?{address.query} HTTP/1.1\r\nhost: x\r\nx-api-key: test-key-number-one-of-two\r\n\r\n"
        )
        writer.write(head.encode())
        await writer.drain()
        # The request is with the server before this one, which comes over a later connection, is answered.
        await api.client.get(f"{api.url}/healthz")
        api.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b'{"runId":"%s","status":"pending"}' % run_id.encode())
        async with asyncio.timeout(15):
            await api.process.wait()
        with pytest.raises(httpx.ConnectError):
            await api.client.get(f"{api.viewer_url}/index.html")
        assert "Traceback" not in api.log.read_text()


async def test_the_trace_viewer_is_served_on_a_port_of_its_own(api_process: Any, alone: ApiProcess):
    assert "Playwright Trace Viewer" in (await alone.client.get(f"{alone.viewer_url}/index.html")).text
    assert (await alone.client.get(f"{alone.viewer_url}/healthz")).status_code == 404
    port = str(urlsplit(alone.viewer_url).port)
    async with api_process(CALLBOARD_TEMPORAL_ADDRESS=no_temporal(), CALLBOARD_VIEWER_PORT=port) as second:
        async with asyncio.timeout(30):
            assert await second.process.wait() == 2
        assert "CALLBOARD_VIEWER_PORT" in second.log.read_text()


async def test_its_log_has_no_key_in_it(serving: ApiProcess):
    await serving.client.post(f"{serving.base}/shop/run/start", json=START)
    await serving.client.get(f"{serving.base}/shop/run/x/result", headers={"x-api-key": "a-wrong-one"})
    written = ("/start -> 201", "/x/result -> 401")  # a line is written once its answer is out
    log = await until(serving.log.read_text, true=lambda log: all(line in log for line in written))
    for key in ("test-key-number-one-of-two", "a-wrong-one", "the older secret"):
        assert key not in log


async def test_both_ports_bound_what_a_client_without_a_key_may_send(alone: ApiProcess):
    for url in (alone.url, alone.viewer_url):
        assert (await talk(url, b"GET / HTTP/1.1\r\nx-a: ", *[b"a" * 65536] * 40)).startswith(b"HTTP/1.1 431 ")


SPOOFED = {"x-forwarded-for": "198.51.100.9", "x-forwarded-proto": "https"}


async def test_what_a_proxy_says_counts_only_from_where_it_may_come(
    serving: ApiProcess, asking: ApiProcess, alone: ApiProcess
):
    for api, trusted, believed in (
        (serving, "", False),
        (asking, "203.0.113.0/24", False),
        (alone, "203.0.113.9, 127.0.0.0/8", True),
    ):
        assert api.environment["CALLBOARD_TRUSTED_PROXIES"] == trusted
        cookie = (await api.client.post(f"{api.url}/sign-in", data={"key": KEY}, headers=SPOOFED)).headers["set-cookie"]
        assert ("Secure" in cookie) is believed


async def test_wrong_keys_lock_out_only_their_sender_behind_a_proxy(alone: ApiProcess):
    async def sign_in(address: str, key: str) -> int:
        # What a client claims about itself stands before what the proxy has seen.
        headers = {"x-forwarded-for": f"10.9.8.7, {address}"}
        return (await alone.client.post(f"{alone.url}/sign-in", data={"key": key}, headers=headers)).status_code

    assert [await sign_in("198.51.100.7", "wrong") for _ in range(11)] == [401] * 10 + [429]
    assert await sign_in("198.51.100.7", KEY) == 429
    assert await sign_in("198.51.100.8", KEY) == 303


async def talk(url: str, *parts: bytes) -> bytes:
    """What is answered to raw bytes, until the server closes the connection."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


async def test_odd_requests_get_an_answer_and_never_500(alone: ApiProcess):
    before = len(alone.log.read_text())
    path = urlsplit(f"{alone.base}/shop/run/start").path.encode()
    head = b"POST %s HTTP/1.1\r\nhost: x\r\nx-api-key: test-key-number-one-of-two\r\nconnection: close\r\n" % path
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    # One byte too many comes last: where the server leaves something unread, TCP may drop its answer.
    chunked = (head + b"transfer-encoding: chunked\r\n\r\n", *[chunk] * 16, b"1\r\n \r\n")
    assert b" 413 " in await talk(alone.url, *chunked)
    assert b" 400 " in await talk(alone.url, head + b"content-length: 2\r\n\r\n[]")
    for target in (b"/api/v1/workspace/%00/x", b"/api/%ff%fe", b"/" + b"x" * 20_000, b"/api/../..", b"*"):
        answer = await talk(
            alone.url,
            b"GET %s HTTP/1.1\r\nhost: x\r\nx-api-key: test-key-number-one-of-two\r\nconnection: close\r\n\r\n"
            % target,
        )
        assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), (target, answer)
    # A client that leaves in the middle of its body.
    address = urlsplit(alone.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(head + b"content-length: 1000\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await alone.client.get(f"{alone.url}/healthz")
    assert "Traceback" not in alone.log.read_text()[before:]


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"CALLBOARD_API_KEYS": ""}, "CALLBOARD_API_KEYS"),
        ({"CALLBOARD_API_KEYS": "tiny-s3cret"}, "CALLBOARD_API_KEYS: key number 1 has 11 characters"),
        ({"CALLBOARD_SECRET_KEY": "tiny-s3cret"}, "CALLBOARD_SECRET_KEY: key number 1 has 11 characters"),
        ({"CALLBOARD_WORKSPACE_ID": "t0p-s3cret"}, "CALLBOARD_WORKSPACE_ID: "),
        ({"CALLBOARD_ARTIFACTS": "gs://bucket/x"}, "CALLBOARD_ARTIFACTS"),
    ],
)
async def test_misconfigured_it_ends_with_a_sentence(api_process: Any, environment: dict[str, str], sentence: str):
    async with api_process(**environment) as api:
        async with asyncio.timeout(30):
            assert await api.process.wait() in {2, 3}
        log = api.log.read_text()
        assert sentence in log
        assert "s3cret" not in log
        assert "Traceback" not in log
