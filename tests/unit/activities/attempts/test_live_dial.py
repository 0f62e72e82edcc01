"""A live view from the Machine's socket to the api that asked for it: the worker is between the two."""

import asyncio
import json
import os
import struct
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from typing import cast as typed

import pytest
import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import Response
from temporalio.testing import ActivityEnvironment

from activities.attempts import live_control
from activities.attempts.live_cast import LiveCast
from activities.attempts.live_dial import LiveViewers
from activities.attempts.takeovers import Takeovers
from callboard.schemas.workflow.live import (
    DialInput,
    DialOutcome,
    LiveAction,
    LiveAnswer,
    LiveHolder,
    LiveOrder,
    LiveOutcome,
    LiveState,
)
from callboard.security.keyring import KeyRing
from callboard.security.live_records import ANSWERS, GREETED, GREETING, ORDERS, PICTURES, STATES, LiveRecords
from tests.support.api_in_process import QuietServer
from tests.support.polling import until

RING = KeyRing(["a secret key of sixteen or more"])


class AttemptStandIn:
    """An Attempt on a Machine that holds its browser at once, unless it says why not."""

    def __init__(self, refusal: str | None = None) -> None:
        self.refusal = refusal
        self.told = list[Any]()
        """What its Machine was told."""
        self.notes = list[str]()
        self.on_machine = self
        self.done = asyncio.Future[None]()
        self.clock_is_stopped = False

    def now(self) -> datetime:
        return datetime(2026, 12, 1, 10, 0, 5, tzinfo=UTC)

    @contextmanager
    def clock_stopped(self) -> Generator[None]:
        self.clock_is_stopped = True
        yield
        self.clock_is_stopped = False

    async def hold(self, *, calls: bool) -> str | None:
        self.told.append(calls)
        return self.refusal

    async def release(self) -> None:
        self.told.append("release")

    def note(self, message: str) -> None:
        self.notes.append(message)


class Machine:
    """A Machine that shows what a test sends to one worker, and takes events but for `none`."""

    def __init__(self) -> None:
        self.taken = 0
        self.done = list[Any]()
        """The events that it was told."""
        self.connections = 0
        self.writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writer = writer
        try:
            while size := await reader.read(4):
                told = json.loads(await reader.readexactly(struct.unpack(">I", size)[0]))
                if told["kind"] == "taken":
                    self.taken += 1
                    continue
                self.done.append(told["events"])
                takes = told["events"][0]["kind"] != "none"
                self.show(json.dumps({"kind": "acted", "id": told["id"], "taken": takes}).encode())
        finally:
            self.writer = None
            writer.close()

    def show(self, picture: bytes) -> None:
        assert self.writer is not None
        self.writer.write(struct.pack(">I", len(picture)) + picture)


class Watcher:
    """An api with one view: what has come there, and whether the view is over."""

    def __init__(self, view: str) -> None:
        self.pictures: list[bytes] = []
        self.orders: list[LiveOrder] = []
        """What the worker is not told yet."""
        self.outcomes: list[LiveOutcome] = []
        self.states: list[LiveState] = []
        self.status = 204
        self.app = FastAPI()
        records = LiveRecords(RING, view)
        self.over = asyncio.Event()

        @self.app.post(f"/live/{view}/pictures")
        async def take(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
            self.pictures.append(records.open(await request.body(), PICTURES)[1])
            return Response(status_code=self.status)

        @self.app.post(f"/live/{view}/greeting")
        async def greet(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
            greeted = LiveRecords(RING, view)
            greeted.open(await request.body(), GREETING)
            return Response(greeted.seal(b"", GREETED, 1))

        @self.app.post(f"/live/{view}/states")
        async def hear(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
            told = records.open(await request.body(), STATES)[1]
            self.states.append(LiveState.model_validate_json(told))
            return Response(status_code=204)

        @self.app.post(f"/live/{view}/orders")
        async def wait(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
            if said := records.open(await request.body(), ANSWERS)[1]:
                self.outcomes.append(LiveAnswer.model_validate_json(said).outcome)
            if self.orders:
                order = self.orders.pop(0)
                return Response(records.seal(order.model_dump_json().encode(), ORDERS, order.id))
            await self.over.wait()
            return Response(status_code=404)

    @asynccontextmanager
    async def served(self) -> AsyncGenerator[str]:
        config = uvicorn.Config(self.app, host="127.0.0.1", port=0, lifespan="off", log_config=None, access_log=False)
        async with QuietServer.running(config) as server:
            yield f"http://127.0.0.1:{server.port}"
            self.over.set()


class Attempts:
    """The Attempts of a worker: one, or none."""

    def __init__(self, cast: LiveCast | None) -> None:
        self.live = cast
        self.begins, self.is_awaited = asyncio.Event(), asyncio.Event()
        self.begins.set()

    async def on_browser(self) -> None:
        self.is_awaited.set()
        await self.begins.wait()

    def find(self, run_id: str, number: int) -> "Attempts | None":
        return self if self.live is not None and (run_id, number) == ("run", 1) else None


async def dialed(
    cast: LiveCast | Attempts | None, address: str, view: str, ring: KeyRing = RING, **more: Any
) -> DialOutcome:
    attempts = cast if isinstance(cast, Attempts) else Attempts(cast)
    viewers = LiveViewers(typed("Any", attempts), ring)
    dial = DialInput(project="shop", run_id="run", number=1, worker="host-1", address=address, view=view)
    return await ActivityEnvironment().run(viewers.connect_live, dial.model_copy(update=more))


async def connect(cast: LiveCast | None, address: str, view: str) -> bool:
    outcome = await dialed(cast, address, view)
    assert outcome.problem is None
    return outcome.is_connected


@asynccontextmanager
async def machine(folder: Path) -> AsyncGenerator[Machine]:
    found = Machine()
    descriptor = os.open(folder, os.O_PATH)
    async with await asyncio.start_unix_server(found.serve, f"/proc/self/fd/{descriptor}/live.sock"):
        yield found
    os.close(descriptor)


def takeovers(attempt: AttemptStandIn | None = None) -> Takeovers:
    return Takeovers(typed("Any", attempt or AttemptStandIn()))


async def test_several_views_have_the_pictures_of_one_connection_until_the_last_is_over(tmp_path: Path):
    cast, one, two = LiveCast(tmp_path, takeovers()), Watcher("one"), Watcher("two")
    async with machine(tmp_path) as shown, one.served() as at_one, two.served() as at_two:
        assert await connect(cast, at_one, "one")
        assert await connect(cast, at_two, "two")
        await until(lambda: shown.writer)
        shown.show(b"first")
        await until(lambda: one.pictures == [b"first"] == two.pictures and shown.taken)
        one.over.set()
        shown.show(b"second")
        await until(lambda: b"second" in two.pictures)
        two.status = 404
        shown.show(b"third")
        await until(lambda: shown.writer is None)
        assert shown.connections == 1
        assert await connect(cast, at_one, "one")  # comes back to an Attempt that was left
        await until(lambda: shown.connections == 2)
        await cast.close()


async def test_orders_are_done_for_who_has_the_browser_and_what_became_of_them_is_told(tmp_path: Path):
    attempt, watcher = AttemptStandIn(), Watcher("one")
    times = takeovers(attempt)
    cast = LiveCast(tmp_path, times)
    anna, bert = LiveHolder(id="a", name="Anna"), LiveHolder(id="b", name="Bert")
    click, never = [{"kind": "mouse"}], [{"kind": "none"}]
    watcher.orders = [
        LiveOrder(id=1, by=anna, action=LiveAction.INPUT, events=click),
        LiveOrder(id=2, by=anna, action=LiveAction.TAKE),
        LiveOrder(id=3, by=bert, action=LiveAction.TAKE),
        LiveOrder(id=4, by=bert, action=LiveAction.INPUT, events=click),
        LiveOrder(id=5, by=anna, action=LiveAction.INPUT, events=click),
        LiveOrder(id=6, by=anna, action=LiveAction.INPUT, events=never),
        LiveOrder(id=7, by=anna, action=LiveAction.INPUT),
        LiveOrder(id=8, by=anna, action=LiveAction.GIVE),
    ]
    async with machine(tmp_path) as shown, watcher.served() as address:
        assert await connect(cast, address, "one")
        await until(lambda: len(watcher.outcomes) == 8)
        assert watcher.outcomes == [
            LiveOutcome.NOT_HELD,
            LiveOutcome.DONE,
            LiveOutcome.HELD,
            LiveOutcome.NOT_HELD,
            LiveOutcome.DONE,
            LiveOutcome.NOT_TAKEN,
            LiveOutcome.DONE,
            LiveOutcome.DONE,
        ]
        await until(lambda: shown.done == [click, never])
        shown.show(json.dumps({"kind": "asks", "asks": {"kind": "dialog", "id": 1}}).encode())
        await until(lambda: watcher.states[-1].asks == {"kind": "dialog", "id": 1})
        held = [state.holder and state.holder.name for state in watcher.states]
        assert (held[0], held[-1], set(held)) == (None, None, {None, "Anna"})
        await cast.close()
    assert attempt.told == [True, "release"]
    assert [each.by for each in times.recorded] == ["Anna"]
    assert attempt.notes[-1] == "Anna had the browser from 10:00:05 to 10:00:05 UTC"
    assert not attempt.clock_is_stopped


async def test_the_end_of_the_attempt_ends_its_views(tmp_path: Path):
    cast, watcher = LiveCast(tmp_path, takeovers()), Watcher("one")
    async with watcher.served() as address:
        async with machine(tmp_path) as shown:
            assert await connect(cast, address, "one")
            await until(lambda: shown.writer)
            await cast.close()
            await until(lambda: shown.writer is None)
            (tmp_path / "live.sock").unlink()
        assert not await connect(cast, address, "one")


@pytest.mark.parametrize("is_here", [True, False])
async def test_an_attempt_that_is_not_here_or_shows_nothing_is_not_connected(tmp_path: Path, is_here: bool):
    async with Watcher("one").served() as address:
        assert not await connect(LiveCast(tmp_path, takeovers()) if is_here else None, address, "one")


async def test_one_that_is_watched_before_it_is_on_its_machine_is_shown_once_it_is(tmp_path: Path):
    cast = LiveCast(tmp_path, takeovers())
    attempts = Attempts(cast)
    attempts.begins.clear()
    async with Watcher("one").served() as address:
        connecting = asyncio.create_task(dialed(attempts, address, "one"))
        await attempts.is_awaited.wait()
        async with machine(tmp_path):
            attempts.begins.set()
            assert (await connecting).is_connected
            await cast.close()


async def test_why_the_way_to_an_api_does_not_work_is_told_with_what_to_do(tmp_path: Path):
    async with Watcher("one").served() as address:
        assert await dialed(None, address, "one", run_id=None) == DialOutcome(is_connected=True)
        for ring, at, view, expected in [
            (RING, "http://127.0.0.1:9", "one", "cannot reach the api at http://127.0.0.1:9 (ConnectError). Set CALL"),
            (RING, address, "two", f"has reached no api at {address}: it was answered 404. Set CALLBOARD_LIVE_ADDRESS"),
            (KeyRing([]), address, "one", "has no key to seal live pictures with. Set its CALLBOARD_SECRET_KEY."),
        ]:
            outcome = await dialed(LiveCast(tmp_path, takeovers()), at, view, ring)
            assert not outcome.is_connected
            assert f"The worker host-1 {expected}" in str(outcome.problem)


ANNA = LiveHolder(id="a", name="Anna")
TAKE = LiveOrder(id=1, by=ANNA, action=LiveAction.TAKE)
INPUT = LiveOrder(id=2, by=ANNA, action=LiveAction.INPUT)


async def test_a_browser_that_cannot_be_held_is_not_taken(tmp_path: Path):
    attempt = AttemptStandIn("It cannot be held.")
    cast = LiveCast(tmp_path, takeovers(attempt))
    assert (await cast.do(TAKE)) == LiveAnswer(id=1, outcome=LiveOutcome.REFUSED, reason="It cannot be held.")
    assert (await cast.do(INPUT)).outcome is LiveOutcome.NOT_HELD
    assert not attempt.clock_is_stopped
    await cast.close()


async def test_a_takeover_ends_with_its_lease_and_with_its_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    attempt = AttemptStandIn()
    held = takeovers(attempt)
    cast = LiveCast(tmp_path, held)
    with monkeypatch.context() as patched:
        patched.setattr(live_control, "LEASE", 0)
        assert (await cast.do(TAKE)).outcome is LiveOutcome.DONE
        await until(lambda: attempt.told == [True, "release"])
    assert (await cast.do(TAKE)).outcome is LiveOutcome.DONE
    assert attempt.clock_is_stopped
    held.note_end()
    await cast.close()
    assert (attempt.told, len(held.recorded)) == ([True, "release", True], 2), "there is nothing to release any more"
    assert not attempt.clock_is_stopped


async def test_a_browser_that_is_handed_over_is_held_without_its_calls_until_that_ends(tmp_path: Path):
    attempt = AttemptStandIn()
    cast = LiveCast(tmp_path, takeovers(attempt))
    await cast.do(TAKE)
    async with cast.handed_over("hq"):
        assert attempt.told == [True, False]
    assert attempt.told == [True, False, "release"]
    assert (await cast.do(INPUT)).outcome is LiveOutcome.NOT_HELD
    await cast.close()


BERT = LiveHolder(id="b", name="Bert")


async def test_who_has_not_the_browser_cannot_end_the_hold_of_who_has(tmp_path: Path):
    attempt = AttemptStandIn()
    cast = LiveCast(tmp_path, takeovers(attempt))
    await cast.do(TAKE)
    refused = await cast.do(LiveOrder(id=3, by=BERT, action=LiveAction.GIVE))
    assert refused.outcome is LiveOutcome.NOT_HELD
    assert (attempt.told, attempt.clock_is_stopped) == ([True], True)
    assert (await cast.do(INPUT)).outcome is LiveOutcome.DONE
    await cast.close()


async def test_a_link_takes_the_browser_for_as_long_as_its_handoff_is_open(tmp_path: Path):
    cast = LiveCast(tmp_path, takeovers())
    by_link = LiveOrder(id=3, by=LiveHolder(id="c", name="Cleo", handoff="hq"), action=LiveAction.TAKE)
    async with cast.handed_over("another"):
        assert (await cast.do(by_link)).outcome is LiveOutcome.REFUSED
        async with cast.handed_over("hq"):
            assert (await cast.do(by_link)).outcome is LiveOutcome.DONE
        assert (await cast.do(by_link)).outcome is LiveOutcome.REFUSED
        assert (await cast.do(TAKE)).outcome is LiveOutcome.DONE, "nobody has it"
    await cast.close()


async def test_who_takes_the_browser_as_it_is_let_go_holds_it(tmp_path: Path):
    attempt = AttemptStandIn()
    cast = LiveCast(tmp_path, takeovers(attempt))
    await cast.do(TAKE)
    given, taken = await asyncio.gather(
        cast.do(LiveOrder(id=2, by=ANNA, action=LiveAction.GIVE)),
        cast.do(LiveOrder(id=3, by=BERT, action=LiveAction.TAKE)),
    )
    assert (given.outcome, taken.outcome) == (LiveOutcome.DONE, LiveOutcome.DONE)
    assert (await cast.do(LiveOrder(id=4, by=BERT, action=LiveAction.INPUT))).outcome is LiveOutcome.DONE
    assert attempt.told == [True, "release", True]
    await cast.close()
