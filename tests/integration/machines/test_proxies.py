"""An Attempt goes through its proxy, with all that it does, and says so when the proxy refuses it."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from callboard.machines.attempt_spec import Proxy
from tests.support.automations import automations
from tests.support.machines import Run, failure, value

PROJECT = automations(
    goes="""
        await page.goto(params["url"])
        return await page.inner_text("body")
    """,
    goes_in_contexts_of_its_own="""
        browser = page.context.browser
        context = await browser.new_context(locale="fr-FR")
        pages = [await context.new_page(), await browser.new_page(locale="fr-FR", proxy=None)]
        pages.append(await browser.new_page(locale="fr-FR", proxy={"server": params["other"]}))
        for page in pages:
            await page.goto(params["url"])
        return [await p.evaluate("navigator.language + ' ' + document.body.innerText") for p in pages]
    """,
    hangs="""
        page.set_default_navigation_timeout(500)
        await page.goto(params["url"])
    """,
    calls="""
        return await page.evaluate(
            '''async stun => {
                const peer = new RTCPeerConnection({iceServers: [{urls: stun}]});
                peer.createDataChannel("words");
                await peer.setLocalDescription(await peer.createOffer());
                while (peer.iceGatheringState !== "complete")
                    await new Promise(done => peer.onicegatheringstatechange = done);
                return peer.localDescription.sdp.includes("a=candidate");
            }''',
            params["stun"],
        )
    """,
)


@asynccontextmanager
async def running_proxy(seen: list[tuple[str, str | None]], *, wanted: str | None = "ada:p:w") -> AsyncGenerator[str]:
    """A proxy that answers everything itself, but to those whom it knows. Notes what it was asked, by whom."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = request.splitlines()
            headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines[1:])}
            sent = headers.get("proxy-authorization")
            credentials = sent and base64.b64decode(sent.removeprefix("Basic ")).decode()
            seen.append((lines[0], credentials))
            status = "200 OK" if credentials == wanted else "407 Credentials\r\nProxy-Authenticate: Basic realm=x"
            body = "by proxy" if credentials == wanted else ""
            writer.write(
                f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_an_attempt_with_a_proxy_goes_through_it_and_the_next_one_does_not(quiet: Run) -> None:
    seen: list[tuple[str, str | None]] = []
    page = {"url": "http://shop.test/lamps"}
    async with running_proxy(seen) as server:
        assert value(await quiet("goes", page, proxy=Proxy(server, "ada", "p:w"))) == "by proxy"
        assert ("GET http://shop.test/lamps HTTP/1.1", "ada:p:w") in seen
        seen.clear()
        direct = failure(await quiet("goes", page))
        assert re.search("ERR_NAME_NOT_RESOLVED|ERR_INTERNET_DISCONNECTED", direct.message)  # the latter on no network
        assert seen == []


async def test_a_proxy_that_is_not_there_fails_the_attempt_and_not_the_machine(quiet: Run) -> None:
    async with running_proxy([]) as server:
        pass
    report = failure(await quiet("goes", {"url": "http://shop.test/"}, proxy=Proxy(server)))
    assert "ERR_PROXY_CONNECTION_FAILED" in report.message
    assert value(await quiet("goes", {"url": "data:text/html,direct"})) == "direct"


async def test_contexts_of_user_code_use_the_proxy_unless_they_have_another(quiet: Run) -> None:
    seen: list[tuple[str, str | None]] = []
    page = {"url": "http://shop.test/"}
    others: list[tuple[str, str | None]] = []
    async with running_proxy(seen) as server, running_proxy(others, wanted=None) as other:
        proxy = Proxy(server, "ada", "p:w")
        report = await quiet("goes_in_contexts_of_its_own", {**page, "other": other}, proxy=proxy)
    assert value(report) == ["fr-FR by proxy"] * 3
    asked = "GET http://shop.test/ HTTP/1.1"
    assert seen.count((asked, "ada:p:w")) == 2
    assert (asked, None) in others


@pytest.mark.parametrize("credentials", [("ada", "wrong"), (None, None)])
async def test_a_proxy_that_refuses_the_credentials_is_named_as_the_reason(
    quiet: Run, credentials: tuple[str | None, str | None]
) -> None:
    async with running_proxy([]) as server:
        report = failure(await quiet("hangs", {"url": "https://shop.test/"}, proxy=Proxy(server, *credentials)))
    assert report.name == "TimeoutError"
    assert report.message.endswith("The proxy answered 407: it wants other credentials than this Run gives it.")
    assert "wrong" not in report.error.model_dump_json()
    # The next Attempt's errors are its own.
    assert "407" not in failure(await quiet("hangs", {"url": "http://shop.test/"})).message


async def test_webrtc_sends_nothing_past_it(quiet: Run) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stun:
        stun.bind(("127.0.0.1", 0))
        stun.setblocking(False)
        async with running_proxy([]) as server:
            calls = {"stun": f"stun:127.0.0.1:{stun.getsockname()[1]}"}
            assert value(await quiet("calls", calls, proxy=Proxy(server, "ada", "p:w"))) is False
        with pytest.raises(BlockingIOError):
            stun.recv(1)
