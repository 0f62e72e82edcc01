"""Watching an Attempt: its worker sends pictures to the api that asked for them, and what is none goes no further."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from api import live_views
from api.live_views import LiveViews
from callboard.schemas.workflow.attempt import AttemptStatus
from callboard.schemas.workflow.live import DialInput
from callboard.security.keyring import KeyRing
from callboard.security.live_records import PICTURES, LiveRecords
from tests.support.api_in_process import Api, MakeApi
from tests.support.attempt_artifacts import attempt_record, store_record
from tests.support.polling import until

JPEG = b"\xff\xd8\xff a picture"


class Watched:
    """A running Attempt, and what its worker was asked."""

    def __init__(self, api: Api, run_id: str) -> None:
        self.api = api
        self.dials: list[DialInput] = []
        self.comes = True
        self.place = f"runs/{run_id}/attempts/1/live"

    async def dial(self, dial: DialInput) -> bool:
        self.dials.append(dial)
        return self.comes

    async def get(self, after: int = 0) -> Any:
        base = self.api.base.removesuffix("/run")
        return await self.api.client.get(f"{base}/{self.place}", params={"after": after})

    def watching(self, after: int = 0) -> asyncio.Task[Any]:
        return asyncio.create_task(self.get(after))

    async def call(self, leg: str, record: bytes, view: str | None = None) -> Any:
        return await self.api.client.post(f"/live/{view or self.dials[-1].view}/{leg}", content=record)

    @property
    def records(self) -> LiveRecords:
        return LiveRecords(self.api.services.ring, self.dials[-1].view)


@asynccontextmanager
async def watched(make_api: MakeApi, **fields: Any) -> AsyncGenerator[Watched]:
    api: Api = await make_api()
    run_id = await api.run()
    known = attempt_record(run_id, 1, AttemptStatus.STARTED, worker="host-1")
    await store_record(api, known.model_copy(update=fields))
    found = Watched(api, run_id)
    views = LiveViews(api.services.ring, found.dial, "http://api:8400")
    api.app.state.services = replace(api.services, live_views=views)
    try:
        yield found
    finally:
        await views.close()


async def test_a_picture_goes_from_the_worker_to_whoever_watches(make_api: MakeApi):
    async with watched(make_api) as attempt:
        first, second = attempt.watching(), attempt.watching()
        await until(lambda: attempt.dials)
        sent = asyncio.create_task(attempt.call("pictures", attempt.records.seal(JPEG, PICTURES, 41)))
        for answer in (await first, await second):
            assert (answer.content, answer.headers["x-number"]) == (JPEG, "41")
            assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("image/jpeg", "no-store")
        third = attempt.watching(41)  # so it was drawn, and the worker may send the next one
        assert (await sent).status_code == 204
        await attempt.call("pictures", attempt.records.seal(JPEG + b"2", PICTURES, 42))
        assert (await third).content == JPEG + b"2"
        assert [dial.worker for dial in attempt.dials] == ["host-1"]


async def test_what_no_worker_has_sealed_or_is_no_picture_is_refused(make_api: MakeApi):
    async with watched(make_api) as attempt:
        watching = attempt.watching()
        await until(lambda: attempt.dials)
        strange = LiveRecords(KeyRing(["a key of somebody else, long"]), attempt.dials[0].view)
        record = attempt.records.seal(JPEG, PICTURES, 1)
        assert (await attempt.call("pictures", strange.seal(JPEG, PICTURES, 1))).status_code == 403
        assert (await attempt.call("pictures", b"")).status_code == 403
        assert (await attempt.call("orders", record)).status_code == 403
        assert (await attempt.call("pictures", record, view="another")).status_code == 404
        assert (await attempt.call("pictures", b" " * 3_000_000)).status_code == 413
        assert (await attempt.call("pictures", attempt.records.seal(b"<script>", PICTURES, 1))).status_code == 400
        assert not watching.done()
        await attempt.call("pictures", attempt.records.seal(JPEG, PICTURES, 2))
        assert (await watching).content == JPEG


async def test_a_view_is_over_when_one_side_is_gone(make_api: MakeApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_views, "POLL", 0.05)
    monkeypatch.setattr(live_views, "GONE", 0.1)
    async with watched(make_api) as attempt:
        assert (await attempt.get()).status_code == 204

        async def answered() -> int:
            return (await attempt.call("orders", b"")).status_code

        assert await until(answered, true=lambda status: status != 403) == 404


async def test_a_worker_that_does_not_come_is_not_asked_at_each_call(make_api: MakeApi):
    async with watched(make_api) as attempt:
        attempt.comes = False
        calls = [attempt.watching() for _ in range(3)]
        assert {(await call).status_code for call in calls} == {204}
        assert len(attempt.dials) == 1


@pytest.mark.parametrize("fields", [{"status": AttemptStatus.COMPLETED}, {"worker": None}])
async def test_an_attempt_that_does_not_run_is_not_watched(make_api: MakeApi, fields: Any):
    async with watched(make_api, **fields) as attempt:
        assert (await attempt.get()).status_code == 409
        attempt.place = attempt.place.replace("/1/", "/2/")
        assert (await attempt.get()).status_code == 404
        assert not attempt.dials
