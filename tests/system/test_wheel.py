"""The wheel works alone: in an environment of its own, without a checkout, for a user who has nothing yet."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterable
from datetime import timedelta
from importlib.metadata import PathDistribution, distribution
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from callboard.dev.data_folder import read_connection
from callboard.machines.browser_program import find_browser
from callboard.projects.uv import run_uv
from callboard.settings import NO_WORKSPACE
from tests.support.polling import until
from tests.support.processes import execute, running
from tests.support.repository import REPOSITORY


def with_what_they_need(requirements: Iterable[str], extras: Iterable[str] = ("",)) -> set[str]:
    """The names of required packages, and of those that they require here."""
    names = set[str]()
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            names.add(canonicalize_name(requirement.name))
            names |= with_what_they_need(distribution(requirement.name).requires or (), requirement.extras or ("",))
    return names


@pytest.fixture(scope="module")
async def callboard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment with the wheel, and with no package that the wheel does not ask for."""
    folder = tmp_path_factory.mktemp("installed")
    limit = timedelta(minutes=2)
    await run_uv(
        *("build", "--wheel", "--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder),
        cwd=REPOSITORY,
        timeout=limit,
    )
    (wheel,) = folder.glob("*.whl")
    environment = folder / "uv-cache" / "environment"  # where `uvx` has environments
    await run_uv("venv", "--quiet", "--python", sys.executable, environment, cwd=folder, timeout=limit)
    (packages,) = environment.glob("lib/python3*/site-packages")
    with zipfile.ZipFile(wheel) as contents:
        (info,) = {name.partition("/")[0] for name in contents.namelist() if ".dist-info/" in name}
        needed = with_what_they_need(PathDistribution(zipfile.Path(contents, f"{info}/")).requires or ())
    for name in needed:
        for file in distribution(name).files or ():
            target = (packages / file).resolve()
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), target)
    with zipfile.ZipFile(wheel) as contents:
        laid = {name.partition("/")[0] for name in contents.namelist()}
    assert laid == {"activities", "api", "callboard", "runtime", "worker.py", "workflows", info}
    install = ("pip", "install", "--quiet", "--no-deps", "--offline", "--python", environment, wheel)
    await run_uv(*install, cwd=folder, timeout=limit)
    return environment / "bin" / "callboard"


async def test_a_project_is_made_served_and_called_with_nothing_but_the_wheel(
    callboard: Path, index: str, tmp_path: Path
) -> None:
    home, folder = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    folder.mkdir()
    env = {
        "HOME": str(home),
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "CALLBOARD_CHROMIUM": str(find_browser(None)),
        "UV_DEFAULT_INDEX": index,
        "UV_CACHE_DIR": str(callboard.parents[2]),
    }
    composed = await execute(callboard, "init", "composed", cwd=folder, env=env)
    assert composed.code == 0, composed.err
    assert (folder / "composed" / "docker-compose.yml").read_text() == (REPOSITORY / "docker-compose.yml").read_text()
    made = await execute(callboard, "new", "first", "--in", folder, cwd=folder, env=env)
    assert made.code == 0, made.err
    ports = ("--port", "0", "--temporal-port", "0", "--ui-port", "0")
    log = tmp_path / "dev.log"
    async with running(callboard, "dev", folder, *ports, log=log, cwd=folder, env=env) as dev:
        data = home / ".local" / "share" / "callboard"
        stack = await until(lambda: dev.returncode is not None or read_connection(data))
        assert isinstance(stack, dict), log.read_text()
        project = f"/api/v1/workspace/{NO_WORKSPACE}/projects/first"
        async with httpx.AsyncClient(
            base_url=stack["url"], headers={"x-api-key": stack["apiKey"]}, trust_env=False
        ) as client:
            await until(lambda: client.get(f"{project}/runs"), true=lambda listed: listed.status_code == 200)
            started = await client.post(f"{project}/run/start", json={"api": "hello", "parameters": {}})
            run = await client.get(f"{project}/run/{started.json()['runId']}/result?wait=60", timeout=90)
            assert run.json()["result"] == {"greeting": "Hello, world!"}, run.text
            pages = await client.get("/sign-in")
            assert (pages.status_code, "API key" in pages.text) == (200, True)
    here = await execute(callboard, "run", "api", "hello", cwd=folder / "first", env=env)
    assert json.loads(here.out or "null") == {"greeting": "Hello, world!"}, here.err
