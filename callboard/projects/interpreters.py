"""Python interpreters of this host: Callboard's own, and others that a project may need."""

from __future__ import annotations

import contextlib
import json
import platform
import sys
import sysconfig
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from packaging.specifiers import SpecifierSet

from callboard.machines.package_box import kept
from callboard.projects.declaration import satisfies
from callboard.projects.processes import run_process
from callboard.projects.uv import UvError, host_environment, run_uv

OLDEST_PYTHON = "3.12"
"""The oldest minor version of Python that a Machine's own code can run on."""

_LOOKUP_TIMEOUT = timedelta(seconds=60)
_NEWEST_MINOR = 99
_NO_PROJECT = Path("/")
"""Working folder of programs of this host: in a project's folder, its settings for uv would count."""

_DESCRIBE = (
    "import json, platform, sys, sysconfig;"
    "print(json.dumps([platform.python_version(), str(sysconfig.get_config_var('EXT_SUFFIX') or ''), sys.version]))"
)


@dataclass(frozen=True)
class Interpreter:
    """One Python interpreter of this host."""

    executable: Path
    version: str
    """Version of Python, such as `3.13.5`."""
    build: str
    """Identity of the build. Another build may not be able to load the packages of an environment made for this one."""

    @property
    def minor(self) -> str:
        """The minor version, such as `3.13`."""
        return ".".join(self.version.split(".")[:2])


def own_interpreter() -> Interpreter:
    """Return the interpreter that Callboard runs on."""
    suffix = str(sysconfig.get_config_var("EXT_SUFFIX") or "")
    return _make_interpreter(Path(sys.executable), platform.python_version(), suffix, sys.version)


def lowest_minor(requires: SpecifierSet) -> str:
    """Return the lowest minor version that meets `requires` and that a Machine can run.

    If there is none, return `OLDEST_PYTHON`.
    """
    for minor in range(int(OLDEST_PYTHON.partition(".")[2]), _NEWEST_MINOR):
        if any(satisfies(f"3.{minor}.{micro}", requires) for micro in range(_NEWEST_MINOR)):
            return f"3.{minor}"
    return OLDEST_PYTHON


async def choose_interpreter(requires: SpecifierSet) -> Interpreter:
    """Return our interpreter if it meets `requires`, else another of this host that does, else ours all the same.

    Nothing is downloaded: the operator decides whether and from where Python is installed on a host.
    """
    own = own_interpreter()
    if satisfies(own.version, requires):
        return own
    wanted = str(requires & SpecifierSet(f">={OLDEST_PYTHON}"))
    with contextlib.suppress(UvError, OSError):  # There is none, or uv came across one that does not even start.
        look = ("python", "find", "--system", "--no-project", "--no-python-downloads", f"cpython{wanted}")
        found = await run_uv(*look, cwd=_NO_PROJECT, timeout=_LOOKUP_TIMEOUT)
        other = await _inspect(Path(found.strip()))
        if other is not None and satisfies(other.version, requires):
            return other
    return own


async def _inspect(executable: Path) -> Interpreter | None:
    command = kept([str(executable), "-I", "-S", "-c", _DESCRIBE])
    ended = await run_process(command, cwd=_NO_PROJECT, environment=host_environment(), timeout=_LOOKUP_TIMEOUT)
    if ended.code:
        return None
    version, suffix, build = json.loads(ended.stdout)
    return _make_interpreter(executable, version, suffix, build)


def _make_interpreter(executable: Path, version: str, suffix: str, build: str) -> Interpreter:
    return Interpreter(executable=executable, version=version, build=f"{executable.resolve()} {suffix} {build}")
