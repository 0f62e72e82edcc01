"""What docs/projects.md and docs/from-intuned.md show is tried."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from callboard.projects.deploy import deploy
from callboard.projects.settings_file import read_settings
from callboard.storage.folder import FolderStore
from tests.support import doc_commands
from tests.support.files import write_files
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


# This comes before the project is published as a folder: when that is gone, the project is deleted half a minute later.
async def test_the_deploy_command_deploys_it(stack: Stack, prices: Path) -> None:
    (deploying,) = doc_commands.typed("docs/projects.md", "Deploy")
    key = (stack.data / "api-key").read_text().strip()
    script = deploying.text.replace("https://callboard.example.com", stack.url).replace("…", key)
    done = await doc_commands.type_in(prices.parents[1], f"{script}callboard projects delete prices --yes\n")
    assert "APIs: list, search" in done.out
    assert "Deleted" in done.out + done.err


async def test_the_project_is_served_and_its_api_returns_what_it_should(stack: Stack) -> None:
    beginning = "my-projects/prices/"
    prices = {
        name.removeprefix(beginning): text for name, text in files(PROJECTS).items() if name.startswith(beginning)
    }
    async with stack.published("prices", prices) as manifest:
        assert stack.dev.settings.environment == "dev"
        assert (manifest.project, manifest.apis, manifest.warnings) == ("prices", ("list", "search"), ())
        parameters = {"url": "data:text/html,<li>Chair 49</li><li>Desk 120.5</li>"}
        answer = await stack.run("list", parameters, project="prices")
        assert answer.get("result") == {"prices": [49, 120.5]}, answer


async def test_a_new_project_is_run_and_tested(tmp_path: Path, index: str) -> None:
    (new,) = doc_commands.typed("docs/projects.md", "New")
    (run,) = doc_commands.typed("docs/projects.md", "Run")
    (test,) = doc_commands.typed("docs/projects.md", "Test")
    (tmp_path / "my-projects").mkdir()
    script, data = new.text + run.text + test.text, str(tmp_path / "data")
    done = await doc_commands.type_in(tmp_path, script, UV_DEFAULT_INDEX=index, CALLBOARD_DATA_DIR=data)
    assert '{\n  "greeting": "Hello, Ada!"\n}\n' in done.out
    assert "1 passed" in done.out
    assert (tmp_path / "my-projects/greeter/tests/test_hello.py").read_text() in PROJECTS


async def test_a_new_project_in_typescript_is_run(tmp_path: Path) -> None:
    (new,) = doc_commands.typed("docs/projects.md", "In TypeScript")
    (tmp_path / "my-projects").mkdir()
    # With a folder that somebody else has made, npm fetches nothing.
    script, data = new.text.replace("shop\ncallboard", "shop\nmkdir node_modules\ncallboard"), str(tmp_path / "data")
    done = await doc_commands.type_in(tmp_path, script, CALLBOARD_DATA_DIR=data)
    assert done.out.endswith('{\n  "greeting": "Hello, Ada!"\n}\n')
    assert (tmp_path / "my-projects/shop/tests/hello.test.ts").read_text() in PROJECTS


async def test_the_same_in_typescript_returns_the_same(tmp_path: Path) -> None:
    folder = write_files(tmp_path, files(PROJECTS)) / "my-projects" / "prices-typescript"
    data, parameters = str(tmp_path / "data"), '{"url": "data:text/html,<li>Chair 49</li><li>Desk 120.5</li>"}'
    done = await doc_commands.type_in(folder, f"callboard run api list '{parameters}'", CALLBOARD_DATA_DIR=data)
    assert json.loads(done.out) == {"prices": [49, 120.5]}


async def test_the_project_with_logins_is_a_good_project(tmp_path: Path) -> None:
    folder = write_files(tmp_path, files(PROJECTS)) / "my-projects" / "members"
    manifest = await deploy(folder, FolderStore(tmp_path / "store"))
    assert (manifest.settings.auth_sessions.type, manifest.apis, manifest.warnings) == ("API", ("orders",), ())


def test_the_other_spellings_say_the_same(prices: Path, tmp_path: Path) -> None:
    for name in ("Intuned.yaml", "Intuned.toml"):
        folder = write_files(tmp_path / "others" / name, {name: files(PROJECTS)[name]})
        assert read_settings(folder) == read_settings(prices)


async def test_the_warnings_are_those_that_a_deploy_gives(tmp_path: Path) -> None:
    (settings,) = files(FROM_INTUNED).values()
    (shown,) = re.findall(r"```text\n(.*?)```", FROM_INTUNED, flags=re.DOTALL)
    (tmp_path / "project" / "api").mkdir(parents=True)
    (tmp_path / "project" / "api" / "list.py").write_text("async def automation(page): ...")
    (tmp_path / "project" / "Intuned.jsonc").write_text(settings)
    manifest = await deploy(tmp_path / "project", FolderStore(tmp_path / "store"))
    assert [str(warning) for warning in manifest.warnings] == shown.splitlines()
