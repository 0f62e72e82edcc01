"""A deploy after which all projects together would have more Machines than they may is refused."""

import json

import pytest

from callboard.projects.catalog import Catalog
from callboard.schemas.errors import ProjectError
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.project_folders import Deployed


def settings(machines: int) -> dict[str, str]:
    return {"Intuned.jsonc": json.dumps({"replication": {"maxConcurrentRequests": machines}})}


async def stored(store: FolderStore) -> list[str]:
    return [key async for key in store.list("")]


async def sizes(store: FolderStore) -> dict[str, int]:
    return await Catalog(store).sizes()


async def test_a_deploy_beyond_the_limit_is_refused_and_stores_nothing(store: FolderStore, deployed: Deployed):
    await deployed(settings(5), "mail", max_machines=8)
    await deployed(settings(1), "blog", max_machines=8)
    before = await stored(store)
    with pytest.raises(ProjectError) as refused:
        await deployed(settings(3), max_machines=8)
    assert refused.value.message == (
        "shop asks for 3 Machines (replication.maxConcurrentRequests), and all projects together may have 8"
        " (CALLBOARD_MAX_MACHINES). The other projects have 6 (mail: 5, blog: 1), so 2 can be had. Lower the number of"
        " shop or of another project, or raise the limit."
    )
    assert await stored(store) == before
    await deployed(settings(2), max_machines=8)
    assert await sizes(store) == {"blog": 1, "mail": 5, "shop": 2}
    await deployed(settings(9))


async def test_of_many_other_projects_the_largest_are_named(deployed: Deployed):
    for number in range(1, 8):
        await deployed(settings(number), f"p{number}")
    with pytest.raises(
        ProjectError, match=r"have 28 \(p7: 7, p6: 6, p5: 5, p4: 4, p3: 3, 2 more: 3\), so 0 can be had"
    ):
        await deployed(settings(1), max_machines=20)


async def test_after_the_limit_was_lowered_a_project_may_be_mended_but_not_grow(deployed: Deployed):
    await deployed(settings(5), "mail")
    await deployed(settings(3))
    assert (await deployed({**settings(3), "api/mended.py": ""}, max_machines=4)).apis == ("list", "mended")
    await deployed(settings(2), max_machines=4)
    with pytest.raises(ProjectError, match="so 0 can be had"):
        await deployed(settings(3), max_machines=4)


async def test_a_project_whose_version_is_damaged_can_be_deployed_anew(store: FolderStore, deployed: Deployed):
    manifest = await deployed(settings(2))
    await store.delete(object_keys.manifest("shop", manifest.version))
    await deployed(settings(2), max_machines=2)
    assert await sizes(store) == {"shop": 2}
