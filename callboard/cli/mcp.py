"""`callboard mcp`: the tools of the API on standard input and output, for clients that start a program."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from http import HTTPStatus
from typing import Any, override

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import (
    INTERNAL_ERROR,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    ErrorData,
    JSONRPCError,
    ListToolsResult,
    PaginatedRequestParams,
)

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
    http = _InWords(headers={"x-api-key": api.key}, timeout=_TIMEOUT, trust_env=not api.on_this_host)
    async with http, Client(streamable_http_client(f"{api.url}/mcp", http_client=http)) as client:

        async def list_tools(_: Any, params: PaginatedRequestParams | None) -> ListToolsResult:
            return await client.list_tools(cursor=None if params is None else params.cursor, cache_mode="bypass")

        async def call_tool(context: ServerRequestContext[Any, Any], params: CallToolRequestParams) -> CallToolResult:
            # `client.call_tool` would check the answer by an output schema that it has kept, which a deploy may change.
            return await client.session.send_request(
                CallToolRequest(params=CallToolRequestParams(name=params.name, arguments=params.arguments)),
                CallToolResult,
                progress_callback=context.session.report_progress,
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


class _InWords(httpx2.AsyncClient):
    """A client for whom a connection that fails, or an error of REST, is an answer of the protocol, with its message.

    The SDK would end with the connection, and so with each restart of the api, and would not tell what an error says.
    """

    @override
    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        try:
            answer = await super().send(request, **options)
            if not answer.is_error:
                return answer
            said: Any = json.loads(await answer.aread())
            if "jsonrpc" in said:
                return answer
            message = said["message"]
        except httpx2.TransportError as error:
            message = f"The API cannot be reached: {str(error) or type(error).__name__}. Is it running?"
        except (ValueError, LookupError, TypeError):
            message = "What answered is not the API of Callboard."
        error = JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=INTERNAL_ERROR, message=message))
        return httpx2.Response(HTTPStatus.SERVICE_UNAVAILABLE, json=error.model_dump(mode="json"), request=request)
