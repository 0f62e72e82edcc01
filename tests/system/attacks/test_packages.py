"""The build of a package finds and changes nothing on the host, reaches no part of Callboard, and leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from machines.runner import process_tree
from tests.support.package_index import FETCHED, package_index
from tests.support.polling import until
from tests.support.processes import execute
from tests.system.attacks.installation import (
    API_KEY,
    PROJECTS,
    Installation,
    command_of,
    give,
    identity_of,
    reached,
    targets,
)

PROJECT = "packer"


@dataclass
class Packer:
    """A project with a package that there is as a source distribution only, in a folder of the installation's user."""

    installation: Installation
    folder: Path
    daemon: str
    index: str

    async def deploy(self, **settings: str) -> tuple[int, str]:
        """Deploy it by the command, as the installation's user, and return the exit code and what was printed."""
        here = {"UV_DEFAULT_INDEX": self.index, "CALLBOARD_ISOLATION": self.installation.kind.isolation}
        done = await execute(
            *command_of((sys.executable, "-P", "-c", "from cli.main import main; main()", "deploy", str(self.folder))),
            cwd=self.installation.folder,
            env=self.installation.environment | here | settings,
            **identity_of(self.installation.kind),
        )
        return done.code, done.out + done.err

    def daemons(self) -> list[int]:
        return [
            pid
            for pid in process_tree.pids()
            if process_tree.read(f"/proc/{pid}/cmdline").startswith(self.daemon.encode())
        ]


@pytest.fixture
async def packer(installation: Installation) -> Any:
    await installation.still_works("victim")  # so that its version is unpacked
    folder = installation.folder / PROJECT
    shutil.copytree(PROJECTS / PROJECT, folder)
    (victim,) = installation.data.glob("versions/victim/*/secret.txt")
    daemon = f"left-by-a-build-in{str(installation.folder).replace('/', '-')}"
    (folder / "evil-1.0" / "targets.json").write_text(json.dumps(targets(installation, victim, daemon)))
    (folder / "sources").mkdir()
    shutil.make_archive(str(folder / "sources" / "evil-1.0"), "gztar", folder, "evil-1.0")
    give(installation.kind, folder)
    kept = victim.read_text()
    with package_index(FETCHED) as index:
        made = Packer(installation, folder, daemon, index)
        try:
            yield made
        finally:
            for pid in made.daemons():
                os.kill(pid, 9)
            victim.write_text(kept)
            shutil.rmtree(folder)
            shutil.rmtree(installation.data / "environments", ignore_errors=True)


async def test_a_build_finds_changes_and_leaves_nothing(packer: Packer) -> None:
    installation = packer.installation
    code, printed = await packer.deploy(CALLBOARD_BUILD_PACKAGES="true")
    assert code == 0, printed
    assert packer.daemons() == []
    found = list(installation.data.glob("environments/*/lib/*/site-packages/evil.py"))
    assert [each.read_text() for each in found] == [f"FOUND = {reached(installation)!r}\n"]
    # A worker that does not find the environment builds it again.
    shutil.rmtree(installation.data / "environments")
    await installation.serve("builder", PROJECT, CALLBOARD_BUILD_PACKAGES="true", UV_DEFAULT_INDEX=packer.index)
    try:
        assert await installation.attack("told", project=PROJECT) == reached(installation)
        assert packer.daemons() == []
    finally:
        await installation.stop("builder")


async def test_nothing_is_built_where_the_operator_has_not_allowed_it(packer: Packer) -> None:
    code, printed = await packer.deploy()
    assert code != 0
    assert "evil has no wheel" in printed
    assert "CALLBOARD_BUILD_PACKAGES=true" in printed
    assert packer.daemons() == []


async def test_the_same_build_gets_through_without_walls(packer: Packer) -> None:
    """Else the tests above would show nothing."""
    run = "import json, backend; json.dump(backend.attack(), open('found.json', 'w'))"
    folder, identity = packer.folder / "evil-1.0", identity_of(packer.installation.kind)
    done = await execute(sys.executable, "-c", run, cwd=folder, env={"API_KEY": API_KEY}, **identity)
    assert done.code == 0, done
    found = (packer.folder / "evil-1.0" / "found.json").read_text()
    for what in ("a secret in an environment", "read /", "wrote /", "connected to Temporal", "connected to the api"):
        assert what in found
    await until(packer.daemons)
