"""Caddy, with the very file that hosting/docker-compose.tls.yml gives it, in front of a running api.

Names below `.localhost` get certificates of an authority that Caddy makes for itself, so no other is asked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from callboard.dev import ports
from tests.support.compose_file import PROGRAMS, load
from tests.support.polling import until
from tests.support.processes import running
from tests.support.repository import REPOSITORY
from tests.support.rest import Rest
from tests.support.stack import VIEWER, Configured, Stack

TLS = load("hosting/docker-compose.tls.yml")
PROXY: dict[str, Any] = TLS["services"]["proxy"]
CADDYFILE = REPOSITORY / TLS["configs"]["caddy"]["file"]
NAME = "callboard.localhost"


class ToLoopback(httpx.AsyncHTTPTransport):
    """Reaches every name at 127.0.0.1, whether or not this host can look it up."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        at_loopback = httpx.Request(
            request.method,
            request.url.copy_with(host="127.0.0.1"),
            headers=request.headers,  # Host keeps the name
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": request.url.host},
        )
        return await super().handle_async_request(at_loopback)


@dataclass
class Proxied:
    """A stack behind Caddy."""

    stack: Stack
    http: httpx.AsyncClient
    stranger: httpx.AsyncClient
    """One that has another address of this host."""
    url: str
    viewer_url: str


@pytest.fixture(scope="module")
async def proxied(tmp_path_factory: pytest.TempPathFactory, configured: Configured) -> AsyncIterator[Proxied]:
    stack, folder = configured.stack, tmp_path_factory.mktemp("caddy")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "caddy"),
        "XDG_CONFIG_HOME": str(folder / "caddy"),
        **{name: value for name, value in PROXY["environment"].items() if "$" not in value},
        "API_HOSTNAME": NAME,
        "VIEWER_HOSTNAME": VIEWER,
        "API_UPSTREAM": stack.url.removeprefix("http://"),
        "VIEWER_UPSTREAM": f"127.0.0.1:{configured.viewer_port}",
        "HTTP_PORT": str(ports.choose_ports({"http": 0})["http"]),
        "HTTPS_PORT": str(configured.https),
    }
    program, *words = [word.replace("/etc/caddy/Caddyfile", str(CADDYFILE)) for word in PROXY["command"]]
    log = folder / "caddy.log"
    command = (PROGRAMS / program, *words, "--adapter", "caddyfile")
    async with running(*command, log=log, env=environment) as caddy:
        authority = folder / "caddy" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        await until(authority.exists)
        await until(lambda: authority.read_text().endswith("-----END CERTIFICATE-----\n"))
        trusting = ssl.create_default_context(cafile=str(authority))
        url = f"https://{NAME}:{configured.https}"
        async with (
            httpx.AsyncClient(transport=ToLoopback(verify=trusting), base_url=url, timeout=90) as http,
            httpx.AsyncClient(
                transport=ToLoopback(verify=trusting, local_address="127.0.0.2"), base_url=url, timeout=90
            ) as stranger,
        ):
            await until(Rest(http).is_ready, every=0.1)
            yield Proxied(stack, http, stranger, url, f"https://{VIEWER}:{configured.https}")
        assert caddy.returncode is None, log.read_text()


async def test_the_api_knows_tls_and_clients_behind_the_proxy_and_calls_wait(proxied: Proxied, tmp_path: Path) -> None:
    http, stack = proxied.http, proxied.stack
    key = {"x-api-key": stack.api_key}
    # A call that waits gets its answer when the Run has ended, and not before.
    held = {"began": str(tmp_path / "began"), "go": str(tmp_path / "go"), "value": 7}
    started = await http.post(stack.path("run/start"), json={"api": "until-told", "parameters": held}, headers=key)
    assert started.status_code == 201, started.text
    run_id = started.json()["runId"]
    place = stack.path(f"run/{run_id}/result")
    waiting = asyncio.create_task(http.get(place, params={"wait": 60}, headers=key))
    log = stack.path(f"runs/{run_id}/attempts/1/log")
    await until((tmp_path / "began").exists)
    async with http.stream("GET", log, params={"follow": "true"}, headers=key) as followed:
        seen = ""
        async for text in followed.aiter_text():
            seen += text
            if "data:" in seen and not (tmp_path / "go").exists():
                assert not waiting.done()
                (tmp_path / "go").touch()  # lines come while they are written, not at the end
    result = (await waiting).json()
    assert (result["status"], result["result"]) == ("completed", 7)

    # Cookies are for https only, since the api believes what the proxy says of the connection.
    signed_in = await http.post("/sign-in", data={"key": stack.api_key}, headers={"origin": proxied.url})
    cookies = signed_in.headers.get_list("set-cookie")
    assert signed_in.status_code == 303, signed_in.text
    assert cookies
    assert all("secure" in cookie.lower() for cookie in cookies)
    assert signed_in.headers["strict-transport-security"]

    # The trace is shown by the other name.
    shown = await http.get(f"/projects/lab/runs/{run_id}/attempts/1/trace/view", follow_redirects=False)
    assert shown.status_code == 303, shown.text
    assert shown.headers["location"].startswith(f"{proxied.viewer_url}/")
    viewer = await http.get(shown.headers["location"])
    assert viewer.status_code == 200
    assert "<title>" in viewer.text


async def test_a_client_s_own_headers_about_itself_are_not_believed(proxied: Proxied) -> None:
    """Ten wrong keys from one address shut it out; another address that a client merely claims to have is no other."""
    wrong = {"x-api-key": "a-key-that-nobody-has-been-given"}
    place = proxied.stack.path("run/none/result")
    codes: list[int] = []
    for number in range(11):
        claimed = {"x-forwarded-for": f"203.0.113.{number}", "x-forwarded-proto": "http"}
        codes.append((await proxied.stranger.get(place, headers=wrong | claimed)).status_code)
    assert codes == [401] * 10 + [429], "all of them came from the one address of the client"
    shut_out = {"x-api-key": proxied.stack.api_key}
    assert (await proxied.stranger.get(place, headers=shut_out)).status_code == 429
    assert (await proxied.http.get(place, headers=shut_out)).status_code == 404


def test_only_the_proxy_is_believed() -> None:
    address = PROXY["networks"]["default"]["ipv4_address"]
    assert TLS["services"]["api"]["environment"]["CALLBOARD_TRUSTED_PROXIES"] == address
    (config,) = load()["networks"]["default"]["ipam"]["config"]
    assert ipaddress.ip_address(address) in ipaddress.ip_network(config["subnet"])
    assert ipaddress.ip_address(address) not in ipaddress.ip_network(config["ip_range"]), "nobody else gets it"


def test_all_that_the_file_asks_for_is_given() -> None:
    asked = set(re.findall(r"\{\$(\w+)\}", CADDYFILE.read_text()))
    assert asked <= PROXY["environment"].keys()
