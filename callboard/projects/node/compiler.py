"""Compiling the functions of a project in TypeScript, in a box: each becomes one file, with all that it imports.

esbuild reads what the project says (`compile.js`). Then Node loads each file, to see whether there is a function in it
(`look.js`), which executes the project's code: without any variable of the project, and within limits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from callboard.machines.box import node_program
from callboard.machines.package_box import PackageBox
from callboard.projects.languages import PACKAGE_JSON
from callboard.projects.manifest import DeployWarning
from callboard.projects.node.tools import OUR_PACKAGES, require_tools
from callboard.projects.processes import ProcessResult, run_in_thread, run_process
from callboard.schemas.errors import ProjectError
from callboard.schemas.machine_sizes import MEMORY_OF_SIZE
from callboard.schemas.workflow.base import clip

_COMPILE = Path(__file__).with_name("compile.js")
_LOOK = Path(__file__).with_name("look.js")
_COMPILE_WITHIN = timedelta(minutes=5)
_LOOK_WITHIN = timedelta(seconds=60)
_MEMORY = MEMORY_OF_SIZE["large"]
_SHOWN = 10
"""Most errors that are told of one kind."""
_LONGEST = 500
_UNRESOLVED = re.compile(r'Could not resolve "((?:@[^"/]+/)?[^"/.][^"/]*)[^"]*"')
"""What esbuild says of an import of a package that is not there."""
_IN_BOX = "/tmp"  # noqa: S108  # in the box, this is a folder of its own


@dataclass(frozen=True)
class NodeBox:
    """Node as it executes one of our scripts for a project, in a box."""

    box: PackageBox
    scratch: Path
    """A folder for files of the box, which exists."""

    async def run(
        self, script: Path, order: Mapping[str, Any], *, read: Sequence[Path], write: Sequence[Path], within: timedelta
    ) -> ProcessResult:
        """Execute a script of ours with this order, and return how it has ended.

        Raises:
            TimeoutError: It has not ended in time.
            OSError: It cannot be started.
            ConfigurationError: The settings want walls that cannot stand here.
        """
        node, file = node_program(), self.scratch / f"{script.stem}.json"
        await run_in_thread(file.write_text, json.dumps(order))
        command = await self.box.command(
            [str(node), str(script), str(file)],
            read=(script, file, *node_folders(node), *read),
            write=write,
            interpreters=(),
            scratch=self.scratch,
            memory_limit=_MEMORY,
        )
        variables = {"LANG": "C.UTF-8", "HOME": _IN_BOX, "TMPDIR": _IN_BOX}
        return await run_process(command, cwd=self.scratch, environment=variables, timeout=within)


def node_folders(node: Path) -> tuple[Path, ...]:
    """Return what a box needs to start this Node, besides the system's programs."""
    return tuple({path for path in (node.parent, node.resolve().parent) if not path.is_relative_to("/usr")})


@dataclass(frozen=True)
class Compilation:
    """What came of compiling."""

    outside: tuple[str, ...]
    """The packages that are not in the compiled code, as they have native code, or read files beside themselves."""
    warnings: tuple[DeployWarning, ...]


async def compile_functions(
    files: Path, functions: Mapping[str, str], node: NodeBox, target: Path, modules: Path | None
) -> Compilation:
    """Compile the functions of a version into the folder `target`.

    Args:
        files: The unpacked version. Nothing is written there.
        functions: By name, such as `api/list`, the file below `files` that a function is in.
        node: What executes esbuild and the code.
        target: The folder for `api/list.cjs` and so on, which is made.
        modules: The folder that has `node_modules` with the project's packages; None if it has none.

    Raises:
        ProjectError: Something does not compile, or a file has no function; the message names files and lines.
        ConfigurationError: The settings want walls that cannot stand here.
    """
    tools = require_tools()
    await run_in_thread(target.mkdir)
    order = {
        "root": str(files),
        "entries": dict(functions),
        "target": str(target),
        "tools": str(tools),
        "ours": str(OUR_PACKAGES),
        "modules": modules and str(modules / "node_modules"),
    }
    packages = () if modules is None else (modules,)
    try:
        ended = await node.run(
            _COMPILE, order, read=(files, tools, OUR_PACKAGES, *packages), write=(target,), within=_COMPILE_WITHIN
        )
    except TimeoutError:
        within = _COMPILE_WITHIN.total_seconds() / 60
        raise ProjectError(f"The project could not be compiled within {within:g} minutes.") from None
    except OSError as error:
        raise ProjectError(f"The project could not be compiled: Node does not start ({error.strerror}).") from error
    if ended.code:
        reason = next(reversed(ended.stderr.strip().splitlines()), f"exit code {ended.code}")
        raise ProjectError(f"The project could not be compiled: {clip(reason, _LONGEST)}")
    told = cast("dict[str, list[Any]]", json.loads(ended.stdout))
    if told["errors"]:
        raise ProjectError(_several([str(_describe(error)) for error in told["errors"]]))
    warnings = [_describe(warning) for warning in told["warnings"][:_SHOWN]]
    warnings += await _look_for_functions(functions, node, target, modules)
    return Compilation(outside=tuple(told["outside"]), warnings=tuple(warnings))


async def _look_for_functions(
    functions: Mapping[str, str], node: NodeBox, target: Path, modules: Path | None
) -> list[DeployWarning]:
    order = {"folder": str(target), "functions": list(functions), "modules": modules and str(modules)}
    packages = () if modules is None else (modules,)
    try:
        ended = await node.run(_LOOK, order, read=(target, *packages), write=(), within=_LOOK_WITHIN)
        lines = ended.stdout.splitlines()
    except (TimeoutError, OSError):
        lines = []
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        said = _parse(line)
        if isinstance(of := said.get("of"), str):
            found[of] = said
    missing: list[str] = []
    warnings: list[DeployWarning] = []
    for function, file in functions.items():
        said = found.get(function, {})
        if "error" in said:
            reason = clip(str(said["error"]), _LONGEST)
            warnings.append(DeployWarning(file=file, message=f"it could not be loaded in the deploy: {reason}"))
        elif "type" not in said:
            message = f"loading it ends the process, or does not end within {_LOOK_WITHIN.total_seconds():g} seconds"
            warnings.append(DeployWarning(file=file, message=message))
        elif said["type"] != "function":
            missing.append(
                f"{file}: its default export is no function. Write `export default async function (…) {{ … }}`, or "
                "move what is not called by name out of its folder."
            )
    if missing:
        raise ProjectError(_several(missing))
    return warnings


def _parse(line: str) -> dict[str, Any]:
    """Return what a line says; nothing if it is none of ours, as the code may print, too."""
    try:
        said: Any = json.loads(line)
    except ValueError:
        return {}
    return cast("dict[str, Any]", said) if isinstance(said, dict) else {}


def _describe(message: Mapping[str, Any]) -> DeployWarning:
    text = str(message["text"])
    if (missing := _UNRESOLVED.fullmatch(text)) is not None:
        text = f"the package {missing[1]} is not among the dependencies of {PACKAGE_JSON}"
    return DeployWarning(file=message["file"] or PACKAGE_JSON, line=message["line"], message=clip(text, _LONGEST))


def _several(sentences: Sequence[str]) -> str:
    more = len(sentences) - _SHOWN
    return "\n".join([*sentences[:_SHOWN], *([f"There are {more} more like these."] if more > 0 else [])])
