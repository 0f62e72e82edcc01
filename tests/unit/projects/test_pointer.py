"""The pointer to the deployed version goes where deploys, promotes and rollbacks say, and each leaves a record."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from callboard.projects.deploy import deploy
from callboard.projects.manifest import read_current
from callboard.projects.pointer import Action, DeployRecord, move_pointer
from callboard.schemas.errors import StoreError
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.faulty_store import FaultyStore
from tests.support.project_folders import Make

A, B, C = ("a" * 16, "b" * 16, "c" * 16)
_ids = count()


def record(action: Action, version: str, **others: Any) -> DeployRecord:
    return DeployRecord(id=f"{next(_ids):032x}", version=version, action=action, at=datetime.now(UTC), **others)


async def line(store: FolderStore, *moves: tuple[Action, str]) -> tuple[str, ...]:
    """Return what rollbacks return to after these moves."""
    for action, version in moves:
        await move_pointer(store, "shop", record(action, version))
    current = await read_current(store, "shop")
    assert current is not None
    assert current.version == moves[-1][1]
    return current.before


async def records(store: FolderStore) -> list[DeployRecord]:
    return [
        DeployRecord.model_validate_json(await store.get(key) or b"")
        async for key in store.list(object_keys.deploy_records("shop"))
    ]


async def test_a_rollback_moves_along_the_line_of_deploys_and_a_deploy_cuts_it(store: FolderStore):
    assert await line(store, ("deploy", A), ("deploy", B), ("promote", A), ("deploy", C)) == (A, B, A)
    assert await line(store, ("rollback", A)) == (B, A)
    assert await line(store, ("rollback", B)) == (A,)
    assert await line(store, ("deploy", C)) == (B, A)
    assert await line(store, ("deploy", C)) == (B, A), "the same version again is no step of the line"


async def test_a_move_that_is_repeated_moves_once(store: FolderStore):
    await line(store, ("deploy", A), ("deploy", B), ("deploy", C))
    back = record("rollback", B)
    for _ in range(2):
        await move_pointer(store, "shop", back)
        current = await read_current(store, "shop")
        assert current is not None
        assert (current.version, current.before) == (B, (A,))
    assert len(await records(store)) == 4


async def test_a_deploy_leaves_a_record_and_may_leave_the_pointer(make_project: Make, store: FolderStore):
    folder = make_project()
    first = await deploy(folder, store, by="anna@desk", message="the first", commit="0123-dirty")
    (folder / "api" / "list.py").write_text("")
    second = await deploy(folder, store, promote=False)
    assert [(each.version, each.by, each.message, each.commit, each.promoted) for each in await records(store)] == [
        (first.version, "anna@desk", "the first", "0123-dirty", True),
        (second.version, None, None, None, False),
    ]
    current = await read_current(store, "shop")
    assert current is not None
    assert current.version == first.version
    assert await store.exists(object_keys.bundle("shop", second.version))


async def test_nothing_is_moved_without_a_record(make_project: Make, tmp_path: Any):
    store = FaultyStore(tmp_path / "artifacts")
    store.refuse = lambda key: "/deploys/" in key
    with pytest.raises(StoreError):
        await deploy(make_project(), store)
    assert await read_current(store, "shop") is None


async def test_a_move_says_whether_files_of_jobs_are_to_be_followed(make_project: Make, store: FolderStore):
    async def follows() -> bool:
        current = await read_current(store, "shop")
        return current is not None and current.has_resources

    plain = await deploy(make_project(), store)
    job = '{"payload": [{"apiName": "list", "parameters": {}}], "configuration": {}}'
    with_jobs = await deploy(make_project({"intuned-resources/jobs/nightly.job.json": job}), store, promote=False)
    assert not await follows()
    await move_pointer(store, "shop", record("promote", with_jobs.version))
    assert await follows()
    await move_pointer(store, "shop", record("rollback", plain.version))
    assert await follows(), "those of before have to go"
