"""Watching an Attempt: its worker sends pictures to the api that asked for them, and what is none goes no further."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from api import live_views
from api.live_views import LiveViews
from callboard.schemas.workflow.attempt import AttemptStatus
from callboard.schemas.workflow.live import DialInput, LiveAnswer, LiveOrder, LiveOutcome
from callboard.security.keyring import KeyRing
from callboard.security.live_records import ANSWERS, ORDERS, PICTURES, LiveRecords
from tests.support.api_in_process import Api, MakeApi
from tests.support.attempt_artifacts import attempt_record, store_record
from tests.support.constants import WORKSPACE
from tests.support.dashboard_client import signed_in_client
from tests.support.polling import until

JPEG = b"\xff\xd8\xff a picture"


class Watched:
    """A running Attempt, and what its worker was asked."""

    def __init__(self, api: Api, run_id: str) -> None:
        self.api = api
        self.dials: list[DialInput] = []
        self.comes = True
        self.headers = dict[str, str]()
        self.place = f"runs/{run_id}/attempts/1/live"
        self.views = LiveViews(api.services.ring, self.dial, "http://api:8400")

    async def dial(self, dial: DialInput) -> bool:
        self.dials.append(dial)
        return self.comes

    async def get(self, after: int = 0) -> Any:
        base = self.api.base.removesuffix("/run")
        return await self.api.client.get(f"{base}/{self.place}", params={"after": after})

    def watching(self, after: int = 0) -> asyncio.Task[Any]:
        return asyncio.create_task(self.get(after))

    async def post(self, what: str, body: Any) -> Any:
        base = self.api.base.removesuffix("/run")
        return await self.api.client.post(f"{base}/{self.place}/{what}", json=body, headers=self.headers)

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
    api.app.state.services = replace(api.services, live_views=found.views)
    try:
        yield found
    finally:
        await found.views.close()


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


async def test_a_worker_that_does_not_come_is_not_asked_at_each_call(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live_views, "POLL", 0.3)
    monkeypatch.setattr(live_views, "GONE", 0.5)
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


class Browser:
    """The worker's side of a view, which says this of each order and notes them."""

    def __init__(self, attempt: Watched, *says: LiveAnswer) -> None:
        self.attempt, self.says, self.orders = attempt, list(says), list[LiveOrder]()

    async def serve(self) -> None:
        await until(lambda: self.attempt.dials)
        records, said = self.attempt.records, b""
        for number in count(1):
            record = (await self.attempt.call("orders", records.seal(said, ANSWERS, number))).content
            order = LiveOrder.model_validate_json(records.open(record, ORDERS)[1])
            self.orders.append(order)
            said = self.says.pop(0).model_copy(update={"id": order.id}).model_dump_json().encode()


@asynccontextmanager
async def browser(attempt: Watched, *says: LiveAnswer) -> AsyncGenerator[Browser]:
    found = Browser(attempt, *says)
    serving = asyncio.create_task(found.serve())
    try:
        yield found
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


DONE = LiveAnswer(outcome=LiveOutcome.DONE)
CLICK = {"kind": "mouse", "type": "mousePressed", "x": 0.5, "y": 0.5, "button": "left"}


async def test_the_hands_are_taken_used_and_given_and_the_audit_has_who_took_them(make_api: MakeApi):
    async with watched(make_api) as attempt, browser(attempt, DONE, DONE, DONE) as shown:
        assert (await attempt.post("control", {"action": "take"})).status_code == 204
        assert (await attempt.post("input", {"events": [CLICK]})).status_code == 204
        assert (await attempt.post("control", {"action": "give"})).status_code == 204
        assert [order.action for order in shown.orders] == ["take", "input", "give"]
        assert [event["button"] for event in shown.orders[1].events] == ["left"]
        assert len({order.by for order in shown.orders}) == 1
        listed = await attempt.api.client.get(f"/api/v1/workspace/{WORKSPACE}/audit")
        actions = [entry["action"] for entry in listed.json()["entries"]]
        assert sorted(actions)[:2] == ["live.give", "live.take"]
        assert not any("input" in action for action in actions)


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (LiveAnswer(outcome=LiveOutcome.HELD, holder="Anna"), 409, "Anna has taken the browser"),
        (LiveAnswer(outcome=LiveOutcome.NOT_HELD), 403, "Take it first"),
        (LiveAnswer(outcome=LiveOutcome.NOT_TAKEN), 409, "The page has not taken all of it"),
    ],
)
async def test_why_the_worker_has_not_done_it_is_told(make_api: MakeApi, answer: LiveAnswer, status: int, said: str):
    async with watched(make_api) as attempt, browser(attempt, answer):
        refused = await attempt.post("input", {"events": [CLICK]})
        assert refused.status_code == status
        assert said in refused.text


async def test_a_key_without_the_scope_has_no_hands(make_api: MakeApi):
    async with watched(make_api) as attempt:
        attempt.headers = {"x-api-key": await attempt.api.make_key("runs:read")}
        for what, body in (("control", {"action": "take"}), ("input", {"events": []})):
            assert (await attempt.post(what, body)).status_code == 403
        attempt.headers = {"x-api-key": await attempt.api.make_key("handoffs", projects=["members"])}
        assert (await attempt.post("control", {"action": "take"})).status_code == 404
        assert not attempt.dials


async def test_what_a_worker_does_not_answer_is_not_asked_without_end(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live_views, "_MOST_ORDERS", 2)
    async with watched(make_api) as attempt:
        waiting = [asyncio.create_task(attempt.post("input", {"events": [CLICK]})) for _ in range(3)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result().status_code for task in done] == [429]
        await attempt.views.close()  # the Attempt has ended
        assert sorted([(await task).status_code for task in waiting]) == [429, 503, 503]


async def test_a_page_of_another_site_has_no_hands(make_api: MakeApi):
    async with watched(make_api) as attempt:
        client = await signed_in_client(attempt.api)
        place = f"/projects/shop/{attempt.place}/control"
        given = {"json": {"action": "take"}, "headers": {"sec-fetch-site": "cross-site"}}
        assert (await client.post(place, **given)).status_code == 403
        form = {"content": '{"action": "take"}', "headers": {"content-type": "text/plain"}}
        assert (await client.post(place, **form)).status_code == 400
        assert not attempt.dials


@pytest.mark.parametrize(("status", "shows"), [(AttemptStatus.STARTED, True), (AttemptStatus.COMPLETED, False)])
async def test_the_page_of_a_run_shows_what_runs(make_api: MakeApi, status: AttemptStatus, shows: bool):
    async with watched(make_api, status=status) as attempt:
        page = await (await signed_in_client(attempt.api)).get(f"/projects/shop/{attempt.place.partition('/att')[0]}")
        assert [text in page.text for text in ("data-live-picture", "Take over")] == [shows, shows]
