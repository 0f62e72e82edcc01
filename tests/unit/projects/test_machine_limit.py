"""All projects together never have more Machines than the workspace may, however deploys fall together."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from projects import machine_limit
from projects.catalog import Catalog
from projects.deploy import deploy
from projects.machine_limit import ClaimedMachines
from projects.manifest import Current, Manifest
from schemas.errors import ProjectError, StoreError
from storage import keys
from storage.folder import FolderStore
from tests.support.polling import until

Make = Callable[..., Path]
NOW = datetime(2026, 11, 27, tzinfo=UTC)


def settings(machines: int) -> dict[str, str]:
    return {"Intuned.jsonc": json.dumps({"replication": {"maxConcurrentRequests": machines}})}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_limit, "_RETRY_SECONDS", (0.001, 0.02))


async def stored(store: FolderStore) -> list[str]:
    return [key async for key in store.list("")]


async def sizes(store: FolderStore) -> dict[str, int]:
    return await Catalog(store).sizes()


async def test_a_deploy_beyond_the_limit_is_refused_with_the_numbers_and_stores_nothing(
    make_project: Make, store: FolderStore
) -> None:
    await deploy(make_project(settings(5), "mail"), store, max_machines=8)
    await deploy(make_project(settings(1), "blog"), store, max_machines=8)
    before = await stored(store)
    shop = make_project(settings(3), "shop")
    with pytest.raises(ProjectError) as refused:
        await deploy(shop, store, max_machines=8)
    assert refused.value.message == (
        "shop asks for 3 Machines (replication.maxConcurrentRequests), and all projects together may have 8"
        " (CALLBOARD_MAX_MACHINES). The other projects have 6 (mail: 5, blog: 1), so 2 can be had. Lower the number of"
        " shop or of another project, or raise the limit."
    )
    assert await stored(store) == before
    await deploy(make_project(settings(2), "shop"), store, max_machines=8)
    assert await sizes(store) == {"blog": 1, "mail": 5, "shop": 2}
    await deploy(make_project(settings(9), "shop"), store)


async def test_of_many_other_projects_the_largest_are_named(make_project: Make, store: FolderStore) -> None:
    for number in range(1, 8):
        await deploy(make_project(settings(number), f"p{number}"), store)
    with pytest.raises(
        ProjectError, match=r"have 28 \(p7: 7, p6: 6, p5: 5, p4: 4, p3: 3, 2 more: 3\), so 0 can be had"
    ):
        await deploy(make_project(settings(1), "shop"), store, max_machines=20)


async def test_after_the_limit_was_lowered_a_project_may_be_mended_but_not_grow(
    make_project: Make, store: FolderStore
) -> None:
    await deploy(make_project(settings(5), "mail"), store)
    await deploy(make_project(settings(3), "shop"), store)
    mended = make_project({**settings(3), "api/mended.py": ""}, "shop")
    assert (await deploy(mended, store, max_machines=4)).apis == ("list", "mended")
    await deploy(make_project(settings(2), "shop"), store, max_machines=4)
    with pytest.raises(ProjectError, match="so 0 can be had"):
        await deploy(make_project(settings(3), "shop"), store, max_machines=4)


async def test_a_project_whose_version_is_damaged_can_be_deployed_anew(make_project: Make, store: FolderStore) -> None:
    manifest = await deploy(make_project(settings(2), "shop"), store)
    await store.delete(keys.manifest("shop", manifest.version))
    await deploy(make_project(settings(2), "shop"), store, max_machines=2)
    assert await sizes(store) == {"shop": 2}


async def test_projects_that_are_deployed_at_once_get_as_many_machines_as_there_are(
    make_project: Make, store: FolderStore
) -> None:
    folders = [make_project(settings(2), f"p{number}") for number in range(6)]
    outcomes = await asyncio.gather(
        *(deploy(folder, store, max_machines=7) for folder in folders), return_exceptions=True
    )
    assert sum(isinstance(outcome, Manifest) for outcome in outcomes) == 3
    assert [type(outcome) for outcome in outcomes if not isinstance(outcome, Manifest)] == [ProjectError] * 3
    assert sum((await sizes(store)).values()) == 6
    assert [key for key in await stored(store) if key.startswith(keys.MACHINE_CLAIMS)] == []


class Interleaved:
    """A store whose every call waits for a random while, so that deploys at the same time meet in all ways."""

    def __init__(self, store: FolderStore, seed: int) -> None:
        self._store = store
        self._random = random.Random(seed)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name in {"list", "entries"}:
            return method

        async def late(*arguments: Any) -> Any:
            for _ in range(self._random.randrange(8)):
                await asyncio.sleep(0)
            answer = await method(*arguments)
            for _ in range(self._random.randrange(8)):
                await asyncio.sleep(0)
            return answer

        return late


@pytest.mark.parametrize("seed", range(20))
async def test_the_limit_holds_at_every_moment_however_deploys_meet(store: FolderStore, seed: int) -> None:
    chance = random.Random(seed)
    limit, most = 6, 0
    late = Interleaved(store, seed)

    async def publish(project: str, machines: int) -> None:
        """Do what a deploy does once its version is stored."""
        async with ClaimedMachines(late, project, machines, limit) as claimed:  # pyright: ignore[reportArgumentType]
            claimed.confirm()
            version = f"{machines:016x}"
            await late.put(keys.current_version(project), Current(version=version, deployed_at=NOW).to_bytes())

    for project, machines in itertools.product(("a", "b", "c"), range(1, 6)):
        manifest = Manifest.model_validate(
            {
                "project": project,
                "version": f"{machines:016x}",
                "settings": {"replication": {"maxConcurrentRequests": machines}},
                "apis": (),
                "created_at": NOW,
            }
        )
        await store.put(keys.manifest(project, manifest.version), manifest.to_bytes())

    async def deploy_often(project: str) -> None:
        nonlocal most
        for _ in range(6):
            try:
                await publish(project, chance.randint(1, 5))
            except ProjectError:
                continue
            most = max(most, sum((await sizes(store)).values()))

    async with asyncio.TaskGroup() as group:
        for project in ("a", "a", "b", "b", "c"):
            group.create_task(deploy_often(project))
    assert 0 < most <= limit
    assert [key for key in await stored(store) if key.startswith(keys.MACHINE_CLAIMS)] == []


async def test_a_claim_of_a_deploy_that_has_died_counts_for_some_minutes(
    make_project: Make, store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_limit, "_PATIENCE", timedelta(seconds=0.1))
    await ClaimedMachines(store, "mail", 5, 5).__aenter__()
    (claim,) = (tmp_path / "artifacts" / keys.MACHINE_CLAIMS).iterdir()
    with pytest.raises(ProjectError, match=r"ask for others \(mail: 5\)\. .* more than 5 \(CALLBOARD_MAX_MACHINES\)"):
        await deploy(make_project(settings(1)), store, max_machines=5)
    assert list(claim.parent.iterdir()) == [claim]
    old = claim.stat().st_mtime - machine_limit._FORGOTTEN_AFTER.total_seconds() - 1
    os.utime(claim, (old, old))
    await deploy(make_project(settings(1)), store, max_machines=5)
    assert not claim.exists()


async def test_a_deploy_that_took_too_long_moves_no_pointer(
    make_project: Make, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_limit, "_TERM", timedelta(seconds=-1))
    with pytest.raises(StoreError, match="took too long to store the version of shop"):
        await deploy(make_project(settings(1)), store, max_machines=5)
    assert await store.get(keys.current_version("shop")) is None
    assert [key for key in await stored(store) if key.startswith(keys.MACHINE_CLAIMS)] == []


async def test_while_it_is_not_known_whether_the_pointer_has_moved_the_claim_stays(
    make_project: Make, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = store.put

    async def fails(key: str, data: bytes) -> None:
        if key == keys.current_version("shop"):
            raise StoreError("The answer was lost.")
        await put(key, data)

    monkeypatch.setattr(store, "put", fails)
    with pytest.raises(StoreError):
        await deploy(make_project(settings(1)), store, max_machines=5)
    assert len([key for key in await stored(store) if key.startswith(keys.MACHINE_CLAIMS)]) == 1


async def test_a_deploy_that_is_cancelled_while_it_waits_leaves_no_claim(store: FolderStore) -> None:
    other = ClaimedMachines(store, "mail", 5, 5)
    await other.__aenter__()
    waiting = ClaimedMachines(store, "shop", 5, 5)
    task = asyncio.create_task(waiting.__aenter__())
    await until(lambda: bool(waiting._others))
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert len([key for key in await stored(store) if key.startswith(keys.MACHINE_CLAIMS)]) == 1
