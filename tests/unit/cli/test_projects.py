"""`callboard projects`: its commands about versions and APIs, and what they say."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from callboard.cli import projects
from callboard.projects.deploy import deploy
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.api_in_process import AUTOMATION, Api, MakeApi
from tests.support.commands import Commands
from tests.support.files import write_files

Deploy = Callable[..., Awaitable[str]]


@pytest.fixture
async def api(make_api: MakeApi, tmp_path: Path) -> Api:
    """One without projects."""
    return await make_api(store=FolderStore(tmp_path / "artifacts"))


@pytest.fixture
def deploy_shop(api: Api, tmp_path: Path) -> Deploy:
    """Deploys the project `shop` with these files, and returns its version."""

    async def deploy_shop(*names: str, **options: Any) -> str:
        for old in (tmp_path / "shop").rglob("*.py"):
            old.unlink()
        files = {"Intuned.json": "{}", **dict.fromkeys((f"api/{name}.py" for name in names), AUTOMATION)}
        return (await deploy(write_files(tmp_path / "shop", files), api.store, **options)).version

    return deploy_shop


async def test_a_command_moves_and_says_where_to(cli: Commands, deploy_shop: Deploy):
    first, second = await deploy_shop("a"), await deploy_shop("b")
    for words, version in ((("rollback",), first), (("promote", second), second)):
        said = await cli.said("projects", *words, "-p", "shop")
        assert said == f"Version {version} of shop is deployed.\n"
        assert json.loads(await cli.said("projects", "get", "shop", "--json"))["version"] == version


async def test_versions_say_who_has_deployed_what_and_all_pages_are_read(
    cli: Commands, deploy_shop: Deploy, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(projects, "_PAGE", 1)
    before = await deploy_shop("a")
    mine = await deploy_shop("b", by="anna@desk", message="Read prices", commit=f"{'7f' * 20}-dirty")
    _, first, second = (await cli.said("projects", "versions", "-p", "shop")).splitlines()
    assert all(text in first for text in (mine, "deployed", "anna@desk", "7f7f7f7f7f7f-dirty", "Read prices"))
    assert (before in second, "deployed" in second) == (True, False)
    assert len((await cli.said("projects", "versions", "-l", "1", "-p", "shop")).splitlines()) == 2


async def test_files_that_differ_are_named_with_a_sign(api: Api, cli: Commands, deploy_shop: Deploy, tmp_path: Path):
    first = await deploy_shop("goes", "turns")
    write_files(tmp_path / "shop", {"api/turns.py": "# turned\n", "api/comes.py": "", "requirements.txt": ""})
    (tmp_path / "shop/api/goes.py").unlink()
    second = (await deploy(tmp_path / "shop", api.store, promote=False)).version
    said = await cli.said("projects", "diff", second, first, "-p", "shop")
    assert said.splitlines() == ["+ api/comes.py", "+ requirements.txt", "- api/goes.py", "~ api/turns.py"]
    assert await cli.said("projects", "diff", second, "-p", "shop") == said, "the deployed one is the default"
    await api.store.delete(object_keys.version_files("shop", first))  # somebody has removed it
    assert "It is not known" in (await cli("projects", "diff", second, "-p", "shop")).stderr


async def test_a_delete_needs_the_name_that_was_typed(api: Api, cli: Commands, deploy_shop: Deploy):
    await deploy_shop("a")
    words = ("projects", "delete", "shop")
    assert (await cli(*words, text="")).exit_code != 0
    for refused in (await cli(*words, text="shpo\n"), await cli(*words, "--confirm", "x")):
        assert "the name of the project" in str(refused.exception)
    assert api.project_changes.deletions == []
    for options, text, done, said in (
        ((), "shop\n", True, "Deleted project shop.\n"),
        (("--yes", "--cancel-runs"), None, True, "Deleted project shop.\n"),
        (("--confirm", "shop"), None, False, "Project shop is being deleted.\n"),
    ):
        await deploy_shop("a")
        api.project_changes.done = done
        assert (await cli.said(*words, *options, text=text)).endswith(said)
    assert [deletion.cancel_open_runs for deletion in api.project_changes.deletions] == [False, True, False]


async def test_apis_are_listed_with_what_they_take(api: Api, cli: Commands, deploy_shop: Deploy):
    required = {"properties": {"url": {}, "pages": {}}, "required": ["url"]}
    itself = {"$ref": "#/$defs/Tree", "$defs": {"Tree": {"properties": {"child": {}}}}}
    described = {"list": {"docstring": "Lists.\n\nAll.", "inputSchema": required}, "tree": {"inputSchema": itself}}
    version = await deploy_shop("list", "tree", "untold")
    await api.store.put(object_keys.input_schemas("shop", version), json.dumps({"apis": described}).encode())
    lines = (await cli.said("projects", "apis", "-p", "shop")).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["list", "url,", "pages?", "Lists."],
        ["tree", "child?"],
        ["untold"],
    ]
    listed = json.loads(await cli.said("projects", "apis", "-p", "shop", "--json"))
    assert [each["name"] for each in listed["apis"]] == ["list", "tree", "untold"]
