"""What user code leaves may be anything. It is found and read all the same, within limits, and nothing else is."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from callboard.machines.left_files import FileLimits, LeftFile, NotKeptError, copy_left_file, find_left_files


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The folder with what an Attempt has left."""
    (tmp_path / "left" / "output").mkdir(parents=True)
    return tmp_path / "left"


def _write(file: Path, text: str = "x") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_downloads_come_first_and_two_of_one_name_get_a_number(left: Path) -> None:
    for name in ("downloads/prices.csv", "brought/prices.csv", "output/report.pdf", "output/a/b.txt"):
        _write(left / name)
    _write(left / "output/downloads/prices.csv")  # user code's own folder, which is put aside
    _write(left / "output/downloads-2/prices.csv")
    found = find_left_files(left, FileLimits())
    assert [file.name for file in found.files] == [
        "downloads/prices.csv",
        "downloads/prices-2.csv",
        "report.pdf",
        "a/b.txt",
        "downloads-2/prices.csv",
        "downloads-2/prices-2.csv",
    ]
    assert [file.content_type for file in found.files[:3]] == ["text/csv", "text/csv", "application/pdf"]
    assert found.missing is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("..a", "..a"),
        ("a..", "a.."),
        ("...", "..."),
        ("..\\..\\evil.txt", ".._.._evil.txt"),
        ("bell\a\x1b[31m\n.txt", "bell__[31m_.txt"),
        ("turned\u202etxt.exe", "turned_txt.exe"),
        ("\udcff.txt", "_.txt"),
        (".tmp-x", ".tmp-x"),
        ("<script>.html", "<script>.html"),
    ],
)
def test_a_name_is_shown_without_what_cannot_be_seen(left: Path, name: str, shown: str) -> None:
    Path(left / "output" / name).write_text("x", errors="surrogateescape")
    [file] = find_left_files(left, FileLimits()).files
    assert file.name == shown
    assert copy_left_file(left, file, left / "copy", 1) == (1, hashlib.sha256(b"x").hexdigest())


def test_only_plain_files_are_found_and_no_link_is_followed(left: Path, tmp_path: Path) -> None:
    _write(tmp_path / "secret/key.pem", "secret")
    output = left / "output"
    (output / "file").symlink_to(tmp_path / "secret/key.pem")
    (output / "folder").symlink_to(tmp_path / "secret")
    os.mkfifo(output / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(output / "socket"))
    found = find_left_files(left, FileLimits())
    assert found.files == []
    assert found.missing == "file, folder, pipe, socket: only plain files are kept."
    (left / "downloads").symlink_to(tmp_path / "secret")
    assert find_left_files(left, FileLimits()).files == []
    for name in ("file", "pipe"):  # put there since it was found
        with pytest.raises((NotKeptError, OSError)):
            copy_left_file(left, LeftFile(name, ("output", name)), tmp_path / "copy", 100)
    with pytest.raises(OSError, match=r"loop|directory"):
        copy_left_file(left, LeftFile("x", ("output", "folder", "key.pem")), tmp_path / "copy", 100)
    assert not (tmp_path / "copy").exists()


def test_names_are_masked_as_they_are_shown(left: Path) -> None:
    _write(left / "output/hunter2.txt")
    [file] = find_left_files(left, FileLimits(), lambda text: text.replace("hunter2", "***")).files
    assert file.name == "***.txt"


def test_a_file_of_a_terabyte_that_takes_no_disk_is_not_read(left: Path, tmp_path: Path) -> None:
    with (left / "output/sparse").open("wb") as file:
        file.truncate(1024**4)
    found = find_left_files(left, FileLimits(count=1))
    assert found.files == []
    assert (found.missing or "").startswith("sparse: it is larger than ")
    with pytest.raises(NotKeptError, match="CALLBOARD_FILES_LIMIT"):
        copy_left_file(left, LeftFile("sparse", ("output", "sparse")), tmp_path / "copy", 100 * 1024 * 1024)
    assert not (tmp_path / "copy").exists()


def _always(status: os.stat_result) -> Callable[[int], os.stat_result]:
    def fstat(_descriptor: int) -> os.stat_result:
        return status

    return fstat


def test_bytes_are_counted_while_they_are_read(left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(left / "output/grows", "x" * 11)
    [found] = find_left_files(left, FileLimits()).files
    status = os.stat_result((0o100644, 1, 1, 1, 0, 0, 0, 0, 0, 0))  # as it was a moment ago: empty
    monkeypatch.setattr(os, "fstat", _always(status))
    with pytest.raises(NotKeptError):
        copy_left_file(left, found, tmp_path / "copy", 10)
    assert not (tmp_path / "copy").exists()


def test_more_files_than_are_kept_are_named_and_counted(left: Path) -> None:
    for number in range(12):
        _write(left / f"output/{number:02}.txt")
    found = find_left_files(left, FileLimits(count=3))
    assert [file.name for file in found.files] == ["00.txt", "01.txt", "02.txt"]
    assert found.missing == (
        "03.txt, 04.txt, 05.txt, 06.txt, 07.txt … and 4 more: of an Attempt, 3 files are kept (CALLBOARD_FILES_COUNT)."
    )


def test_no_more_than_ten_thousand_are_looked_at(left: Path) -> None:
    for number in range(10_010):
        (left / "output" / str(number)).touch()
    found = find_left_files(left, FileLimits())
    assert len(found.files) == 100
    assert "… and 9,895 more: of an Attempt, 100 files" in (found.missing or "")
    assert (found.missing or "").endswith("of an Attempt, 10,000 files and folders are looked at.")


def test_folders_within_folders_without_end_are_not_followed(left: Path) -> None:
    deep = left / "output"
    handle = os.open(deep, os.O_RDONLY)
    for _ in range(2_000):  # its path is longer than the kernel takes
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    found = find_left_files(left, FileLimits())
    assert found.files == []
    assert "d/d: it is more than 32 folders deep." in (found.missing or "")


def test_an_attempt_that_has_left_nothing_has_nothing(tmp_path: Path) -> None:
    found = find_left_files(tmp_path / "nowhere", FileLimits())
    assert (found.files, found.missing) == ([], None)
