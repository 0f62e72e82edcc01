"""What the zygote imports ahead, so that Attempts need not.

What Attempts have imported from their project's own packages is imported in the zygote: each Attempt would import it
anew, which takes tenths of a second for some packages. A fork shares what its parent has imported. It does not share
threads, and it cannot safely share descriptors and memory. So each package is tried in a fork first.

The environment variables of the project are set in forks only. A package that reads one of them as it is imported is
left to the Attempts. The zygote reports all variables that its own imports have read: it cannot serve an Attempt in
which one of these is set.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import random
import select
import signal
import sys
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from .process_tree import kill_all

_IMPORTED_WITHIN = 4.0
"""Seconds for all packages together. The next Attempt may be waiting, so what takes longer is left to it."""
_SUCCEEDED = 42
"""Exit code of a trial that has succeeded. It is not 0, since a module may end its process as it is imported."""
_MOST_MODULES = 5_000
"""Most modules of an Attempt that are looked at."""


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
    """Record the names of environment variables that are read in the block, also of those that do not exist."""
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
