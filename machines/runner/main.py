"""Start of the child: `python -I -S main.py FD KIND SITE_PACKAGES SCRATCH`. Decides what user code can import.

`-I -S` leaves nothing on `sys.path` but the standard library. Added are our `intuned_runtime` and packages:

    ours    from the worker's environment, by name, Playwright with what it needs. Nothing else of that environment can
            be found from a project, so its modules may have any name, and none of ours is imported by mistake.
    own     all of the project's own environment, which has a Playwright in it, and nothing of ours.

Nobody reads SCRATCH here: whoever looks for the processes of a Machine finds this one by it (see `machines.sweep`).
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
FROM_WORKER = frozenset({"playwright", "greenlet", "pyee", "typing_extensions"})
"""Playwright and its dependencies."""
_MAGIC = b"\0callboard\0"
_MARK = 16
_PR_SET_DUMPABLE = 4


class WorkerPackages:
    """Finds the few packages that come from the worker's environment; asked last."""

    def __init__(self, site_packages: str) -> None:
        self._path = [site_packages]

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Importlib's protocol. Submodules are found by their package's own path, not here."""
        return PathFinder.find_spec(name, self._path, target) if name in FROM_WORKER else None


def _add_own_environment(site_packages: str) -> None:
    """What Python does for an environment when it starts, which `-S` left out; without packages of user and system."""
    site.addsitedir(site_packages)
    sys.prefix = sys.exec_prefix = str(Path(site_packages).parents[2])


def _forbid_inspection() -> None:
    """Do what `security.inspection` does, which is not to be found from here: close this process to its user's others.

    Logins and the variables of the project are in its memory, and projects share a user.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"this process cannot be closed to others of its user: {os.strerror(error)}")


def main() -> None:
    """See the module's docstring."""
    _forbid_inspection()
    mark = os.urandom(_MARK)
    os.write(1, _MAGIC + mark)  # before anything else is printed: see `lines`
    fd, kind, site_packages = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    os.set_inheritable(fd, False)  # noqa: FBT003  # the browser and whatever user code starts must not hold our end
    here = Path(__file__).parent
    if kind == "own":
        _add_own_environment(site_packages)
    else:
        sys.meta_path.append(WorkerPackages(site_packages))
    sys.path.insert(0, str(here / "site"))
    sys.argv = [""]
    spec = importlib.util.spec_from_file_location(OURS, here / "__init__.py", submodule_search_locations=[str(here)])
    if spec is None:
        raise ImportError(f"cannot load {here}")
    sys.modules[OURS] = importlib.util.module_from_spec(spec)
    child = importlib.import_module(f"{OURS}.child")
    child.main(fd, mark)


if __name__ == "__main__":
    main()
