from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from playwright.async_api import Browser, Error, async_playwright, expect
from temporalio.client import Client

from callboard.dev import ports, temporal
from callboard.dev.temporal import NAMESPACE, TemporalServer
from callboard.machines.browser_program import browser_args, find_browser
from callboard.schemas.errors import StackError
from callboard.settings import Settings
from tests.support.polling import until

REBOUND = "evil.example"
"""A name that leads to the proxy's address, as its owner can make it do."""


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TemporalServer]:
    free = ports.choose_ports({"--temporal-port": 0, "--ui-port": 0})
    data = tmp_path_factory.mktemp("temporal")
    server = TemporalServer(data, port=free["--temporal-port"], ui_port=free["--ui-port"], report=print)
    try:
        await server.start()
        async with httpx.AsyncClient(trust_env=False) as http:  # the UI connects to Temporal in its own time
            await until(lambda: answers(http, f"{server.ui_url}/api/v1/namespaces"))
        yield server
    finally:
        await server.stop()


async def answers(http: httpx.AsyncClient, address: str) -> bool:
    try:
        return (await http.get(address)).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        yield http


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_browser(Settings().chromium),
            args=[*browser_args(), f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"],
        )
        yield browser
        await browser.close()


def upstream_of(server: TemporalServer) -> str:
    """Where the UI itself listens."""
    connections = psutil.Process(server.process.pid).net_connections("inet")
    listening = [c.laddr for c in connections if c.status == psutil.CONN_LISTEN and c.laddr[0] != "127.0.0.1"]
    (address,) = listening
    return f"http://{address[0]}:{address[1]}"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
async def test_it_answers_who_names_loopback(server: TemporalServer, http: httpx.AsyncClient, name: str) -> None:
    host = f"{name}:{urlsplit(server.ui_url).port}"
    answer = await http.get(f"{server.ui_url}/api/v1/namespaces", headers={"host": host})
    assert answer.status_code == 200
    assert NAMESPACE in answer.text


@pytest.mark.parametrize(
    "host",
    [
        REBOUND,
        f"{REBOUND}:PORT",
        f"127.0.0.1.{REBOUND}:PORT",
        f"127.0.0.1:PORT.{REBOUND}",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.2:PORT",
        "sub.localhost:PORT",
        "0.0.0.0:PORT",
    ],
)
async def test_it_refuses_who_names_anything_else(server: TemporalServer, http: httpx.AsyncClient, host: str) -> None:
    named = host.replace("PORT", str(urlsplit(server.ui_url).port))
    for path in ("/", "/healthz", "/api/v1/namespaces"):
        answer = await http.get(server.ui_url + path, headers={"host": named, "x-forwarded-host": "localhost"})
        assert answer.status_code == 403
        assert "_csrf" not in answer.cookies
        assert f"Temporal's Web UI is at {server.ui_url}." in answer.text


async def test_a_page_whose_name_leads_to_it_sees_nothing(server: TemporalServer, browser: Browser) -> None:
    async with await browser.new_page() as page:
        answer = await page.goto(f"http://{REBOUND}:{urlsplit(server.ui_url).port}/api/v1/namespaces")
        assert answer is not None
        assert answer.status == 403


async def test_no_page_reaches_the_ui_itself(server: TemporalServer, http: httpx.AsyncClient, browser: Browser) -> None:
    upstream = upstream_of(server)
    assert (await http.get(upstream)).status_code == 200, "it is there, for the proxy"
    async with await browser.new_page() as page:
        with pytest.raises(Error, match="ERR_UNSAFE_PORT"):
            await page.goto(upstream)
    async with await browser.new_page() as page:
        await page.goto(f"{server.ui_url}/healthz")
        with pytest.raises(Error, match="Failed to fetch"):
            await page.evaluate("address => fetch(address, {mode: 'no-cors'})", upstream)


async def test_people_see_and_do_all_through_it(server: TemporalServer, browser: Browser) -> None:
    client = await Client.connect(server.address, namespace=NAMESPACE)
    run = await client.start_workflow("Greet", id="shown", task_queue="nobody")
    async with await browser.new_page() as page:
        failed: list[str] = []
        page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
        await page.goto(server.ui_url)
        await page.get_by_role("link", name="shown").first.click()
        await page.get_by_role("tab", name="Event History").click()
        await expect(page.get_by_text("Workflow Execution Started").first).to_be_visible(timeout=30_000)
        await run.signal("news")
        await expect(page.get_by_text("news").first).to_be_visible(timeout=30_000)  # by a long poll
        await page.get_by_role("button", name="Request Cancellation").click()
        await page.get_by_role("button", name="Confirm").click()
        await until(lambda: is_cancel_requested(client, "shown"))
        assert not failed


async def is_cancel_requested(client: Client, workflow: str) -> bool:
    history = await client.get_workflow_handle(workflow).fetch_history()
    return any(event.HasField("workflow_execution_cancel_requested_event_attributes") for event in history.events)


async def test_killed_it_comes_back(server: TemporalServer, http: httpx.AsyncClient) -> None:
    proxy = server.processes[1]
    killed = proxy.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(30):
        while proxy.pid in {None, killed}:
            await asyncio.sleep(0.02)
    await until(lambda: answers(http, server.ui_url))


def test_the_ui_itself_listens_where_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({temporal.Upstream.choose().host for _ in range(20)}) == 20
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        monkeypatch.setattr(temporal, "_UNSAFE_PORTS", (everywhere.getsockname()[1],))
        with pytest.raises(StackError, match=str(everywhere.getsockname()[1])):
            temporal.Upstream.choose()
