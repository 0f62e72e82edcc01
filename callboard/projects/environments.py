"""The environments of projects on this host: `{root}/{key}`, built once and shared by all workers and Machines.

The key is a hash over the project, the list of packages, the interpreter and Callboard's Playwright; of a project in
TypeScript, over the project, what it declares and its lock. Projects share no environment, and no cache of uv or npm
(`{root}/.uv-{project}`, `{root}/.npm-{project}`): a project's own settings and builds say what gets into them.
An environment appears whole, by one rename, and Callboard never changes it after that. It is built in a folder beside
its final place, which its builder locks. The lock is released when the builder's process ends, and the next builder
starts from scratch.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from callboard.machines.package_box import PackageBox
from callboard.projects.bounded import run_bounded
from callboard.projects.declaration import pinned_playwright, read_index_options
from callboard.projects.interpreters import Interpreter
from callboard.projects.languages import PACKAGE_JSON
from callboard.projects.node.npm import NpmError, ProjectNpm
from callboard.projects.node.packages import NodePackages, read_lock, read_own_lock, write_inputs
from callboard.projects.processes import run_in_thread
from callboard.projects.uv import ProjectUv, UvError
from callboard.schemas.errors import MachineError, ProjectError
from callboard.storage.file_lock import create_and_try_lock, remove_if_abandoned
from callboard.storage.single_flight import SingleFlight

BUILD_TIMEOUT = timedelta(minutes=10)
MAX_UNUSED_AGE = timedelta(days=30)
"""How long an unused environment, or cache, is kept. Each takes some 150 MB, most of it Playwright."""

_VENV_TIMEOUT = timedelta(minutes=1)
_PARTIAL = ".partial-"
_UV = ".uv-"
_NPM = ".npm-"
_LOOK_EVERY = 0.1
"""Seconds between two checks whether another process has finished. Polling is needed because waiting in the kernel for
a lock cannot be cancelled."""


@dataclass(frozen=True)
class Environment:
    """A built environment."""

    python: Path
    site_packages: Path

    def mark_used(self) -> bool:
        """Note that the environment is in use; return False if it does not exist (any more)."""
        # The interpreter is a symbolic link, and what it leads to may be removed.
        return mark_used(self.site_packages.parents[2]) and self.python.exists()


class Environments:
    """The environments below `root`. An instance belongs to one event loop."""

    def __init__(self, root: Path, box: PackageBox, *, on_build: Callable[[str], None] = lambda _project: None) -> None:
        """Build nothing yet; `root` is for uv's caches, too.

        `box` is where code of projects is executed, here and by a deploy that reads annotations. `on_build` is called
        with the name of a project as an environment of it begins to be built.
        """
        self._root = root
        self.box = box
        self._on_build = on_build
        self._builds: SingleFlight[str, None] = SingleFlight()

    async def uv(self, project: str) -> ProjectUv:
        """Return uv as it works for one project.

        Raises:
            ConfigurationError: The settings want walls that cannot stand here.
        """
        return ProjectUv(self.box, self._root / f"{_UV}{project}", await self.box.may_build())

    async def ensure(self, requirements: str, *, project: str, python: Interpreter, folder: Path) -> Environment:
        """Return the environment with the packages that `resolve_lock` lists, and build it if it does not exist.

        uv follows the settings (indexes, for example) that the project has in `folder`.

        Raises:
            MachineError: It cannot be built; the message names the package and the reason. A later try may succeed.
            ConfigurationError: The settings want walls that cannot stand here, or are wrong.
        """
        made_from = f"{project}\0{requirements}\0{pinned_playwright()}\0{python.build}"
        key = hashlib.sha256(made_from.encode()).hexdigest()[:32]
        packages = self._root / key / "lib" / f"python{python.minor}" / "site-packages"
        environment = Environment(self._root / key / "bin" / "python", packages)
        if not await asyncio.to_thread(environment.mark_used):
            try:
                await self._builds.run(key, lambda: self._build(environment, requirements, project, python, folder))
            except UvError as error:
                raise MachineError(f"the project's environment cannot be built: {error}.") from error
            except OSError as error:
                raise MachineError(
                    f"the project's environment cannot be built: the folder {self._root} cannot be written: {error}."
                ) from error
        return environment

    async def lock_modules(self, packages: NodePackages, *, project: str, folder: Path) -> str:
        """Return the lock of the packages that the project in TypeScript in `folder` declares.

        Raises:
            ProjectError: They cannot be resolved; the message names the package and the reason.
            ConfigurationError: The settings want walls that cannot stand here.
        """
        partial = self._root / f"{_PARTIAL}{uuid.uuid4().hex}"
        async with _locked(partial):
            own = await run_bounded(read_own_lock, folder, read=[folder])
            work = partial / "work"
            await run_in_thread(write_inputs, folder, packages, own, work)
            try:
                await self._npm(project).lock(work)
            except NpmError as error:
                raise ProjectError(f"{PACKAGE_JSON}: the dependencies cannot be resolved: {error}.") from error
            return await run_bounded(read_lock, work, read=[work])

    async def ensure_modules(self, lock: str, packages: NodePackages, *, project: str, folder: Path) -> Path:
        """Return the folder that has `node_modules` with the packages of a lock, which are installed if need be.

        Args:
            lock: What `lock_modules` has returned.
            packages: What it is the lock of.
            project: The project.
            folder: Its unpacked files, of which some may be packages.

        Raises:
            MachineError: They cannot be installed; the message names the package and the reason.
            ConfigurationError: The settings want walls that cannot stand here.
        """
        key = hashlib.sha256(f"{project}\0{packages.declaration}\0{lock}".encode()).hexdigest()[:32]
        target = self._root / key
        if not await asyncio.to_thread(mark_used, target):
            try:
                await self._builds.run(key, lambda: self._install(target, lock, packages, project, folder))
            except (NpmError, ProjectError, UvError) as error:
                raise MachineError(f"the project's packages cannot be installed: {error}.") from error
            except OSError as error:
                raise MachineError(
                    f"the project's packages cannot be installed: the folder {self._root} cannot be written: {error}."
                ) from error
        return target

    async def _install(self, target: Path, lock: str, packages: NodePackages, project: str, folder: Path) -> None:
        partial = self._root / f"{_PARTIAL}{target.name}"
        async with _locked(partial):
            if await asyncio.to_thread(mark_used, target):
                return  # Another process has installed them in the meantime.
            self._on_build(project)
            work = partial / uuid.uuid4().hex
            await run_in_thread(write_inputs, folder, packages, lock, work)
            await self._npm(project).install(work)
            await run_in_thread((work / "node_modules").mkdir, exist_ok=True)
            await run_in_thread(_publish, work, target)
        await run_in_thread(_remove_unused, self._root)

    def _npm(self, project: str) -> ProjectNpm:
        return ProjectNpm(self.box, self._root / f"{_NPM}{project}")

    async def _build(
        self, environment: Environment, requirements: str, project: str, python: Interpreter, folder: Path
    ) -> None:
        target = environment.site_packages.parents[2]
        partial = self._root / f"{_PARTIAL}{target.name}"
        async with _locked(partial):
            if await asyncio.to_thread(environment.mark_used):
                return  # Another process has built it in the meantime.
            self._on_build(project)
            # The name is new each time: a uv whose worker was killed may still be writing into the old folder.
            work = partial / uuid.uuid4().hex
            options = await run_bounded(read_index_options, folder, read=[folder])
            exact = await run_in_thread(_write_inputs, partial, work, requirements, options)
            made = work / target.name
            uv = await self.uv(project)
            run = functools.partial(uv.run, cwd=folder, python=python.executable, write=[work])
            venv = ("venv", "--quiet", "--no-project", "--relocatable", "--python", python.executable, made)
            await run(*venv, timeout=_VENV_TIMEOUT)
            install = ("pip", "install", "--quiet", "--python", made, "--compile-bytecode", *uv.build_options)
            lists = ("-r", work / "requirements.txt", "-r", work / "index.txt")
            how = ("--no-deps",) if exact else ("--override", work / "held.txt")
            await run(*install, *lists, *how, timeout=BUILD_TIMEOUT)
            await run_in_thread(_publish, made, target)
        await run_in_thread(_remove_unused, self._root)


def mark_used(folder: Path) -> bool:
    """Note that the environment in a folder is in use; return False if it does not exist (any more)."""
    try:
        os.utime(folder)
    except FileNotFoundError:
        return False
    return True


@asynccontextmanager
async def _locked(folder: Path) -> AsyncGenerator[None]:
    """Hold the lock of `folder`, which is created for the lock and removed with it."""
    deadline = time.monotonic() + BUILD_TIMEOUT.total_seconds()
    # Not in a thread: a cancelled caller would lose the lock.
    while (lock := create_and_try_lock(folder)) is None:
        if time.monotonic() > deadline:
            raise UvError("another worker of this host has been building it for too long")
        await asyncio.sleep(_LOOK_EVERY)
    try:
        yield
    finally:
        try:
            await run_in_thread(shutil.rmtree, folder, ignore_errors=True)
        finally:
            lock.release()


def _write_inputs(partial: Path, work: Path, requirements: str, options: Sequence[str]) -> bool:
    """Write the lists into `work`, and tell whether the list is exactly what is to be installed.

    It is not if the project was deployed with another version of Playwright: then uv has to find out what still fits.
    """
    for left in partial.iterdir():
        shutil.rmtree(left, ignore_errors=True)
    work.mkdir()
    exact = any(line.split(" ")[0] == pinned_playwright() for line in requirements.splitlines())
    if not exact:
        requirements = _without_playwright(requirements)
    (work / "requirements.txt").write_text(requirements)
    (work / "index.txt").write_text("\n".join([*options, *([] if exact else [pinned_playwright()]), ""]))
    (work / "held.txt").write_text(pinned_playwright() + "\n")
    return exact


def _without_playwright(requirements: str) -> str:
    """Return the list without Playwright and its hashes, which are indented below it."""
    kept: list[str] = []
    dropping = False
    for line in requirements.splitlines():
        if not line.startswith(" "):
            dropping = line.startswith("playwright==")
        if not dropping:
            kept.append(line)
    return "\n".join([*kept, ""])


def _publish(made: Path, target: Path) -> None:
    # The target may exist if its interpreter was removed and is now installed again.
    shutil.rmtree(target, ignore_errors=True)
    made.rename(target)


def _remove_unused(root: Path) -> None:
    oldest = time.time() - MAX_UNUSED_AGE.total_seconds()
    for folder in root.iterdir():
        with contextlib.suppress(OSError):  # Another process may be removing it, too.
            if folder.name.startswith(_PARTIAL):
                remove_if_abandoned(folder)
            elif folder.stat().st_mtime < oldest:
                leaving = folder.rename(root / f"{_PARTIAL}{uuid.uuid4().hex}")  # Nobody may find it half removed.
                shutil.rmtree(leaving, ignore_errors=True)
