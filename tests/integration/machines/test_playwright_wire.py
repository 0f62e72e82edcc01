"""A second client of one browser, without a driver of its own: what this needs of the installed Playwright is there."""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright
from playwright.async_api import Error as PlaywrightError

from callboard.machines.browser_program import browser_args, find_browser
from callboard.machines.runner.playwright_wire import END, Attached, guid_of
from callboard.machines.runner.relay import Relay
from callboard.machines.runner.relay_policy import REFUSED, RelayPolicy
from callboard.settings import Settings
from tests.support.polling import until


@dataclass
class Desk(RelayPolicy):
    """Notes what it is asked, and answers as it is told to."""

    seen: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    proceed: asyncio.Event = field(default_factory=asyncio.Event)

    def refusal(self, method: str, params: dict[str, Any]) -> str | None:
        return f"{params['path']} was refused" if method == "saveAs" else REFUSED.get(method)

    def options_of_context(self, options: dict[str, Any]) -> dict[str, Any]:
        return {**options, "locale": "fr-FR"}

    async def context_opened(self, guid: str) -> None:
        self.seen.append(("opened", guid))

    async def context_closing(self, guid: str) -> None:
        self.seen.append(("closing", guid))
        self.closing.set()
        await self.proceed.wait()

    def stack(self, call: dict[str, Any]) -> None:
        self.seen.append(("stack", call))


@dataclass
class Pair:
    """A browser, and a second client of it behind a relay."""

    browser: Browser
    other: Attached
    policy: Desk


@asynccontextmanager
async def _relayed(browser: Browser, policy: Desk) -> AsyncGenerator[socket.socket]:
    await browser.unbind()
    endpoint = (await browser.bind("test"))["endpoint"]
    ours, theirs = socket.socketpair()
    relay = Relay(policy)
    await relay.start(endpoint, ours)
    try:
        yield theirs
    finally:
        relay.close()


@pytest.fixture
async def browser(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Browser]:
    # Paths of sockets are short, and those of pytest's own folders may not be.
    with tempfile.TemporaryDirectory(prefix="wire-", dir="/tmp") as folder:
        monkeypatch.setenv("PWTEST_SOCKETS_DIR", folder)
        monkeypatch.setenv("PWTEST_SERVER_REGISTRY", folder)
        async with _launched() as browser:
            yield browser


@asynccontextmanager
async def _launched() -> AsyncGenerator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_browser(Settings().chromium), args=browser_args()
        )
        yield browser
        await browser.close()


@pytest.fixture
async def pair(browser: Browser) -> AsyncGenerator[Pair]:
    policy = Desk()
    async with _relayed(browser, policy) as end:
        other = await Attached.over(end)
        yield Pair(browser, other, policy)
        await other.close()


async def test_finds_a_context_and_a_page_by_their_ids(pair: Pair) -> None:
    context = await pair.browser.new_context()
    page = await context.new_page()
    await page.set_content("<title>shared</title>")
    seen, its_page = await pair.other.page(guid_of(context), guid_of(page))
    assert await its_page.title() == "shared"
    assert its_page.context is seen
    await context.close()
    with pytest.raises(PlaywrightError, match="closed before"):
        await pair.other.page(guid_of(context), guid_of(page))


async def test_a_process_reads_the_devices_once_and_has_them_in_each_client(browser: Browser, pair: Pair) -> None:
    async with _relayed(browser, Desk()) as end:
        later = await Attached.over(end)
        async with async_playwright() as playwright:
            told, devices = _devices_of(later)
            assert (told, devices) == ([], playwright.devices)
            assert _devices_of(pair.other)[1] == playwright.devices
        await later.close()


def _devices_of(attached: Attached) -> tuple[list[Any], dict[str, Any]]:
    """What the client read about devices, and `playwright.devices`."""
    connection: Any = attached._connection  # noqa: SLF001  # what was read is seen nowhere else
    playwright = connection.get_object_with_known_name("Playwright")
    return connection.local_utils()._initializer["deviceDescriptors"], playwright.devices  # noqa: SLF001


async def test_the_first_client_knows_contexts_of_the_second_before_their_use(pair: Pair) -> None:
    context = await pair.other.browser.new_context()
    assert pair.policy.seen == [("opened", guid_of(context))]
    page = await context.new_page()
    assert await page.evaluate("navigator.language") == "fr-FR", "as the policy has it"
    await pair.browser.new_browser_cdp_session()  # an answer of the driver: what it has told before is here
    assert guid_of(context) in [guid_of(one) for one in pair.browser.contexts]


async def test_a_context_closes_after_its_evidence_while_other_calls_go_on(pair: Pair) -> None:
    context = await pair.other.browser.new_context()
    page = await (await pair.other.browser.new_context()).new_page()
    closing = asyncio.ensure_future(context.close())
    await pair.policy.closing.wait()
    assert await page.evaluate("1 + 1") == 2
    assert not closing.done()
    pair.policy.proceed.set()
    await closing


async def test_close_of_the_second_client_closes_contexts_and_leaves_the_browser(pair: Pair) -> None:
    pair.policy.proceed.set()
    await pair.other.browser.new_context()
    await pair.other.browser.close()
    assert not pair.other.browser.is_connected()
    await until(lambda: not pair.browser.contexts)
    assert pair.browser.is_connected()


async def test_the_end_of_the_browser_is_the_end_of_the_second_client(pair: Pair) -> None:
    page = await pair.other.browser.new_page()
    waiting = asyncio.ensure_future(page.wait_for_event("popup", timeout=0))
    await asyncio.sleep(0)
    await pair.browser.close()
    with pytest.raises(PlaywrightError):
        await waiting


async def test_stacks_of_calls_go_to_the_desk_once_they_are_wanted(pair: Pair) -> None:
    page = await pair.other.browser.new_page()
    pair.other.send_stacks()
    await page.title()
    ((_, call),) = [seen for seen in pair.policy.seen if seen[0] == "stack"]
    assert call["stack"][0]["file"] == __file__


@pytest.mark.parametrize("method", sorted(REFUSED))
async def test_what_only_callboard_may_do_is_refused_whatever_it_is_called_on(pair: Pair, method: str) -> None:
    message = {"id": "x@1", "guid": "tracing@anything", "method": method, "params": {}, "metadata": {}}
    async with _raw(pair) as (reader, writer):
        writer.write(json.dumps(message).encode() + END)
        answer = json.loads((await reader.readuntil(END))[:-1])
    assert answer == {"id": "x@1", "error": {"error": {"name": "Error", "message": REFUSED[method]}}}


@asynccontextmanager
async def _raw(pair: Pair) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with _relayed(pair.browser, pair.policy) as end:
        reader, writer = await asyncio.open_unix_connection(sock=end)
        yield reader, writer
        writer.close()


async def test_tracing_is_refused_with_a_sentence(pair: Pair) -> None:
    context = await pair.other.browser.new_context()
    with pytest.raises(PlaywrightError, match="Callboard traces the Attempt itself"):
        await context.tracing.start()


@pytest.mark.parametrize("said", [b"{", b"[]", b"{}", b'{"method": 1, "guid": 2}', b"\xff\xfe", b"[" * 100_000])
async def test_what_is_no_message_ends_the_connection_and_nothing_else(pair: Pair, said: bytes) -> None:
    async with _raw(pair) as (reader, writer):
        writer.write(said + END)
        if b"method" not in said:  # the driver itself answers this one
            assert await reader.read() == b""
    await pair.browser.new_context()


async def test_a_large_answer_arrives_whole_while_a_context_opens(pair: Pair) -> None:
    page = await pair.other.browser.new_page()
    much = "x" * 3_000_000
    for _ in range(3):
        told, _ = await asyncio.gather(page.evaluate("n => 'x'.repeat(n)", len(much)), pair.other.browser.new_context())
        assert told == much
