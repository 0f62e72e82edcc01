"""How many Runs of a project may wait, and how long each of them may."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from callboard.schemas.errors import Unavailable
from callboard.temporal import run_queries
from tests.support.api_in_process import Api, MakeApi
from tests.support.in_memory_temporal import MemoryRunQueries

MakeLimited = Callable[..., Awaitable[Api]]


@pytest.fixture
async def limited(make_project_api: MakeApi, monkeypatch: pytest.MonkeyPatch) -> MakeLimited:
    """The api of a project with these settings, where `waiting` Runs wait as far as lists say."""

    async def make(waiting: int | Exception, **settings: object) -> Api:
        async def count(_queries: MemoryRunQueries, _project: str) -> int:
            if isinstance(waiting, Exception):
                raise waiting
            return waiting

        monkeypatch.setattr(MemoryRunQueries, "count_waiting", count)
        monkeypatch.setattr(run_queries, "_MAX_AGE", 3600.0)  # a moment that no busy host outlasts
        return await make_project_api(settings)

    return make


async def test_a_start_beyond_the_limit_is_429_and_says_when_to_come_again(limited: MakeLimited):
    api = await limited(3, replication={"maxQueued": 5})
    for _ in range(2):
        await api.run()
    answer = await api.start()
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "5"
    body = answer.json()
    assert (body["code"], body["category"], body["retirable"]) == ("bad-request", "user", True)
    assert "5 Runs of project shop wait for a Machine" in body["message"]
    assert "replication.maxQueued allows 5" in body["message"]
    assert len(api.runs.entries) == 2, "nothing was started"


async def test_runs_are_counted_anew_after_a_moment(limited: MakeLimited, monkeypatch: pytest.MonkeyPatch):
    api = await limited(0, replication={"maxQueued": 1})
    await api.run()
    assert (await api.start()).status_code == 429
    monkeypatch.setattr(run_queries, "_MAX_AGE", -1.0)
    assert (await api.start()).status_code == 201


async def test_a_repetition_of_a_start_is_not_refused(limited: MakeLimited):
    api = await limited(0, replication={"maxQueued": 1})
    first = await api.start(idempotency_key="one")
    again = await api.start(idempotency_key="one")
    assert (again.status_code, again.json()) == (201, first.json())
    assert (await api.start(idempotency_key="two")).status_code == 429


async def test_a_rerun_is_a_start_too(limited: MakeLimited):
    api = await limited(0, replication={"maxQueued": 1})
    run_id = await api.run()
    answer = await api.client.post(f"{api.base}s/{run_id}/rerun")
    assert answer.status_code == 429
    assert list(api.runs.entries) == [run_id]


async def test_a_start_does_not_depend_on_lists(limited: MakeLimited, caplog: pytest.LogCaptureFixture):
    api = await limited(Unavailable("Temporal did not answer."), replication={"maxQueued": 1})
    await api.run()
    assert "could not be counted: Temporal did not answer." in caplog.text


async def test_without_the_setting_nothing_is_counted(limited: MakeLimited):
    api = await limited(AssertionError("it was counted"))
    await api.run()


async def test_a_queue_timeout_is_that_of_the_start_else_of_the_project(api: Api, limited: MakeLimited):
    assert api.input_of(await api.run()).queue_timeout is None
    api = await limited(0, defaults={"queueTimeout": 60})
    assert api.input_of(await api.run()).queue_timeout == timedelta(seconds=60)
    assert api.input_of(await api.run(queueTimeout=5)).queue_timeout == timedelta(seconds=5)
