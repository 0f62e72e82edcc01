"""A deploy after which all projects together would have more Machines than they may is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from projects.catalog import Catalog
from projects.deploy import deploy
from schemas.errors import ProjectError
from storage import keys
from storage.folder import FolderStore

Make = Callable[..., Path]


def settings(machines: int) -> dict[str, str]:
    return {"Intuned.jsonc": json.dumps({"replication": {"maxConcurrentRequests": machines}})}


async def stored(store: FolderStore) -> list[str]:
    return [key async for key in store.list("")]


async def sizes(store: FolderStore) -> dict[str, int]:
    return await Catalog(store).sizes()


async def test_a_deploy_beyond_the_limit_is_refused_and_stores_nothing(make_project: Make, store: FolderStore):
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


async def test_of_many_other_projects_the_largest_are_named(make_project: Make, store: FolderStore):
    for number in range(1, 8):
        await deploy(make_project(settings(number), f"p{number}"), store)
    with pytest.raises(
        ProjectError, match=r"have 28 \(p7: 7, p6: 6, p5: 5, p4: 4, p3: 3, 2 more: 3\), so 0 can be had"
    ):
        await deploy(make_project(settings(1), "shop"), store, max_machines=20)


async def test_after_the_limit_was_lowered_a_project_may_be_mended_but_not_grow(make_project: Make, store: FolderStore):
    await deploy(make_project(settings(5), "mail"), store)
    await deploy(make_project(settings(3), "shop"), store)
    mended = make_project({**settings(3), "api/mended.py": ""}, "shop")
    assert (await deploy(mended, store, max_machines=4)).apis == ("list", "mended")
    await deploy(make_project(settings(2), "shop"), store, max_machines=4)
    with pytest.raises(ProjectError, match="so 0 can be had"):
        await deploy(make_project(settings(3), "shop"), store, max_machines=4)


async def test_a_project_whose_version_is_damaged_can_be_deployed_anew(make_project: Make, store: FolderStore):
    manifest = await deploy(make_project(settings(2), "shop"), store)
    await store.delete(keys.manifest("shop", manifest.version))
    await deploy(make_project(settings(2), "shop"), store, max_machines=2)
    assert await sizes(store) == {"shop": 2}
