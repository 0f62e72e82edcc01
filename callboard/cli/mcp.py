"""`callboard mcp`: the tools of the API on standard input and output, for clients that start a program."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams

from callboard.cli.api_client import ApiClient
from callboard.cli.with_api import with_api
from callboard.schemas.errors import Forbidden
from callboard.settings import installed_version

_TIMEOUT = httpx2.Timeout(90, connect=10)
"""Timeouts of requests in seconds. While a tool waits, the API sends something at least every 15 seconds."""


@with_api
def mcp(api: ApiClient) -> None:
    """Serve the tools of the API to a client that has started this program, by the Model Context Protocol.

    It speaks on standard input and output, and ends with its input.
    """
    with suppress(Forbidden):  # The SDK would not tell in words that the key or the address is wrong.
        api.request("GET", "projects")
    asyncio.run(_serve(api))


async def _serve(api: ApiClient) -> None:
    """Pass on what a client asks until its input ends."""
    http = httpx2.AsyncClient(headers={"x-api-key": api.key}, timeout=_TIMEOUT, trust_env=not api.on_this_host)
    async with http, Client(streamable_http_client(f"{api.url}/mcp", http_client=http)) as client:

        async def list_tools(_: Any, params: PaginatedRequestParams | None) -> ListToolsResult:
            return await client.list_tools(cursor=None if params is None else params.cursor, cache_mode="bypass")

        async def call_tool(context: ServerRequestContext[Any, Any], params: CallToolRequestParams) -> CallToolResult:
            return await client.call_tool(
                params.name, params.arguments, progress_callback=context.session.report_progress
            )

        server = Server(
            "callboard",
            version=installed_version(),
            instructions=client.instructions,
            on_list_tools=list_tools,
            on_call_tool=call_tool,
        )
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
