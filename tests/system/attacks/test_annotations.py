"""Code that a deploy executes to read an annotation finds and changes nothing on the host, and leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import Any

import pytest

from callboard.machines.runner import process_tree
from tests.support.processes import execute
from tests.system.attacks.installation import PROJECTS, Installation, command_of, give, identity_of, reached, targets

PROJECT = "annotated"
ATTACK = """
import os
from typing import Literal

import backend

found = backend.attack()
try:
    os.unshare(os.CLONE_NEWUSER)
    found.append("made a user namespace")
except OSError:
    pass
try:
    open("api/annotated.py", "a").close()
    found.append("could write the version")
except OSError:
    pass
Found = dict[str, Literal[("nothing else", *found)]]


async def automation(page, params: Found):
    return params
"""


@pytest.fixture
async def daemon(installation: Installation) -> Any:
    """Name of the process that the attack leaves. The project that attacks stands in the installation's folder."""
    await installation.still_works("victim")  # so that its version is unpacked
    folder = installation.folder / PROJECT
    (folder / "api").mkdir(parents=True)
    (folder / "Intuned.json").write_text("{}")
    (folder / "api" / "annotated.py").write_text(ATTACK)
    shutil.copy(PROJECTS / "packer" / "evil-1.0" / "backend.py", folder)
    (victim,) = installation.data.glob("versions/victim/*/secret.txt")
    name = f"left-by-an-annotation-in{str(installation.folder).replace('/', '-')}"
    (folder / "targets.json").write_text(json.dumps(targets(installation, victim, name)))
    give(installation.kind, folder)
    kept = victim.read_text()
    yield name
    for pid in left(name):
        os.kill(pid, 9)
    victim.write_text(kept)
    shutil.rmtree(folder)


def left(name: str) -> list[int]:
    return [pid for pid in process_tree.pids() if process_tree.read(f"/proc/{pid}/cmdline").startswith(name.encode())]


async def test_an_annotation_finds_changes_and_leaves_nothing(installation: Installation, daemon: str) -> None:
    done = await execute(
        *command_of((sys.executable, "-P", "-c", "from callboard.cli.main import main; main()", "deploy", PROJECT)),
        cwd=installation.folder,
        env=installation.environment | {"CALLBOARD_ISOLATION": installation.kind.isolation},
        **identity_of(installation.kind),
    )
    assert done.code == 0, done.out + done.err
    assert left(daemon) == []
    keys = [key async for key in installation.store.list(f"projects/{PROJECT}/versions/") if "schemas" in key]
    stored = json.loads(await installation.store.get(keys[0]) or b"")
    found = stored["apis"]["annotated"]["inputSchema"]["additionalProperties"]["enum"]
    assert found == ["nothing else", *reached(installation)], done.err


async def test_the_same_annotation_gets_through_without_walls(installation: Installation, daemon: str) -> None:
    """Else the test above would show nothing."""
    done = await execute(
        *(sys.executable, "-c", "import sys; sys.path.insert(0, 'api'); import annotated; print(annotated.found)"),
        cwd=installation.folder / PROJECT,
        env={"API_KEY": "the-key-of-the-attacked-api"},
        **identity_of(installation.kind),
    )
    assert done.code == 0, done
    for what in ("a secret in environ", "read /", "wrote /", "connected to Temporal", "could write the version"):
        assert what in done.out
