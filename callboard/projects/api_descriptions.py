"""Finding out what the APIs of a version take and return, from their code, in a box.

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
from typing import Any, NamedTuple

from callboard.machines.package_box import PackageBox
from callboard.machines.runner import main as runner_main
from callboard.projects.built import MOST_OF_VERSION, Described, ResolvedDependencies, too_many_schemas
from callboard.projects.code_checks import ApiCode, source_of
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


class Told(NamedTuple):
    """What the code of an API says: schemas, or why there is none."""

    parameters: InputSchema | SchemaError | None
    result: dict[str, Any] | SchemaError | None = None


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
    annotated = [api for api, said in code.items() if said.annotated or said.returns]
    told = await _read_annotations(files, annotated, dependencies, box, scratch) if annotated else {}
    # Where nothing could be executed, there may be nothing that its parameters would have been.
    missed = [api for api, said in told.items() if not code[api].annotated and isinstance(said.parameters, SchemaError)]
    return described(
        {api: Told(None) if api in missed else told.get(api, Told(None)) for api in code},
        files={api: source_of(api) for api in code},
        docstrings={api: text.docstring for api, text in code.items()},
    )


def described(
    told: Mapping[str, Told],
    *,
    files: Mapping[str, str],
    docstrings: Mapping[str, str | None] = MappingProxyType({}),
) -> Described:
    """Return the descriptions of APIs, given what the code of each says, and its file."""
    found: dict[str, ApiDescription] = {}
    warnings: list[DeployWarning] = []
    for api, (parameters, result) in told.items():
        if isinstance(parameters, SchemaError):
            message = f"its parameters are not described and not checked: {parameters}"
            warnings.append(DeployWarning(file=files[api], message=message))
        if isinstance(result, SchemaError):
            warnings.append(DeployWarning(file=files[api], message=f"what it returns is not described: {result}"))
        found[api] = ApiDescription(
            docstring=docstrings.get(api),
            input_schema=parameters if isinstance(parameters, dict) else None,
            result_schema=result if isinstance(result, dict) else None,
        )
    return Described(apis=ApiDescriptions(apis=found), warnings=tuple(warnings))


async def _read_annotations(
    files: Path, apis: Sequence[str], dependencies: ResolvedDependencies | None, box: PackageBox | None, scratch: Path
) -> dict[str, Told]:
    """Execute the code of these APIs in its box, and return what it says."""

    def none_told(why: str) -> dict[str, Told]:
        return dict.fromkeys(apis, Told(SchemaError(why)))

    if box is None:
        return none_told("this deploy executes no code")
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
        return none_told(f"reading them took longer than {_WITHIN.total_seconds():g} seconds")
    except ConfigurationError as error:
        return none_told(f"their code is executed in a box only. {error.message.rstrip('.')}")
    except OSError as error:
        return none_told(f"the process that reads them cannot be started ({error.strerror})")
    lines = dict(zip(apis, ended.stdout.splitlines(), strict=False))
    ended_early = none_told("the process that reads them was ended; its memory may have been used up")
    return {**ended_early, **await read_lines(lines)}


async def read_lines(lines: Mapping[str, str]) -> dict[str, Told]:
    """Return what was said of APIs, a line each."""
    told: dict[str, Told] = {}
    room = MOST_OF_VERSION
    for api, line in lines.items():
        # This comes before a schema is checked, as there may be any number of them, each with seconds of work.
        room -= len(line)
        told[api] = Told(too_many_schemas()) if room < 0 else await run_in_thread(read_line, line)
    return told


def _variables() -> dict[str, str]:
    """Return the environment of the code: none of the project's variables, as a deploy does not know them."""
    kept = {name: os.environ[name] for name in ("PATH", "TZ") if name in os.environ}
    return {**kept, "LANG": "C.UTF-8", "HOME": _IN_BOX, "TMPDIR": _IN_BOX}


def read_line(line: str) -> Told:
    """Return what `callboard_runtime.input_schemas` has said of one API, or user code in its name."""
    try:
        said: Any = read_json(line)
    except SchemaError as error:
        return Told(error)
    if not isinstance(said, dict) or not {"schema", "problem"} & said.keys():
        return Told(SchemaError("the code has written what is no schema"))
    of_result = _schema_in(said, "result", "resultProblem", of_object=False)
    return Told(_schema_in(said, "schema", "problem", of_object=True), of_result)


def _schema_in(said: Any, name: str, problem: str, *, of_object: bool) -> InputSchema | SchemaError | None:
    """Return a schema of a line, or why there is none; None if nothing is said."""
    if isinstance(text := said.get(problem), str):
        return SchemaError(" ".join(text[:_LONGEST_PROBLEM].encode(errors="replace").decode().split()))
    try:
        return None if said.get(name) is None else check_schema(said[name], of_object=of_object)
    except SchemaError as error:
        return error
