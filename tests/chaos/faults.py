"""Do to the parts of an installation what a schedule says."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil

from tests.chaos.installation import Installation, Part
from tests.chaos.schedule import MACHINE_PROCESSES, Act, Fault
from tests.support.machines import BROWSER, KEEPER, NODE, SUPERVISOR, USER, ZYGOTE, find_process

_PROCESSES: dict[str, str] = dict(
    zip(MACHINE_PROCESSES, (USER, ZYGOTE, SUPERVISOR, NODE, BROWSER, KEEPER), strict=True)
)


async def inflict(
    faults: Sequence[Fault], seconds: float, installation: Installation, report: Callable[[str], None]
) -> None:
    """Inflict each fault in its time. After these seconds, or a cancel, no part is stopped or cut off any more."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    harmed: dict[str, asyncio.Task[None]] = {}
    try:
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await asyncio.sleep(began + fault.at - loop.time())
                if (before := harmed.get(fault.part)) is not None and not before.done():
                    report(f"{fault}: left out, as {fault.part} is being harmed")
                    continue
                report(str(fault))
                harmed[fault.part] = group.create_task(_inflict(fault, installation.parts[fault.part], report))
            await asyncio.sleep(began + seconds - loop.time())
    finally:
        for part in installation.parts.values():
            for line in part.lines.values():
                line.mend()
            if part.process.pid is not None:
                _send(part.process.pid, signal.SIGCONT)


async def _inflict(fault: Fault, part: Part, report: Callable[[str], None]) -> None:
    pid = part.process.pid
    match fault.act:
        case Act.KILL if pid is not None:
            _send(pid, signal.SIGKILL)
        case Act.RESTART if pid is not None:
            _send(pid, signal.SIGTERM)
        case Act.STOP if pid is not None:
            _send(pid, signal.SIGSTOP)
            await asyncio.sleep(fault.seconds)
            _send(pid, signal.SIGCONT)
        case Act.REFUSE | Act.SILENCE:
            line = part.lines[fault.of]
            line.cut("refused" if fault.act is Act.REFUSE else "silent")
            await asyncio.sleep(fault.seconds)
            line.mend()
        case Act.MACHINE if pid is not None:
            if not await asyncio.to_thread(_kill_of_machine, pid, _PROCESSES[fault.of]):
                report(f"{fault}: left out, as it has no such process")
        case _:
            report(f"{fault}: left out, as {part.name} does not run")


def _kill_of_machine(worker: int, command: str) -> bool:
    """Kill a process of the worker's newest Machine; return False if there is none."""
    with suppress(psutil.NoSuchProcess, LookupError):  # they come and go
        keepers = [child for child in psutil.Process(worker).children() if "keeper.py" in " ".join(child.cmdline())]
        if keepers:
            return _send(find_process(max(keepers, key=psutil.Process.create_time).pid, command), signal.SIGKILL)
    return False


def _send(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it has just ended
        return False
    return True
