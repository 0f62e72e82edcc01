"""The zygote of a Machine: a process that has imported what user code needs, and is forked for each Attempt.

It has one thread, so that a fork of it is whole, and does nothing but what the supervisor asks for. It is a child
subreaper: whatever an Attempt's process leaves behind becomes a child of the zygote, and is found without a search.

    {"warm": true}, with a socket to the browser   use Playwright once, so that its code is warm   {"warm"}, a pidfd
    {"import": [name], "variables": [name]}        import modules ahead (see `Imports`)            {"imported", "read"}
    {"fork": true}, with three descriptors         fork a process for user code                    {"forked"}, a pidfd
    {"end": true, "hasEnded": whether by itself}   kill that process and all below it              {"status", "left"}

Each command is one packet, and so is its answer.

What Attempts have imported from their project's own packages is imported ahead here: each Attempt would import it anew,
which takes tenths of a second for some packages. A fork shares what its parent has imported. It does not share threads,
and it cannot safely share descriptors and memory. So each package is tried in a fork first.

The environment variables of the project are set in forks only. So a package that reads one of them as it is imported is
left to the Attempts, and the zygote says which variables those have read that it has imported: it cannot serve an
Attempt in which one of them is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import logging
import os
import random
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from playwright.async_api import Error as PlaywrightError

from . import confinement, inner_box, user_process
from .confinement import Walls
from .folders import set_places
from .inner_box import InnerBox, Inside
from .playwright_wire import Attached
from .process_tree import kill_all

PACKET = 64 * 1024
_IMPORTED_WITHIN = 4.0
"""Seconds for all packages together. The next Attempt may be waiting, so what takes longer is left to it."""
_SUCCEEDED = 42
"""Exit code of a trial that has succeeded. It is not 0, since a module may end its process as it is imported."""
_MOST_NAMES = 500
"""Most names of variables in an answer, which is a packet. Packages read some dozens."""
_MOST_MODULES = 5_000
"""Most modules of an Attempt that are looked at."""


def main(fd: int, packages: Path | None) -> None:
    """Carry out the commands that come over the socket `fd`, until the supervisor ends.

    `packages` is the folder of the project's own packages, if it has any.

    The first packet is no command: it says how each process of user code is made. This returns in the zygote only,
    never in a fork of it.
    """
    commands = socket.socket(fileno=fd)
    inner_box.adopt_orphans()
    setup = json.loads(commands.recv(PACKET) or "{}")
    os.environ.pop("PWD", None)  # bubblewrap sets it, to where no Attempt works
    if setup:
        # What is imported ahead and looks for these finds the places that every Attempt has.
        set_places(Path(setup["folder"]))
        # Where the browser or the supervisor is gone, the supervisor says why, and its words must be the last ones.
        with contextlib.suppress(PlaywrightError, ConnectionError):
            forks = Forks(commands, InnerBox(**setup["innerBox"]) if setup["innerBox"] else None, setup["walls"])
            _serve(commands, forks, Imports(packages), guarded=setup["guarded"])


class Forks:
    """The processes of user code, one at a time, each in an inner box if one is wanted."""

    def __init__(self, commands: socket.socket, box: InnerBox | None, walls: Walls | None) -> None:
        self._commands = commands
        self._box = box
        self._walls = walls
        self._inside: Inside | None = None

    def fork(self) -> bool:
        """Fork, tell the supervisor of the fork, and return whether this is the fork.

        Raises:
            OSError: The box for it cannot be made.
        """
        self._inside = inner_box.fork(self._box, self._restrict, self._tell)
        return self._inside is None

    def _restrict(self) -> None:
        if self._walls is not None:
            confinement.restrict(self._walls)
            confinement.forbid_to_user_code()

    def end(self, *, has_ended: bool) -> int:
        """Kill the process of user code, which may be known to have ended by itself, and return its wait status."""
        inside, self._inside = self._inside, None
        if inside is None:
            raise RuntimeError("there is no process of user code")
        return inner_box.end(inside, has_ended=has_ended)

    def _tell(self, pidfd: int) -> None:
        _send(self._commands, {"forked": True}, pidfd)


class Imports:
    """What this process has imported ahead. Nothing is, where there are no packages of the project's own."""

    def __init__(self, packages: Path | None) -> None:
        self._packages = packages
        """Folder of the project's own packages."""
        self._tried: set[str] = set()
        self.read: set[str] = set()
        """Names of the environment variables that were read by what was imported."""
        self._generators: list[Any] = []
        """Generators of random numbers that packages have made."""
        self._before = set(sys.modules)

    def freeze(self) -> None:
        """Remember what there is now, and keep the garbage collector from it.

        A collection in a fork would otherwise copy every page of memory that it looks at.
        """
        gc.collect()
        self._generators += _generators()
        gc.freeze()
        self._before = set(sys.modules)

    def reseed(self) -> None:
        """Reseed, in a fork, the generators that it shares with its parent. `random` does that with its own."""
        for generator in self._generators:
            if isinstance(generator, random.Random):
                generator.seed()
            elif hasattr(generator, "set_state"):  # numpy's `RandomState`, which may keep the second of two numbers
                generator.set_state({**generator.get_state(legacy=False), "has_gauss": 0})
            else:
                generator.state = type(generator)().state

    def since(self) -> list[str]:
        """Return the names of the modules of the project's own packages that have been imported since `freeze`."""
        if self._packages is None:
            return []
        new = [(name, module) for name, module in list(sys.modules.items()) if name not in self._before]
        return [name for name, module in new[:_MOST_MODULES] if self._is_ours(module)]

    def ahead(self, names: Iterable[str], variables: frozenset[str]) -> None:
        """Import these modules, package by package, where that changes nothing but what is imported.

        What reads one of these environment variables is left out: they are set in forks only.
        """
        deadline = time.monotonic() + _IMPORTED_WITHIN
        packages: dict[str, list[str]] = {}
        for name in names:
            packages.setdefault(name.partition(".")[0], []).append(name)
        for package, modules in packages.items():
            wanted = [name for name in modules if name not in self._tried]
            if wanted and time.monotonic() < deadline:
                self._tried.update(wanted)
                if self._succeeds(wanted, variables, deadline):
                    with _recorded_reads() as read, contextlib.suppress(Exception):
                        self._import(package, wanted)  # it has succeeded a moment ago; else the Attempt will hear
                    self.read |= read
        self.freeze()

    def _is_ours(self, module: ModuleType) -> bool:
        try:
            file = module.__spec__ and module.__spec__.origin
        except Exception:  # noqa: BLE001  # user code may put anything there; such a module was not imported
            return False
        return isinstance(file, str) and self._packages is not None and file.startswith(f"{self._packages}/")

    def _import(self, package: str, names: list[str]) -> bool:
        """Import modules of a package; return whether all of them are of the project's own packages."""
        for name in names:
            if not self._is_ours(importlib.import_module(name)):
                return False
        return package in sys.modules

    def _succeeds(self, names: list[str], variables: frozenset[str], deadline: float) -> bool:
        """Try in a fork whether these modules can be imported, in time and with no effect that a fork would share.

        They must not have read one of these environment variables, either.
        """
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                before = _effects()
                with _recorded_reads() as read:
                    imported = self._import(names[0].partition(".")[0], names)
                if imported and read.isdisjoint(variables) and _effects() == before:
                    status = _SUCCEEDED
            finally:
                os._exit(status)
        pidfd = os.pidfd_open(pid)
        try:
            if not select.select([pidfd], [], [], max(deadline - time.monotonic(), 0))[0]:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)
        status = os.waitpid(pid, 0)[1]
        kill_all()  # what the trial has started
        return os.waitstatus_to_exitcode(status) == _SUCCEEDED


@contextlib.contextmanager
def _recorded_reads() -> Generator[set[str]]:
    """Record the names of the environment variables that are read in the block, also of those that there are not."""
    kind: Any = type(os.environ)
    read, original = set[str](), kind.__getitem__

    def recorded(environ: Any, name: str) -> str:
        read.add(name)
        return original(environ, name)

    kind.__getitem__ = recorded  # `os.getenv`, `get` and `in` come here, too
    try:
        yield read
    finally:
        kind.__getitem__ = original


def _effects() -> tuple[object, ...]:
    """Return what a fork shares with its parent or lacks of it, and what an import may have changed."""
    numbers = range(1, signal.NSIG)
    return (
        len(os.listdir("/proc/self/task")),  # noqa: PTH208  # names are all that is needed
        sorted(os.listdir("/proc/self/fd")),  # noqa: PTH208
        Path("/proc/self/task", str(os.getpid()), "children").read_text(),
        _shared_memory(),
        [signal.getsignal(number) for number in numbers if number in signal.valid_signals()],
        list(logging.getLogger().handlers),
        str(Path.cwd()),
        dict(os.environ),
        sys.stdout,
        sys.stderr,
        list(sys.path),
    )


def _shared_memory() -> list[str]:
    """Return the mappings that a fork has in common with its parent, and can write to: locks lie there, for example."""
    with Path("/proc/self/maps").open() as mappings:
        return [mapping for mapping in mappings if mapping.split(maxsplit=2)[1].startswith("rw-s")]


def _generators() -> list[Any]:
    """Return the generators of random numbers in this process that need a seed.

    What takes numbers from the system needs none (`secrets`, `uuid`), and OpenSSL notices a fork by itself.
    """
    numpy: Any = sys.modules.get("numpy.random")
    kinds = (random.Random,) if numpy is None else (random.Random, numpy.BitGenerator, numpy.RandomState)
    found = [each for each in gc.get_objects() if isinstance(each, kinds)]
    return [each for each in found if not isinstance(each, random.SystemRandom)]


def _serve(commands: socket.socket, forks: Forks, imports: Imports, *, guarded: bool) -> None:
    while packet := _receive(commands):
        command, descriptors = packet
        answer: dict[str, Any]
        if "warm" in command:
            asyncio.run(_warm(socket.socket(fileno=descriptors[0])))
            imports.freeze()
            _send(commands, {"warm": True}, os.pidfd_open(os.getpid()))
            continue
        if "import" in command:
            imports.ahead(command["import"], frozenset(command["variables"]))
            answer = {"imported": True, "read": sorted(imports.read)[:_MOST_NAMES]}
        elif "fork" in command:
            if threading.active_count() > 1:
                raise RuntimeError("the zygote must have one thread, and has more")
            if forks.fork():
                commands.close()
                user_process.main(*descriptors, guarded=guarded, reseed=imports.reseed, imported=imports.since)
            for descriptor in descriptors:
                os.close(descriptor)
            continue  # the fork has answered
        else:
            answer = {"status": forks.end(has_ended=command["hasEnded"]), "left": kill_all()}
        commands.send(json.dumps(answer).encode())


def _send(commands: socket.socket, answer: dict[str, Any], pidfd: int) -> None:
    """Answer with a handle on a process: its number means nothing outside its box."""
    socket.send_fds(commands, [json.dumps(answer).encode()], [pidfd])
    os.close(pidfd)


def _receive(commands: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    data, descriptors, _, _ = socket.recv_fds(commands, PACKET, 3, socket.MSG_CMSG_CLOEXEC)
    return (json.loads(data), descriptors) if data else None


async def _warm(end: socket.socket) -> None:
    """Use what every automation uses, so that its code is loaded before the first fork.

    Once is enough: to do it again makes no Attempt cheaper, and costs processor time of the driver.
    """
    attached = await Attached.over(end)
    context = await attached.browser.new_context()
    page = await context.new_page()
    await page.goto("data:text/html,<li>1</li>")
    await page.evaluate("() => [1, 'a', {b: 2}]")
    await page.locator("li").count()
    await context.close()
    await attached.close()
