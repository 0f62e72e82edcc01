"""The worker's side of live views: it calls the api where somebody watches an Attempt, so it needs no port of its own.

All calls are short and their bodies have a known length, so they pass through proxies that buffer: one for each
picture, and polls for what the api wants of the Attempt. They are sealed (`callboard/security/live_records.py`).
"""

from __future__ import annotations

import asyncio
import logging
from itertools import count

import httpx
from temporalio import activity

from activities.attempts.live_cast import CastEndedError, LiveCast
from activities.attempts.running_attempts import RunningAttempts
from callboard.schemas.errors import ConfigurationError, SealError
from callboard.schemas.workflow import names
from callboard.schemas.workflow.live import DialInput, LiveOrder
from callboard.security.keyring import KeyRing
from callboard.security.live_records import ANSWERS, GONE, ORDERS, PICTURES, LiveRecords

log = logging.getLogger(__name__)

_EVERY = 0.05
"""Least seconds from one picture to the next."""
_CONNECT_TIMEOUT = 3.0


class LiveViewers:
    """Those who watch Attempts of this worker."""

    def __init__(self, running_attempts: RunningAttempts, ring: KeyRing) -> None:
        self._running_attempts = running_attempts
        self._ring = ring

    @activity.defn(name=names.CONNECT_LIVE)
    async def connect_live(self, input: DialInput) -> bool:
        """Begin to show an Attempt at an api; return False if it is not here (any more), or shows nothing yet."""
        running = self._running_attempts.find(input.run_id, input.number)
        return running is not None and await running.live.show(_Dial(input, self._ring, running.live).serve())


class _OverError(Exception):
    """The api has ended the view, or cannot be reached."""


class _Dial:
    """One view at one api."""

    def __init__(self, dial: DialInput, ring: KeyRing, cast: LiveCast) -> None:
        self._dial = dial
        self._records = LiveRecords(ring, dial.view)
        self._cast = cast

    async def serve(self) -> None:
        """Serve the view until either side ends it."""
        try:
            address = f"{self._dial.address.rstrip('/')}/live/{self._dial.view}/"
            timeout = httpx.Timeout(GONE, connect=_CONNECT_TIMEOUT)
            # The environment may name a proxy to the internet, where the api is not.
            client = httpx.AsyncClient(base_url=address, timeout=timeout, trust_env=False)
            async with client as api, asyncio.TaskGroup() as group:
                group.create_task(self._show(api))
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
        answer = await api.post(leg, content=record, headers={"content-type": "application/octet-stream"})
    except httpx.HTTPError as error:
        raise _OverError(f"The api cannot be reached: {error!r}") from error
    if not answer.is_success:
        raise _OverError(f"The api has answered {answer.status_code}.")
    return answer.content
