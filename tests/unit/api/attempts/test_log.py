"""The log of an Attempt: in one, in pieces while it runs, and as a stream that can be resumed."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from callboard.schemas.workflow.attempt import AttemptStatus
from callboard.schemas.workflow.run import RunOutcome, RunStatus
from callboard.storage import object_keys
from tests.support.api_in_process import KEY, Api
from tests.support.attempt_artifacts import attempt_record, store_artifact, store_record
from tests.support.constants import WORKSPACE

RUNS = f"/api/v1/workspace/{WORKSPACE}/projects/shop/runs"


def text(*messages: str) -> bytes:
    return b"".join(json.dumps({"message": message}).encode() + b"\n" for message in messages)


@dataclass
class Live:
    """A log as a worker leaves it: in pieces, and at the end as a whole."""

    api: Api
    run_id: str
    number: int = 1
    whole: bytes = b""

    async def begin(self) -> None:
        await store_record(self.api, attempt_record(self.run_id, self.number, AttemptStatus.STARTED))

    async def add(self, piece: bytes) -> None:
        await store_artifact(self.api, self.run_id, self.number, f"log/{len(self.whole):012}.jsonl", piece)
        self.whole += piece

    async def end(self, status: AttemptStatus = AttemptStatus.COMPLETED, *, rest: bytes = b"") -> None:
        self.whole += rest
        await store_artifact(self.api, self.run_id, self.number, "log.jsonl", self.whole)
        async for key in self.api.store.list(object_keys.attempt("shop", self.run_id, self.number, "log/")):
            await self.api.store.delete(key)
        await store_record(self.api, attempt_record(self.run_id, self.number, status))


@pytest.fixture
async def live(api: Api) -> Live:
    return Live(api, await api.run())


async def stored(live: Live) -> bytes:
    answer = await live.api.client.get(f"{RUNS}/{live.run_id}/attempts/{live.number}/log")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/jsonl"
    return answer.content


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    data: str
    id: int | None = None
    kind: str = "message"


@asynccontextmanager
async def following(url: str, live: Live, last: int | None = None) -> AsyncGenerator[AsyncGenerator[Event]]:
    """Follow the log behind the event `last`."""
    headers = {"x-api-key": KEY} | ({} if last is None else {"last-event-id": str(last)})
    place = f"{RUNS}/{live.run_id}/attempts/{live.number}/log?follow=true"
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as client,
        client.stream("GET", place) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _events(answer)


async def _events(answer: httpx.Response) -> AsyncGenerator[Event]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            number = fields.get("id")
            yield Event(fields["data"], None if number is None else int(number), fields.get("event", "message"))
            fields = {}


def line(message: str, number: int) -> Event:
    return Event(json.dumps({"message": message}), number)


async def test_a_log_is_what_there_is_of_it_and_at_the_end_the_whole(live: Live):
    await live.begin()
    assert await stored(live) == b""
    for number in range(12):
        await live.add(text(f"line {number}"))
    assert await stored(live) == live.whole
    await live.end(rest=text("the last"))
    assert await stored(live) == live.whole


async def test_what_a_lost_worker_has_left_in_pieces_is_the_log(live: Live):
    await live.begin()
    await live.add(text("one"))
    await live.add(text("two") + b'{"half')
    await store_record(live.api, attempt_record(live.run_id, 1, AttemptStatus.INTERRUPTED))
    assert await stored(live) == live.whole


async def test_a_piece_that_is_missing_ends_what_can_be_told(live: Live):
    await live.begin()
    await live.add(text("one"))
    live.whole += b"x" * 10
    await live.add(text("three"))
    assert await stored(live) == text("one")


async def test_streams_lines_as_they_are_stored_until_the_attempt_ends(live: Live, served: str):
    await live.begin()
    await live.add(text("one", "two"))
    async with following(served, live) as events:
        assert [await anext(events), await anext(events)] == [line("one", 1), line("two", 2)]
        await live.add(text("three"))
        assert await anext(events) == line("three", 3)
        await live.end(AttemptStatus.FAILED, rest=text("four"))
        assert await anext(events) == line("four", 4)
        assert await anext(events) == Event('{"status": "failed"}', 4, "end")
        assert [event async for event in events] == []


async def test_a_stream_goes_on_behind_the_last_event_that_was_received(live: Live, served: str):
    await live.begin()
    await live.add(text("one", "two"))
    await live.add(text("three"))
    async with following(served, live, last=2) as events:
        assert await anext(events) == line("three", 3)
        await live.add(text("four"))
        assert await anext(events) == line("four", 4)
    await live.end()
    async with following(served, live, last=3) as events:
        assert [event async for event in events] == [line("four", 4), Event('{"status": "completed"}', 4, "end")]
    async with following(served, live, last=4) as events:
        assert [event async for event in events] == [Event('{"status": "completed"}', 4, "end")]


async def test_a_line_that_was_stored_in_halves_comes_in_one(live: Live, served: str):
    await live.begin()
    await live.add(b'{"mess')
    async with following(served, live) as events:
        await live.add('age": "é'.encode()[:-1])
        await live.add('é"}\n{"cut'.encode()[1:])
        assert (await anext(events)).data == '{"message": "é"}'
        # The worker is lost, and what it wrote last with it.
        await store_record(live.api, attempt_record(live.run_id, 1, AttemptStatus.INTERRUPTED))
        assert [event async for event in events] == [Event('{"cut', 2), Event('{"status": "interrupted"}', 2, "end")]


async def test_an_attempt_that_has_not_begun_is_waited_for(live: Live, served: str):
    async with following(served, live) as events:
        await live.begin()
        await live.add(text("one"))
        assert await anext(events) == line("one", 1)
        await live.end()
        assert (await anext(events)).kind == "end"


async def test_the_stream_of_an_attempt_that_never_begins_ends_with_the_run(live: Live, served: str):
    live.number = 2
    async with following(served, live) as events:
        live.api.runs.end(live.run_id, RunOutcome(status=RunStatus.COMPLETED, attempts=1))
        assert [event async for event in events] == [Event('{"status": null}', 0, "end")]


async def test_a_stream_ends_without_its_end_when_the_process_is_told_to_stop(live: Live, served: str):
    await live.begin()
    await live.add(text("one"))
    async with following(served, live) as events:
        assert await anext(events) == line("one", 1)
        live.api.services.shutting_down.set()
        assert [event async for event in events] == []


@pytest.mark.parametrize(
    ("query", "last", "path"),
    [
        *(("follow=true", number, "last-event-id") for number in ("-1", "x", "1.5")),
        ("follow=perhaps", "0", "follow"),
        ("tail=5", "0", "tail"),
    ],
)
async def test_what_is_asked_in_another_form_is_refused(live: Live, query: str, last: str, path: str):
    place = f"{RUNS}/{live.run_id}/attempts/1/log?{query}"
    answer = await live.api.client.get(place, headers={"last-event-id": last})
    assert (answer.status_code, answer.json()["details"]["path"].lower()) == (400, path)
