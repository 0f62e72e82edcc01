"""`callboard deploy`: to an API or to the store, and what it says of a deploy that an API has made."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from callboard.cli import polling
from callboard.cli.deploy import find_commit
from callboard.projects.deploy import deploy
from callboard.schemas.workflow.deploy import DeployStatus, DeployView, PublishedVersion
from callboard.schemas.workflow.resources import AppliedResources, ResourceChanges
from callboard.storage import object_keys
from callboard.temporal.deploys import Application
from tests.support.api_in_process import KEY, Api, MakeApi
from tests.support.commands import NOWHERE, Commands, callboard, error_of
from tests.support.files import write_files
from tests.support.in_memory_temporal import BEGAN
from tests.support.polling import until
from tests.unit.cli.conftest import Answer


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "_POLL_SECONDS", 0.01)


@pytest.fixture
async def api(make_project_api: MakeApi, tmp_path: Path) -> Api:
    """One with uploads of its own."""
    return await make_project_api({}, data_dir=tmp_path / "data")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {"Intuned.json": "{}", "api/list.py": "", ".gitignore": "api/left.py", "api/left.py": "", ".env": "A=1"}
    return write_files(tmp_path / "new", files)


async def end_deploy(api: Api, status: DeployStatus = DeployStatus.COMPLETED, **fields: Any) -> None:
    """End the deploy that a command waits for, as a worker does."""
    await until(lambda: api.deploys.started)
    api.deploys.view = DeployView(project="new", status=status, **fields)


async def test_a_folder_is_packed_sent_deployed_and_waited_for(api: Api, cli: Commands, folder: Path, tmp_path: Path):
    async def work() -> None:
        (asked,) = await until(lambda: api.deploys.started)
        bundle = await api.store.get(object_keys.upload_bundle("new", asked.upload))
        with tarfile.open(fileobj=io.BytesIO(bundle or b"")) as packed:
            assert packed.getnames() == [".gitignore", "Intuned.json", "api/list.py"]
            packed.extractall(tmp_path / "sent/new", filter="data")
        version = (await deploy(tmp_path / "sent/new", api.store, promote=False)).version
        published = PublishedVersion(version=version, deployed_at=BEGAN, has_resources=True)
        api.deploys.application = Application(DeployStatus.PENDING)
        await end_deploy(api, published=published, promote=False)
        changes = ResourceChanges(created=("nightly",), removed=("weekly",), refused=("a.job.json: it is taken.",))
        applied = AppliedResources(jobs=changes, auth_sessions=ResourceChanges(removed=("weekly",)))
        api.deploys.application = Application(DeployStatus.COMPLETED, applied)

    done, _ = await asyncio.gather(cli("deploy", folder, "-m", "Read prices", "--no-promote"), work())
    assert done.exit_code == 0, done.output
    (asked,) = api.deploys.started
    assert (asked.project, asked.message, asked.promote) == ("new", "Read prices", False)
    assert asked.by == "operator"
    view = api.deploys.view
    assert view is not None
    assert view.published is not None
    assert done.stdout.splitlines() == [
        f"Stored new, version {view.published.version}, at {cli.url}",
        "APIs: list",
        "Jobs created: nightly",
        "Jobs removed: weekly",
        "AuthSessions removed: weekly",
    ]
    *of_files, of_version = done.stderr.splitlines()
    assert of_files == [
        "warning: a.job.json: it is taken.",
        "warning: api/left.py: left out, as a .gitignore names it",
    ]
    assert of_version.startswith("warning: api/list.py: ")


async def test_a_deploy_that_fails_ends_with_1_and_its_reason(api: Api, cli: Commands, folder: Path):
    reason = "requirements.txt: there is no package nope"
    done, _ = await asyncio.gather(cli("deploy", folder), end_deploy(api, DeployStatus.FAILED, reason=reason))
    assert error_of(done) == (1, reason)


async def test_what_the_api_refuses_is_told(make_project_api: MakeApi, tmp_path: Path, folder: Path):
    api = await make_project_api({}, data_dir=tmp_path / "data", upload_limit=1024**2)
    async with api.served() as url:
        cli = Commands(api, url)
        reader = await api.make_key("runs:read")
        assert (await cli.error("deploy", folder, CALLBOARD_API_KEY=reader))[0] == 1
        other = await api.make_key("deploy", projects=["shop"])
        code, said = await cli.error("deploy", folder, CALLBOARD_API_KEY=other)
        assert (code, said.endswith(" A key for some projects deploys only these.")) == (4, True)
        (folder / "api/list.py").write_bytes(os.urandom(2 * 1024**2))
        code, said = await cli.error("deploy", folder)
        assert (code, "1048576 bytes" in said) == (1, True)


def test_what_is_wrong_with_the_project_is_no_error_of_the_command_line(answer: Answer, folder: Path):
    answer((400, {"message": "'out': expected a file.", "code": "x"}))
    assert error_of(callboard("deploy", folder, **NOWHERE)) == (1, "'out': expected a file.")


def test_a_folder_that_is_no_project_is_not_sent(tmp_path: Path):
    assert "this is not a project" in error_of(callboard("deploy", tmp_path, **NOWHERE))[1]


def test_options_decide_between_an_api_and_the_store(folder: Path, tmp_path: Path):
    done = callboard("deploy", folder, "--artifacts", tmp_path / "store", **NOWHERE)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "store/projects/new").is_dir()
    for options in (["--artifacts", "x", "--url", "http://127.0.0.1:9"], ["--data", tmp_path, "--key", KEY]):
        assert callboard("deploy", folder, *options, **NOWHERE).exit_code == 2


def test_where_to_has_to_be_said(folder: Path, tmp_path: Path):
    home = tmp_path / "home"
    code, said = error_of(callboard("deploy", folder, HOME=str(home), XDG_DATA_HOME=str(home), CALLBOARD_API_KEY=KEY))
    assert code == 2
    for way in ("--url", "CALLBOARD_URL", "--artifacts", "CALLBOARD_ARTIFACTS", "--data", "CALLBOARD_DATA_DIR"):
        assert way in said
    assert not home.exists()
    done = callboard("deploy", folder, CALLBOARD_DATA_DIR=str(tmp_path / "data"))
    assert done.exit_code == 0, done.output
    assert (tmp_path / "data/artifacts/projects/new").is_dir()


def test_a_repository_cannot_have_programs_executed_by_a_deploy(tmp_path: Path):
    project, executed = write_files(tmp_path / "shop", {"a": "1", ".gitattributes": "* filter=mine"}), tmp_path / "it"
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@a", "-C", str(project))
    of_repository = (("filter.mine.clean", f"touch {executed}"), ("core.fsmonitor", f"touch {executed}; false"))
    for words in (
        ("init", "-q"),
        ("add", "."),
        ("commit", "-qm", "begin"),
        *(("config", *each) for each in of_repository),
    ):
        subprocess.run([*git, *words], check=True)
    (project / "a").write_text("2")
    assert str(find_commit(project)).endswith("-dirty")
    assert not executed.exists()
    subprocess.run([*git, "status"], check=True, capture_output=True)
    assert executed.exists(), "git itself executes it"
