"""A new project is a good one, and takes nobody's place."""

from pathlib import Path

import pytest

from callboard.projects.deploy import deploy
from callboard.projects.environments import Environments
from callboard.projects.files import is_ignored_below
from callboard.projects.skeleton import TEMPLATES, write_skeleton
from callboard.schemas.errors import ProjectError
from callboard.storage.folder import FolderStore
from tests.support.package_box import package_box

IN_PYTHON = {name: api for name, api in TEMPLATES.items() if not name.startswith("typescript")}


@pytest.mark.parametrize(("template", "api"), IN_PYTHON.items())  # the others: tests/integration/cli
async def test_it_is_deployed_without_a_warning_and_can_be_tried(tmp_path: Path, template: str, api: str):
    files = write_skeleton(tmp_path, "greeter", template)
    assert all(file.is_file() for file in files)
    folder = (tmp_path / "greeter").rename(tmp_path / "elsewhere")
    environments = Environments(tmp_path / "environments", package_box())
    manifest = await deploy(folder, FolderStore(tmp_path / "store"), environments)
    assert (manifest.project, manifest.apis, manifest.warnings) == ("greeter", (api,), ())
    assert (folder / ".parameters" / "api" / api / "default.json").is_file()
    assert is_ignored_below(folder, folder / "output" / "trace.zip"), "git does not see what commands save"


@pytest.mark.parametrize("kind", ["folder", "empty folder", "file", "link"])
def test_what_is_there_already_is_left_as_it_is(tmp_path: Path, kind: str):
    there = tmp_path / "greeter"
    match kind:
        case "folder":
            there.mkdir()
            (there / "mine").touch()
        case "empty folder":
            there.mkdir()
        case "file":
            there.touch()
        case _:
            there.symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ProjectError, match="already exists and was left unchanged"):
        write_skeleton(tmp_path, "greeter")
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_left_of_one_that_could_not_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_self: Path, _text: str, encoding: str) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ProjectError, match=r"greeter cannot be created: No space left on device\."):
        write_skeleton(tmp_path, "greeter")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(ProjectError, match="cannot be created: No such file or directory"):
        write_skeleton(tmp_path / "nowhere", "greeter")
