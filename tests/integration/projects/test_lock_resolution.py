"""From what a project declares to the list of its packages, as uv resolves it from an index."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import pytest

from callboard.projects.deploy import deploy
from callboard.projects.environments import Environments
from callboard.projects.interpreters import own_interpreter
from callboard.projects.manifest import Manifest, OwnEnvironment
from callboard.projects.uv import run_uv
from callboard.schemas.errors import ProjectError
from tests.support.package_box import package_box
from tests.support.project_host import WHAT_IS_HERE, Host, listing
from tests.support.wheels import make_wheel

PLAYWRIGHT = version_of("playwright")


async def test_uv_lock_gives_the_versions(host: Host, tmp_path: Path):
    folder = tmp_path / "locked"
    folder.mkdir()
    head = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.12"\n'
    (folder / "pyproject.toml").write_text(head + 'dependencies = ["text-unidecode==1.2", "playwright==1.49.0"]\n')
    await run_uv("lock", "--quiet", "--python", sys.executable, cwd=folder, timeout=timedelta(seconds=60))
    files = {
        "pyproject.toml": head + 'dependencies = ["text-unidecode", "playwright==1.49.0"]\n',
        "uv.lock": (folder / "uv.lock").read_text(),
    }
    manifest = await host.deploy(files)
    stored = await host.listed(manifest)
    assert "text-unidecode==1.2" in stored
    assert f"playwright=={PLAYWRIGHT}" in stored


async def test_the_stored_list_has_hashes_and_no_address_of_the_index(host: Host):
    stored = await host.listed(await host.deploy({"requirements.txt": "text-unidecode\n"}))
    assert "text-unidecode==1.3 \\\n    --hash=sha256:" in stored
    assert "://" not in stored
    assert not any(
        line.lstrip().startswith(("#", "-i", "--index", "--extra", "--find")) for line in stored.splitlines()
    )


async def test_a_change_of_code_keeps_the_versions_of_packages(host: Host, wheels: Path):
    first = await host.deploy(listing("beta"))
    make_wheel(wheels, "beta", "3.0")
    second = await host.deploy({**listing("beta"), "api/list.py": "async def automation(page):\n    return 2\n"})
    assert second.version != first.version
    assert second.environment == first.environment
    assert "beta==2.0" in await host.listed(second)
    third = await host.deploy(listing("# look again", "beta"))
    assert "beta==3.0" in await host.listed(third)


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        (
            ["callboard-has-no-such-package"],
            r"there is no package callboard-has-no-such-package in the package index\.",
        ),
        (["text-unidecode==99"], r"there is no version of text-unidecode==99 in the package index\."),
        (["alpha", "beta==2.0"], r"alpha depend on beta<2.* beta==2\.0.* cannot all be met\.$"),
        (["greenlet==1.0"], rf"depends on greenlet.* Playwright is held at {PLAYWRIGHT}\."),
        (["six=1"], r"no such comparison operator"),
        (["./local"], r"\./local is a folder or file on this machine"),
    ],
)
async def test_what_cannot_be_resolved_fails_the_deploy_in_a_sentence(
    host: Host, wheels: Path, requirements: list[str], expected: str
):
    local = {"local/pyproject.toml": '[project]\nname = "local"\nversion = "1"\n'}
    with pytest.raises(ProjectError, match=rf"^requirements\.txt: .*{expected}") as failed:
        await host.deploy({**local, **listing(*requirements)})
    assert len(failed.value.message) < 700
    assert "callboard-deploy" not in failed.value.message
    assert [key async for key in host.store.list("")] == []


@pytest.fixture
def source(wheels: Path, tmp_path: Path) -> None:
    """A package `broken` that there is as a source distribution only."""
    make_source(wheels, tmp_path, "raise RuntimeError('needs libfoo 3')\n")


@pytest.fixture
def greedy(wheels: Path, tmp_path: Path) -> None:
    """The same, with a build that takes memory and does not end."""
    make_source(wheels, tmp_path, "import time\ntaken = b'x' * 512 * 1024**2\ntime.sleep(3600)\n")


def make_source(wheels: Path, tmp_path: Path, backend: str) -> None:
    folder = tmp_path / "broken-1.0"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "broken"\nversion = "1.0"\n'
    )
    (folder / "backend.py").write_text(backend)
    archive = shutil.make_archive(str(wheels / "broken-1.0"), "gztar", tmp_path, "broken-1.0")
    assert archive.endswith("broken-1.0.tar.gz")


async def test_a_package_that_cannot_be_built_fails_the_deploy_with_its_reason(host: Host, source: None):
    with pytest.raises(
        ProjectError, match=r"^requirements\.txt: .*broken==1\.0 cannot be built here: .*needs libfoo 3"
    ):
        await host.deploy(listing("broken"))
    assert host.built() == []


async def test_a_build_that_takes_too_much_memory_is_ended(host: Host, greedy: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("callboard.projects.uv._MEMORY", 256 * 1024**2)
    with pytest.raises(ProjectError, match=r"^requirements\.txt: .*: it took more than 256 MiB of memory\.$"):
        await host.deploy(listing("broken"))


@pytest.mark.parametrize("settings", [{"build_packages": False}, {"isolation": "none"}])
@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"pyproject.toml": '[tool.uv]\nno-build = false\nno-binary-package = ["broken"]\nno-cache = true\n'},
        {"uv.toml": 'no-build-isolation = true\n[pip]\nno-binary = ["broken"]\n'},
        listing("--no-binary broken", "broken"),
    ],
)
async def test_sources_are_not_built_where_that_is_forbidden_or_unboxed(
    host: Host, source: None, wish: dict[str, str], settings: dict[str, Any]
):
    host = replace(host, environments=Environments(host.root, package_box(**settings)))
    expected = r"^requirements\.txt: .*broken has no wheel .*Require a version .*CALLBOARD_BUILD_PACKAGES=true"
    with pytest.raises(ProjectError, match=expected):
        await host.deploy({**listing("broken"), **wish})
    assert host.built() == []


async def test_without_a_box_sources_are_built_if_the_operator_allows_it(host: Host, source: None):
    allowed = Environments(host.root, package_box(isolation="none", build_packages=True))
    with pytest.raises(ProjectError, match=r"broken==1\.0 cannot be built here: .*needs libfoo 3"):
        await replace(host, environments=allowed).deploy(listing("broken"))


async def test_where_nothing_is_built_an_older_version_with_a_wheel_is_taken(host: Host, source: None, wheels: Path):
    host = replace(host, environments=Environments(host.root, package_box(build_packages=False)))
    make_wheel(wheels, "broken", "0.9")
    assert "broken==0.9" in await host.listed(await host.deploy(listing("broken")))


async def test_packages_of_the_project_s_venv_are_installed_and_make_its_version(
    host: Host, monkeypatch: pytest.MonkeyPatch
):
    folder = host.make({"api/here.py": WHAT_IS_HERE})
    await run_uv("venv", "--quiet", "--python", sys.executable, ".venv", cwd=folder, timeout=timedelta(seconds=60))
    nothing = await deploy(folder, host.store, host.environments)
    assert nothing.environment is None

    async def install(*what: str) -> Manifest:
        install = ("pip", "install", "--quiet", "--python", ".venv", *what)
        await run_uv(*install, cwd=folder, timeout=timedelta(seconds=60))
        return await deploy(folder, host.store, host.environments)

    first = await install("text-unidecode==1.2")
    second = await install("text-unidecode==1.3")
    assert isinstance(first.environment, OwnEnvironment)
    assert first.environment.source == ".venv"
    assert first.environment.requires_python == f"=={own_interpreter().minor}.*"
    assert len({nothing.version, first.version, second.version}) == 3
    assert "text-unidecode==1.2" in await host.listed(first)
    assert (await host.here(second, "text_unidecode"))["found"]["text_unidecode"]
    bundled = await host.versions.ensure(second.project, second.version)
    assert not (bundled / ".venv").exists()
    monkeypatch.chdir(folder.parent)
    assert await deploy(Path(folder.name), host.store, host.environments) == second


async def test_a_venv_that_is_broken_fails_the_deploy(host: Host):
    with pytest.raises(ProjectError, match=r"^\.venv: what is installed in it cannot be read"):
        await host.deploy({".venv/pyvenv.cfg": "home = /nowhere\nversion = 3.13.1\n"})
