"""`healthz` of a whole worker: something in it is ended or held up, and its answer says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import override

import httpx
import pytest
from temporalio.client import Client

from callboard.dev import ports
from callboard.schemas.errors import StoreError
from callboard.settings import Settings
from callboard.storage.folder import FolderStore
from tests.support.attempt_worker import PATIENCE
from tests.support.polling import until
from tests.support.temporal_servers import dev_client, dev_server
from tests.support.worker_in_process import serving, worker_process


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Client]:
    async with dev_server(tmp_path_factory.mktemp("temporal")) as server:
        yield await dev_client(server)


class AwkwardStore(FolderStore):
    """A store that fails or hangs when it is told to."""

    fails = False
    hangs = False
    asked = 0

    @override
    async def get(self, key: str) -> bytes | None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise StoreError("It is away.")
        return await super().get(key)


@dataclass
class Observed:
    """A worker of the role `control` in this process, and its answers."""

    client: httpx.AsyncClient
    store: AwkwardStore
    stop: asyncio.Event

    async def answer(self) -> tuple[int, dict[str, str]]:
        answer = await self.client.get("/healthz")
        return answer.status_code, answer.json()

    async def until_it_fails(self) -> str:
        async with asyncio.timeout(PATIENCE):
            while (answer := await self.answer())[0] == 200:
                await asyncio.sleep(0.02)
        assert (answer[0], answer[1]["status"]) == (503, "not-alive")
        return answer[1]["message"]


@pytest.fixture
async def observed(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Observed]:
    address = f"127.0.0.1:{ports.choose_ports({'--port': 0})['--port']}"
    settings = Settings(
        role="control",
        data_dir=tmp_path,
        temporal_address=client.service_client.config.target_host,
        temporal_namespace=client.namespace,
        health_address=address,
    )
    store = AwkwardStore(tmp_path / "artifacts")

    monkeypatch.setattr(worker_process, "STORE_TIMEOUT", timedelta(seconds=1))
    async with (
        httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as http,
        serving(monkeypatch, settings, store) as stop,
    ):
        await until(lambda: store.asked >= 2)  # then it is all up
        yield Observed(http, store, stop)


async def test_a_worker_that_works_is_alive(observed: Observed) -> None:
    assert await observed.answer() == (200, {"status": "alive"})


async def test_what_hangs_in_the_background_is_told(observed: Observed) -> None:
    observed.store.hangs = True
    problem = await observed.until_it_fails()
    assert problem.startswith("The search for deployed Jobs and AuthSessions has not come round for ")


async def test_a_store_that_is_away_is_no_reason(observed: Observed) -> None:
    observed.store.fails = True
    asked = observed.store.asked
    async with asyncio.timeout(PATIENCE):
        while observed.store.asked < asked + 50:  # which takes as long as a hanging one may
            assert await observed.answer() == (200, {"status": "alive"})
            await asyncio.sleep(0.02)


async def test_a_worker_that_leaves_is_alive_to_its_end(observed: Observed) -> None:
    answers: list[tuple[int, dict[str, str]]] = []
    observed.store.hangs = True
    observed.stop.set()
    async with asyncio.timeout(PATIENCE):
        with suppress(httpx.TransportError):
            while True:
                answers.append(await observed.answer())
                await asyncio.sleep(0.01)
    assert {status for status, _ in answers} <= {200}
