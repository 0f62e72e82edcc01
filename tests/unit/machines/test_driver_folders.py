"""What is deleted after an Attempt in the folders of driver and browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from callboard.machines.runner.folders import DOWNLOADS, DRIVER, HOME, TEMPORARY, DriverFolders


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    for name in (TEMPORARY, HOME, DRIVER, DOWNLOADS):
        (tmp_path / "scratch" / name / "kept").mkdir(parents=True)
    return tmp_path / "scratch"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    return tmp_path / "outside" / "file"


def test_only_what_was_there_at_first_stays(scratch: Path, outside: Path) -> None:
    there = sorted(scratch.rglob("*"))
    folders = DriverFolders(scratch)
    for kept in scratch.glob("*/kept"):
        (kept / "new" / "deep").mkdir(parents=True)
        (kept / "new" / "deep" / "file").touch()
        (kept.parent / "file").touch()
        (kept.parent / "link").symlink_to(outside.parent)
    folders.wipe()
    assert sorted(scratch.rglob("*")) == there
    assert outside.exists()


@pytest.mark.parametrize("which", [HOME, f"{HOME}/kept"])
def test_a_link_in_the_place_of_a_folder_is_not_followed(scratch: Path, outside: Path, which: str) -> None:
    folders = DriverFolders(scratch)
    (scratch / which).rename(scratch / "elsewhere")
    (scratch / which).symlink_to(outside.parent)
    if which == HOME:
        with pytest.raises(NotADirectoryError):
            folders.wipe()
    else:
        folders.wipe()
    assert outside.exists()


def test_the_profile_of_the_browser_is_left_to_it(scratch: Path) -> None:
    profile = scratch / TEMPORARY / "playwright_chromiumdev_profile-x"
    profile.mkdir()
    folders = DriverFolders(scratch)
    (profile / "Cookies").touch()
    folders.wipe()
    assert (profile / "Cookies").exists()
