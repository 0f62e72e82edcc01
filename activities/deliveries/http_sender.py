"""One HTTP exchange with a sink within a time limit, and the types that every kind of sink uses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from callboard.schemas.errors import EgressRefused
from callboard.schemas.workflow.delivery import TryProblem

RESPONSE_KEPT = 2048
"""How many bytes of a response's body are kept."""

_RESPONSE_READ = RESPONSE_KEPT + 8192
"""How many bytes of an answer are read: more than are kept, so that a secret at the edge is found whole."""
_RESPONSE_WITHIN = 5.0
"""Seconds for an answer's body. What counts is its status, which has arrived before."""


@dataclass(frozen=True)
class SinkResponse:
    """The answer of a receiver."""

    status: int
    headers: httpx.Headers
    beginning: bytes
    latency: timedelta
    """Time until its status arrived."""

    @property
    def retry_after(self) -> timedelta | None:
        """Time after which the receiver wants to be asked again, if it says so."""
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit() and len(value) < 10:
            return timedelta(seconds=int(value))
        try:
            at = parsedate_to_datetime(value)
        except (TypeError, ValueError):
            return None
        wait = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)) - datetime.now(UTC)
        return max(wait, timedelta())


@dataclass(frozen=True)
class ResponseVerdict:
    """Classification of an answer: a success has no message, a failure has one that says why."""

    message: str | None = None
    problem: TryProblem | None = None
    """The problem that the receiver itself reports, if it does so in a known format."""
    final: bool = False
    """Whether no other try can succeed."""


@dataclass(frozen=True)
class PreparedRequest:
    """A request, ready to be sent."""

    request: httpx.Request
    classify_response: Callable[[SinkResponse], ResponseVerdict]
    secrets: frozenset[str] = field(repr=False)
    """Values that are masked in errors and answers."""


class SendError(Exception):
    """There is no answer; `problem` says why."""

    def __init__(self, problem: TryProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


async def exchange(transport: httpx.AsyncBaseTransport, request: httpx.Request, within: timedelta) -> SinkResponse:
    """Send the request once.

    This uses the transport directly: a client would add headers, and keep cookies for other receivers.

    Raises:
        SendError: No answer came within the time, or the address is refused.
    """
    seconds = within.total_seconds()
    request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
    began = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            response = await transport.handle_async_request(request)
    except TimeoutError:
        raise SendError(TryProblem(type="Timeout", message=f"No answer within {seconds:g} seconds.")) from None
    except EgressRefused as error:
        raise SendError(TryProblem(type="EgressRefused", message=error.message)) from error
    except httpx.TimeoutException as error:
        reason = str(error) or f"No answer within {seconds:g} seconds"
        raise SendError(TryProblem(type=type(error).__name__, message=f"{reason}.")) from error
    except httpx.TransportError as error:
        reason = str(error).rstrip(".") or "The connection broke"
        raise SendError(TryProblem(type=type(error).__name__, message=f"{reason}.")) from error
    latency = timedelta(seconds=time.monotonic() - began)
    return SinkResponse(response.status_code, response.headers, await _beginning(response), latency)


async def _beginning(response: httpx.Response) -> bytes:
    """Return the first bytes of the body as they come over the wire, as many as arrive without an error."""
    read = bytearray()
    try:
        async with asyncio.timeout(_RESPONSE_WITHIN):
            body: AsyncIterator[bytes] = response.aiter_raw()
            async for part in body:
                read += part
                if len(read) >= _RESPONSE_READ:
                    break
    except (TimeoutError, httpx.TransportError):
        pass  # what has come is kept
    finally:
        await response.aclose()
    return bytes(read[:_RESPONSE_READ])
