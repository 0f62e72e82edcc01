"""Waiting until a child process answers over HTTP."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx

from devstack.child import SupervisedProcess
from schemas.errors import StackError

_POLL_SECONDS = 0.05
"""Seconds between two requests."""


async def wait_until_ok(url: str, child: SupervisedProcess, api_key: str | None = None, *, timeout: timedelta) -> None:
    """Request `url` of a child until it answers 200. With the key, its answers say which part is not ready.

    Raises:
        StackError: It did not answer 200 in time; the message has its last answer.
    """
    last = "no answer yet"
    headers = {} if api_key is None else {"x-api-key": api_key}
    try:
        # Proxies that the environment names are not for loopback, so they are not used.
        async with asyncio.timeout(timeout.total_seconds()), httpx.AsyncClient(trust_env=False) as client:
            while True:
                try:
                    answer = await client.get(url, headers=headers)
                except httpx.TransportError as error:
                    last = str(error) or type(error).__name__
                else:
                    if answer.status_code == 200:
                        return
                    last = f"{answer.status_code} {answer.text[:500]}"
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise StackError(
            f"{child.name} was not ready within {timeout.total_seconds():g} seconds."
            f" {url} answered at last: {last}. Its log: {child.log}"
        ) from None
