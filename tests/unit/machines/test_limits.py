"""When a Machine's files are looked at, which takes long where there are many and the disk is busy."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from callboard.machines import machine_limits
from callboard.machines.machine_limits import MachineLimits
from callboard.machines.resource_usage import Meter
from callboard.machines.runner.folders import DOWNLOADED, DOWNLOADS, FILES, KEPT, take_download, take_files
from callboard.machines.runner.inner_box import MOST_FILES

DISK = 2**30
LOOK_TAKES = 4.0


class Disk:
    """A file system with one folder, in which a look takes seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.used = 0
        self.files = 0
        self.files_of_others = 0
        self.looks = 0
        monkeypatch.setattr(machine_limits.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(machine_limits, "used_below", self._look)
        monkeypatch.setattr(os, "statvfs", self._free)

    def _look(self, _folder: str, _most: int) -> tuple[int, int]:
        self.now += LOOK_TAKES
        self.looks += 1
        return self.used, self.files

    def _free(self, _folder: str) -> Any:
        free = 2**24 - self.files - self.files_of_others
        return SimpleNamespace(f_frsize=1, f_bfree=2**40 - self.used, f_ffree=free)


def _nothing(_limit: int) -> int:
    return 0


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def ask(disk: Disk, tmp_path: Path) -> Callable[[float], str | None]:
    """Make the limits of a Machine, and return what asks for the one that is passed some seconds later."""
    made = MachineLimits(str(tmp_path), 2**30, DISK, None)
    meter = cast("Meter", SimpleNamespace(look=_nothing, processes=1, threads=1))

    def ask(seconds: float) -> str | None:
        disk.now += seconds
        passed = made.passed(meter)
        return passed and passed.limit

    return ask


@pytest.mark.parametrize(("more", "limit"), [({"files": MOST_FILES}, "files"), ({"used": DISK}, "disk")])
def test_what_a_file_system_has_given_away_brings_the_next_look_forward(
    disk: Disk, ask: Callable[[float], str | None], more: dict[str, int], limit: str
) -> None:
    disk.files, disk.used = MOST_FILES // 2, DISK // 2
    assert ask(6) is None
    for name, value in more.items():
        setattr(disk, name, getattr(disk, name) + value)
    assert ask(LOOK_TAKES * 2) == limit


def test_what_is_below_a_folder_is_counted_until_it_is_too_much(tmp_path: Path) -> None:
    for name in ("a/b/x", "a/b/y", "z"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [machine_limits.used_below(str(tmp_path), most)[1] for most in (5, 2)] == [5, 3]


def test_a_download_that_is_kept_counts_once_while_the_browser_has_it_and_afterwards(tmp_path: Path) -> None:
    scratch, evidence = tmp_path / "scratch", tmp_path / "evidence"
    made = scratch / DOWNLOADS / "made"
    for folder in (made.parent, scratch / KEPT, evidence):
        folder.mkdir(parents=True)
    empty = machine_limits.used_below(str(scratch), MOST_FILES)[0]
    made.write_bytes(bytes(64 * 1024))
    alone = machine_limits.used_below(str(scratch), MOST_FILES)[0]
    assert alone >= empty + 64 * 1024

    take_download(scratch, made, scratch / KEPT / "prices.csv")
    assert machine_limits.used_below(str(scratch), MOST_FILES)[0] == alone
    made.unlink()
    assert machine_limits.used_below(str(scratch), MOST_FILES)[0] == alone
    assert take_files(scratch, evidence) is None
    assert (evidence / FILES / DOWNLOADED / "prices.csv").stat().st_size == 64 * 1024
