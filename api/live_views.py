"""Live views of the browsers of Attempts: who watches here, and what the Attempts' workers send.

A worker connects to this process when it is asked to (`workflows/live.py`), so it needs no port of its own. All calls
are short, with bodies whose length is known: so they pass through proxies that buffer. What a worker sends comes from a
process that runs user code: it is checked for being a picture, and is shown as nothing else.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from callboard.schemas.errors import BadRequest, CallboardError, ConfigurationError, NotFound, TooMany, Unavailable
from callboard.schemas.rest.live import Asked
from callboard.schemas.workflow.live import (
    DialInput,
    DialOutcome,
    LiveAction,
    LiveAnswer,
    LiveHolder,
    LiveOrder,
    LiveState,
)
from callboard.security.keyring import KeyRing
from callboard.security.live_records import ANSWERS, GONE, ORDERS, PICTURES, POLL, STATES, LiveRecords

log = logging.getLogger(__name__)

_JOINED_WITHIN = 30.0
"""Seconds within which a worker that was asked to connect has to be there."""
_TAKEN_WITHIN = 1.0
"""Most seconds that a worker waits until somebody has drawn its picture."""
_ANSWERED_WITHIN = 15.0
"""Seconds within which a worker has to say what became of an order."""
_MOST_ORDERS = 32
"""Most orders of one key in a view that are not answered yet: so nobody keeps others from the browser."""
_MOST_ORDERED = 16 * 1024 * 1024
"""Most bytes of those that the worker was not told yet: they may have files."""
_JPEG_SIGNATURE = b"\xff\xd8\xff"


_ASKED = TypeAdapter[Asked | None](Asked | None)


@dataclass(frozen=True)
class LivePicture:
    """What a page shows."""

    number: int
    """It grows from one picture of an Attempt to the next."""
    jpeg: bytes


@dataclass
class _Order:
    """What the worker is to do, until it has said what became of that."""

    key_id: str
    """The key in whose name it is: of a caller, a session or a link."""
    record: bytes
    """Empty once the worker was told."""
    answer: asyncio.Future[LiveAnswer]


class LiveView:
    """One Attempt as it is watched here, by however many. It is over when the worker or all who watch are gone."""

    def __init__(self, ring: KeyRing, *, is_login: bool = False) -> None:
        self.is_login = is_login
        """Whether a person logs in there, for a login that is recorded."""
        self.id = secrets.token_urlsafe(12)
        self.is_over = False
        self._records = LiveRecords(ring, self.id)
        self._picture: LivePicture | None = None
        self._drawn = 0
        self._state: tuple[int, LiveState] | None = None
        self._problem: str | None = None
        self.handoffs: tuple[float, set[str]] | None = None
        """Which Handoffs of kind `browser` the Attempt waited for, and when that was looked up."""
        self._orders: dict[int, _Order] = {}
        """What is not answered yet, by number."""
        self._ids = itertools.count(1)
        self._changed = asyncio.Condition()
        self._opened_at = self._watched_at = now = asyncio.get_running_loop().time()
        self._worked_at = now + _JOINED_WITHIN - GONE

    async def end(self) -> None:
        """Answer all calls, and refuse further ones."""
        self.is_over = True
        await self._tell()

    async def keep(self, stop: asyncio.Event) -> None:
        """End the view when one side is gone, or with `stop`."""
        loop = asyncio.get_running_loop()
        stopping = asyncio.create_task(stop.wait())
        try:
            while (left := min(self._watched_at, self._worked_at) + GONE - loop.time()) > 0:
                await asyncio.wait({stopping}, timeout=left)
                if stopping.done():
                    break
        finally:
            stopping.cancel()
            await self.end()

    async def expect_no_worker(self, problem: str | None) -> None:
        """End soon: who asks again and again must not have a worker asked each time.

        Args:
            problem: Why no worker comes, for people, if that is known. They are told for a while.
        """
        since = self._opened_at if problem is None else asyncio.get_running_loop().time()
        self._worked_at = since + POLL - GONE
        self._problem = problem
        await self._tell()

    # These are the calls of who watches.

    @property
    def state_number(self) -> int:
        """Number of the newest state; 0 if there is none."""
        return 0 if self._state is None else self._state[0]

    async def next_picture(self, after: int, state: int | None) -> LivePicture | None:
        """Return the newest picture once it comes after that number, which was drawn; None if none has come in time.

        Args:
            after: Number of the last picture.
            state: Number of the last state. One that comes after it ends the waiting, too.

        Raises:
            Unavailable: The worker cannot show it.
        """
        if self._picture is not None and self._drawn < after <= self._picture.number:
            self._drawn = after
            await self._tell()
        await self._watch(
            lambda: (
                (self._picture is not None and self._picture.number > after)
                or (state is not None and self.state_number > state)
            )
        )
        return self._picture if self._picture is not None and self._picture.number > after else None

    async def next_state(self, after: int) -> tuple[int, LiveState] | None:
        """Return the newest state and its number once it comes after that number; None if none has come in time.

        Raises:
            Unavailable: The worker cannot show it.
        """
        await self._watch(lambda: self.state_number > after)
        return self._state if self.state_number > after else None

    async def order(self, by: LiveHolder, action: LiveAction, events: list[dict[str, Any]] | None = None) -> LiveAnswer:
        """Have the worker do something, and return what became of it.

        Raises:
            TooMany: The worker has not done yet what it was told.
            Unavailable: It does not answer, or the Attempt has ended.
        """
        self._note_watched()
        number, answer = next(self._ids), asyncio.get_running_loop().create_future()
        told = LiveOrder(id=number, by=by, action=action, events=events or [])
        order = _Order(
            by.id.partition("/")[0], self._records.seal(told.model_dump_json().encode(), ORDERS, number), answer
        )
        of_key = [each for each in self._orders.values() if each.key_id == order.key_id]
        waiting = sum(len(each.record) for each in of_key)
        if len(of_key) >= _MOST_ORDERS or (waiting and waiting + len(order.record) > _MOST_ORDERED):
            raise TooMany("The browser has not done yet what it was told. Wait for the answers.", retry_after=1)
        self._orders[number] = order
        try:
            await self._tell()
            await self._wait(lambda: answer.done() or self._problem is not None, _ANSWERED_WITHIN)
            if not answer.done():
                raise Unavailable(self._problem or "The browser's worker does not answer, or the Attempt has ended.")
            return answer.result()
        finally:
            del self._orders[number]

    # These are the calls of the worker.

    async def take_picture(self, record: bytes) -> None:
        """Take a picture. Return when somebody has drawn it, or after a second: that is the worker's pace.

        Raises:
            SealError: It is no record of this view.
            BadRequest: It is no picture.
        """
        number, jpeg = self._records.open(record, PICTURES)
        if not jpeg.startswith(_JPEG_SIGNATURE):
            raise BadRequest("That is no picture.")
        self._note_worked()
        self._picture = LivePicture(number, jpeg)
        await self._tell()
        await self._wait(lambda: self._drawn >= number, _TAKEN_WITHIN)
        self._note_worked()

    async def take_state(self, record: bytes) -> None:
        """Take who has the browser, and what it asks. What no browser asks is left out.

        Raises:
            SealError: It is no record of this view.
        """
        number, told = self._records.open(record, STATES)
        self._note_worked()
        state = LiveState.model_validate_json(told)
        try:
            _ASKED.validate_python(state.asks)
        except ValidationError:  # scripts of a page may have a say in what it asks
            state = state.model_copy(update={"asks": None})
        self._state = number, state
        await self._tell()

    async def next_order(self, record: bytes) -> bytes:
        """Take what became of the last order; return the next one, or nothing if there is none in time.

        Raises:
            SealError: It is no record of this view.
        """
        _, told = self._records.open(record, ANSWERS)
        self._note_worked()
        if told:
            given = LiveAnswer.model_validate_json(told)
            if (order := self._orders.get(given.id)) is not None and not order.answer.done():
                order.answer.set_result(given)
                await self._tell()
        await self._wait(lambda: self._untold is not None, POLL)
        self._note_worked()
        if (order := self._untold) is None:
            return b""
        record, order.record = order.record, b""
        return record

    @property
    def _untold(self) -> _Order | None:
        """The first order that the worker was not told yet, if there is one."""
        return next((each for each in self._orders.values() if each.record), None)

    async def _watch(self, holds: Callable[[], bool]) -> None:
        self._note_watched()
        await self._wait(lambda: holds() or self._problem is not None, POLL)
        self._note_watched()
        if self._problem is not None:
            raise Unavailable(self._problem)

    def _note_watched(self) -> None:
        self._watched_at = asyncio.get_running_loop().time()

    def _note_worked(self) -> None:
        self._worked_at = asyncio.get_running_loop().time()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _wait(self, holds: Callable[[], bool], seconds: float) -> None:
        """Wait until `holds()`, until the view is over, or as long as that."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self.is_over or holds())
        except TimeoutError:
            pass


class LiveViews:
    """The live views of this process, by project, Run and number of the Attempt."""

    def __init__(self, ring: KeyRing, dial: Callable[[DialInput], Awaitable[DialOutcome]], address: str) -> None:
        """Prepare, without any view yet.

        Args:
            ring: What records are sealed with.
            dial: Has a worker connect; returns whether it does, and why not.
            address: URL at which workers reach this process.
        """
        self._ring = ring
        self._dial = dial
        self._address = address
        self._views: dict[tuple[str, str, int], LiveView] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, place: tuple[str, str, int]) -> LiveView | None:
        """Return the view of an Attempt, if there is one."""
        return self._views.get(place)

    def open(
        self, place: tuple[str, str, int], worker: str, stop: asyncio.Event, *, is_login: bool = False
    ) -> LiveView:
        """Return the view of an Attempt; if there is none yet, ask its worker for it. It is over with `stop`.

        Raises:
            ConfigurationError: There is no key to seal pictures with.
        """
        if not self._ring:
            raise ConfigurationError(
                "There is no live view without CALLBOARD_SECRET_KEY, with which pictures and inputs are sealed. Set it"
                " to 16 or more random characters, the same for every api and worker."
            )
        project, run_id, number = place
        if (view := self._views.get(place)) is None:
            view = self._views[place] = LiveView(self._ring, is_login=is_login)
            dial = DialInput(
                project=project, run_id=run_id, number=number, worker=worker, address=self._address, view=view.id
            )
            task = asyncio.create_task(self._keep(place, view, dial, stop), name=f"live view {run_id} {number}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return view

    def of_worker(self, view_id: str) -> LiveView:
        """Return the view that a worker means. Raises NotFound: it is over."""
        for view in self._views.values():
            if view.id == view_id:
                return view
        raise NotFound("The live view is over.")

    async def close(self) -> None:
        """End all views."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, place: tuple[str, str, int], view: LiveView, dial: DialInput, stop: asyncio.Event) -> None:
        try:
            try:
                outcome = await self._dial(dial)
            except CallboardError as error:
                outcome = DialOutcome(is_connected=False, problem=error.message)
            if outcome.problem is not None:
                log.warning("There is no live view of Run %s: %s", dial.run_id, outcome.problem)
            if not outcome.is_connected:
                await view.expect_no_worker(outcome.problem)
            await view.keep(stop)
        finally:
            del self._views[place]
            await view.end()
