"""Watching an Attempt: its worker sends pictures to the api that asked for them, and what is none goes no further."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from api import live_views
from api.attempts import live_calls
from api.live_views import LiveViews
from callboard.schemas.workflow.attempt import AttemptKind, AttemptStatus
from callboard.schemas.workflow.handoff import Handoff, HandoffKind, HandoffStatus
from callboard.schemas.workflow.live import (
    DialInput,
    DialOutcome,
    LiveAnswer,
    LiveHolder,
    LiveOrder,
    LiveOutcome,
    LiveState,
)
from callboard.security.keyring import KeyRing
from callboard.security.live_records import ANSWERS, GREETED, GREETING, ORDERS, PICTURES, STATES, LiveRecords
from tests.support.api_in_process import Api, MakeApi
from tests.support.attempt_artifacts import attempt_record, store_record
from tests.support.constants import WORKSPACE
from tests.support.dashboard_client import browser_client, signed_in_client
from tests.support.in_memory_temporal import BEGAN
from tests.support.polling import until

JPEG = b"\xff\xd8\xff a picture"
FREE = LiveState(holder=None, asks=None).model_dump_json().encode()


def asks(run_id: str, kind: HandoffKind, attempt: int) -> Handoff:
    return Handoff(
        id=f"{run_id}.{attempt}.1",
        kind=kind,
        attempt=attempt,
        instructions="Log in",
        fields=(),
        status=HandoffStatus.OPEN,
        created_at=BEGAN,
        expires_at=BEGAN + timedelta(minutes=5),
    )


class Watched:
    """A running Attempt, and what its worker was asked."""

    def __init__(self, api: Api, run_id: str) -> None:
        self.api = api
        self.dials: list[DialInput] = []
        self.outcome = DialOutcome(is_connected=True)
        self.headers = dict[str, str]()
        self.place = f"runs/{run_id}/attempts/1/live"
        self.views = LiveViews(api.services.ring, self.dial, "http://api:8400")

    async def dial(self, dial: DialInput) -> DialOutcome:
        self.dials.append(dial)
        return self.outcome

    async def get(self, after: int = 0, what: str = "") -> Any:
        base = self.api.base.removesuffix("/run")
        place = f"{base}/{self.place}{what}"
        return await self.api.client.get(place, params={"after": after}, headers=self.headers)

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
        attempt.outcome = DialOutcome(is_connected=False)
        calls = [attempt.watching() for _ in range(3)]
        assert {(await call).status_code for call in calls} == {204}
        assert len(attempt.dials) == 1


async def test_why_no_worker_comes_is_told_to_all_who_watch_or_act(make_api: MakeApi):
    async with watched(make_api) as attempt:
        attempt.outcome = DialOutcome(is_connected=False, problem="The worker host-1 cannot reach the api.")
        take = {"action": "take"}
        for answer in [await attempt.get(), await attempt.get(what="/state"), await attempt.post("control", take)]:
            assert (answer.status_code, answer.json()["message"]) == (503, "The worker host-1 cannot reach the api.")
        assert len(attempt.dials) == 1


async def test_without_a_key_it_is_said_that_there_is_no_view(make_api: MakeApi):
    async with watched(make_api) as attempt:
        views = LiveViews(KeyRing([]), attempt.dial, "http://api:8400")
        attempt.api.app.state.services = replace(attempt.api.services, live_views=views)
        answer = await attempt.get()
        assert answer.status_code == 500
        assert "There is no live view without CALLBOARD_SECRET_KEY" in answer.json()["message"]
        assert not attempt.dials


async def test_a_worker_and_an_api_show_each_other_their_keys(make_api: MakeApi):
    async with watched(make_api) as attempt:
        records, strange = (
            LiveRecords(attempt.api.services.ring, "x"),
            LiveRecords(KeyRing(["a strange key, long"]), "x"),
        )
        greeted = await attempt.call("greeting", records.seal(b"", GREETING, 1), view="x")
        assert records.open(greeted.content, GREETED) == (1, b"")
        assert (await attempt.call("greeting", strange.seal(b"", GREETING, 1), view="x")).status_code == 403


async def test_who_has_the_browser_and_what_it_asks_is_told_as_it_changes(make_api: MakeApi):
    async with watched(make_api) as attempt:
        first = asyncio.create_task(attempt.get(what="/state"))
        await until(lambda: attempt.dials)
        records = attempt.records

        async def tell(number: int, holder: LiveHolder | None, asks: Any) -> int:
            state = LiveState(holder=holder, asks=asks).model_dump_json().encode()
            return (await attempt.call("states", records.seal(state, STATES, number))).status_code

        assert await tell(1, None, None) == 204
        assert (await first).json() == {"number": 1, "holder": None, "isYours": False, "asks": None}
        second = asyncio.create_task(attempt.get(1, "/state"))
        dialog = {"kind": "dialog", "id": 3, "type": "confirm", "message": "Buy it?", "default": ""}
        assert await tell(2, LiveHolder(id="another", name="Anna"), dialog) == 204
        assert (await second).json() == {"number": 2, "holder": "Anna", "isYours": False, "asks": dialog}
        assert await tell(3, None, {"kind": "script"}) == 204, "what no browser asks is left out"
        assert (await attempt.get(2, "/state")).json() == {"number": 3, "holder": None, "isYours": False, "asks": None}
        # One call may wait for pictures and for the state.
        both = await attempt.api.client.get(
            f"{attempt.api.base.removesuffix('/run')}/{attempt.place}", params={"after": 9, "state": 1}
        )
        assert (both.status_code, both.headers["x-state"]) == (204, "3")


async def test_a_browser_that_waits_for_a_person_is_shown_to_who_answers(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
):
    async with watched(make_api) as attempt:
        attempt.headers = {"x-api-key": await attempt.api.make_key("handoffs")}
        run_id = attempt.place.split("/")[1]
        refused = await attempt.get()
        assert (refused.status_code, refused.json()["details"]) == (403, {"scope": "runs:read"})
        for kind, number, status in ((HandoffKind.INPUT, 1, 403), (HandoffKind.BROWSER, 2, 403)):
            attempt.api.runs.handoffs = [asks(run_id, kind, number)]
            assert (await attempt.get()).status_code == status
        attempt.api.runs.handoffs = [asks(run_id, HandoffKind.BROWSER, 1)]
        watching = attempt.watching()
        await until(lambda: attempt.dials)
        await attempt.call("states", attempt.records.seal(FREE, STATES, 1))
        sent = asyncio.create_task(attempt.call("pictures", attempt.records.seal(JPEG, PICTURES, 1)))
        assert (await watching).content == JPEG
        monkeypatch.setattr(live_calls, "_ASKED_EVERY", 0)
        waiting = attempt.watching(1)
        await sent  # which says that the next one is awaited
        attempt.api.runs.handoffs = []
        await attempt.call("pictures", attempt.records.seal(JPEG, PICTURES, 2))
        assert (await waiting).status_code == 403, "it has ended meanwhile"
        assert [(await attempt.get(what=what)).status_code for what in ("", "/state")] == [403, 403]


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
        assert len({order.by.id for order in shown.orders}) == 1
        listed = await attempt.api.client.get(f"/api/v1/workspace/{WORKSPACE}/audit")
        run_id = attempt.place.split("/")[1]
        entries = [entry for entry in listed.json()["entries"] if entry["ids"].get("runId") == run_id]
        actions = sorted(entry["action"] for entry in entries if entry["action"] != "run.start")
        assert actions == ["live.give", "live.take"], "and not what was done to the page"


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


async def test_where_a_person_logs_in_it_is_not_enough_to_read_runs(make_api: MakeApi):
    async with watched(make_api, kind=AttemptKind.RECORD) as attempt:
        attempt.headers = {"x-api-key": await attempt.api.make_key("runs:read")}
        for what in ("", "/state"):
            refused = await attempt.get(what=what)
            assert (refused.status_code, refused.json()["details"]) == (403, {"scope": "handoffs"})
        attempt.headers = {"x-api-key": await attempt.api.make_key("runs:read", "handoffs")}
        watching = attempt.watching()
        await until(lambda: attempt.dials)
        await attempt.call("pictures", attempt.records.seal(JPEG, PICTURES, 1))
        assert (await watching).content == JPEG


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
        attempt.headers = {"x-api-key": await attempt.api.make_key("handoffs")}
        waiting.append(asyncio.create_task(attempt.post("control", {"action": "take"})))  # another one is not kept away
        told = [await attempt.call("orders", attempt.records.seal(b"", ANSWERS, number)) for number in (1, 2, 3)]
        assert LiveOrder.model_validate_json(attempt.records.open(told[2].content, ORDERS)[1]).action == "take"
        await attempt.views.close()  # the Attempt has ended
        assert sorted([(await task).status_code for task in waiting]) == [429, 503, 503, 503]


async def test_a_page_of_another_site_has_no_hands(make_api: MakeApi):
    async with watched(make_api) as attempt:
        client = await signed_in_client(attempt.api)
        place = f"/projects/shop/{attempt.place}/control"
        given: Any = {"json": {"action": "take"}, "headers": {"sec-fetch-site": "cross-site"}}
        assert (await client.post(place, **given)).status_code == 403
        form: Any = {"content": '{"action": "take"}', "headers": {"content-type": "text/plain"}}
        assert (await client.post(place, **form)).status_code == 400
        assert not attempt.dials


@pytest.mark.parametrize(("status", "shows"), [(AttemptStatus.STARTED, True), (AttemptStatus.COMPLETED, False)])
async def test_the_page_of_a_run_shows_what_runs(make_api: MakeApi, status: AttemptStatus, shows: bool):
    async with watched(make_api, status=status) as attempt:
        page = await (await signed_in_client(attempt.api)).get(f"/projects/shop/{attempt.place.partition('/att')[0]}")
        assert [text in page.text for text in ("data-live-view", "Take over")] == [shows, shows]


async def test_a_link_shows_the_browser_of_its_handoff_and_hands_it_over_while_that_is_open(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live_calls, "_ASKED_EVERY", 0)
    async with watched(make_api) as attempt, browser(attempt, DONE, DONE) as shown:
        run_id, pages = attempt.place.split("/")[1], browser_client(attempt.api)
        assert (await pages.get("/answer/live")).status_code == 401
        now = datetime.now(UTC)
        until_then = {"created_at": now, "expires_at": now + timedelta(minutes=5)}
        opened = [asks(run_id, HandoffKind.BROWSER, 1).model_copy(update=until_then)]
        attempt.api.runs.handoffs = opened
        made = await attempt.api.ask(f"runs/{run_id}/handoffs/{run_id}.1.1/link", method="POST")
        await pages.post("/answer/open", data={"link": made["url"].partition("#")[2]})
        page = (await pages.get("/answer")).text
        assert all(text in page for text in ('data-live-view="/answer/live"', "Take over", "Done", "Decline"))
        assert (await pages.post("/answer/live/control", json={"action": "take"})).status_code == 204
        assert (await pages.post("/answer/live/input", json={"events": [CLICK]})).status_code == 204
        assert len({order.by.id for order in shown.orders}) == 1
        await attempt.call(
            "states",
            attempt.records.seal(LiveState(holder=shown.orders[0].by, asks=None).model_dump_json().encode(), STATES, 1),
        )
        assert (await pages.get("/answer/live/state")).json()["isYours"] is True
        strange: Any = {"json": {"action": "take"}, "headers": {"sec-fetch-site": "cross-site"}}
        assert (await pages.post("/answer/live/control", **strange)).status_code == 403
        # Another kind, the Handoff of another Attempt, and its end.
        for asked in (asks(run_id, HandoffKind.INPUT, 1), asks(run_id, HandoffKind.BROWSER, 2), None):
            attempt.api.runs.handoffs = [] if asked is None else [asked]
            for what in ("", "/state"):
                assert (await pages.get(f"/answer/live{what}")).status_code == 409
            for what, body in (("control", {"action": "take"}), ("input", {"events": [CLICK]})):
                assert (await pages.post(f"/answer/live/{what}", json=body)).status_code == 409
        assert len(shown.orders) == 2
