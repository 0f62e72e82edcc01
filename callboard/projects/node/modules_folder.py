"""The packages in the folder of a project in TypeScript, `node_modules`: for editors, tests and `callboard run`.

It holds what `package.json` lists, devDependencies included, and what user code finds on a Machine: Playwright's types,
and Callboard's own packages. These have their types there, and for their code a line that leads to this installation of
Callboard, so that a test has the same classes as the API that it calls. Nothing else of Playwright's is there.

A `node_modules` that somebody else has made, such as `npm install`, is given ours. All that is in it stays, Playwright
included, but for packages of Callboard's own names.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from callboard.machines.box import driver_program, node_program
from callboard.machines.package_box import kept
from callboard.machines.runner.main import RUNTIME
from callboard.projects.languages import PACKAGE_JSON
from callboard.projects.node.packages import LOCK, check_locks
from callboard.projects.node.tools import OUR_PACKAGES, require_tools
from callboard.projects.processes import run_process
from callboard.schemas.errors import ProjectError
from callboard.schemas.workflow.base import clip

MODULES = "node_modules"
_MARK = Path("@callboard", "runtime", "installed.json")
"""It says what the folder was made from, and is gone if npm removes what it does not know."""
_OURS = ("@callboard/runtime", "@intuned/browser", "@intuned/runtime")
_PLAYWRIGHT = ("playwright", "playwright-core")
_STUB = "ofCallboard"
"""Key in the `package.json` of a package that stands for one of Playwright's."""
_LISTS = ("dependencies", "devDependencies", "optionalDependencies")
_QUIET = ("--no-audit", "--no-fund", "--loglevel=error")
_TIMEOUT = timedelta(minutes=10)
_LONGEST = 500


async def ensure_modules(folder: Path, say: Callable[[str], None]) -> Path:
    """Return the project's `node_modules`, which is made if there is none or it is out of date.

    Args:
        folder: The project folder, whose language is TypeScript.
        say: Is given a line before packages are installed.

    Raises:
        ProjectError: It cannot be made.
    """
    modules, tools = folder / MODULES, require_tools()
    if modules.is_symlink():
        raise ProjectError(
            f"{modules} is a link, so that Callboard would write into a folder elsewhere. Remove the link; then "
            "`callboard venv` makes a folder in its place."
        )
    package = _read(folder / PACKAGE_JSON)
    core = driver_program().parent / "package"
    ours = [core / PACKAGE_JSON, *(file for name in _OURS for file in _types(OUR_PACKAGES / name))]
    installed = {
        "version": version("callboard"),
        "core": str(core),
        "compiler": str(Path(__file__).with_name("compile.js")),
        "tools": str(tools),
        "ours": str(OUR_PACKAGES),
        "types": hashlib.sha256(b"\0".join(file.read_bytes() for file in ours)).hexdigest(),
    }
    lists = {name: _listed(folder, package.get(name)) for name in _LISTS}
    check_locks(folder, package)  # a deploy refuses the same
    lock = folder / LOCK
    digest = hashlib.sha256(json.dumps([lists, lock.read_text() if lock.exists() else None]).encode()).hexdigest()
    mark = modules / _MARK
    before = _read(mark) if mark.exists() else None
    is_own = before["packages"] is not None if before else not modules.exists()
    wanted = {**installed, "packages": digest if is_own else None}
    if before == wanted:
        return modules
    if is_own and (before is None or before["packages"] != digest):
        say(
            f"Making {modules}, as {'there is none yet' if before is None else 'it is out of date'}, for `callboard "
            "run`, tests and editors. It takes some seconds, and longer where packages have to be fetched first."
        )
        await _install(folder, lists, tools, modules)
    await asyncio.to_thread(_add_ours, modules, wanted)
    return modules


def _read(file: Path) -> dict[str, Any]:
    """Read a file with a JSON object. Raises ProjectError."""
    try:
        found: Any = json.loads(file.read_text())
    except ValueError as error:
        raise ProjectError(f"{file}: this is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise ProjectError(f"{file}: this is not a JSON object.")
    return cast("dict[str, Any]", found)


def _listed(folder: Path, listed: Any) -> dict[str, Any]:
    """Return the packages of a list that npm has to install. A path in it is one from the project's folder."""
    found = cast("dict[str, Any]", listed) if isinstance(listed, dict) else {}
    return {
        name: f"file:{folder / wanted.removeprefix('file:')}" if str(wanted).startswith("file:") else wanted
        for name, wanted in found.items()
        if name not in (*_OURS, *_PLAYWRIGHT)
    }


async def _install(folder: Path, lists: Mapping[str, dict[str, Any]], tools: Path, modules: Path) -> None:
    """Have npm make `modules` anew. It executes no code of packages, so it needs no box."""
    with tempfile.TemporaryDirectory(prefix="callboard-modules-") as scratch:
        made = Path(scratch) / MODULES
        if any(lists.values()):
            (Path(scratch) / PACKAGE_JSON).write_text(json.dumps({"private": True, **lists}))
            if (lock := folder / LOCK).exists():
                shutil.copyfile(lock, Path(scratch) / lock.name)
            await _run_npm(tools, Path(scratch))
        made.mkdir(exist_ok=True)
        await asyncio.to_thread(_replace, modules, made)


async def _run_npm(tools: Path, scratch: Path) -> None:
    npm = tools / MODULES / "npm" / "bin" / "npm-cli.js"
    command = [node_program(), npm, "install", "--ignore-scripts", "--install-links", *_QUIET]
    registry = os.environ.get("CALLBOARD_NPM_REGISTRY")
    environment = os.environ | ({"npm_config_registry": registry} if registry else {})
    try:
        ended = await run_process(
            kept([str(part) for part in command]), cwd=scratch, environment=environment, timeout=_TIMEOUT
        )
    except TimeoutError:
        raise ProjectError(
            f"{MODULES} cannot be made: npm has not ended within {_TIMEOUT.total_seconds() / 60:g} minutes."
        ) from None
    if ended.code:
        said = " ".join(line.removeprefix("npm error ") for line in ended.stderr.strip().splitlines()[:5])
        raise ProjectError(f"{MODULES} cannot be made: {clip(said or f'npm has ended with {ended.code}', _LONGEST)}")


def _replace(modules: Path, made: Path) -> None:
    """Put `made` in the place of `modules`: all of it, or nothing."""
    if modules.exists():
        shutil.rmtree(modules)
    try:
        shutil.move(made, modules)
    except BaseException:
        shutil.rmtree(modules, ignore_errors=True)
        raise


def _add_ours(modules: Path, installed: Mapping[str, Any]) -> None:
    """Write what user code finds on a Machine into `modules`, and that it is there."""
    for name in _OURS:
        source, target = OUR_PACKAGES / name, modules / name
        _make_empty(target)
        for file in _types(source):
            shutil.copyfile(file, target / file.name)
        about = _read(source / PACKAGE_JSON) | {"version": installed["version"]}
        (target / PACKAGE_JSON).write_text(json.dumps(about))
        for code in source.glob("index.*js"):
            (target / code.name).write_text(_leading_to(code))
    core = Path(installed["core"])
    for name in _PLAYWRIGHT:
        target = modules / name
        if target.exists() and not _is_stub(target):
            continue  # programs of the project may need it, such as Playwright's own tests
        _make_empty(target)
        (target / "index.d.ts").write_text("export * from 'playwright-core';\n")
        about = {"name": name, "version": _read(core / PACKAGE_JSON)["version"], "types": "index.d.ts"}
        (target / PACKAGE_JSON).write_text(json.dumps({**about, "main": "index.js", _STUB: True}))
        (target / "index.js").write_text(_leading_to(core / "index.js"))
        if name == "playwright-core":
            shutil.copytree(core / "types", target / "types")
            shutil.copyfile(core / "index.d.ts", target / "index.d.ts")
    zod = modules / "zod"  # code imports it without naming it, as `compile.js` says
    if not zod.exists():
        zod.unlink(missing_ok=True)
        zod.symlink_to(Path(installed["tools"]) / MODULES / "zod")
    node = modules / ".bin" / "node"  # `npm test` finds it first
    node.parent.mkdir(exist_ok=True)
    node.unlink(missing_ok=True)
    node.symlink_to(node_program())
    run_api = json.dumps(str(RUNTIME / "node" / "run_api.js"))
    (modules / "@callboard" / "runtime" / "test.js").write_text(
        f"'use strict';\nexports.runApi = require({run_api}).runApiOf(require('./{_MARK.name}'));\n"
    )
    (modules / _MARK).write_text(json.dumps(installed))


def _make_empty(folder: Path) -> None:
    """Make the folder of a package in place of whatever is there. What a link leads to, as those of pnpm do, stays."""
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _is_stub(package: Path) -> bool:
    about = package / PACKAGE_JSON
    return about.is_file() and _STUB in _read(about)


def _types(package: Path) -> list[Path]:
    return [package / PACKAGE_JSON, *sorted(package.glob("*.d.ts"))]


def _leading_to(code: Path) -> str:
    if code.suffix == ".mjs":
        return f"export * from {json.dumps(code.as_uri())};\n"
    return f"'use strict';\nmodule.exports = require({json.dumps(str(code))});\n"
