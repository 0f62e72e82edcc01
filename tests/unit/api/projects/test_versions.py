"""Versions of a project as they are answered, and what is asked of workers about them."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from callboard.projects.deploy import deploy
from callboard.schemas.errors import Conflict
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.api_in_process import AUTOMATION, Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.files import write_files

Deploy = Callable[..., Awaitable[str]]


@pytest.fixture
async def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "artifacts")


@pytest.fixture
def deployed_shop(tmp_path: Path, store: FolderStore) -> Deploy:
    """Deploys the project `shop` with an API of each of these names, and returns its version."""

    async def deployed_shop(*apis: str, **options: Any) -> str:
        for old in (tmp_path / "shop/api").glob("*.py"):
            old.unlink()
        files = {"Intuned.json": "{}", **{f"api/{name}.py": AUTOMATION for name in apis}}
        return (await deploy(write_files(tmp_path / "shop", files), store, **options)).version

    return deployed_shop


@pytest.fixture
async def api(make_api: MakeApi, store: FolderStore, deployed_shop: Deploy) -> Api:
    return await make_api(store=store)


async def test_versions_are_listed_with_who_deployed_them_the_last_first(api: Api, deployed_shop: Deploy):
    first = await deployed_shop("list", by="anna@desk", message="the first", commit="0123")
    second = await deployed_shop("list", "other", by="ben@ci")
    third = await deployed_shop("third", promote=False)
    listed = (await api.ask("versions"))["versions"]
    assert [(each["version"], each["current"], each["by"], each["message"], each["commit"]) for each in listed] == [
        (third, False, None, None, None),
        (second, True, "ben@ci", None, None),
        (first, False, "anna@desk", "the first", "0123"),
    ]
    assert [each["promotedBy"] for each in listed] == [None, "ben@ci", "anna@desk"]
    assert listed[0]["promotedAt"] is None
    assert listed[1]["promotedAt"] == listed[1]["at"]
    assert (await api.ask(f"versions/{first}/promote", method="POST"))["promotedBy"] != "anna@desk"
    assert [each["version"] for each in (await api.ask("versions"))["versions"]] == [third, second, first]


async def test_versions_are_paged(api: Api, deployed_shop: Deploy):
    versions = [await deployed_shop(*names) for names in (("a",), ("b",), ("c",))][::-1]
    page = await api.ask("versions", params={"limit": 2})
    assert [each["version"] for each in page["versions"]] == versions[:2]
    last = await api.ask("versions", params={"limit": 2, "cursor": page["nextCursor"]})
    assert ([each["version"] for each in last["versions"]], last["nextCursor"]) == (versions[2:], None)
    await api.ask("versions", params={"cursor": page["nextCursor"] + "x"}, status=400)


async def test_files_that_differ_are_named(api: Api, tmp_path: Path, deployed_shop: Deploy, store: FolderStore):
    first = await deployed_shop("stays", "goes", "turns")
    write_files(tmp_path / "shop", {"api/turns.py": "# turned\n", "api/comes.py": ""})
    (tmp_path / "shop/api/goes.py").unlink()
    second = (await deploy(tmp_path / "shop", store, promote=False)).version
    changes = {"version": second, "since": first, "known": True, "packages": False}
    files = {"added": ["api/comes.py"], "removed": ["api/goes.py"], "changed": ["api/turns.py"]}
    assert await api.ask(f"versions/{second}/changes") == {**changes, **files}
    await api.ask(f"versions/{second}/changes", params={"since": "0" * 16}, status=404)
    await store.delete(object_keys.version_files("shop", first))  # somebody has removed it
    nothing = {"added": [], "removed": [], "changed": [], "known": False}
    assert await api.ask(f"versions/{second}/changes", params={"since": first}) == {**changes, **nothing}


async def test_a_promote_and_a_rollback_answer_with_what_is_deployed_then(api: Api, deployed_shop: Deploy):
    first, second = await deployed_shop("a"), await deployed_shop("b")
    rolled_back = await api.ask("rollback", method="POST")
    assert (rolled_back["version"], rolled_back["current"]) == (first, True)
    assert (await api.ask(""))["version"] == first
    assert (await api.ask(f"versions/{second}/promote", method="POST"))["version"] == second
    assert (await api.ask(""))["version"] == second
    await api.ask(f"versions/{'0' * 16}/promote", method="POST", status=404)
    api.project_changes.refused = Conflict("There is no version before this one.")
    assert (await api.ask("rollback", method="POST", status=409))["code"] == "conflict"


async def test_a_version_that_was_only_stored_can_be_promoted(api: Api, deployed_shop: Deploy):
    version = await deployed_shop("a", promote=False)
    await api.ask("", status=404)
    assert [each["current"] for each in (await api.ask("versions"))["versions"]] == [False]
    await api.ask(f"versions/{version}/changes", status=404)
    await api.ask("rollback", method="POST", status=404)


async def test_one_run_may_execute_another_version(api: Api, deployed_shop: Deploy):
    first, second = await deployed_shop("list"), await deployed_shop("other")
    run_id = await api.run(version=first)
    assert api.input_of(run_id).version == first
    assert api.input_of(await api.run(api="other")).version == second
    for version, status in (("0" * 16, 404), ("latest", 400)):
        answer = await api.start({"api": "list", "parameters": {}, "version": version})
        assert (answer.status_code, answer.json()["details"]["path"]) == (status, "version")
    answer = await api.start({"api": "other", "parameters": {}, "version": first})
    assert (answer.status_code, answer.json()["details"]["path"]) == (404, "api")


async def test_a_delete_needs_the_name_and_leaves_a_project_that_is_404(api: Api, deployed_shop: Deploy):
    await deployed_shop("a")
    path = f"/api/v1/workspace/{WORKSPACE}/projects/shop"
    for query in ("", "?confirm=shpo", "?confirm=shop&openRuns=ignore"):
        answer = await api.client.delete(path + query)
        assert answer.status_code == 400, answer.text
    api.project_changes.refused = Conflict("3 Runs of project shop have not ended.")
    assert (await api.client.delete(f"{path}?confirm=shop")).status_code == 409
    assert (await api.ask(""))["name"] == "shop"
    api.project_changes.refused = None
    assert (await api.client.delete(f"{path}?confirm=shop&openRuns=cancel")).status_code == 204
    (deletion,) = api.project_changes.deletions
    assert (deletion.project, deletion.cancel_open_runs) == ("shop", True)
    await api.ask("", status=404)
    api.project_changes.done = False
    assert (await api.client.delete(f"{path}?confirm=shop")).status_code == 202, "its versions are still there"
