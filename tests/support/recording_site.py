"""A site on loopback that notes what it is asked; two of them are two origins that share their cookies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Site:
    """Every path is a page but `/worker.js`, a service worker that asks the site for all that pages ask for.

    `?cookie=…`, as often as wanted, sets that cookie.
    """

    origin: str = ""
    connections: int = 0
    requests: list[str] = field(default_factory=list[str])
    """Paths, in their order."""
    cookies: list[str] = field(default_factory=list[str])
    """What came along with each of them."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                target = head.split(" ", 2)[1]
                lines = [line.partition(": ") for line in head.splitlines()[1:]]
                self.requests.append(target)
                self.cookies.append(next((value for name, _, value in lines if name.lower() == "cookie"), ""))
                set_cookies = [
                    f"Set-Cookie: {cookie}\r\n" for cookie in parse_qs(urlsplit(target).query).get("cookie", [])
                ]
                body, kind = f"<!doctype html><title>{target}</title>", "html"
                if target == "/worker.js":
                    body, kind = "onfetch = event => event.respondWith(fetch(event.request.url))", "javascript"
                writer.write(
                    f"HTTP/1.1 200 OK\r\nContent-Type: text/{kind}\r\nContent-Length: {len(body)}\r\n"
                    f"{''.join(set_cookies)}\r\n{body}".encode()
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def running_site() -> AsyncGenerator[Site]:
    site = Site()
    async with await asyncio.start_server(site.serve, "127.0.0.1", 0) as server:
        site.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield site


def cookie(name: str, value: str, **fields: Any) -> dict[str, Any]:
    """A cookie of the sites, in the shape of the contract."""
    return {
        "name": name,
        "value": value,
        "domain": "127.0.0.1",
        "path": "/",
        "expires": -1,
        "httpOnly": True,
        "secure": False,
        "sameSite": "Lax",
        **fields,
    }


def state(
    *cookies: dict[str, Any],
    local: dict[str, dict[str, str]] | None = None,
    session: dict[str, dict[str, str]] | None = None,
) -> dict[str, Any]:
    """A state; of storage, the items of each origin."""
    return {
        "cookies": list(cookies),
        "origins": [{"origin": origin, "localStorage": _items(items)} for origin, items in (local or {}).items()],
        "sessionStorage": [
            {"origin": origin, "sessionStorage": _items(items)} for origin, items in (session or {}).items()
        ],
    }


def _items(items: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in items.items()]
