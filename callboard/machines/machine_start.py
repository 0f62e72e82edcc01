"""Start a Machine: its keeper, its child and the browser; nothing of it is left if that fails."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from callboard.machines.attempt_spec import Version
from callboard.machines.box import Boxes, driver_command, zygote_setup
from callboard.machines.browser_program import find_browser
from callboard.machines.capacity import Capacity
from callboard.machines.cgroups import group_of
from callboard.machines.environment import display_environment, machine_environment, user_environment
from callboard.machines.isolation import Level
from callboard.machines.keeper_process import KeeperProcess
from callboard.machines.lease import Lease
from callboard.machines.machine import Machine, end_processes
from callboard.machines.network import Network
from callboard.machines.node_client import NodeClient
from callboard.machines.runner import main as runner_main
from callboard.machines.runner.channel import Channel
from callboard.machines.sandbox import sandbox_refusal
from callboard.machines.uncancellable import uncancellable
from callboard.schemas.errors import MachineError

log = logging.getLogger(__name__)

_START_WITHIN = 60.0
_LOOPBACK = IPv4Address("127.0.0.1")


class RecycleCause(StrEnum):
    """Why a Machine is gone."""

    IDLE = "idle"
    """It had no work for as long as the settings allow."""
    ATTEMPTS = "attempts"
    """It has executed as many Attempts as a Machine may."""
    AGE = "age"
    """It has become as old as a Machine may."""
    VERSION = "version"
    """Its place was needed for a version of its project that wants another browser or memory."""
    ROOM = "room"
    """Its place was needed for another project."""
    STOPPED = "stopped"
    """Its Attempt was to be stopped, and something of it was left for too long."""
    LOST = "lost"
    """Its process has ended while nobody expected that."""
    UNFIT = "unfit"
    """It could not be cleaned up for another Attempt."""
    SURPLUS = "surplus"
    """The worker may have fewer Machines, or leaves."""


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
    on_started: Callable[[str], None] = lambda _project: None
    """Is called when a Machine is up, with its project."""
    on_recycled: Callable[[str, RecycleCause], None] = lambda _project, _cause: None
    """Is called when a Machine is about to be gone, with its project and why."""

    @property
    def client(self) -> Path:
        """Folder of Playwright's client for Node.js, which is made for the first Machine that needs it."""
        return self.scratch.with_name("playwright-client")


class _ChildEndedError(Exception):
    """The child has ended before the Machine could take an Attempt."""


async def start_machine(name: str, version: Version, launch: LaunchOptions) -> Machine:
    """Start keeper, child and browser, and return when the Machine can take an Attempt.

    Raises:
        MachineError: The Machine did not start; nothing of it is left.
    """
    scratch = launch.scratch / name
    # A cancel must not leave a process without an owner: it waits for the processes, which are then ended again.
    spawning = asyncio.ensure_future(_spawn(version, scratch, launch))
    try:
        keeper, channel = await uncancellable(spawning)
    except asyncio.CancelledError:
        if not spawning.cancelled() and spawning.exception() is None:
            await uncancellable(end_processes(*spawning.result()))
        raise
    except OSError as error:
        raise MachineError(f"Machine {name} did not start: {error}") from error
    try:
        async with asyncio.timeout(_START_WITHIN):
            browser_version = await _launch_browser(channel, name, version, launch)
    except TimeoutError as error:
        await uncancellable(end_processes(keeper, channel))
        raise MachineError(f"Machine {name} did not start within {_START_WITHIN:g} seconds.") from error
    except (ConnectionError, _ChildEndedError) as error:
        await uncancellable(end_processes(keeper, channel, hung_up=isinstance(error, _ChildEndedError)))
        output = keeper.child_end.output.strip().splitlines()
        last = f": {output[-1]}" if output else "."
        raise MachineError(f"Machine {name} did not start{last}") from error
    except BaseException:
        await uncancellable(end_processes(keeper, channel))
        raise
    return Machine(name, version, keeper, channel, browser_version)


async def _spawn(version: Version, scratch: Path, launch: LaunchOptions) -> tuple[KeeperProcess, Channel]:
    """Start keeper and child in a new scratch folder. Raises OSError if that fails; nothing is left then."""
    ours, theirs = socket.socketpair()
    channel = await Channel.over(ours)
    command = _command(theirs.fileno(), scratch)
    changed = launch.network and launch.network.plan.changed
    try:
        with theirs:
            keeper = await KeeperProcess.start(
                command if launch.network is None else launch.network.command(command),
                scratch=scratch,
                child_fds=[theirs.fileno(), *([] if changed is None else [changed])],
                memory_limit=version.memory_limit,
                disk_limit=launch.disk_limit,
                group=launch.groups and group_of(launch.groups, scratch),
                lease=launch.lease,
                environment=machine_environment(scratch),
            )
    except BaseException:
        channel.close()
        raise
    return keeper, channel


async def machine_setup(name: str, version: Version, launch: LaunchOptions) -> dict[str, Any]:
    """Return what the supervisor of a Machine is told about itself, and about the version that it serves.

    Raises:
        MachineError: The project wants a browser that is not installed, or a Node.js that does not do.
    """
    scratch, headful = launch.scratch / name, version.headful
    browser = await asyncio.to_thread(launch.find_full_browser) if headful else launch.browser
    boxed = launch.isolation is not Level.NONE
    refusal = await asyncio.to_thread(sandbox_refusal, browser, boxed=boxed)
    if headful and refusal:  # for the headless browser, the worker has logged this when it started
        log.warning("Machine %s: Chromium's own sandbox is off for %s: %s.", name, browser, refusal)
    display = display_environment() if headful else {}
    resolv_conf = launch.network and launch.network.resolv_conf
    node = version.node and await asyncio.to_thread(NodeClient.of, version.node, launch.client)
    making = partial(Boxes.of, version, scratch, browser, display, node and node.folder, shared=launch.shared)
    boxes = await asyncio.to_thread(making, resolv_conf=resolv_conf) if boxed else None
    return {
        "browser": str(browser),
        "headless": not display,
        "sandbox": refusal is None,
        "browserEnvironment": display,
        "arguments": list(launch.arguments),
        "allowFileUrls": version.allow_file_urls,
        "loopbackIsClosed": launch.network is not None and not launch.network.plan.reach.is_open(_LOOPBACK),
        "driver": driver_command(boxes),
        "zygote": zygote_setup(
            boxes,
            _zygote_command(version, scratch, boxed=boxed),
            user_environment(scratch),
            node and node.to_message(is_debuggable=launch.network is not None),
        ),
        "project": str(version.folder),
        "scratch": str(scratch),
        "width": version.width,
        "height": version.height,
    }


async def _launch_browser(channel: Channel, name: str, version: Version, launch: LaunchOptions) -> str:
    """Have the child launch the browser, and return its version.

    Raises:
        MachineError: The child says why it cannot.
        ConnectionError, _ChildEndedError: The child is gone.
    """
    await channel.send("configure", **await machine_setup(name, version, launch))
    ready = await anext(channel.messages, None)
    if ready is None:
        raise _ChildEndedError
    if ready["type"] == "unable":
        raise MachineError(f"Machine {name} did not start: {ready['reason']}")
    return str(ready["browserVersion"])


_RUNNER = ("-I", "-S", "-X", "utf8", runner_main.__file__)


def _our_packages() -> list[str]:
    return ["ours", sysconfig.get_path("platlib")]


def _command(child_fd: int, scratch: Path) -> list[str]:
    """Return the command that starts a Machine's supervisor, on our own interpreter and packages."""
    return [sys.executable, *_RUNNER, "supervisor", *_our_packages(), str(scratch), str(child_fd)]


def _zygote_command(version: Version, scratch: Path, *, boxed: bool) -> list[str]:
    """Return the command that starts a zygote, without its descriptor: on the project's own interpreter, if any."""
    own = version.python
    if version.node is not None:
        places = ["node", ""]
    else:
        places = _our_packages() if own is None else ["own", str(own.site_packages)]
    python = sys.executable if own is None else str(own.executable)
    return [python, *_RUNNER, "zygote" if boxed else "unboxed-zygote", *places, str(scratch)]
