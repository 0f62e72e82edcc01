"""The browser of a Machine at level `partial` reaches what it may, and nothing else, whoever asks it to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import psutil
import pytest

from machines.attempt_log_file import AttemptLogFile
from machines.attempt_spec import AttemptReport, Proxy, Version
from machines.pool import Pool
from machines.runner.reach import Reach
from schemas.workflow.run import ErrorCode
from tests.support.machines import Lab, attempt_spec, failure, open_lab, unnoticed, value
from tests.support.tls import make_certificate

OPEN = "127.0.0.9"
"""A loopback address that the tests open. Sites on it are secure contexts, as on every loopback address."""

PROJECT = {
    "api/goes.py": """
        async def automation(page, params):
            await page.goto(params["url"])
            return await page.inner_text("body")
    """,
    "api/tries.py": """
        import asyncio

        from playwright.async_api import Error

        IN_PAGE = {
            "fetch": "url => fetch(url, {mode: 'no-cors'})",
            "picture": '''url => new Promise((done, failed) => {
                const image = new Image();
                Object.assign(image, {onload: done, onerror: failed, src: url});
            })''',
            "frame": '''url => new Promise(done => {
                const frame = document.createElement("iframe");
                Object.assign(frame, {onload: done, src: url});
                document.body.append(frame);
            })''',
            "beacon": "async url => { navigator.sendBeacon(url); await fetch(url, {mode: 'no-cors'}) }",
            "worker": '''url => new Promise((done, failed) => {
                const code = `fetch("${url}", {mode: "no-cors"}).then(() => postMessage(1), () => postMessage(0))`;
                const worker = new Worker(URL.createObjectURL(new Blob([code])));
                worker.onmessage = ({data}) => data ? done() : failed(new Error("failed"));
            })''',
            "service worker": '''async url => {
                await navigator.serviceWorker.register("/service.js");
                const {active} = await navigator.serviceWorker.ready;
                const answer = new Promise(done => navigator.serviceWorker.onmessage = ({data}) => done(data));
                active.postMessage(url);
                if (!await answer) throw new Error("failed");
            }''',
            "socket": '''url => new Promise((done, failed) => {
                const socket = new WebSocket(url.replace("http", "ws"));
                Object.assign(socket, {onmessage: ({data}) => data === "words" && done(), onerror: failed});
                Object.assign(socket, {onopen: () => socket.send("words")});
            })''',
            "preconnect": '''async url => {
                for (const rel of ["dns-prefetch", "preconnect", "prefetch", "prerender"])
                    document.head.append(Object.assign(document.createElement("link"), {rel, href: url}));
                await fetch(url, {mode: "no-cors"});
            }''',
        }

        async def automation(page, params):
            url, browser = params["url"], page.context.browser
            await page.goto(params["from"])
            try:
                match params["how"]:
                    case "page":
                        await page.goto(url)
                    case "request":
                        await page.request.get(url)
                    case "route":
                        async def fetched(route):
                            await route.fulfill(response=await route.fetch(url=url))
                        await page.route("**/routed", fetched)
                        await page.goto(params["from"] + "routed")
                    case "popup":
                        async with page.expect_popup() as popup:
                            await page.evaluate("url => { window.open(url) }", url)
                        await (await popup.value).wait_for_load_state()
                        if (await popup.value).url.startswith("chrome-error:"):
                            raise Error("failed")
                    case "context":
                        await (await browser.new_page()).goto(url)
                    case "context without a proxy":
                        await (await browser.new_page(proxy=None)).goto(url)
                    case "browser session":
                        session = await browser.new_browser_cdp_session()
                        context = await session.send("Target.createBrowserContext")
                        loaded = asyncio.Event()
                        target = await session.send("Target.createTarget", {"url": "about:blank", **context})
                        attached = await session.send("Target.attachToTarget", {**target, "flatten": False})
                        session.on("Target.receivedMessageFromTarget", lambda _: loaded.set())
                        message = '{"id": 1, "method": "Page.navigate", "params": {"url": "%s"}}' % url
                        await session.send("Target.sendMessageToTarget", {"message": message, **attached})
                        await loaded.wait()
                    case how:
                        await page.evaluate(IN_PAGE[how], url)
            except Error as error:
                return error.message
    """,
    "api/opens.py": """
        async def automation(page, params):
            context = await page.context.browser.new_context(proxy=params["proxy"])
            page = await context.new_page()
            await page.goto(params["url"])
            text = await page.inner_text("body")
            return [text, await (await page.request.get(params["url"])).text()]
    """,
    "api/commands.py": """
        async def automation(page, params):
            session = await page.context.browser.new_browser_cdp_session()
            await session.send("Target.createBrowserContext", params)
    """,
    "api/has_a_certificate.py": """
        async def automation(page, params):
            certificate = {"origin": params["url"], "certPath": params["file"], "keyPath": params["file"]}
            context = await page.context.browser.new_context(
                client_certificates=[certificate], ignore_https_errors=True
            )
            page = await context.new_page()
            await page.goto(params["url"])
            return await page.inner_text("body")
    """,
    "api/sends_packets.py": """
        async def automation(page, params):
            await page.goto(params["from"])
            return await page.evaluate(
                '''async ({stun, turn, quic}) => {
                    const turned = {urls: turn, username: "ada", credential: "pw"};
                    const peer = new RTCPeerConnection({iceServers: [{urls: stun}, turned]});
                    peer.createDataChannel("words");
                    await peer.setLocalDescription(await peer.createOffer());
                    while (peer.iceGatheringState !== "complete")
                        await new Promise(done => peer.onicegatheringstatechange = done);
                    if (typeof WebTransport !== "undefined")
                        await new WebTransport(quic).ready.catch(() => 0);
                    return peer.localDescription.sdp.includes("a=candidate");
                }''',
                params,
            )
    """,
}
WAYS = (
    *("page", "request", "route", "popup", "context", "context without a proxy", "browser session", "fetch", "picture"),
    *("frame", "beacon", "worker", "service worker", "socket", "preconnect"),
)
_ACCEPTED = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SERVICE = """
    self.onmessage = async ({data, source}) =>
        source.postMessage(await fetch(data, {mode: "no-cors"}).then(() => true, () => false))
"""


@dataclass
class Site:
    """A site that counts its connections. It also is a proxy that answers everything itself."""

    host: str
    port: int = 0
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if head.startswith("CONNECT "):  # as Playwright's driver asks a proxy for all that it requests
                writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if "Upgrade: websocket" in head:
                await self._serve_socket(head, reader, writer)
                return
            path = head.split()[1]
            if path.startswith("/to/"):
                writer.write(f"HTTP/1.1 302 Found\r\nLocation: {path[4:]}\r\nContent-Length: 0\r\n".encode())
                writer.write(b"Connection: close\r\n\r\n")
            else:
                kind, body = ("text/javascript", _SERVICE) if path == "/service.js" else ("text/html", f"at {path}")
                if path == "/picture":
                    kind, body = "image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n".encode())
                writer.write(f"Connection: close\r\n\r\n{body}".encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a connection that the browser opened to be ready
        finally:
            writer.close()

    async def _serve_socket(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (key,) = (line.partition(": ")[2] for line in head.splitlines() if line.startswith("Sec-WebSocket-Key"))
        accepted = base64.b64encode(hashlib.sha1(f"{key}{_ACCEPTED}".encode()).digest()).decode()
        writer.write(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        writer.write(f"Sec-WebSocket-Accept: {accepted}\r\n\r\n".encode())
        await reader.readexactly(6 + len("words"))
        writer.write(b"\x81\x05words")
        await writer.drain()


@asynccontextmanager
async def serving(host: str, **options: Any) -> AsyncGenerator[Site]:
    site = Site(host)
    server = await asyncio.start_server(site.serve, host, 0, **options)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()


@dataclass
class World:
    """A Machine at level `partial`, a site that it may reach, and one that it may not."""

    lab: Lab
    pool: Pool
    version: Version
    open: Site
    closed: Site

    async def run(self, api: str, parameters: Any, **fields: Any) -> AttemptReport:
        return await self.pool.run(self.version, attempt_spec(api, parameters, **fields), unnoticed)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with (
        open_lab(tmp_path_factory.mktemp("filtered")) as lab,
        serving(OPEN) as opened,
        serving("127.0.0.1") as closed,
    ):
        reach = Reach.of(allow=[ip_network(OPEN)], deny=[ip_network("198.51.100.0/24")])
        pool = lab.pool(launch=replace(lab.launch, filter=reach))
        yield World(lab, pool, lab.version(PROJECT), opened, closed)
        assert closed.connections == 0


@pytest.mark.parametrize("how", WAYS)
async def test_whoever_asks_for_it_what_is_open_is_reached_and_what_is_closed_is_not(world: World, how: str) -> None:
    way = {"how": how, "from": world.open.url}
    address = f"{world.open.url}picture"
    before = world.open.connections
    assert value(await world.run("tries", {**way, "url": address})) is None
    assert world.open.connections > before + 1
    address = f"{world.closed.url}picture"
    told = value(await world.run("tries", {**way, "url": address}))
    assert told is not None or how in ("frame", "browser session"), "who asks is told that it failed"
    assert world.closed.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "127.1"])
async def test_loopback_is_closed_under_each_of_its_names(world: World, host: str) -> None:
    report = failure(await world.run("goes", {"url": f"http://{host}:{world.closed.port}/"}))
    assert "ERR_SOCKS_CONNECTION_FAILED" in report.message
    assert world.closed.connections == 0


async def test_a_redirect_leads_nowhere_else(world: World) -> None:
    report = failure(await world.run("goes", {"url": f"{world.open.url}to/{world.closed.url}"}))
    assert f"127.0.0.1:{world.closed.port} was refused, as it is a loopback address." in report.message
    assert value(await world.run("goes", {"url": f"{world.open.url}to/{world.open.url}there"})) == "at /there"
    assert world.closed.connections == 0


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("169.254.169.254", "it is a link-local address"),
        ("198.51.100.7", "it is an address of 198.51.100.0/24, which is closed by CALLBOARD_BROWSER_DENY"),
        ("localhost", "it leads to "),
    ],
)
async def test_the_error_and_the_log_say_what_was_refused_and_what_opens_it(
    world: World, tmp_path: Path, host: str, reason: str
) -> None:
    log = AttemptLogFile(tmp_path / "log.jsonl", 1_000_000)
    way = {"how": "fetch", "from": world.open.url, "url": f"http://{host}/"}
    value(await world.run("tries", way, log=log))
    refused = [line for line in _lines(tmp_path / "log.jsonl") if "was refused" in line["message"]]
    assert len(refused) == 1
    assert (refused[0]["level"], refused[0]["source"]) == ("warning", "callboard")
    assert refused[0]["message"].startswith(f"{host}:80 was refused, as {reason}")
    assert "CALLBOARD_BROWSER_ALLOW opens addresses" in refused[0]["message"]
    # An error that has nothing to do with it does not mention it, and the next Attempt's do not, either.
    assert refused[0]["message"] in failure(await world.run("goes", {"url": f"http://{host}/"})).message
    assert "refused" not in failure(await world.run("goes", {"url": "http://[/"})).message


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_a_name_that_is_not_known_is_told_as_the_reason(world: World) -> None:
    report = failure(await world.run("goes", {"url": "http://nowhere.invalid/"}))
    assert "nowhere.invalid:80 was not found: " in report.message


async def test_private_networks_are_open(world: World) -> None:
    addresses = [address for each in psutil.net_if_addrs().values() for address in each]
    private = [one.address for one in addresses if one.family == socket.AF_INET and one.address[:4] != "127."]
    if not private:
        pytest.skip("this host has no address but loopback")
    async with serving(private[0]) as site:
        assert value(await world.run("goes", {"url": site.url})) == "at /"


async def test_where_loopback_is_open_the_ports_of_callboard_are_not(world: World) -> None:
    reach = Reach.of(allow=[ip_network("127.0.0.0/8"), ip_network("::1")], closed_ports=[world.closed.port])
    pool = world.lab.pool(project="open", launch=replace(world.lab.launch, filter=reach))
    async with serving("127.0.0.1") as site:
        for url in (site.url, f"http://localhost:{site.port}/"):
            assert value(await pool.run(world.version, attempt_spec("goes", {"url": url}), unnoticed)) == "at /"
    report = failure(await pool.run(world.version, attempt_spec("goes", {"url": world.closed.url}), unnoticed))
    assert f"port {world.closed.port}, where a part of Callboard itself listens" in report.message


async def test_nothing_is_sent_in_packets(world: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets:
        packets.bind((OPEN, 0))
        packets.setblocking(False)
        to = f"{OPEN}:{packets.getsockname()[1]}"
        addresses = {"stun": f"stun:{to}", "quic": f"https://{to}/", "from": world.open.url}
        turn = f"turn:127.0.0.1:{world.closed.port}?transport=tcp"
        assert value(await world.run("sends_packets", {**addresses, "turn": turn})) is False
        with pytest.raises(BlockingIOError):
            packets.recv(1)
    assert world.closed.connections == 0


async def test_the_proxy_of_an_attempt_is_reached_if_it_is_open(world: World) -> None:
    page = {"url": "http://shop.test/lamps"}
    proxy = Proxy(world.open.url.rstrip("/"))
    assert value(await world.run("goes", page, proxy=proxy)) == "at http://shop.test/lamps"
    ways = {"how": "request", "from": page["url"], **page}
    assert value(await world.run("tries", ways, proxy=proxy)) is None
    report = failure(await world.run("goes", page, proxy=Proxy(world.closed.url.rstrip("/"))))
    assert f"The proxy 127.0.0.1:{world.closed.port} was refused, as it is a loopback address." in report.message
    assert "nowhere.invalid" not in failure(await world.run("goes", page)).message
    assert world.closed.connections == 0


async def test_the_proxy_of_a_context_that_user_code_opens_is_reached_if_it_is_open(world: World) -> None:
    page = {"url": "http://shop.test/lamps"}
    opened = await world.run("opens", {**page, "proxy": {"server": f"{OPEN}:{world.open.port}"}})
    assert value(opened) == ["at http://shop.test/lamps", "at /lamps"]
    report = failure(await world.run("opens", {**page, "proxy": {"server": world.closed.url}}))
    assert f"The proxy 127.0.0.1:{world.closed.port} was refused" in report.message
    for proxy in ({"server": "direct://"}, {"server": world.open.url, "bypass": "127.0.0.1"}):
        failure(await world.run("opens", {"url": world.closed.url, "proxy": proxy}))
    assert world.closed.connections == 0


async def test_a_context_of_the_browsers_own_protocol_has_no_proxy_of_its_own(world: World) -> None:
    for parameters in ({"proxyServer": "direct://"}, {"proxyBypassList": "*"}):
        report = failure(await world.run("commands", parameters))
        assert "can be opened by Playwright only" in report.message
    assert value(await world.run("commands", {})) is None


async def test_a_context_with_certificates_is_not_connected_past_the_filter(world: World, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    file = str(certificate.file)
    async with serving("127.0.0.1", ssl=certificate.server) as closed:
        failure(await world.run("has_a_certificate", {"url": f"https://127.0.0.1:{closed.port}", "file": file}))
        assert closed.connections == 0
    async with serving(OPEN, ssl=certificate.server) as site:
        report = await world.run("has_a_certificate", {"url": f"https://{OPEN}:{site.port}", "file": file})
        assert value(report) == "at /"


@pytest.mark.parametrize("allowed", [False, True])
async def test_hooks_are_off_unless_they_are_allowed(world: World, allowed: bool) -> None:
    hook = {
        "hooks/setup_context.py": """
            from intuned_runtime import attempt_store

            async def setup_context(*, api_name, api_parameters, cdp_url):
                attempt_store.set("cdp_url", cdp_url)
        """,
        "api/goes_to_its_own_port.py": """
            from intuned_runtime import attempt_store

            async def automation(page):
                port = attempt_store.get("cdp_url").split("/")[2]
                await page.goto(f"http://{port}/json")
        """,
    }
    name = "allowed" if allowed else "off"
    version = world.lab.version({**PROJECT, **hook}, project=name)
    reach = Reach.of(allow=[ip_network("127.0.0.0/8"), ip_network("::1")])
    pool = world.lab.pool(project=name, launch=replace(world.lab.launch, filter=reach, hooks=allowed))
    report = await pool.run(version, attempt_spec("goes", {"url": world.open.url}), unnoticed)
    if allowed:
        assert value(report) == "at /"
        report = failure(await pool.run(version, attempt_spec("goes_to_its_own_port"), unnoticed))
        assert "where a part of Callboard itself listens" in report.message
        return
    error = failure(report)
    assert (error.code, error.name, error.final) == (ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "HookOffError", True)
    assert "hooks/setup_context.py, is off" in error.message
    assert "CALLBOARD_PARTIAL_HOOKS" in error.message
