"""Reading, packing and compiling what others have written, in a process of its own that is bounded.

Archives, sources, settings and patterns can be made to cost any time and memory, or to break a parser of Python's own.
So neither an api, nor a worker, nor `callboard dev` reads them itself. `callboard.projects.reading` says what the
process may take. It has no secrets in its environment, and stands in a box without a network where this host allows
one.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter
from pydantic_core import to_json

from callboard import projects, storage
from callboard.machines.reading_box import reading_command
from callboard.projects.bounded_process import ERRORS, Order, Outcome
from callboard.projects.processes import ProcessResult, run_in_thread, run_process
from callboard.projects.reading import WITHIN
from callboard.schemas.errors import MachineError, ProjectError
from callboard.schemas.workflow.base import clip

_SHOWN = 300
"""Most characters of a reason that are shown."""
_MODULES = (Path(projects.__path__[0]), Path(storage.__path__[0]))


async def run_bounded[*Ts, R](
    work: Callable[[*Ts], R], *arguments: *Ts, read: Sequence[Path] = (), write: Sequence[Path] = ()
) -> R:
    """Call a function in a bounded process, and return what it returns.

    Args:
        work: A function at the top of a module. JSON holds its arguments and what it returns, by their annotations.
        arguments: What it is given.
        read: Folders and files that it reads, by their full paths. Those that do not exist are left out.
        write: Folders that it writes. All of these must exist.

    Raises:
        ProjectError, BadRequest, StoreError: The function has raised it; or it takes more time or memory than it
            may, or has ended the process, which is the fault of what it reads (ProjectError).
        MachineError: The process cannot be started, or the disk has failed.
    """
    order = Order(module=work.__module__, function=work.__name__, arguments=list(arguments))
    with tempfile.TemporaryDirectory(prefix="callboard-bounded-") as folder:
        file = Path(folder) / "order.json"
        await run_in_thread(file.write_bytes, to_json(order, by_alias=False))
        try:
            ended = await _run(file, read, write)
        except TimeoutError:
            raise ProjectError(
                f"It cannot be read within {WITHIN.total_seconds() / 60:g} minutes. Is everything in it needed?"
            ) from None
        except OSError as error:
            raise MachineError(f"The process that reads projects cannot be started: {error.strerror}.") from error
    if ended.code:
        # A parser has died of it, or it has reached a limit.
        reason = next(reversed(ended.stderr.strip().splitlines()), f"exit code {ended.code}")
        raise ProjectError(
            f"It takes more time or memory to read than it may, or breaks a parser: {clip(reason, _SHOWN)}."
        )
    told, _, returned = ended.stdout.partition("\n")
    outcome = Outcome.model_validate_json(told)
    for kind in ERRORS:
        if kind.__name__ == outcome.error:
            raise kind(outcome.message, details=outcome.details)
    result: TypeAdapter[Any] = TypeAdapter(get_type_hints(work)["return"])
    return result.validate_json(returned)


async def _run(order: Path, read: Sequence[Path], write: Sequence[Path]) -> ProcessResult:
    command = [sys.executable, "-I", "-m", "callboard.projects.bounded_process", str(order)]
    boxed = await run_in_thread(lambda: reading_command(command, modules=_MODULES, read=(order, *read), write=write))
    return await run_process(boxed, cwd=Path("/"), environment={"LANG": "C.UTF-8"}, timeout=WITHIN)
