"""Workers ask the workflow `Fleet` on a real server, which one of them starts and any of them serves."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from temporalio.client import Client

from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow import names
from callboard.schemas.workflow.fleet import FleetState, ProjectSize, RenewRequest, list_id
from callboard.settings import Settings
from callboard.temporal import fleet
from callboard.temporal.data_converter import data_converter
from callboard.temporal.fleet import BaseUnknown, FleetClient
from callboard.temporal.fleet_worker import fleet_worker
from tests.support.temporal_servers import dev_client, dev_server

SHOP = {"shop": ProjectSize(machines=2, deployed_at=datetime(2026, 11, 27, tzinfo=UTC))}


def request(worker: str, number: int, held: int = 0) -> RenewRequest:
    """A request that says all."""
    told = RenewRequest(worker=worker, number=number, capacity=4, serves=list_id(SHOP), changes=dict(SHOP), used={})
    return told.model_copy(update={"held": {"shop": held}, "busy": {}, "warm": {}})


def keeping(worker: str, number: int) -> RenewRequest:
    """A request without news."""
    shop = list_id(SHOP)
    return RenewRequest(worker=worker, number=number, capacity=4, serves=shop, base=shop, used={})


async def test_the_first_starts_it_and_a_successor_gives_nobody_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dev_server(tmp_path) as server:
        client = await dev_client(server)
        asked = FleetClient(client)
        assert await asked.read_state() == FleetState()
        with monkeypatch.context() as hurry:
            hurry.setattr(fleet, "_ANSWER_TIMEOUT", timedelta(seconds=1))
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
            history = client.get_workflow_handle(names.FLEET_ID)
            events = len((await history.fetch_history()).events)
            with pytest.raises(Unavailable, match="came late"):
                await asked.renew(request("a", 2))
            with pytest.raises(BaseUnknown):
                await asked.renew(keeping("c", 1))
            assert len((await history.fetch_history()).events) == events, "what is refused leaves no event"
            assert (await asked.renew(keeping("a", 3))).shares is None
            state = await asked.read_state()
            assert {name: member.shares for name, member in state.members.items()} == {"a": {"shop": 2}, "b": {}}
            await asked.leave(["a"])
            assert (await asked.renew(request("b", 2))).shares == {"shop": 2}
            await client.get_workflow_handle(names.FLEET_ID).terminate()
            assert (await asked.renew(request("c", 1))).shares == {}
            assert (await asked.renew(request("b", 3, held=1))).shares == {"shop": 1}


async def test_it_encrypts_nothing_so_that_a_change_of_keys_stops_nobody(tmp_path: Path) -> None:
    def connected(*keys: str) -> Client:
        settings = Settings(secret_key=[SecretStr(key) for key in keys], encrypt_payloads=True)
        config = plain.config()
        config["data_converter"] = data_converter(settings, plain.namespace)
        return Client(**config)

    async with dev_server(tmp_path) as server:
        plain = await dev_client(server)
        with_old_key, with_new_key = connected("the-sealing-key-of-before"), connected("the-sealing-key-of-now")
        async with fleet_worker(with_old_key, "old"):
            assert (await FleetClient(with_old_key).renew(request("a", 1))).shares == {"shop": 2}
        async with fleet_worker(with_new_key, "new"):
            assert (await FleetClient(with_new_key).renew(keeping("a", 2))).shares is None
            assert list((await FleetClient(plain).read_state()).members) == ["a"]
        history = await plain.get_workflow_handle(names.FLEET_ID).fetch_history()
        assert "binary/encrypted" not in history.to_json()
        assert base64.b64encode(b"binary/encrypted").decode() not in history.to_json()
