"""A new project is a good one, and takes nobody's place."""

from pathlib import Path

import pytest

from projects.apis import find_apis
from projects.deploy import deploy
from projects.files import is_ignored_below
from projects.settings_file import read_settings
from projects.skeleton import API_NAME, write_skeleton
from schemas.errors import ProjectError
from storage.folder import FolderStore


async def test_it_is_deployed_without_a_warning(tmp_path: Path):
    files = write_skeleton(tmp_path, "greeter")
    assert all(file.is_file() for file in files)
    manifest = await deploy(tmp_path / "greeter", FolderStore(tmp_path / "store"))
    assert (manifest.project, manifest.apis, manifest.warnings) == ("greeter", (API_NAME,), ())


def test_git_does_not_see_what_commands_save_in_it(tmp_path: Path):
    write_skeleton(tmp_path, "greeter")
    assert is_ignored_below(tmp_path / "greeter", tmp_path / "greeter" / "output" / "trace.zip")


def test_it_keeps_its_name_in_a_folder_of_another(tmp_path: Path):
    write_skeleton(tmp_path, "greeter")
    moved = (tmp_path / "greeter").rename(tmp_path / "elsewhere")
    assert read_settings(moved).project_name == "greeter"


def test_every_api_of_it_has_parameters_to_try_it_with(tmp_path: Path):
    write_skeleton(tmp_path, "greeter")
    for api in find_apis(tmp_path / "greeter"):
        assert (tmp_path / "greeter" / ".parameters" / "api" / api / "default.json").is_file()


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
