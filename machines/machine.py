"""One Machine, as the worker sees it: a keeper, and a supervisor with one warm browser that runs one Attempt at a time.

A Machine is started, executes Attempts, and is closed, always by its `Slot`. When an Attempt times out, is canceled
or crashes, the Machine and all its processes are gone before that is reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from machines import failures
from machines.attempt_masker import masker_for
from machines.attempt_spec import AttemptReport, AttemptSpec, Version
from machines.boxes import Boxes, driver_command, zygote_setup
from machines.browser import find_browser
from machines.cancellation import uncancellable
from machines.capacity import Capacity
from machines.cgroups import group_of
from machines.current import AttemptStart, Current
from machines.environment import display_environment, machine_environment, user_environment
from machines.frames import Frames
from machines.isolation import Level
from machines.keeping import Keeping
from machines.lease import Lease
from machines.network import Network
from machines.observer import MachineObserver, NoObserver
from machines.runner import main as runner_main
from machines.sandbox import sandbox_refusal
from machines.services import Answering
from schemas.errors import MachineError
from schemas.workflow.run import ErrorCode
from security.masking import mask_url

log = logging.getLogger(__name__)

IDLE = "idle"
CLOSED = "closed"
PROCESS_ENDED = "its process ended"
"""Why a Machine is unfit; other reasons are sentences about its clean-up."""

_START_WITHIN = 60.0
_STOP_WITHIN = 1.5
"""Seconds that a canceled or timed-out Attempt gets to save what it can, before everything is killed."""
_LEAVE_WITHIN = 10.0
"""Seconds that an Attempt which has come to its end by itself gets to save its trace."""
_LAST_REPORT_WITHIN = 1.0
_SETTLE_WITHIN = 12.0
"""Seconds for closing an Attempt's context and opening the next; the child bounds each of the two by five."""


@dataclass(frozen=True)
class LaunchOptions:
    """What all Machines of a worker are started with: folder, browser and arguments."""

    scratch: Path
    """Folder in which each Machine gets a scratch folder of its own."""
    browser: Path
    arguments: tuple[str, ...] = ()
    shared: tuple[Path, ...] = ()
    """Folders of this host that user code and browsers of every project may read and write."""
    disk_limit: int = 10 * 1024**3
    """Most bytes of the files in a Machine's scratch folder."""
    groups: Path | None = None
    """Folder of the control group that is delegated to this worker. None: the kernel holds Machines to no limits."""
    find_full_browser: Callable[[], Path] = field(default=partial(find_browser, None, headful=True))
    """Finds the browser of a project that wants windows. It blocks, and raises MachineError."""
    isolation: Level = Level.OPEN
    """How far Machines are isolated."""
    network: Network | None = None
    """The network that each Machine gets at the level `full`. None: they share that of this host."""
    lease: Lease = field(default_factory=Lease)
    """Until when the worker may have Machines."""
    capacity: Capacity = field(default_factory=Capacity)
    """How many Machines the worker can have at once."""
    observer: MachineObserver = field(default_factory=NoObserver)
    """Hears of the Machines that are started and recycled."""


class NotBegunError(MachineError):
    """The Machine was lost before user code was called, so another one may take the same Attempt."""


class Machine:
    """One Machine, as the worker sees it; see the module's docstring. `Machine.start` makes one."""

    def __init__(self, name: str, version: Version, keeping: Keeping, frames: Frames) -> None:
        self.name = name
        self.version = version
        self.attempts = 0
        self.unfit: str | None = None
        """Why this Machine should take no further Attempt; None while it may."""
        self._keeping = keeping
        self._frames = frames
        self._born = time.monotonic()
        self._browser_version = ""
        self._hung_up = False
        self._idle = asyncio.Event()
        self._current: Current | None = None
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, name: str, version: Version, launch: LaunchOptions) -> Machine:
        """Start keeper, child and browser, and return when the Machine can take an Attempt.

        Raises:
            MachineError: The Machine did not start; nothing of it is left.
        """
        scratch = launch.scratch / name
        # A cancel must not leave a process without an owner: it waits for the Machine, which is then closed again.
        spawning = asyncio.ensure_future(cls._spawn(name, version, scratch, launch))
        try:
            machine = await uncancellable(spawning)
        except asyncio.CancelledError:
            if not spawning.cancelled() and spawning.exception() is None:
                await uncancellable(spawning.result().close())
            raise
        except OSError as error:
            raise MachineError(f"Machine {name} did not start: {error}") from error
        await machine.begin(launch, scratch)
        return machine

    @classmethod
    async def _spawn(cls, name: str, version: Version, scratch: Path, launch: LaunchOptions) -> Machine:
        """Start keeper and child in a new scratch folder. Raises OSError if that fails; nothing is left then."""
        ours, theirs = socket.socketpair()
        frames = await Frames.over(ours)
        command = _command(theirs.fileno(), scratch)
        try:
            with theirs:
                keeping = await Keeping.start(
                    command if launch.network is None else launch.network.command(command),
                    scratch=scratch,
                    child_fd=theirs.fileno(),
                    memory_limit=version.memory_limit,
                    disk_limit=launch.disk_limit,
                    group=launch.groups and group_of(launch.groups, scratch),
                    lease=launch.lease,
                    environment=machine_environment(scratch),
                )
        except BaseException:
            frames.close()
            raise
        return cls(name, version, keeping, frames)

    async def begin(self, launch: LaunchOptions, scratch: Path) -> None:
        """Have the browser launched, as the second half of `start`. If that fails, the Machine is gone."""
        try:
            async with asyncio.timeout(_START_WITHIN):
                await self._configure(launch, scratch)
        except TimeoutError as error:
            await uncancellable(self.close())
            raise MachineError(f"Machine {self.name} did not start within {_START_WITHIN:g} seconds.") from error
        except ConnectionError as error:
            await uncancellable(self.close())
            output = self._keeping.child_end.output.strip().splitlines()
            last = f": {output[-1]}" if output else "."
            raise MachineError(f"Machine {self.name} did not start{last}") from error
        except BaseException:
            await uncancellable(self.close())
            raise

    async def _configure(self, launch: LaunchOptions, scratch: Path) -> None:
        headful = self.version.headful
        browser = await asyncio.to_thread(launch.find_full_browser) if headful else launch.browser
        boxed = launch.isolation is not Level.NONE
        refusal = await asyncio.to_thread(sandbox_refusal, browser, boxed=boxed)
        if headful and refusal:  # for the headless browser, the worker has logged this when it started
            log.warning("Machine %s: Chromium's own sandbox is off for %s: %s.", self.name, browser, refusal)
        display = display_environment() if headful else {}
        resolv_conf = launch.network and launch.network.resolv_conf
        making = partial(Boxes.of, self.version, scratch, browser, display, shared=launch.shared)
        boxes = await asyncio.to_thread(making, resolv_conf=resolv_conf) if boxed else None
        await self._frames.send(
            {
                "type": "configure",
                "browser": str(browser),
                "headless": not display,
                "sandbox": refusal is None,
                "browserEnvironment": display,
                "arguments": list(launch.arguments),
                "allowFileUrls": self.version.allow_file_urls,
                "driver": driver_command(boxes),
                "zygote": zygote_setup(
                    boxes,
                    _zygote_command(self.version, scratch, boxed=boxed),
                    user_environment(scratch, self.version.variables),
                ),
                "project": str(self.version.folder),
                "scratch": str(scratch),
                "width": self.version.width,
                "height": self.version.height,
            }
        )
        ready = await self._frames.receive()
        if ready is None:
            self._hung_up = True
            raise ConnectionError("the child ended")
        if ready["type"] == "unable":
            raise MachineError(f"Machine {self.name} did not start: {ready['reason']}")
        self._browser_version = str(ready["browserVersion"])
        self._idle.set()
        self._reading = asyncio.create_task(self._read(), name=f"machine {self.name}")

    @property
    def keeper_pid(self) -> int:
        """Process id of the keeper; all processes of the Machine are below it."""
        return self._keeping.pid

    @property
    def age(self) -> timedelta:
        """Time since the Machine was started."""
        return timedelta(seconds=time.monotonic() - self._born)

    @property
    def memory(self) -> int:
        """Bytes that all its processes had allocated a moment ago."""
        return self._keeping.memory

    @property
    def is_settled(self) -> bool:
        """Whether everything of the last Attempt is cleaned up."""
        return self._idle.is_set()

    async def settled(self) -> None:
        """Wait until the last Attempt is cleaned up; a Machine that takes too long becomes unfit."""
        try:
            async with asyncio.timeout(_SETTLE_WITHIN):
                await self._idle.wait()
        except TimeoutError:
            self.unfit = "the last Attempt could not be cleaned up"

    async def leave_idle(self, within: timedelta) -> None:
        """Wait while the Machine is idle and alive, at most `within`; it becomes unfit after that."""
        try:
            async with asyncio.timeout(within.total_seconds()):
                await self._keeping.ended()
        except TimeoutError:
            self.unfit = IDLE

    async def run(self, spec: AttemptSpec, on_start: Callable[[AttemptStart], None]) -> AttemptReport:
        """Execute one Attempt. The Machine must be settled and fit.

        A cancel stops the Attempt, and the Machine is gone when CancelledError is raised.

        Raises:
            NotBegunError: The Machine was lost before user code was called, and is gone.
        """
        self.attempts += 1
        self._idle.clear()
        answering = Answering(spec.services, self._frames) if spec.services is not None else None
        current = self._current = Current(spec, on_start, answering)
        if spec.log is not None:
            spec.log.on_machine(self._keeping.attempt_end())
        spec.note(self._beginning(spec))
        try:
            try:
                async with asyncio.timeout(spec.timeout.total_seconds()) as clock:
                    current.clock = clock
                    await self._frames.send(current.message())
                    done = await current.done
            except TimeoutError:
                current.clock = None
                if not current.heard:
                    spec.note(f"The time of {spec.timeout.total_seconds():g} seconds is over", "warning")
                    await uncancellable(self._stop(current))
                    error = await self._in_thread(failures.timed_out, spec, self.version, current.waiting_at)
                    return current.report(self.name, error=error)
                done = current.done.result()  # the outcome came just as the time ran out: it counts
            except asyncio.CancelledError:
                current.clock = None
                spec.note("The Attempt is being stopped", "warning")
                await uncancellable(self._stop(current))
                if current.waiting_at:
                    spec.note(f"The automation stood here:\n{current.waiting_at.rstrip()}")
                raise
            except ConnectionError:
                done = None
            if done is not None and spec.evidence is not None:
                await self._until_left(current)
            if done is None:
                await uncancellable(self.close())
                if current.begun is None:
                    error = NotBegunError(f"Machine {self.name} was lost: {self.unfit or PROCESS_ENDED}")
                    spec.note(error.message, "warning")
                    raise error
                return current.report(self.name, error=failures.crashed(self._keeping.child_end, self.version))
            if "error" not in done:
                if reason := done.get("uncaptured"):
                    await self._in_thread(current.warn_uncaptured, reason)
                return current.completed(self.name, done)
            masker = await self._in_thread(masker_for, spec)
            error, final = await self._in_thread(failures.of_user_code, done["error"], self.version, masker)
            if error.code is ErrorCode.SCRIPT_PROCESS_CRASHED:
                await uncancellable(self.close())
            return current.report(self.name, error=error, final=final, attributes=done["attributes"])
        finally:
            self._current = None
            if answering is not None:
                await answering.end()

    async def _in_thread[**P, T](self, masking: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call in a thread what masks: the secrets may be very many. A cancel closes the Machine."""
        try:
            return await asyncio.to_thread(masking, *args, **kwargs)
        except asyncio.CancelledError:
            await uncancellable(self.close())
            raise

    async def _until_left(self, current: Current) -> None:
        """Wait until the Attempt has saved what it leaves. Its outcome is known, but a cancel still stops it."""
        current.clock = None
        try:
            async with asyncio.timeout(_LEAVE_WITHIN):
                await current.left.wait()
        except TimeoutError:
            log.warning("Machine %s has not saved its Attempt's trace within %g seconds", self.name, _LEAVE_WITHIN)
        except asyncio.CancelledError:
            await uncancellable(self._stop(current))
            raise

    def _beginning(self, spec: AttemptSpec) -> str:
        by_proxy = f", by proxy {mask_url(spec.proxy.server)}" if spec.proxy is not None else ""
        what = f"Attempt {spec.number} of Run {spec.run_id}: {spec.function}, version {self.version.version}"
        return f"{what}, on Machine {self.name} with browser {self._browser_version}{by_proxy}"

    async def _stop(self, current: Current) -> None:
        """Ask the child to stop, wait a little, and kill the Machine."""
        try:
            async with asyncio.timeout(_STOP_WITHIN):
                await self._frames.send({"type": "stop"})
                await current.stopped.wait()
        except (TimeoutError, ConnectionError):
            pass  # the child did not answer; it was only asked so that it can save something
        await self.close()

    async def close(self) -> None:
        """End the child and everything below it, in bounded time. A closed Machine stays closed."""
        if self._hung_up:
            # The child has closed its end by itself: it is about to end, and its keeper is about to tell how.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_REPORT_WITHIN):
                    await self._keeping.ended()
        self.unfit = self.unfit or CLOSED
        self._frames.close()
        await self._keeping.kill()
        if self._reading is not None:
            await self._reading

    async def _read(self) -> None:
        """Handle the messages of the child until it ends."""
        try:
            while (message := await self._frames.receive()) is not None:
                await self._hear(message)
            self._hung_up = True
        except Exception:  # this is a defect of ours, but whoever waits must still hear of an end
            log.exception("Machine %s was not understood", self.name)
        self.unfit = self.unfit or PROCESS_ENDED
        self._idle.set()
        if self._current is not None:
            self._current.resolve(None)
            self._current.leave(None)
            self._current.stopped.set()

    async def _hear(self, message: dict[str, Any]) -> None:
        current = self._current
        match message["type"]:
            case "idle":
                self.unfit = self.unfit or message["unfit"]
                self._idle.set()
                if current is not None and self.unfit:  # the Attempt could not even begin
                    current.resolve(None)
            case "begun" if current is not None:
                current.begin(AttemptStart(self.name, self._browser_version, datetime.now(UTC)), root=message["root"])
            case "extend" if current is not None:
                current.extend()
            case "request" if current is not None and current.answering is not None:
                await current.answering.request(message)
            case "capturing" if current is not None:
                current.prolong(message["within"])
            case "done" if current is not None:
                current.resolve(message)
            case "left" if current is not None:
                current.leave(message)
            case "stopping" if current is not None:
                current.waiting_at = message["stack"]
            case "stopped" if current is not None:
                current.stopped.set()
            case _:
                pass  # the message is of an Attempt that is over


_RUNNER = ("-I", "-S", "-X", "utf8", runner_main.__file__)


def _our_packages() -> list[str]:
    return ["ours", sysconfig.get_path("platlib")]


def _command(child_fd: int, scratch: Path) -> list[str]:
    """Return the command that starts a Machine's supervisor, on our own interpreter and packages."""
    return [sys.executable, *_RUNNER, "supervisor", *_our_packages(), str(scratch), str(child_fd)]


def _zygote_command(version: Version, scratch: Path, *, boxed: bool) -> list[str]:
    """Return the command that starts a zygote, but for its descriptor: on the project's own interpreter, if any."""
    own = version.python
    places = _our_packages() if own is None else ["own", str(own.site_packages)]
    python = sys.executable if own is None else str(own.executable)
    return [python, *_RUNNER, "zygote" if boxed else "unboxed-zygote", *places, str(scratch)]
