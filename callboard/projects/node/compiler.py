"""Compiling the functions of a project in TypeScript, in a box: each becomes one file, with all that it imports.

esbuild reads what the project says (`compile.js`). Then Node loads each file, to see whether there is a function in it
(`look.js`), which executes the project's code: without any variable of the project, and within limits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from callboard.machines.box import node_files, node_program
from callboard.machines.package_box import PackageBox, kept
from callboard.machines.runner.main import RUNTIME
from callboard.projects.languages import PACKAGE_JSON
from callboard.projects.manifest import DeployWarning
from callboard.projects.node.tools import OUR_PACKAGES, require_tools
from callboard.projects.processes import ProcessResult, run_in_thread, run_process
from callboard.schemas.errors import ProjectError
from callboard.schemas.machine_sizes import MEMORY_OF_SIZE
from callboard.schemas.workflow.base import clip

_COMPILE = Path(__file__).with_name("compile.js")
_LOOK = Path(__file__).with_name("look.js")
_READER = RUNTIME / "node" / "parameters_schema.js"
_COMPILE_WITHIN = timedelta(minutes=5)
_LOOK_WITHIN = timedelta(seconds=60)
_MEMORY = MEMORY_OF_SIZE["large"]
_SHOWN = 10
"""Most errors that are told of one kind."""
_LONGEST = 500
_UNRESOLVED = re.compile(r'Could not resolve "((?:@[^"/]+/)?[^"/.][^"/]*)(/[^"]*)?"')
"""What esbuild says of an import of a package that is not there."""
_IN_BOX = "/tmp"  # noqa: S108  # in the box, this is a folder of its own


@dataclass(frozen=True)
class NodeBox:
    """Node as it executes one of our scripts for a project, in a box."""

    box: PackageBox
    scratch: Path
    """A folder for files of the box, which exists."""

    async def run(
        self,
        script: Path,
        order: Mapping[str, Any],
        *,
        read: Sequence[Path],
        write: Sequence[Path],
        within: timedelta,
        connects: bool,
    ) -> ProcessResult:
        """Execute a script of ours with this order, and return how it has ended; see `PackageBox.command`.

        Raises:
            TimeoutError: It has not ended in time.
            OSError: It cannot be started.
            ConfigurationError: The settings want walls that cannot stand here.
        """
        node, file = node_program(), self.scratch / f"{script.stem}.json"
        await run_in_thread(file.write_text, json.dumps(order))
        command = await self.box.command(
            [str(node), str(script), str(file)],
            read=(script, file, *node_files(node), *read),
            write=write,
            interpreters=(),
            scratch=self.scratch,
            memory_limit=_MEMORY,
            connects=connects,
        )
        variables = {"LANG": "C.UTF-8", "HOME": _IN_BOX, "TMPDIR": _IN_BOX}
        return await run_process(command, cwd=self.scratch, environment=variables, timeout=within)


@dataclass(frozen=True)
class Compilation:
    """What came of compiling."""

    outside: tuple[str, ...]
    """The packages that are not in the compiled code, as they have native code, or read files beside themselves."""
    parameters: Mapping[str, str]
    """Of each API that could be loaded, what its code says of its parameters: a line as
    `callboard_runtime.input_schemas` prints it."""
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
    order = _order(files, functions, target, modules)
    await run_in_thread(target.mkdir)
    read = (files, Path(order["tools"]), OUR_PACKAGES, *(() if modules is None else (modules,)))
    told = await _compiled(
        node.run(_COMPILE, order, read=read, write=(target,), within=_COMPILE_WITHIN, connects=False)
    )
    warnings = [_describe(warning) for warning in told["warnings"][:_SHOWN]]
    order = _look_order(functions, target, modules)
    read = (target, Path(order["tools"]), _READER.parent, *(() if modules is None else (modules,)))
    try:
        ended = await node.run(_LOOK, order, read=read, write=(), within=_LOOK_WITHIN, connects=True)
        said = await run_in_thread(_said, ended.stdout, functions)
    except (TimeoutError, OSError):
        said = {}
    return Compilation(
        outside=tuple(told["outside"]),
        parameters=_parameters(said),
        warnings=(*warnings, *_check_functions(functions, said)),
    )


async def read_parameters_here(api: str, file: str, folder: Path, scratch: Path, variables: Mapping[str, str]) -> str:
    """Return what the code of an API says of its parameters, on its author's own host: a line as in `Compilation`.

    It is empty if the code cannot be loaded, which a call of it tells.

    Args:
        api: The API, such as `shop/list`.
        file: The file that it is in, below `folder`.
        folder: The project, with its `node_modules`.
        scratch: An empty folder.
        variables: All variables that the code has.

    Raises:
        ProjectError: It does not compile.
    """
    target, order = scratch / "compiled", scratch / "look.json"
    await compile_here(folder, {f"api/{api}": file}, target)
    await run_in_thread(order.write_text, json.dumps(_look_order([f"api/{api}"], target, folder)))
    command = kept([str(node_program()), str(_LOOK), str(order)])
    try:
        ended = await run_process(command, cwd=folder, environment=variables, timeout=_LOOK_WITHIN)
    except TimeoutError:
        return ""
    return _parameters(_said(ended.stdout, [f"api/{api}"])).get(api, "")


async def compile_here(folder: Path, functions: Mapping[str, str], target: Path) -> None:
    """Compile functions of a project for its author's own host: in no box, and without a look at what they are.

    Args:
        folder: The project, with its `node_modules`.
        functions: By name, the file below `folder` that a function is in.
        target: The folder for `api/list.cjs` and so on, which is made. A file is written beside it.

    Raises:
        ProjectError: Something does not compile; the message names files and lines.
    """
    order = {**_order(folder, functions, target, folder), "local": True}
    file = target.with_name("compile.json")
    await run_in_thread(file.write_text, json.dumps(order))
    command = kept([str(node_program()), str(_COMPILE), str(file)])
    await _compiled(run_process(command, cwd=folder, environment={}, timeout=_COMPILE_WITHIN))


def _order(files: Path, functions: Mapping[str, str], target: Path, modules: Path | None) -> dict[str, Any]:
    return {
        "root": str(files),
        "entries": dict(functions),
        "target": str(target),
        "tools": str(require_tools()),
        "ours": str(OUR_PACKAGES),
        "modules": modules and str((modules / "node_modules").resolve()),
    }


async def _compiled(process: Awaitable[ProcessResult]) -> dict[str, list[Any]]:
    """Return what the process that compiles has told. Raises ProjectError if something does not compile."""
    try:
        ended = await process
    except TimeoutError:
        within = _COMPILE_WITHIN.total_seconds() / 60
        raise ProjectError(f"The project could not be compiled within {within:g} minutes.") from None
    except OSError as error:
        raise ProjectError(f"The project could not be compiled: Node does not start ({error.strerror}).") from error
    if ended.code:
        reason = next(reversed(ended.stderr.strip().splitlines()), f"exit code {ended.code}")
        raise ProjectError(f"The project could not be compiled: {clip(reason, _LONGEST)}")
    try:
        told = cast("dict[str, list[Any]]", json.loads(ended.stdout))
    except ValueError:
        raise ProjectError("The project could not be compiled: there is more to tell of it than can be read.") from None
    if told["errors"]:
        raise ProjectError(_several([str(_describe(error)) for error in told["errors"]]))
    return told


def _look_order(functions: Iterable[str], target: Path, modules: Path | None) -> dict[str, Any]:
    return {
        "folder": str(target),
        "functions": list(functions),
        "modules": modules and str(modules),
        "reader": str(_READER),
        "tools": str(require_tools()),
    }


class _Said(BaseModel):
    """What `look.js` has said of a function, or code of the project in its name."""

    of: str
    type: str | None = None
    error: str | None = None
    parameters: str | None = None


def _said(output: str, functions: Iterable[str]) -> dict[str, _Said]:
    """Return what was said last of each of these functions. Other lines are of code that prints, too."""
    named, found = set(functions), dict[str, _Said]()
    for line in output.split("\n"):
        with suppress(ValidationError):
            said = _Said.model_validate_json(line)
            if said.of in named:
                found[said.of] = said
    return found


def _parameters(found: Mapping[str, _Said]) -> dict[str, str]:
    """Return what was said of the parameters of APIs, by their names."""
    said = {of.removeprefix("api/"): each.parameters for of, each in found.items() if of.startswith("api/")}
    return {api: parameters for api, parameters in said.items() if parameters is not None}


def _check_functions(functions: Mapping[str, str], found: Mapping[str, _Said]) -> list[DeployWarning]:
    """Return warnings about functions that could not be loaded. Raises ProjectError if one is none."""
    missing: list[str] = []
    warnings: list[DeployWarning] = []
    for function, file in functions.items():
        said = found.get(function, _Said(of=function))
        if said.error is not None:
            reason = clip(said.error, _LONGEST)
            warnings.append(DeployWarning(file=file, message=f"it could not be loaded in the deploy: {reason}"))
        elif said.type is None:
            message = f"loading it ends the process, or does not end within {_LOOK_WITHIN.total_seconds():g} seconds"
            warnings.append(DeployWarning(file=file, message=message))
        elif said.type != "function":
            missing.append(
                f"{file}: its default export is no function. Write `export default async function (…) {{ … }}`, or "
                "move what is not called by name out of its folder."
            )
    if missing:
        raise ProjectError(_several(missing))
    return warnings


def _describe(message: Mapping[str, Any]) -> DeployWarning:
    text = str(message["text"])
    if (missing := _UNRESOLVED.fullmatch(text)) is not None:
        part = f", or has no {missing[1]}{missing[2]}" if missing[2] else ""
        text = f"the package {missing[1]} is not among the dependencies of {PACKAGE_JSON}{part}"
    return DeployWarning(file=message["file"] or PACKAGE_JSON, line=message["line"], message=clip(text, _LONGEST))


def _several(sentences: Sequence[str]) -> str:
    more = len(sentences) - _SHOWN
    return "\n".join([*sentences[:_SHOWN], *([f"There are {more} more like these."] if more > 0 else [])])
