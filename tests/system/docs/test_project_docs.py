"""What docs/projects.md and docs/from-intuned.md show is tried."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from projects.deploy import deploy
from projects.settings_file import read_settings
from storage.folder import FolderStore
from tests.support.files import write_files
from tests.support.processes import CALLBOARD
from tests.support.repository import REPOSITORY
from tests.support.stack import Stack

PROJECTS = (REPOSITORY / "docs" / "projects.md").read_text()
FROM_INTUNED = (REPOSITORY / "docs" / "from-intuned.md").read_text()


def files(page: str) -> dict[str, str]:
    """The code blocks that have a file name above them."""
    return dict(re.findall(r"^`([^`\n]+)`\n\n```\w+\n(.*?)```", page, flags=re.DOTALL | re.MULTILINE))


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    """The project of docs/projects.md."""
    return write_files(tmp_path, files(PROJECTS)) / "my-projects" / "prices"


async def test_the_project_is_served_and_its_api_returns_what_it_should(stack: Stack) -> None:
    beginning = "my-projects/prices/"
    prices = {
        name.removeprefix(beginning): text for name, text in files(PROJECTS).items() if name.startswith(beginning)
    }
    async with stack.published("prices", prices) as manifest:
        assert stack.dev.settings.environment == "dev"
        assert (manifest.project, manifest.apis, manifest.warnings) == ("prices", ("list",), ())
        parameters = {"url": "data:text/html,<li>Chair 49</li><li>Desk 120.5</li>"}
        answer = await stack.run("list", parameters, project="prices")
        assert answer.get("result") == {"prices": [49, 120.5]}, answer


def test_the_deploy_command_deploys_it(prices: Path, tmp_path: Path) -> None:
    (command,) = re.findall(r"```sh\n(.*?)```", PROJECTS, flags=re.DOTALL)
    environment = os.environ | {"CALLBOARD_ARTIFACTS": str(tmp_path / "store")}
    done = subprocess.run(
        [CALLBOARD, *command.split()[1:]], cwd=prices.parents[1], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "APIs: list" in done.stdout
    assert not done.stderr


async def test_the_project_with_logins_is_a_good_project(tmp_path: Path) -> None:
    folder = write_files(tmp_path, files(PROJECTS)) / "my-projects" / "members"
    manifest = await deploy(folder, FolderStore(tmp_path / "store"))
    assert (manifest.settings.auth_sessions.type, manifest.apis, manifest.warnings) == ("API", ("orders",), ())


def test_the_other_spellings_say_the_same(prices: Path, tmp_path: Path) -> None:
    for name in ("Intuned.yaml", "Intuned.toml"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text(files(PROJECTS)[name])
        assert read_settings(folder) == read_settings(prices)


async def test_the_warnings_are_those_that_a_deploy_gives(tmp_path: Path) -> None:
    (settings,) = files(FROM_INTUNED).values()
    (shown,) = re.findall(r"```text\n(.*?)```", FROM_INTUNED, flags=re.DOTALL)
    (tmp_path / "project" / "api").mkdir(parents=True)
    (tmp_path / "project" / "api" / "list.py").write_text("async def automation(page): ...")
    (tmp_path / "project" / "Intuned.jsonc").write_text(settings)
    manifest = await deploy(tmp_path / "project", FolderStore(tmp_path / "store"))
    assert [str(warning) for warning in manifest.warnings] == shown.splitlines()
