"""The worker's side of live views: it calls the api where somebody watches an Attempt, so it needs no port of its own.

All calls are short and their bodies have a known length, so they pass through proxies that buffer: one for each
picture, and polls for what the api wants of the Attempt. They are sealed (`callboard/security/live_records.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from itertools import count

import httpx
from temporalio import activity

from activities.attempts.live_cast import CastEndedError, LiveCast
from activities.attempts.running_attempts import RunningAttempts
from callboard.schemas.errors import ConfigurationError, SealError
from callboard.schemas.workflow import names
from callboard.schemas.workflow.live import DialInput, DialOutcome, LiveOrder
from callboard.security.keyring import KeyRing
from callboard.security.live_records import (
    ANSWERS,
    GONE,
    GREETED,
    GREETING,
    ORDERS,
    PICTURES,
    POLL,
    STATES,
    LiveRecords,
)

log = logging.getLogger(__name__)

_EVERY = 0.05
"""Least seconds from one picture to the next."""
_CONNECT_TIMEOUT = 3.0
_GREETED_WITHIN = 6.0
"""Seconds within which an api answers, before the worker says that it cannot be reached."""


class LiveViewers:
    """Those who watch Attempts of this worker."""

    def __init__(self, running_attempts: RunningAttempts, ring: KeyRing) -> None:
        self._running_attempts = running_attempts
        self._ring = ring

    @activity.defn(name=names.CONNECT_LIVE)
    async def connect_live(self, input: DialInput) -> DialOutcome:
        """Begin to show an Attempt at an api; not if it is not here (any more), or shows nothing within a poll's time.

        Without an Attempt, only say whether the api can be reached, and opens what this worker seals.
        """
        if (problem := await _greet(input, self._ring)) is not None:
            return DialOutcome(is_connected=False, problem=problem)
        if input.run_id is None:
            return DialOutcome(is_connected=True)
        if (running := self._running_attempts.find(input.run_id, input.number)) is None:
            return DialOutcome(is_connected=False)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL):
                await running.on_browser()
        return DialOutcome(is_connected=await running.live.show(_Dial(input, self._ring, running.live).serve()))


class _OverError(Exception):
    """The api has ended the view, or cannot be reached."""


async def _greet(dial: DialInput, ring: KeyRing) -> str | None:
    """Try the way to an api. Return why it does not work, and what to do; None if it does."""
    records = LiveRecords(ring, dial.view)
    differs = (
        f"The worker {dial.worker} and the api at {dial.address} have different keys. Set CALLBOARD_SECRET_KEY of both"
        " to the same value."
    )
    try:
        async with asyncio.timeout(_GREETED_WITHIN), _client(dial) as api:
            answer = await api.post("greeting", content=records.seal(b"", GREETING, 1))
        if answer.is_success:
            records.open(answer.content, GREETED)
            return None
    except SealError:
        return differs
    except ConfigurationError:
        return f"The worker {dial.worker} has no key to seal live pictures with. Set its CALLBOARD_SECRET_KEY."
    except (httpx.HTTPError, TimeoutError) as error:
        reason = f"cannot reach the api at {dial.address} ({type(error).__name__})"
    else:
        if answer.status_code == 403:
            return differs
        reason = f"has reached no api at {dial.address}: it was answered {answer.status_code}"
    return (
        f"The worker {dial.worker} {reason}. Set CALLBOARD_LIVE_ADDRESS of the api process to an address at which"
        " workers reach it."
    )


def _client(dial: DialInput) -> httpx.AsyncClient:
    address = f"{dial.address.rstrip('/')}/live/{dial.view}/"
    timeout = httpx.Timeout(GONE, connect=_CONNECT_TIMEOUT)
    # The environment may name a proxy to the internet, where the api is not.
    return httpx.AsyncClient(
        base_url=address, timeout=timeout, trust_env=False, headers={"content-type": "application/octet-stream"}
    )


class _Dial:
    """One view at one api."""

    def __init__(self, dial: DialInput, ring: KeyRing, cast: LiveCast) -> None:
        self._dial = dial
        self._records = LiveRecords(ring, dial.view)
        self._cast = cast

    async def serve(self) -> None:
        """Serve the view until either side ends it."""
        try:
            async with _client(self._dial) as api, asyncio.TaskGroup() as group:
                group.create_task(self._show(api))
                group.create_task(self._tell(api))
                group.create_task(self._obey(api))
        except* CastEndedError:
            pass
        except* (_OverError, SealError, ConfigurationError) as over:
            text = "; ".join(map(str, over.exceptions))
            log.info("The live view of Run %s at %s is over: %s", self._dial.run_id, self._dial.address, text)

    async def _show(self, api: httpx.AsyncClient) -> None:
        number, loop = 0, asyncio.get_running_loop()
        while True:
            number, picture = await self._cast.next_picture(number)
            next_at = loop.time() + _EVERY
            await _call(api, "pictures", self._records.seal(picture, PICTURES, number))
            self._cast.ask_for_next()
            await asyncio.sleep(next_at - loop.time())

    async def _tell(self, api: httpx.AsyncClient) -> None:
        number = 0
        while True:
            number, state = await self._cast.next_state(number)
            await _call(api, "states", self._records.seal(state.model_dump_json().encode(), STATES, number))

    async def _obey(self, api: httpx.AsyncClient) -> None:
        answer = b""
        for number in count(1):
            record = await _call(api, "orders", self._records.seal(answer, ANSWERS, number))
            answer = b""
            if record:
                _, order = self._records.open(record, ORDERS)
                answer = (await self._cast.do(LiveOrder.model_validate_json(order))).model_dump_json().encode()


async def _call(api: httpx.AsyncClient, leg: str, record: bytes) -> bytes:
    """Send a record; return the body of the answer. Raises _OverError."""
    try:
        answer = await api.post(leg, content=record)
    except httpx.HTTPError as error:
        raise _OverError(f"The api cannot be reached: {error!r}") from error
    if not answer.is_success:
        raise _OverError(f"The api has answered {answer.status_code}.")
    return answer.content
