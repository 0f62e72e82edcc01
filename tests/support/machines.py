"""Projects made of a few lines, Machines with a real browser, and the proof that nothing of them is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import textwrap
import uuid
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, Self

import psutil

from callboard.machines import keeper
from callboard.machines.attempt_log_file import AttemptLogFile
from callboard.machines.attempt_spec import AttemptReport, AttemptSpec, NodeEnvironment, Proxy, Version
from callboard.machines.box import has_inner_processes, node_program
from callboard.machines.browser_program import browser_args, find_browser
from callboard.machines.keeper_process import processes_of
from callboard.machines.machine import Machine
from callboard.machines.machine_attempt import AnswerRequest, MachineAttempt
from callboard.machines.machine_start import LaunchOptions, start_machine
from callboard.machines.pool import Pool
from callboard.machines.runner import process_tree
from callboard.machines.slot import RecycleLimits
from callboard.schemas.workflow.attempt import AttemptStatus
from callboard.schemas.workflow.run import ErrorCode, RunError
from callboard.settings import Settings
from tests.support.automations import automations
from tests.support.polling import until
from tests.support.typescript import handlers

PATIENCE = 60.0
"""Seconds until a test gives up waiting. Generous: these machines are shared."""
BROWSER = "--user-data-dir="
NODE = "run-driver"
SUPERVISOR = "\0supervisor\0"
ZYGOTE = "\0zygote\0"
USER = "the process of user code"
KEEPER = "keeper.py"

ENDLESS = automations(
    awaits='await page.wait_for_event("close", timeout=0)',
    spins="""
        while True:
            pass
    """,
    blocks="import time; time.sleep(600)",
)
ENDLESS_IN_TYPESCRIPT = handlers(
    awaits="await page.waitForEvent('close', { timeout: 0 })",
    spins="while (true) {}",
    blocks="require('child_process').execSync('sleep 600')",
)


def attempt_spec(
    api: str,
    parameters: Any = None,
    *,
    timeout: float = PATIENCE,
    proxy: Proxy | None = None,
    run_info: Mapping[str, Any] | None = None,
    **fields: Any,
) -> AttemptSpec:
    """One Attempt of `api`. Parameters may be JSON text; further fields are those of `AttemptSpec`."""
    text = parameters if isinstance(parameters, str) else json.dumps(parameters)
    return AttemptSpec(
        run_id=uuid.uuid4().hex,
        number=1,
        api=api,
        parameters=text,
        timeout=timedelta(seconds=timeout),
        proxy=proxy,
        run_info=dict(run_info or {}),
        **fields,
    )


def attempt_of(
    api: str,
    parameters: Any = None,
    *,
    log: AttemptLogFile | None = None,
    answer_request: AnswerRequest | None = None,
    **fields: Any,
) -> MachineAttempt:
    """One Attempt of `api` for a Machine; further fields are those of `attempt_spec`."""
    return MachineAttempt(attempt_spec(api, parameters, **fields), log=log, answer_request=answer_request)


def value(report: AttemptReport) -> Any:
    """What the automation returned."""
    assert report.error is None, report.error
    assert report.result is not None
    return json.loads(report.result)


@dataclass(frozen=True)
class Failure:
    """A report's error, as tests look at it."""

    error: RunError
    code: ErrorCode
    message: str
    name: str
    stack: str
    details: dict[str, Any]
    final: bool


def failure(report: AttemptReport) -> Failure:
    """How the Attempt failed."""
    error = report.error
    assert report.status is AttemptStatus.FAILED
    assert (report.result, report.extended_payloads) == (None, None)
    assert error is not None
    assert error.retirable is not report.final
    details = error.details or {}
    return Failure(
        error, error.code, error.message, details.get("name", ""), details.get("stack", ""), details, report.final
    )


def of_folder(folder: Path) -> list[int]:
    """Live processes that were started for `folder`, or work in it: Chromium's own overwrite their environment."""
    found = set(processes_of(folder))
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                where = str((entry / "cwd").readlink()).removesuffix(" (deleted)")
                if where == str(folder) or where.startswith(f"{folder}/"):
                    found.add(int(entry.name))
    return sorted(found)


def find_process(keeper_pid: int, command: str) -> int:
    """The process of the Machine with this keeper whose command line holds this; LookupError if there is none.

    What only starts it, such as bubblewrap or Debian's script around its browser, is none.
    """
    if command == KEEPER:
        return keeper_pid
    if command == USER:  # the last one below the zygote, whose command line it has
        return keeper.descendants(find_process(keeper_pid, ZYGOTE))[-1]
    for pid in keeper.descendants(keeper_pid):
        line = process_tree.read(f"/proc/{pid}/cmdline").decode(errors="replace")
        if command in line and not line.startswith(("/bin/sh", "/usr/bin/bwrap")):
            return pid
    raise LookupError(command)


async def kill(pid: int) -> None:
    """Kill a process, and wait until it has ended: until then it may go on with what it does."""
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        await until(lambda: select.select([descriptor], [], [], 0)[0])
    finally:
        os.close(descriptor)


class Run(Protocol):
    """Runs one API of a project, mostly of a module's `PROJECT`; see fixture `quiet`."""

    async def __call__(self, api: str, parameters: Any = None, **fields: Any) -> AttemptReport:
        """The fields are those of `attempt_of`."""
        ...


class Language(StrEnum):
    """What the project of a test is written in."""

    PYTHON = "python"
    TYPESCRIPT = "typescript"


@dataclass
class Lab:
    """Where Machines are tried: their scratch folder, their projects, and whatever is running."""

    scratch: Path
    projects: Path
    launch: LaunchOptions
    pools: list[Pool] = field(default_factory=list[Pool])
    machines: list[Machine] = field(default_factory=list[Machine])

    def version(
        self,
        files: Mapping[str, str],
        *,
        project: str = "lab",
        version: str = "1",
        memory_limit: int = 4 * 1024**3,
        width: int = 1024,
        height: int = 800,
    ) -> Version:
        """A project folder of these files; leading blanks that all lines of one share are cut.

        With a bundle among them, it is in TypeScript (see `tests.support.typescript`).
        """
        folder = self.projects / f"{project}-{version}"
        for path, source in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(textwrap.dedent(source), encoding="utf-8", errors="surrogatepass")
        is_typescript = any(path.startswith(".callboard/") for path in files)
        node = NodeEnvironment(node_program(), None) if is_typescript else None
        return Version(project, version, folder, memory_limit, width, height, node=node)

    def pool(
        self,
        size: int = 1,
        *,
        project: str = "lab",
        idle: float = 600,
        attempts: int = 1000,
        age: float = 3600,
        launch: LaunchOptions | None = None,
    ) -> Pool:
        limits = RecycleLimits(idle=timedelta(seconds=idle), attempts=attempts, age=timedelta(seconds=age))
        pool = Pool(project, size, launch or self.launch, limits)
        self.pools.append(pool)
        return pool

    def runner(self, version: Version | Mapping[str, str], pool: Pool | None = None) -> Run:
        """Runs APIs of a version, or of a project of these files, in the pool, or on a Machine of its own."""
        chosen = version if isinstance(version, Version) else self.version(version)
        used = pool or self.pool(project=chosen.project)

        async def run(api: str, parameters: Any = None, **fields: Any) -> AttemptReport:
            return await used.run_attempt(chosen, attempt_of(api, parameters, **fields))

        return run

    async def machine(self, version: Version, name: str = "lab-1") -> Machine:
        """A Machine without a pool, ready for its first Attempt."""
        machine = await start_machine(name, version, self.launch)
        self.machines.append(machine)
        await machine.wait_clean()
        return machine

    async def close(self) -> None:
        """Stop everything, and see that it is gone at once."""
        busy = [pool.busy for pool in self.pools]
        async with contextlib.AsyncExitStack() as closing:
            for pool in self.pools:
                closing.push_async_callback(pool.resize, 0)
            for machine in self.machines:
                closing.push_async_callback(machine.close)
        assert not any(busy)
        self.assert_clean()

    def left(self, but: Machine | None = None) -> list[object]:
        """Processes and folders that are there, other than those of this Machine."""
        below_us = {pid: process_tree.read(f"/proc/{pid}/cmdline") for pid in keeper.descendants(os.getpid())}
        found = {
            *of_folder(self.scratch),
            *(pid for pid, told in below_us.items() if str(self.scratch).encode() in told),
        }
        its: set[object] = set()
        if but is not None:
            its = {self.scratch / but.name, but.keeper_pid, *keeper.descendants(but.keeper_pid)}
        # A browser's processes come and go.
        return [*(pid for pid in found - its if psutil.pid_exists(pid)), *(set(self.scratch.iterdir()) - its)]

    def assert_clean(self, but: Machine | None = None) -> None:
        """No process, no folder, but those of this Machine, if it is to stay."""
        assert self.left(but) == []
        assert but is None or (self.scratch / but.name).is_dir()

    async def settled(self, pool: Pool) -> Machine | None:
        """Wait until the only slot of the lab has dealt with what its last Attempt left; its Machine, if it stays."""
        (slot,) = pool.slots
        machine = slot.machine
        if machine is not None:
            await machine.wait_clean()
            if machine.retire_reason is None:
                return machine
        await until(lambda: slot.machine is None and not self.left())
        return None


@contextlib.asynccontextmanager
async def open_lab(folder: Path, *, shared: tuple[Path, ...] | None = None) -> AsyncGenerator[Lab]:
    """A lab in this folder. Its Machines share the folder of the whole session with tests, unless told otherwise."""
    scratch, projects = folder / "scratch", folder / "projects"
    scratch.mkdir()
    projects.mkdir()
    session = (folder.parent,) if shared is None else shared
    launch = LaunchOptions(scratch, find_browser(Settings().chromium), tuple(browser_args()), session)
    lab = Lab(scratch, projects, launch)
    try:
        yield lab
    finally:
        await lab.close()


class One:
    """One Machine at a time, of a project whose API `fine` returns its own name.

    The tests of a module share it, each in a `turn` of its own: to start a Machine costs more than most tests do
    with it, and that one which shows that all is well after a test is the one that the next test ends.
    """

    def __init__(self, lab: Lab, files: Mapping[str, str], **fields: Any) -> None:
        self.lab = lab
        self.version = lab.version(files, **fields)
        self.pool = lab.pool()
        self._attempts: dict[asyncio.Task[AttemptReport], MachineAttempt] = {}
        """The Attempts of this turn, in the order in which they were set on their way."""
        self._first: str | None = None
        """Name of the Machine that was there when the turn began, if any."""

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncGenerator[Self]:
        """One test. It begins with the Machine that the last one left, or none, and leaves no more than that."""
        self._first = None if self.warm is None else self.warm.name
        self._attempts.clear()
        try:
            yield self
        finally:
            on_their_way = [attempt for attempt in self._attempts if not attempt.done()]
            for attempt in on_their_way:  # of a test that has failed: the next one is to have a chance
                attempt.cancel()
            await asyncio.gather(*on_their_way, return_exceptions=True)
        assert on_their_way == []
        assert self.pool.busy == 0
        if self.pool.slots:
            await self.lab.settled(self.pool)
        self.lab.assert_clean(self.warm)
        assert self.warm is None or self.warm.retire_reason is None

    @property
    def warm(self) -> Machine | None:
        """The Machine that is there, if any."""
        return self.pool.slots[0].machine if self.pool.slots else None

    @property
    def machine(self) -> Machine:
        """The Machine that is there."""
        assert self.warm is not None
        return self.warm

    async def cool(self) -> None:
        """Stop the Machine, for a test that is about its start."""
        for slot in self.pool.slots:
            await slot.close()
        self.lab.assert_clean()
        self._first = None
        self._attempts.clear()

    def start(self, api: str, parameters: Any = None, **fields: Any) -> asyncio.Task[AttemptReport]:
        """Set an Attempt on its way. The fields are those of `attempt_of`."""
        attempt = attempt_of(api, parameters, **fields)
        task = asyncio.create_task(self.pool.run_attempt(self.version, attempt))
        self._attempts[task] = attempt
        return task

    async def begun(self) -> None:
        """Wait until the Attempt that was started last is on the Machine."""
        await until(lambda: list(self._attempts.values())[-1].start, every=0.001)

    async def assert_nothing_left(self) -> None:
        """Of the last Attempt. Of user code, there is the process that waits for the next Attempt, if any."""
        await self.lab.settled(self.pool)
        self.lab.assert_clean(self.warm)
        assert self.warm is None or self.processes_of_user_code == 1

    @property
    def processes_of_user_code(self) -> int:
        """Number of processes below the zygote, but for the one that only reaps what ends in its box."""
        return len(keeper.descendants(find_process(self.machine.keeper_pid, ZYGOTE))) - has_inner_processes()

    async def run(self, api: str, parameters: Any = None, **fields: Any) -> AttemptReport:
        """One Attempt, to its end."""
        return await self.start(api, parameters, **fields)

    async def works_again(self, nth: int | None = None) -> None:
        """The next Attempt succeeds, on the nth Machine of this turn if that matters."""
        report = await self.run("fine")
        assert value(report) == "fine"
        assert nth is None or self.nth(report) == nth

    def nth(self, report: AttemptReport) -> int:
        """Which of the Machines of this turn it was, counted from 1."""
        starts = [attempt.start for attempt in self._attempts.values() if attempt.start is not None]
        named = [start.machine for start in sorted(starts, key=lambda start: start.at)]
        names = list(dict.fromkeys(named if self._first is None else [self._first, *named]))
        return names.index(report.machine) + 1
