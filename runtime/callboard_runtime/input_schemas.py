"""Tell what the APIs of a project take and return: `python -m callboard_runtime.input_schemas API…`.

This runs in the project's folder and environment, and imports the project's code. `auth-sessions/create` stands for
the function that logs in, which is none of its APIs. It writes a line for each API, in
their order: a JSON object with `schema`, of its parameters (null if its annotation says nothing) or, if none can be
made, with `problem`; and in the same way with `result` or `resultProblem`, of what it returns.

The code is imported in a fork. If it hangs, ends the process or writes too much, the API whose turn it was has a
problem, and another fork goes on with the next one.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .annotations import UnreadableError, parameters_schema, result_schema
from .failures import UserCodeError
from .project_code import CREATE, load

EACH_WITHIN = 10.0
"""Seconds in which the code of one API must be imported and its annotation read."""
ALL_WITHIN = 60.0
"""Seconds for all APIs of a project."""
_LONGEST = 256 * 1024
"""Most bytes of what is said of one API."""
_LONGEST_PROBLEM = 300
_TIME_IS_OVER = "the time for all APIs was over before its turn came"


def main(apis: Sequence[str]) -> NoReturn:
    """Write a line for each API to the standard output, which user code does not get."""
    answers = os.dup(1)
    os.dup2(2, 1)
    deadline = time.monotonic() + ALL_WITHIN
    remaining = list(apis)
    while remaining:
        for line in _read_in_fork(remaining, answers, deadline):
            _write(answers, line)
            remaining.pop(0)
    os._exit(0)


def _read_in_fork(apis: Sequence[str], answers: int, deadline: float) -> Generator[str]:
    """Yield the line of each API until one of them has a problem that ends the fork, which is the last line then."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.close(answers)
        _tell_all(apis, writing)
    os.close(writing)
    told = b""
    try:
        for _ in apis:
            until = min(deadline, time.monotonic() + EACH_WITHIN)
            while b"\n" not in told:
                if not select.select([reading], [], [], max(until - time.monotonic(), 0))[0]:
                    late = f"its code took longer than {EACH_WITHIN:g} seconds"
                    yield _problem(_TIME_IS_OVER if until == deadline else late)
                    return
                piece = os.read(reading, _LONGEST)
                if not piece or len(told) > _LONGEST:
                    yield _problem("its schema is too large" if piece else "its code ended the process")
                    return
                told += piece
            line, _, told = told.partition(b"\n")
            yield line.decode("ascii", "replace")
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _tell_all(apis: Sequence[str], writing: int) -> NoReturn:
    root = Path.cwd()
    sys.path.insert(0, str(root))
    try:
        for api in apis:
            _write(writing, _tell(api, root))
    finally:
        os._exit(0)


def _write(descriptor: int, line: str) -> None:
    data = f"{line}\n".encode("ascii", "replace")
    while data:
        data = data[os.write(descriptor, data) :]


def _tell(api: str, root: Path) -> str:
    try:
        function = load(api if api == CREATE else f"api/{api}", root)
    except UserCodeError as error:
        return _problem(str(error))
    except BaseException as error:  # noqa: BLE001  # importing it may do anything
        return _problem(f"its annotation cannot be read ({type(error).__name__})")
    parameters = _read("schema", "problem", parameters_schema, function)
    return json.dumps({**parameters, **_read("result", "resultProblem", result_schema, function)})


def _read(name: str, problem: str, read: Callable[[Any], Any], function: Any) -> dict[str, Any]:
    """Return a schema under its name, or why there is none."""
    try:
        schema = read(function)
        json.dumps(schema)
    except UnreadableError as error:
        return {problem: _first_line(str(error))}
    except BaseException as error:  # noqa: BLE001  # its code may have put anything into its annotation
        return {problem: f"its annotation cannot be read ({type(error).__name__})"}
    return {name: schema}


def _problem(text: str) -> str:
    return json.dumps({"problem": _first_line(text)})


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:_LONGEST_PROBLEM].rstrip(".")


if __name__ == "__main__":
    main(sys.argv[1:])
