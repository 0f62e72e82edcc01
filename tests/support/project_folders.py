"""Fixtures of the tests of projects: a small project to deploy, and a store to deploy it to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from storage.folder import FolderStore

AUTOMATION = "async def automation(page, params=None, **_kwargs):\n    return 1\n"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "artifacts")


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Path]:
    def make(files: dict[str, str] | None = None, name: str = "shop") -> Path:
        folder = tmp_path / name
        for path, text in {"Intuned.jsonc": "{}", "api/list.py": AUTOMATION, **(files or {})}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        return folder

    return make
