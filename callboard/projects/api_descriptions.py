"""Finding out what the APIs of a version take, from their code, in a box.

An annotation means something only where its names are, so the project's code is executed: in the environment that it
runs in, within the walls that stand around its packages, without any secret, and with limits of time, memory and
output. What it says is checked as data of a stranger. Whatever goes wrong leaves an API without a schema, and fails no
deploy.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from callboard.machines.package_box import PackageBox
from callboard.machines.runner import main as runner_main
from callboard.projects.built import MOST_OF_VERSION, Described, ResolvedDependencies, too_many_schemas
from callboard.projects.code_checks import ApiCode
from callboard.projects.input_schemas import ApiDescription, ApiDescriptions, InputSchema
from callboard.projects.manifest import DeployWarning
from callboard.projects.parameter_check import SchemaError, check_schema, read_json
from callboard.projects.processes import run_in_thread, run_process
from callboard.schemas.errors import ConfigurationError

_WITHIN = timedelta(seconds=75)
"""How long the process may take. It gives up by itself before (`callboard_runtime.input_schemas.ALL_WITHIN`)."""
_MEMORY = 1024**3
"""Most bytes of memory that it may take, with all that it has started."""
_LONGEST_PROBLEM = 300
_IN_BOX = "/tmp"  # noqa: S108  # in the box, this is a folder of its own


async def describe_apis(
    files: Path,
    code: Mapping[str, ApiCode],
    dependencies: ResolvedDependencies | None,
    box: PackageBox | None,
    scratch: Path,
) -> Described:
    """Return the docstrings and the schemas of a project's APIs.

    The project's code is executed only if one of them has an annotation.

    Args:
        files: The unpacked version. Nothing is written there.
        code: What the text of its APIs says, by their names.
        dependencies: The environment of the version, which was built on this host; None for Callboard's own
            interpreter and Playwright.
        box: What makes the box around the code. None: nothing is executed, and there are no schemas.
        scratch: A folder for files of the box, which exists.
    """
    annotated = [api for api, said in code.items() if said.annotated]
    told = await _read_annotations(files, annotated, dependencies, box, scratch) if annotated else {}
    return described(
        {api: told.get(api) for api in code},
        files={api: f"api/{api}.py" for api in code},
        docstrings={api: text.docstring for api, text in code.items()},
    )


def described(
    told: Mapping[str, InputSchema | SchemaError | None],
    *,
    files: Mapping[str, str],
    docstrings: Mapping[str, str | None] = MappingProxyType({}),
) -> Described:
    """Return what is known of APIs, given the schema of each, or why there is none, and the file that each is in."""
    found: dict[str, ApiDescription] = {}
    warnings: list[DeployWarning] = []
    for api, said in told.items():
        if isinstance(said, SchemaError):
            message = f"its parameters are not described and not checked: {said}"
            warnings.append(DeployWarning(file=files[api], message=message))
        schema = said if isinstance(said, dict) else None
        found[api] = ApiDescription(docstring=docstrings.get(api), input_schema=schema)
    return Described(apis=ApiDescriptions(apis=found), warnings=tuple(warnings))


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
    ended_early = SchemaError("the process that reads them was ended; its memory may have been used up")
    lines = dict(zip(apis, ended.stdout.splitlines(), strict=False))
    return {**dict.fromkeys(apis, ended_early), **await read_lines(lines)}


async def read_lines(lines: Mapping[str, str]) -> dict[str, InputSchema | SchemaError | None]:
    """Return what was said of APIs, a line each."""
    told: dict[str, InputSchema | SchemaError | None] = {}
    room = MOST_OF_VERSION
    for api, line in lines.items():
        # This comes before a schema is checked, as there may be any number of them, each with seconds of work.
        room -= len(line)
        told[api] = too_many_schemas() if room < 0 else await run_in_thread(read_line, line)
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
