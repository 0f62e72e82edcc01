"""Start a process of a Machine: `python -I -S main.py ROLE KIND SITE_PACKAGES SCRATCH FD [NETWORK]`.

ROLE is `supervisor`, or `zygote` for the process that is forked for user code: here is decided what that can import. A
zygote that has no box is an `unboxed-zygote`. `schemas` is a process that is no Machine's, and tells what parameters
the APIs of the project in the working folder take (`callboard_runtime.input_schemas`): SCRATCH is a file with their
names, and there is no FD.

`-I -S` leaves only the standard library on `sys.path`. This module adds our `intuned_runtime`, and packages by KIND:

    ours    Playwright and what it needs, by name, from the worker's environment. Nothing else of that environment can
            be found from a project, so its modules may have any name, and none of ours is imported by mistake.
    own     all of the project's own environment, which has a Playwright in it, and nothing of ours.
    node    none at all: user code is in TypeScript, and SITE_PACKAGES is empty.

SCRATCH is not read here: it lets `callboard.machines.keeper_process` recognize this process as one of the Machine. FD
is a socket to the process that is served: the worker, or the supervisor. The supervisor's standard input is a socket to
the keeper. NETWORK is given to the supervisor of a Machine with a network of its own: a descriptor that becomes
readable when that has ended.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import site
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

OURS = "_callboard_runner"
RUNTIME = Path(__file__).parents[3] / "runtime"
"""The folder of `intuned_runtime` and `callboard_runtime`, which user code imports from here on every Machine."""
FROM_WORKER = frozenset({"playwright", "greenlet", "pyee", "typing_extensions"})
"""Names of the packages of Playwright and its dependencies."""
_PR_SET_DUMPABLE = 4


class WorkerPackages:
    """Import finder for the few packages that come from the worker's environment. Python asks it last."""

    def __init__(self, site_packages: str) -> None:
        self._path = [site_packages]

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a package, by importlib's protocol. Submodules are found by their package's own path, not here."""
        return PathFinder.find_spec(name, self._path, target) if name in FROM_WORKER else None


def _add_own_environment(site_packages: str) -> None:
    """Set up an environment as Python does at its start without `-S`, but without packages of user and system."""
    site.addsitedir(site_packages)
    sys.prefix = sys.exec_prefix = str(Path(site_packages).parents[2])


def _forbid_inspection() -> None:
    """Forbid other processes of the same user to inspect this one.

    Logins and the variables of the project are in its memory, and projects share a user.
    `callboard.security.inspection` does the same, but cannot be imported here.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"this process cannot be closed to others of its user: {os.strerror(error)}")


def _take_standard_input() -> int:
    """Return a descriptor of the standard input that no child of this process inherits."""
    taken = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    return taken


def main() -> None:
    """Set up the import path and run the process; see the module's docstring."""
    _forbid_inspection()
    role, kind, site_packages, scratch, *descriptors = sys.argv[1:]
    fd, network, *_ = *map(int, descriptors), None, None
    for ours in filter(None, (fd, network)):
        os.set_inheritable(ours, False)  # noqa: FBT003  # the browser and whatever user code starts must not hold it
    here = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(OURS, here / "__init__.py", submodule_search_locations=[str(here)])
    if spec is None:
        raise ImportError(f"cannot load {here}")
    sys.modules[OURS] = importlib.util.module_from_spec(spec)
    if role == "zygote":  # before any code of the project's packages is executed
        importlib.import_module(f"{OURS}.confinement").forbid_in_box()
    if kind == "own":
        _add_own_environment(site_packages)
    elif kind == "ours":
        sys.meta_path.append(WorkerPackages(site_packages))
    sys.path.insert(0, str(RUNTIME))
    sys.argv = [""]
    if role == "schemas":
        importlib.import_module("callboard_runtime.input_schemas").main(Path(scratch).read_text().splitlines())
    if role == "supervisor":
        importlib.import_module(f"{OURS}.supervisor").main(fd, _take_standard_input(), network)
    elif kind == "node":
        importlib.import_module(f"{OURS}.node_zygote").main(fd)
    else:
        importlib.import_module(f"{OURS}.python_zygote").main(fd, Path(site_packages) if kind == "own" else None)


if __name__ == "__main__":
    main()
