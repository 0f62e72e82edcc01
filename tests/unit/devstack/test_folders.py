from pathlib import Path

import pytest

from devstack.folders import find_project_folders
from schemas.errors import StackError


def make_project(folder: Path, settings: str = "{}") -> Path:
    (folder / "api").mkdir(parents=True)
    (folder / "Intuned.json").write_text(settings)
    (folder / "api" / "hello.py").write_text("async def automation(page, params=None, **_):\n    return 'hello'\n")
    return folder


def test_projects_are_found_and_other_folders_are_left_alone(tmp_path: Path):
    second, first = make_project(tmp_path / "second"), make_project(tmp_path / "first")
    make_project(tmp_path / ".hidden")
    (tmp_path / "notes").mkdir()
    (tmp_path / "README.md").write_text("")
    without_settings = tmp_path / "without-settings"
    (without_settings / "api").mkdir(parents=True)
    assert find_project_folders(tmp_path) == [first, second, without_settings]


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(StackError, match=r"no folder .*nowhere"):
        find_project_folders(tmp_path / "nowhere")


def test_a_folder_without_projects_is_told_what_a_project_is(tmp_path: Path):
    with pytest.raises(StackError, match="no project in"):
        find_project_folders(tmp_path)


def test_a_project_in_place_of_the_folder_above_it_is_told_apart(tmp_path: Path):
    with pytest.raises(StackError, match="is itself a project"):
        find_project_folders(make_project(tmp_path / "shop"))
