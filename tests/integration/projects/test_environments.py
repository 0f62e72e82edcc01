"""Environments of a host: shared, built once whoever builds them, and removed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from dataclasses import replace
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import pytest

from callboard.projects import environments as module
from callboard.projects import lock_resolution
from callboard.projects.environments import Environments
from callboard.projects.interpreters import own_interpreter
from callboard.schemas.errors import MachineError
from tests.support.package_box import package_box
from tests.support.project_host import Host, listing
from tests.support.repository import REPOSITORY

PLAYWRIGHT = version_of("playwright")


async def test_projects_with_equal_packages_share_no_environment_and_no_cache(host: Host):
    """What gets into these is said by the project's own settings for uv, and by what it builds."""
    one = await host.deploy({"requirements.txt": "text-unidecode\n"}, name="one")
    two = await host.deploy({"requirements.txt": "text-unidecode\n"}, name="two")
    assert await host.listed(one) == await host.listed(two)
    assert len(host.built()) == 2
    assert (await host.version(one)).python != (await host.version(two)).python
    assert {path.name for path in host.root.glob(".uv-*")} == {".uv-one", ".uv-two"}


async def test_who_waits_for_an_environment_is_told_once(host: Host):
    told: list[str] = []
    here = replace(host, environments=Environments(host.root, package_box(), on_build=told.append))
    for code in ("1", "2"):
        await here.deploy({"requirements.txt": "text-unidecode\n", "words.txt": code}, name="one")
    assert told == ["one"]


async def test_a_worker_builds_what_another_host_deployed(host: Host):
    manifest = await host.deploy({"requirements.txt": "text-unidecode\n"})
    shutil.rmtree(host.root)
    assert (await host.here(manifest, "text_unidecode"))["found"]["text_unidecode"]
    assert len(host.built()) == 1


async def test_a_list_of_an_older_callboard_gets_our_playwright(host: Host, monkeypatch: Any):
    with monkeypatch.context() as older:
        older.setattr(module, "pinned_playwright", lambda: "playwright==1.49.0")
        older.setattr(lock_resolution, "pinned_playwright", lambda: "playwright==1.49.0")
        manifest = await host.deploy({"requirements.txt": "text-unidecode==1.2\n"})
    assert "playwright==1.49.0" in await host.listed(manifest)
    here = await host.here(manifest, "text_unidecode")
    assert here["playwright"] == PLAYWRIGHT
    assert here["found"]["text_unidecode"]
    assert len(host.built()) == 2


async def test_a_build_that_fails_on_a_worker_is_an_error_of_the_machine(host: Host, wheels: Path):
    manifest = await host.deploy(listing("beta"))
    shutil.rmtree(host.root)
    for wheel in wheels.glob("beta-*"):
        wheel.unlink()
    with pytest.raises(MachineError, match=r"^the project's environment cannot be built: .*beta"):
        await host.version(manifest)
    assert host.built() == []


BUILDER = """
import asyncio, sys
from pathlib import Path
from callboard.projects.environments import Environments
from callboard.projects.interpreters import own_interpreter
from callboard.projects.uv import ProjectUv
from tests.support.package_box import package_box

run, calls = ProjectUv.run, []

async def noticed(self, *arguments, **options):
    calls.append(arguments[:2])
    if "stall" in sys.argv and arguments[:2] == ("pip", "install"):
        print("stalled", flush=True)
        await asyncio.sleep(3600)
    return await run(self, *arguments, **options)

ProjectUv.run = noticed
root, requirements = Path(sys.argv[1]), Path(sys.argv[2])
build = Environments(root, package_box()).ensure(
    requirements.read_text(), project="shop", python=own_interpreter(), folder=requirements.parent
)
print(asyncio.run(build).python, len(calls), flush=True)
"""


async def builder(root: Path, requirements: Path, *how: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", BUILDER, root, requirements, *how),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
    )


@pytest.fixture
async def requirements(host: Host, tmp_path: Path) -> Path:
    """A list to build, which nobody has built yet."""
    manifest = await host.deploy({"requirements.txt": "text-unidecode\n"})
    shutil.rmtree(host.root)
    path = tmp_path / "lists" / "list.txt"
    path.parent.mkdir()
    path.write_text(await host.listed(manifest))
    return path


async def test_several_processes_build_an_environment_once(host: Host, requirements: Path):
    processes = [await builder(host.root, requirements) for _ in range(3)]
    told = [(await process.communicate())[0].decode().split() for process in processes]
    assert len({python for python, _ in told}) == 1
    assert sorted(calls for _, calls in told) == ["0", "0", "2"]  # one made it and installed into it
    assert len(host.built()) == 1


async def test_a_build_that_was_killed_is_begun_anew(host: Host, requirements: Path):
    process = await builder(host.root, requirements, "stall")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"stalled\n"
    waiting = await builder(host.root, requirements)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    out, _ = await waiting.communicate()
    assert out.split()[1] == b"2"
    (environment,) = host.built()
    assert (
        host.root / environment / "lib" / f"python{own_interpreter().minor}" / "site-packages" / "text_unidecode"
    ).is_dir()


async def test_a_cancelled_build_leaves_nothing(host: Host, requirements: Path):
    build = host.environments.ensure(
        requirements.read_text(), project="shop", python=own_interpreter(), folder=requirements.parent
    )
    task = asyncio.create_task(build)
    async with asyncio.timeout(30):
        while not host.root.is_dir() or not host.built():
            await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert host.built() == []


async def test_what_nothing_has_asked_for_in_a_month_goes_when_another_is_built(host: Host, wheels: Path):
    await host.deploy(listing("beta==1.0"))
    (old,) = host.built()
    (host.root / ".partial-left-by-a-dead-worker").mkdir()
    (host.root / ".uv-removed").mkdir()
    for name in (old, ".uv-removed"):
        os.utime(host.root / name, (0, 0))
    await host.deploy(listing("beta==2.0"))
    (new,) = host.built()
    assert new != old
    assert {path.name for path in host.root.iterdir()} == {new, ".uv-shop"}
