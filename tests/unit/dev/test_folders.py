from pathlib import Path

import pytest

from callboard.dev.folders import find_project_folders
from callboard.schemas.errors import StackError


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


def test_where_there_is_no_folder_of_projects_that_is_told(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    make_project(tmp_path / "shop")
    for name, told in (("nowhere", "no folder .*nowhere"), ("empty", "no project in"), ("shop", "is itself a project")):
        with pytest.raises(StackError, match=told):
            find_project_folders(tmp_path / name)
