"""The page of versions shows what is stored, and moves it for whoever may deploy."""

from pathlib import Path

import pytest

from callboard.projects.deploy import deploy
from callboard.storage.folder import FolderStore
from tests.support.api_in_process import AUTOMATION, Api, MakeApi
from tests.support.dashboard_client import ESCAPED, EVIL, Pages, browser_client
from tests.support.files import write_files

PATH = "/projects/shop/versions"


@pytest.fixture
async def versions(tmp_path: Path) -> list[str]:
    """Two versions of the project `shop`, of which the second one is deployed."""
    store = FolderStore(tmp_path / "artifacts")
    found: list[str] = []
    for name, message in (("one", EVIL), ("two", None)):
        folder = write_files(tmp_path / "shop", {"Intuned.json": "{}", f"api/{name}.py": AUTOMATION})
        found.append((await deploy(folder, store, by="anna@desk", message=message, commit="7f" * 20)).version)
    return found


@pytest.fixture
async def api(make_api: MakeApi, versions: list[str], tmp_path: Path) -> Api:
    return await make_api(store=FolderStore(tmp_path / "artifacts"))


async def test_versions_are_shown_with_who_deployed_them_and_what_they_change(pages: Pages, versions: list[str]):
    text = (await pages.get(PATH)).text
    assert all(part in text for part in (*versions, "anna@desk", "7f7f7f7f7f7f", ESCAPED, "Delete “shop” permanently"))
    assert EVIL not in text
    told = (await pages.get(f"{PATH}.json?version={versions[0]}")).json()
    assert told["changes"]["removed"] == ["api/two.py"]
    assert "api/two.py" in (await pages.get(f"{PATH}?version={versions[0]}")).text
    assert f'href="{PATH}"' in (await pages.get("/projects/shop")).text


async def test_a_version_is_promoted_and_rolled_back_from(pages: Pages, versions: list[str]):
    async def current() -> str:
        told = (await pages.get(f"{PATH}.json")).json()["versions"]
        return next(each["version"] for each in told if each["current"])

    answer = await pages.send_form(f"{PATH}/{versions[0]}/promote")
    assert (answer.status_code, answer.headers["location"]) == (303, PATH)
    assert await current() == versions[0]
    await pages.send_form("/projects/shop/rollback")
    assert await current() == versions[1]


async def test_a_project_is_deleted_if_its_name_is_typed(api: Api, pages: Pages):
    assert (await pages.send_form("/projects/shop/delete", confirm="shpo")).status_code == 400
    answer = await pages.send_form("/projects/shop/delete", confirm="shop", openRuns="cancel")
    assert (answer.status_code, answer.headers["location"]) == (303, "/projects?deleted=shop")
    assert api.project_changes.deletions[0].cancel_open_runs
    assert "Project shop is deleted." in (await pages.get("/projects?deleted=shop")).text


async def test_who_may_only_read_sees_no_way_to_change_anything(api: Api, versions: list[str]):
    reader = browser_client(api)
    await reader.sign_in(await api.make_key("runs:read"))
    text = (await reader.get(PATH)).text
    assert versions[0] in text
    assert "Promote" not in text
    assert "Delete" not in text
