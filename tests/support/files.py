"""Folders of a few files, as tests write them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files by their paths below a folder, and return the folder."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def contents(path: Path) -> list[bytes]:
    """What the file holds, and what is in it if it is a zip."""
    inside: list[bytes] = []
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            inside = [file.read(name) for name in file.namelist()]
    return [path.read_bytes(), *inside]
