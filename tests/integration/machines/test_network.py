"""A Machine with a network of its own: what user code and pages reach, what they do not, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from base64 import b64encode
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from hashlib import sha1
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import psutil
import pytest

from callboard.machines.machine import Machine
from callboard.machines.network import Network, network_refusal
from callboard.machines.reach import Reach
from tests.support.automations import automations
from tests.support.machines import KEEPER, SUPERVISOR, Lab, attempt_of, failure, find_process, open_lab, value
from tests.support.polling import until
from tests.support.recording_site import running_site

LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1/128")]

PROJECT = automations(
    connect="""
        import socket
        answers = {}
        for name, device in (("plain", b""), ("bound", b"net0\\0")):
            answers[name] = []
            for host, port in params["to"]:
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                with socket.socket(family, socket.SOCK_STREAM) as connecting:
                    connecting.settimeout(params.get("within", 2))
                    if device:
                        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
                    try:
                        connecting.connect((host, port))
                        answers[name].append("connected")
                    except OSError as error:
                        answers[name].append(type(error).__name__)
        return answers
    """,
    shout="""
        import socket
        for host in params["to"]:
            for device in (b"net0\\0", b""):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
                    sending.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                    sending.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
                    try:
                        sending.sendto(params["word"].encode(), (host, params["port"]))
                    except OSError:
                        pass
    """,
    visit="""
        titles = []
        for url in params["urls"]:
            try:
                await page.goto(url)
                titles.append(await page.title())
            except Exception as error:
                titles.append(str(error).split(" at ")[0].removeprefix("Page.goto: "))
        return titles
    """,
    listens="""
        import asyncio, os
        from pathlib import Path
        async def answer(_, writer):
            writer.write(b"hello")
            writer.close()
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        Path(params["told"] + ".part").write_text(str(port))
        os.rename(params["told"] + ".part", params["told"])
        while not os.path.exists(params["go"]):
            await asyncio.sleep(0.05)
        reader, _ = await asyncio.open_connection("127.0.0.1", port)
        return (await reader.read()).decode()
    """,
    ask='await (page.goto if params["by"] == "page" else page.request.get)(params["url"])',
    blocks="""
        import time
        print("here", flush=True)
        time.sleep(600)
    """,
    change="""
        import subprocess
        done = [subprocess.run([params["ip"], *words.split()], capture_output=True).returncode for words in (
            "rule del pref 100", "link set net0 down",
            "route add 169.254.0.0/16 dev net0", "neigh del 192.0.0.1 dev net0",
        )]
        return [code != 0 for code in done]
    """,
    localhost="""
        import asyncio, urllib.request
        def ask(url):
            return urllib.request.urlopen(url, timeout=5).read().decode()
        async def tell(asking):
            try:
                return await asking
            except Exception as error:
                return str(error)
        async def connect(url):
            return await page.evaluate(
                "url => new Promise(done => {"
                "  const socket = new WebSocket(url.replace('http', 'ws'));"
                "  socket.onmessage = event => done(event.data);"
                "  socket.onerror = () => done('error');"
                "})",
                url,
            )
        async def fetch(url):
            return await (await page.request.get(url)).text()
        found = {}
        for name, port in params["ports"].items():
            url = f"http://localhost:{port}/"
            found[name] = [
                await tell(page.goto(url)) and await tell(page.inner_text("body")),
                await tell(connect(url)),
                await tell(fetch(url)),
                await tell(asyncio.to_thread(ask, url)),
            ]
        return found
    """,
)

pytestmark = pytest.mark.skipif(network_refusal() is not None, reason=f"Networks: {network_refusal()}")


@asynccontextmanager
async def networked(folder: Path, reach: Reach) -> AsyncGenerator[tuple[Lab, Machine]]:
    """A Machine in a network of its own, where these rules hold."""
    async with open_lab(folder) as lab:
        network = Network.of(reach, folder).watching()
        lab.launch = replace(lab.launch, network=network)
        try:
            yield lab, await lab.machine(lab.version(PROJECT))
        finally:
            await lab.close()
            await network.close()


async def run(machine: Machine, api: str, parameters: Any = None) -> Any:
    result = value(await machine.run_attempt(attempt_of(api, parameters)))
    await machine.wait_clean()
    return result


@contextmanager
def listening(*addresses: str) -> Generator[list[int]]:
    """Listen at each address; the ports."""
    servers = [
        socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        for address in addresses
    ]
    try:
        yield [server.getsockname()[1] for server in servers]
    finally:
        for server in servers:
            server.close()


def own_address() -> str:
    """An address of this host that is not loopback."""
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family == socket.AF_INET and not each.address.startswith(("127.", "169.254.")):
                return each.address
    pytest.skip("This host has no address but those of loopback.")


@pytest.mark.parametrize("by", ["page", "request"])
@pytest.mark.parametrize(
    ("url", "allow", "is_said"),
    [
        ("http://169.254.169.254/", [], True),
        ("http://127.0.0.1:7431/", [], True),
        ("http://localhost:7431/", [], True),
        ("http://127.0.0.1:7431/", LOOPBACK, False),
    ],
)
async def test_an_attempt_that_fails_at_a_closed_address_says_what_opens_it(
    tmp_path: Path, url: str, allow: list[Any], by: str, is_said: bool
) -> None:
    async with networked(tmp_path, Reach.of(allow=allow)) as (_, machine):
        failed = failure(await machine.run_attempt(attempt_of("ask", {"by": by, "url": url})))
    said = "The address is closed to Machines. In the worker's settings, CALLBOARD_BROWSER_ALLOW"
    assert (said in failed.message) is is_said, failed.message


async def test_only_the_allowed_address_of_a_denied_network_is_reached(tmp_path: Path) -> None:
    own = own_address()
    network = ip_network(f"{own}/24", strict=False)
    other = next(str(address) for address in network.hosts() if str(address) != own)
    with listening(own) as (port,):
        reach = Reach.of(allow=[ip_network(own)], deny=[network], own=[ip_address(own)])
        async with networked(tmp_path, reach) as (_, machine):
            found = await run(machine, "connect", {"to": [[own, port], [other, port]]})
    assert found["plain"] == ["connected", "PermissionError"]
    assert found["bound"][0] == "connected"
    assert found["bound"][1] != "connected"


async def test_an_open_loopback_is_open_but_for_ports_of_our_own(tmp_path: Path) -> None:
    with listening("127.0.0.1", "127.0.0.1", "::1") as (port, own_port, six_port):
        async with running_site() as site:
            reach = Reach.of(allow=LOOPBACK, closed_ports=[own_port])
            async with networked(tmp_path, reach) as (_, machine):
                to = [["127.0.0.1", port], ["::1", six_port], ["127.0.0.1", own_port], ["::ffff:127.0.0.1", own_port]]
                found = await run(machine, "connect", {"to": to})
                titles = await run(machine, "visit", {"urls": [f"{site.origin}/there", f"http://localhost:{own_port}"]})
    assert found["plain"] == ["connected", "connected", "PermissionError", "PermissionError"]
    assert "connected" not in found["bound"]
    assert titles == ["/there", "net::ERR_NETWORK_ACCESS_DENIED"]


async def test_localhost_reaches_a_server_at_any_loopback_address(tmp_path: Path) -> None:
    bound: dict[str, tuple[str, dict[str, Any]]] = {
        "127.0.0.1": ("127.0.0.1", {}),
        "0.0.0.0": ("0.0.0.0", {}),
        "::1": ("::1", {"family": socket.AF_INET6}),
        ":: without IPv4": ("::", {"family": socket.AF_INET6}),
        ":: with IPv4": ("::", {"family": socket.AF_INET6, "dualstack_ipv6": True}),
    }
    async with AsyncExitStack() as servers:

        async def serve(name: str) -> int:
            address, options = bound[name]
            listens = socket.create_server((address, 0), **options)
            await servers.enter_async_context(await asyncio.start_server(_serve_page_and_socket, sock=listens))
            return listens.getsockname()[1]

        ports = {name: await serve(name) for name in bound}
        async with networked(tmp_path, Reach.of(allow=LOOPBACK)) as (_, machine):
            found = await run(machine, "localhost", {"ports": ports})
            assert {name: found[name][:2] for name in bound} == {name: ["page", "socket"] for name in bound}
            # Others than browsers ask the host for the addresses of `localhost`, and some hosts name no IPv6 one.
            with_ipv6 = any(entry[0] == socket.AF_INET6 for entry in socket.getaddrinfo("localhost", None))
            for name in bound if with_ipv6 else ("127.0.0.1", "0.0.0.0", ":: with IPv4"):
                assert found[name][2:] == ["page", "page"], name

            later = await serve("127.0.0.1")
            visit = {"urls": [f"http://localhost:{later}/"]}
            await until(lambda: run(machine, "visit", visit), true=lambda titles: titles == ["page"])


async def _serve_page_and_socket(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a request with a page, or over a WebSocket with one message."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = next((line.split(": ")[1] for line in head.splitlines() if line.startswith("Sec-WebSocket-Key")), None)
    if key is None:
        page = "<title>page</title>page" if "text/html" in head else "page"
        answer = f"200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\nConnection: close\r\n\r\n{page}"
    else:
        accept = b64encode(sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
        answer = "101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        answer += f"Sec-WebSocket-Accept: {accept}\r\n\r\n\x81\x06socket"
    writer.write(f"HTTP/1.1 {answer}".encode("latin-1"))
    await writer.drain()
    writer.close()


async def test_one_machine_does_not_reach_a_port_that_another_listens_at(tmp_path: Path) -> None:
    """Also where loopback is open: a debugging port of a browser, for example, is in its Machine's network."""
    async with networked(tmp_path, Reach.of(allow=LOOPBACK)) as (lab, machine):
        other = await lab.machine(lab.version(PROJECT), "lab-2")
        told, go = tmp_path / "told", tmp_path / "go"
        listening = asyncio.ensure_future(run(other, "listens", {"told": str(told), "go": str(go)}))
        await until(told.exists)
        found = await run(machine, "connect", {"to": [["127.0.0.1", int(told.read_text())]]})
        go.touch()
        assert await listening == "hello", "itself"
    assert found["plain"] == ["ConnectionRefusedError"]
    assert found["bound"] != ["connected"]


async def test_datagrams_to_many_do_not_leave_the_network(tmp_path: Path) -> None:
    own = own_address()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hearing:
        hearing.bind(("0.0.0.0", 0))
        for group in ("224.0.0.251", "239.255.255.250"):
            membership = socket.inet_aton(group) + socket.inet_aton(own)
            hearing.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        port = hearing.getsockname()[1]
        async with networked(tmp_path, Reach.of(allow=[ip_network(own)], own=[ip_address(own)])) as (_, machine):
            to = ["224.0.0.251", "239.255.255.250", "255.255.255.255", own]
            await run(machine, "shout", {"to": to, "port": port, "word": "hello"})
        hearing.settimeout(30)
        heard = [hearing.recvfrom(100)[0], hearing.recvfrom(100)[0]]
        hearing.setblocking(False)
        assert heard == [b"hello", b"hello"], "those to an open address, bound to the device and not"
        with pytest.raises(BlockingIOError):
            hearing.recvfrom(100)


async def test_user_code_cannot_change_the_rules(tmp_path: Path) -> None:
    async with networked(tmp_path, Reach.of()) as (lab, machine):
        assert lab.launch.network is not None
        refused = await run(machine, "change", {"ip": lab.launch.network.plan.ip})
        assert len(refused) >= 4
        assert all(refused)


def pasta_of(machine: Machine) -> psutil.Process:
    return psutil.Process(find_process(machine.keeper_pid, "/pasta\0"))


async def test_a_machine_whose_network_has_ended_ends_and_says_so(tmp_path: Path) -> None:
    async with networked(tmp_path, Reach.of()) as (lab, machine):
        attempt = attempt_of("blocks")
        running = asyncio.create_task(machine.run_attempt(attempt))
        await until(lambda: attempt.start)
        pasta_of(machine).kill()
        assert "exited" in failure(await running).message
        lab.assert_clean()


@pytest.mark.parametrize("killed", [KEEPER, SUPERVISOR])
async def test_the_network_ends_with_its_machine(tmp_path: Path, killed: str) -> None:
    async with networked(tmp_path, Reach.of()) as (lab, machine):
        pasta = pasta_of(machine)
        os.kill(find_process(machine.keeper_pid, killed), signal.SIGKILL)
        await machine.close()
        await until(lambda: not pasta.is_running())
        lab.assert_clean()
