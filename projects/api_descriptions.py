"""Finding out what the APIs of a version take: their docstrings from their text, and the rest from code in a box.

An annotation means something only where its names are, so the project's code is executed: in the environment that it
runs in, within the walls that stand around its packages, without any secret, and with limits of time, memory and
output. What it says is checked as data of a stranger. Whatever goes wrong leaves an API without a schema, and fails no
deploy.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import sysconfig
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from machines.package_box import PackageBox
from machines.runner import main as runner_main
from projects.code_checks import find_function, parse_file
from projects.dependencies import ResolvedDependencies
from projects.input_schemas import ApiDescription, ApiDescriptions, InputSchema
from projects.manifest import DeployWarning, Stored
from projects.parameter_check import SchemaError, check_schema, read_json
from projects.processes import run_in_thread, run_process
from schemas.errors import ConfigurationError

_WITHIN = timedelta(seconds=75)
"""How long the process may take. It gives up by itself before (`callboard_runtime.input_schemas.ALL_WITHIN`)."""
_MEMORY = 1024**3
"""Most bytes of memory that it may take, with all that it has started."""
_MOST_OF_VERSION = 256 * 1024
"""Most bytes of the schemas of all APIs of a version."""
_LONGEST_DOCSTRING = 4_000
_LONGEST_PROBLEM = 300
_IN_BOX = "/tmp"  # noqa: S108  # in the box, this is a folder of its own


class Described(Stored):
    """What was found out of the APIs of a version."""

    apis: ApiDescriptions
    warnings: tuple[DeployWarning, ...] = ()
    """One for each API of which an annotation could not be read."""


async def describe_apis(
    files: Path, apis: Sequence[str], dependencies: ResolvedDependencies | None, box: PackageBox | None, scratch: Path
) -> Described:
    """Return the docstrings and the schemas of a project's APIs.

    The project's code is executed only if one of them has an annotation.

    Args:
        files: The unpacked version. Nothing is written there.
        apis: The names of its APIs.
        dependencies: The environment of the version, which was built on this host; None for Callboard's own
            interpreter and Playwright.
        box: What makes the box around the code. None: nothing is executed, and there are no schemas.
        scratch: A folder for files of the box, which exists.
    """
    docstrings, annotated = await run_in_thread(_look_at, files, apis)
    told = await _read_annotations(files, annotated, dependencies, box, scratch) if annotated else {}
    found: dict[str, ApiDescription] = {}
    warnings: list[DeployWarning] = []
    for api in apis:
        said = told.get(api)
        if isinstance(said, SchemaError):
            message = f"its parameters are not described and not checked: {said}"
            warnings.append(DeployWarning(file=f"api/{api}.py", message=message))
        schema = said if isinstance(said, dict) else None
        found[api] = ApiDescription(docstring=docstrings.get(api), input_schema=schema)
    return Described(apis=ApiDescriptions(apis=found), warnings=tuple(warnings))


def check_described(described: Described, apis: Sequence[str]) -> None:
    """Check what another host says that it has found out by `describe_apis`. Raises SchemaError."""
    schemas = [each.input_schema for each in described.apis.apis.values() if each.input_schema is not None]
    if not set(apis).issuperset(described.apis.apis):
        raise SchemaError("the version has no such API")
    if sum(len(json.dumps(schema)) for schema in schemas) > _MOST_OF_VERSION:
        raise _too_many()
    for schema in schemas:
        check_schema(schema)


def _too_many() -> SchemaError:
    return SchemaError(f"the schemas of all APIs have more than {_MOST_OF_VERSION // 1024} KiB together")


def _look_at(files: Path, apis: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the docstrings of the APIs that have one, and the APIs that may have an annotation worth reading."""
    docstrings: dict[str, str] = {}
    annotated: list[str] = []
    for api in apis:
        tree = parse_file(files / "api" / f"{api}.py")
        function = None if tree is None else find_function(tree)
        if tree is None or function is None:
            continue
        is_here = isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        if text := (is_here and ast.get_docstring(function)) or ast.get_docstring(tree):
            docstrings[api] = text[:_LONGEST_DOCSTRING].encode(errors="replace").decode()
        if _may_be_annotated(function):
            annotated.append(api)
    return docstrings, annotated


def is_worth_reading(files: Path, api: str) -> bool:
    """Tell by the text of an API's file whether its parameters may be annotated."""
    tree = parse_file(files / "api" / f"{api}.py")
    function = None if tree is None else find_function(tree)
    return function is not None and _may_be_annotated(function)


def _may_be_annotated(function: ast.AST) -> bool:
    """Tell whether the parameters of what binds the function's name may be annotated."""
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return True  # it comes from elsewhere
    # A decorated function may be one that is given no page first.
    positional = [*function.args.posonlyargs, *function.args.args]
    first = 0 if function.decorator_list else 1
    return any(argument.annotation is not None for argument in positional[first:2])


async def _read_annotations(
    files: Path, apis: Sequence[str], dependencies: ResolvedDependencies | None, box: PackageBox | None, scratch: Path
) -> dict[str, InputSchema | SchemaError | None]:
    """Execute the code of these APIs in its box, and return their schemas, or why there are none."""
    if box is None:
        return dict.fromkeys(apis, SchemaError("this deploy executes no code"))
    names = scratch / "apis.txt"
    await run_in_thread(names.write_text, "\n".join(apis))
    if dependencies is None:
        python, packages = Path(sys.executable), ("ours", sysconfig.get_path("platlib"))
    else:
        python, packages = dependencies.python, ("own", dependencies.site_packages)
    runner = [python, "-I", "-S", "-B", "-X", "utf8", runner_main.__file__, "schemas", *packages, names]
    try:
        command = await box.command(
            list(map(str, runner)),
            read=(files, names),
            write=(),
            interpreters=(python,),
            scratch=scratch,
            memory_limit=_MEMORY,
        )
        ended = await run_process(command, cwd=files, environment=_variables(), timeout=_WITHIN)
    except TimeoutError:
        return dict.fromkeys(apis, SchemaError(f"reading them took longer than {_WITHIN.total_seconds():g} seconds"))
    except ConfigurationError as error:
        return dict.fromkeys(apis, SchemaError(f"their code is executed in a box only. {error.message.rstrip('.')}"))
    except OSError as error:
        return dict.fromkeys(apis, SchemaError(f"the process that reads them cannot be started ({error.strerror})"))
    lines = ended.stdout.splitlines()
    told: dict[str, InputSchema | SchemaError | None] = {}
    room = _MOST_OF_VERSION
    for place, api in enumerate(apis):
        # This comes before a schema is checked, as there may be any number of them, each with seconds of work.
        room -= len(lines[place]) if place < len(lines) else 0
        if room < 0:
            told[api] = _too_many()
        elif place < len(lines):
            told[api] = await run_in_thread(read_line, lines[place])
        else:
            told[api] = SchemaError("the process that reads them was ended; its memory may have been used up")
    return told


def _variables() -> dict[str, str]:
    """Return the environment of the code: none of the project's variables, as a deploy does not know them."""
    kept = {name: os.environ[name] for name in ("PATH", "TZ") if name in os.environ}
    return {**kept, "LANG": "C.UTF-8", "HOME": _IN_BOX, "TMPDIR": _IN_BOX}


def read_line(line: str) -> InputSchema | SchemaError | None:
    """Return what `callboard_runtime.input_schemas` has said of one API, or user code in its name."""
    try:
        said: Any = read_json(line)
        match said:
            case {"schema": None}:
                return None
            case {"schema": schema}:
                return check_schema(schema)
            case {"problem": str(problem)}:
                return SchemaError(" ".join(problem[:_LONGEST_PROBLEM].encode(errors="replace").decode().split()))
            case _:
                return SchemaError("the code has written what is no schema")
    except SchemaError as error:
        return error
