"""Whether a process works, as it tells itself: also when its event loop is stuck."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from callboard.dev import ports
from callboard.schemas.errors import ConfigurationError
from callboard.telemetry import health
from callboard.telemetry.health import Liveness, Pulse, health_server
from tests.support.polling import until

A_MINUTE = timedelta(minutes=1)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_pulse_is_expected_within_its_time() -> None:
    clock = Clock()
    pulse = Pulse("The watch", A_MINUTE, clock=clock)
    clock.now = 60
    assert pulse.problem() is None
    clock.now = 61
    assert pulse.problem() == "The watch has not come round for 61 seconds."
    pulse.beat()
    assert pulse.problem() is None


async def test_what_has_ended_is_told_until_the_process_leaves() -> None:
    liveness = Liveness()
    never_ends = asyncio.create_task(asyncio.Event().wait())
    liveness.task("The count", never_ends)
    assert liveness.problem() is None
    never_ends.cancel()
    await asyncio.wait({never_ends})
    assert liveness.problem() == "The count has ended."
    liveness.leave()
    assert liveness.problem() is None


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{ports.choose_ports({'--port': 0})['--port']}"


@pytest.fixture
async def client(address: str) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
        yield client


async def test_it_answers_at_its_address_while_the_block_lasts(address: str, client: httpx.AsyncClient) -> None:
    liveness = Liveness()
    async with health_server(address, liveness):
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
        assert (await client.head("/healthz")).status_code == 200
        assert (await client.get("/metrics")).status_code == 404
        assert (await client.post("/healthz")).status_code == 501
        liveness.task("The count", asyncio.create_task(asyncio.sleep(0)))
        await asyncio.sleep(0)
        answer = await client.get("/healthz")
        assert answer.status_code == 503
        assert answer.json() == {"status": "not-alive", "message": "The count has ended."}
    with pytest.raises(httpx.ConnectError):
        await client.get("/healthz")
    assert not [thread for thread in threading.enumerate() if thread.name == "healthz"]


async def test_a_client_that_says_nothing_holds_up_nobody(address: str, client: httpx.AsyncClient) -> None:
    host, _, port = address.rpartition(":")
    async with health_server(address, Liveness()):
        with socket.create_connection((host, int(port))):
            assert (await client.get("/healthz")).status_code == 200


async def test_a_stuck_event_loop_is_told_and_so_is_its_recovery(
    address: str, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "LOOP_STUCK_AFTER", timedelta(seconds=0.5))
    monkeypatch.setattr(health, "LOOP_TICK", timedelta(seconds=0.02))
    answers: list[tuple[int, dict[str, Any]]] = []

    def ask_until_it_fails() -> None:
        """Ask from outside the event loop, as a probe does."""
        with httpx.Client(base_url=f"http://{address}", trust_env=False) as probe:
            while len(answers) < 100_000 and (not answers or answers[-1][0] == 200):
                answer = probe.get("/healthz")
                answers.append((answer.status_code, answer.json()))

    async with health_server(address, Liveness()):
        prober = threading.Thread(target=ask_until_it_fails)
        prober.start()
        prober.join()  # this blocks the event loop, until the probe has heard of it
        assert answers[-1][0] == 503
        assert answers[-1][1]["message"].startswith("The event loop has not come round for ")

        async def has_recovered() -> bool:
            return (await client.get("/healthz")).status_code == 200

        await until(has_recovered)


async def test_a_loop_that_is_stuck_is_told_also_while_the_process_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOOP_STUCK_AFTER", timedelta(0))
    liveness = Liveness()
    liveness.leave()
    async with liveness.ticking():
        time.sleep(0.001)  # noqa: ASYNC251  # it is the event loop that is to be held up
        assert liveness.problem() == "The event loop has not come round for 0 seconds."
    assert liveness.problem() is None


async def test_without_an_address_nothing_listens_and_nothing_ticks() -> None:
    liveness = Liveness()
    tasks = asyncio.all_tasks()
    async with health_server(None, liveness):
        assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize(
    ("address", "words"), [("{taken}", "in use"), ("nowhere.invalid:9470", "nowhere.invalid:9470")]
)
async def test_an_address_at_which_nothing_can_listen_is_refused(address: str, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = address.format(taken=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigurationError, match=words) as refused:
            async with health_server(address, Liveness()):
                pass
    assert "CALLBOARD_HEALTH_ADDRESS" in refused.value.message
