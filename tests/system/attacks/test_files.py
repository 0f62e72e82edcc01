"""User code reads and changes no file but its own: neither those of other projects, nor Callboard's, nor the host's."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import playwright
import pytest

from tests.support.machines import Language
from tests.support.repository import REPOSITORY
from tests.system.attacks.installation import Installation, attacker_in

MADE = "made-by-user-code"


async def through(
    installation: Installation,
    *,
    read: Iterable[Path] = (),
    write: Iterable[Path] = (),
    language: Language = Language.PYTHON,
) -> dict[str, Any]:
    """What got through of an attack on these places.

    A box has folders of its own on the way to what it shows. That these can be listed or written to is no matter, as
    long as what is in the host's folder does not show, and is not changed.
    """
    read, write, attacker = list(read), list(write), attacker_in(language)
    tried = {"read": list(map(str, read)), "write": list(map(str, write))}
    try:
        told = await installation.attack("files", tried, project=attacker)
        made = [place for place in write if place.is_dir() and (place / MADE).exists()]
    finally:
        for place in write:
            if place.is_dir():
                (place / MADE).unlink(missing_ok=True)
    own = [*installation.machines(attacker), *installation.data.glob(f"versions/{attacker}/*")]
    own += installation.data.glob("workers/*/playwright-client")  # which user code in TypeScript reads
    on_the_way = {part for place in own for part in place.parts} | {MADE}
    shown = {
        what: [name for name in got if name not in on_the_way] if isinstance(got, list) else got
        for what, got in told.items()
        if what.startswith("read ") or not what.startswith("make ")
    }
    return {what: got for what, got in shown.items() if got} | {f"made in {place}": True for place in made}


@pytest.fixture
async def others(installation: Installation) -> list[Path]:
    """Places of others: they are there, and the installation's user may read and write all of them."""
    await installation.still_works("victim")  # so that it has a Machine, and its version is unpacked
    await installation.still_works()
    data = installation.data
    return [
        data,
        data / "artifacts",
        *data.glob("artifacts/projects/victim/*"),
        *data.glob("versions/victim/*"),
        *data.glob("versions/victim/*/secret.txt"),
        data / "workers",
        *data.glob("workers/*"),
        *data.glob("workers/*/lock"),
        *data.glob("workers/*/evidence"),
        *data.glob("workers/*/scratch"),
        *installation.machines("victim"),
        installation.folder,
        installation.folder / "home",
        installation.folder / "worker.log",
        *(installation.folder / "temporal").iterdir(),
    ]


async def test_what_belongs_to_others_is_closed(
    installation: Installation, language: Language, others: list[Path]
) -> None:
    assert len(others) >= 14
    assert await through(installation, read=others, write=others, language=language) == {}


async def test_files_of_the_host_are_closed(installation: Installation) -> None:
    read = ["/etc/shadow", "/etc/gshadow", "/root", "/home", "/var/lib/dpkg", "/dev/mem", "/dev/kmsg"]
    write = [
        "/etc",
        "/usr",
        "/usr/bin/env",
        "/etc/passwd",
        "/",
        "/opt",
        "/srv",
        "/root",
        "/var/spool",
        "/sys/fs/cgroup",
    ]
    write += ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/kernel/domainname"]
    there = [[path for path in map(Path, paths) if path.exists()] for paths in (read, write)]
    assert await through(installation, read=there[0], write=there[1]) == {}


async def test_its_own_version_is_readable_and_not_writable(installation: Installation) -> None:
    """A file that an Attempt changes there would be code of the next one."""
    await installation.still_works()
    (version,) = installation.data.glob("versions/attacker/*/")
    assert await through(installation, write=[version, version / "api", version / "api" / "fine.py"]) == {}


async def test_the_code_of_machines_and_their_interpreter_are_not_writable(installation: Installation) -> None:
    runner = REPOSITORY / "callboard" / "machines" / "runner"
    places = [runner, runner / "main.py", Path(os.__file__), Path(playwright.__file__).parent, Path(sys.executable)]
    assert await through(installation, write=places) == {}


async def test_a_project_finds_and_changes_its_own_files_by_the_same_attack(
    installation: Installation, language: Language
) -> None:
    """Else the tests above would show nothing."""
    own = "ways.py" if language is Language.PYTHON else "ways.ts"
    tried = {"read": [own], "write": [own, "."]}
    told = await installation.attack("files", tried, project=attacker_in(language))
    assert "What several attacks share" in told[f"read {own} as {own}"]
    assert {f"{way} {own} as {own}" for way in ("append", "take", "change")} <= told.keys()
    assert told["make in . as ."] == f"./{MADE}"
