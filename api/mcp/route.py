"""The route `/mcp`.

The first request imports what serves it. The SDK of the protocol would make the start of every api a third longer, and
its memory 18 MB larger, whether any agent comes or not.
"""

from __future__ import annotations

import asyncio

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.dependencies import Services


def mcp_route(services: Services) -> Route:
    """Return the route."""
    return Route("/mcp", _Endpoint(services), methods=["POST"])


class _Endpoint:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._server: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._server is None:
            self._server = await asyncio.to_thread(_make_server, self._services)
        await self._server(scope, receive, send)


def _make_server(services: Services) -> ASGIApp:
    from api.mcp.server import McpServer

    return McpServer(services)
