"""The build of a package finds and changes nothing on the host, reaches no part of Callboard, and leaves nothing.

The same holds for the hook that tells its metadata while the packages of a project are resolved.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from callboard.machines.runner import process_tree
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
PASSWORD = "the-password-of-the-package-index"


@dataclass
class Packer:
    """A project with a package that there is as a source distribution only, in a folder of the installation's user."""

    installation: Installation
    folder: Path
    daemon: str
    index: str
    settings: dict[str, str]

    async def deploy(self, **settings: str) -> tuple[int, str]:
        """Deploy it by the command, as the installation's user, and return the exit code and what was printed."""
        here = {**self.settings, "CALLBOARD_ISOLATION": self.installation.kind.isolation}
        done = await execute(
            *command_of(
                (sys.executable, "-P", "-c", "from callboard.cli.main import main; main()", "deploy", str(self.folder))
            ),
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

    @property
    def reached(self) -> list[str]:
        """What the hook and the build find: what uv may read, and what user code reaches as well."""
        return [f"GET {self.index}/humanize/", *reached(self.installation)]


@pytest.fixture
async def packer(installation: Installation) -> Any:
    await installation.still_works("victim")  # so that its version is unpacked
    folder = installation.folder / PROJECT
    shutil.copytree(PROJECTS / PROJECT, folder)
    (victim,) = installation.data.glob("versions/victim/*/secret.txt")
    daemon = f"left-by-a-build-in{str(installation.folder).replace('/', '-')}"
    (folder / "sources").mkdir()
    kept = victim.read_text()
    with package_index(FETCHED, signed_in=f"uv:{PASSWORD}") as index:
        configuration = folder.with_suffix(".config") / "uv" / "uv.toml"
        configuration.parent.mkdir(parents=True)
        address = index.replace("://", f"://uv:{PASSWORD}@")
        configuration.write_text(f'[[index]]\nurl = "{address}"\ndefault = true\n')
        told = targets(installation, victim, daemon)
        told["secrets"].append(PASSWORD)
        told |= {"configuration": [str(configuration)], "asked": asked(index)}
        (folder / "evil-1.0" / "targets.json").write_text(json.dumps(told))
        shutil.make_archive(str(folder / "sources" / "evil-1.0"), "gztar", folder, "evil-1.0")
        give(installation.kind, folder)
        give(installation.kind, configuration.parents[1])
        made = Packer(installation, folder, daemon, index, {"XDG_CONFIG_HOME": str(configuration.parents[1])})
        try:
            yield made
        finally:
            for pid in made.daemons():
                os.kill(pid, 9)
            victim.write_text(kept)
            shutil.rmtree(configuration.parents[1])
            shutil.rmtree(folder)
            shutil.rmtree(installation.data / "environments", ignore_errors=True)


def asked(index: str) -> list[tuple[str, str]]:
    """What a build asks for by way of what signs in for uv: what uv reads, and what it has no business with."""
    page, elsewhere = f"{index}/humanize/", f"{index.removesuffix('/simple')}/stamp"
    return [
        ("GET", page),
        ("POST", page),
        ("GET", elsewhere),
        ("GET", f"{index}/..%2fstamp"),
        ("GET", f"{index}/../stamp"),
    ]


async def test_a_build_finds_changes_and_leaves_nothing(packer: Packer) -> None:
    installation = packer.installation
    code, printed = await packer.deploy()
    assert code == 0, printed
    assert packer.daemons() == []
    found = list(installation.data.glob("environments/*/lib/*/site-packages/evil.py"))
    assert [each.read_text() for each in found] == [f"FOUND = {[packer.reached] * 2!r}\n"]
    # A worker that does not find the environment builds it again, from a list that needs no hook.
    shutil.rmtree(installation.data / "environments")
    await installation.serve("builder", PROJECT, **packer.settings)
    try:
        assert await installation.attack("told", project=PROJECT) == [packer.reached]
        assert packer.daemons() == []
    finally:
        await installation.stop("builder")


async def test_nothing_is_built_where_the_operator_forbids_it(packer: Packer) -> None:
    code, printed = await packer.deploy(CALLBOARD_BUILD_PACKAGES="false")
    assert code != 0
    assert "evil has no wheel" in printed
    assert "CALLBOARD_BUILD_PACKAGES=true" in printed
    assert packer.daemons() == []


async def test_the_same_build_gets_through_without_walls(packer: Packer) -> None:
    """Else the tests above would show nothing."""
    run = "import json, backend; json.dump(backend.attack(), open('found.json', 'w'))"
    folder, identity = packer.folder / "evil-1.0", identity_of(packer.installation.kind)
    here = {"API_KEY": API_KEY, "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
    done = await execute(sys.executable, "-c", run, cwd=folder, env=here, **identity)
    assert done.code == 0, done
    found = (packer.folder / "evil-1.0" / "found.json").read_text()
    configuration = f"a secret in {packer.settings['XDG_CONFIG_HOME']}/uv/uv.toml"
    secrets = ("a secret in environ", configuration)
    for what in (*secrets, "read /", "wrote /", "connected to Temporal", "connected to the api"):
        assert what in found
    await until(packer.daemons)
