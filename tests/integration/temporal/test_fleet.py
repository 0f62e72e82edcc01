"""Workers ask the workflow `Fleet` on a real server, which one of them starts and any of them serves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.errors import Unavailable
from schemas.workflow import names
from schemas.workflow.fleet import FleetState, ProjectSize, RenewRequest
from temporal import fleet
from temporal.fleet import FleetClient, fleet_worker
from tests.support.temporal_servers import dev_client, dev_server

SHOP = {"shop": ProjectSize(machines=2, deployed_at=datetime(2026, 11, 27, tzinfo=UTC))}


def request(worker: str, number: int, held: int = 0) -> RenewRequest:
    return RenewRequest(worker=worker, number=number, capacity=4, projects=SHOP, held={"shop": held}, used={})


async def test_it_is_started_by_the_first_and_a_successor_of_one_that_was_ended_gives_nobody_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dev_server(tmp_path) as server:
        client = await dev_client(server)
        asked = FleetClient(client)
        assert await asked.read_state() == FleetState()
        with monkeypatch.context() as hurry:
            hurry.setattr(fleet, "_ANSWER_TIMEOUT", fleet._ANSWER_TIMEOUT / 8)
            with pytest.raises(Unavailable):
                await asked.renew(request("a", 1))
        canceled = asyncio.create_task(asked.renew(request("a", 1)))
        await asyncio.wait({canceled}, timeout=0.5)
        canceled.cancel()
        await asyncio.wait({canceled}, timeout=10)
        assert canceled.cancelled(), "the SDK makes another error of a cancel"
        async with fleet_worker(client, "tester"):
            assert (await asked.renew(request("a", 2))).shares == {"shop": 2}
            assert (await asked.renew(request("b", 1))).shares == {}
            with pytest.raises(Unavailable, match="came late"):
                await asked.renew(request("a", 2))
            state = await asked.read_state()
            assert {name: member.shares for name, member in state.members.items()} == {"a": {"shop": 2}, "b": {}}
            await asked.leave(["a"])
            assert (await asked.renew(request("b", 2))).shares == {"shop": 2}
            await client.get_workflow_handle(names.FLEET_ID).terminate()
            assert (await asked.renew(request("c", 1))).shares == {}
            assert (await asked.renew(request("b", 3, held=1))).shares == {"shop": 1}
