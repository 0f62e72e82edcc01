"""The supervisor of a Machine: it has one warm browser, and executes one Attempt at a time.

    from the worker   configure (once), attempt, answer, stop, version (another one of the project, between Attempts),
                      hold and release (a person has the browser; each is answered)
    to the worker     ready, begun, extend, request, capturing, stopping (with where the automation was), done, left
                      (what the Attempt leaves in its folder), cleared (nothing of it is on this Machine any more),
                      idle (with `retireReason`, or None: why to recycle it)

User code runs in a process of its own (see `user_process`), which is killed with all that it has started before
anything else is done. So nothing of an Attempt can hold up its evidence, or reach the next Attempt. However an Attempt
ends, driver and browser stay for the next one if everything of the Attempt can be closed there and a fresh context
opens.

`done` is sent before anything is saved or cleaned up: the result is on its way while the trace is written, and the
Attempt's record is on its way while the context closes and the next one opens. An Attempt that is stopped has none.
The end of the worker's socket ends the supervisor; the keeper ends everything else.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from callboard_runtime.downloads import Downloads
from callboard_runtime.failures import MESSAGE_LIMIT
from callboard_runtime.page_events import PageEvents
from callboard_runtime.project_code import has_hook
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import ProxySettings, async_playwright

from .attempt import Attempt, Parts, Prepared
from .browser import DRIVER_SOCKET, NODE_OF_DRIVER, OPEN_WITHIN, PLACES_OF_DRIVER, WarmBrowser, close_context
from .channel import Channel
from .conversation import AttemptState
from .evidence import Evidence
from .folders import (
    ATTEMPT,
    FILES,
    KEPT,
    TRACES,
    DriverFolders,
    Workspace,
    empty,
    remove,
    take_download,
    take_files,
)
from .hold import Hold
from .relay_policy import RelayPolicy
from .screencast import Screencast
from .stdio import KeeperSocket, LogLines, state_of_pipe
from .user_process import is_good
from .zygote_process import UserProcess, Zygote, ZygoteError

_DOWNLOADED_WITHIN = 5.0
"""Seconds that downloads get to end once user code has, unless the Attempt is stopped."""
_LAST_DOWNLOADED_WITHIN = 0.1
"""Seconds in which those are kept that have ended."""
_DRIVER = "driver-in-box"
"""The script by which Playwright starts its driver in its box, below the Machine's scratch folder."""


class Supervisor:
    """The supervisor of one Machine, which serves the worker; see the module's docstring."""

    def __init__(self, parts: Parts, scratch: Path) -> None:
        self._parts = parts
        self._scratch = scratch
        self._traces = scratch / TRACES
        self._driver_folders: DriverFolders | None = None
        self._pipe = state_of_pipe()
        self._files = ThreadPoolExecutor(1)
        self._prepared: Prepared | None = None
        self._state = AttemptState()
        """The state of the last Attempt that has come."""
        self._hold: Hold | None = None
        """The hold on the browser of the last Attempt that user code was called for."""

    async def serve(self) -> None:
        """Handle the worker's messages until it closes the connection."""
        self._prepared = await self._prepare()
        self._driver_folders = await self._in_thread(DriverFolders, self._scratch)
        self._parts.keeper.idle()
        self._parts.worker.post("ready", browserVersion=self._parts.browser.version)
        async with asyncio.TaskGroup() as attempts:  # a defect of ours in one ends the supervisor, as a crash
            async for message in self._parts.worker.messages:
                if message["type"] == "attempt":
                    self._state = AttemptState()
                    attempts.create_task(self._execute(message, self._state))
                elif message["type"] == "stop":
                    self._state.stop.set()
                elif message["type"] in {"hold", "release"}:
                    attempts.create_task(self._hold_or_release(message))
                elif message["type"] == "version":
                    await self._change_version(message)

    async def _hold_or_release(self, message: dict[str, Any]) -> None:
        refusal = None
        if self._hold is None:
            refusal = "User code has not begun."
        elif message["type"] == "hold":
            refusal = await self._hold.begin(calls=message["calls"])
        else:
            await self._hold.end()
        self._parts.worker.post("answer", number=message["number"], refusal=refusal)

    async def _prepare(self, last: Attempt | None = None) -> Prepared:
        """Prepare the next Attempt, after this one if it is not the first."""
        policy = RelayPolicy(self._parts.browser, self._parts.page_events)
        tab, (workspace, user) = await asyncio.gather(
            self._parts.browser.open_tab(), self._prepare_process(policy, last)
        )
        return Prepared(tab, workspace, user, policy)

    async def _prepare_process(self, policy: RelayPolicy, last: Attempt | None) -> tuple[Workspace, UserProcess]:
        used = last and last.workspace
        workspace, _ = await asyncio.gather(self._in_thread(self._workspace_after, used), self._prepare_zygote(last))
        # Only now: the process's box keeps the very folder that is there when it is made.
        return workspace, await self._parts.zygote.fork(DRIVER_SOCKET, policy)

    async def _prepare_zygote(self, last: Attempt | None) -> None:
        if not self._parts.zygote.is_warm:
            await self._parts.zygote.warm(DRIVER_SOCKET, self._parts.browser.driver)
        if last is not None:
            await self._parts.zygote.import_ahead(last.imported, last.variables)

    def _delete_files(self, used: Workspace) -> None:
        """Delete the files that an Attempt has left, and its workspace unless nothing in that has changed."""
        if self._driver_folders is not None:
            self._driver_folders.wipe()
        remove(self._scratch / KEPT)  # only now: what is not kept yet cannot be any more
        empty(self._traces)
        if not used.is_as_made():
            used.remove()

    def _workspace_after(self, used: Workspace | None) -> Workspace:
        """Return a workspace for the next Attempt: the one of the last Attempt, if that is still there."""
        if used is not None and used.folder.exists():
            return used
        return Workspace.prepare(self._parts.project, self._scratch / ATTEMPT)

    async def _in_thread[**P, T](self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._files, partial(work, *args, **kwargs))

    async def _execute(self, spec: dict[str, Any], state: AttemptState) -> None:
        """Execute one Attempt, from its message until the Machine is ready for the next one."""
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            raise RuntimeError("an Attempt came while another was still being cleaned up")
        if not self._parts.zygote.read.isdisjoint(spec["variables"]):
            self._parts.worker.post("idle", retireReason="it has imported what reads a variable that is set since")
            return
        try:
            await self._use(prepared, spec["proxy"])
        except (PlaywrightError, TimeoutError, ZygoteError) as error:  # user code was not called: it has not begun
            self._parts.worker.post("idle", retireReason=f"no fresh context: {error}")
            return
        self._parts.keeper.begin(spec["log"], spec["logLimit"])
        prepared.workspace.begin()
        evidence = Evidence(spec["evidence"], spec["function"], self._traces, self._parts.browser.call)
        is_record = spec["kind"] == "record"
        self._parts.page_events.renew(self._downloads(spec), evidence.used, tells_nothing=is_record)
        prepared.policy.evidence, prepared.policy.root = evidence, prepared.workspace.root
        live = Screencast(evidence.folder, evidence.last_page, evidence.used.add)
        self._hold = Hold(prepared.user.relay, evidence, live, self._parts.browser, state)
        await live.begin()
        attempt = Attempt(spec, prepared, evidence, self._parts, state)
        done = await attempt.call_user_code()
        if done and not state.begun and "result" not in done:
            self._parts.worker.post("idle", retireReason="its process for user code has ended")
            return
        missing_files = await self._take_files(prepared.workspace, evidence, state)
        self._parts.keeper.end()
        if done:
            await self._parts.worker.send("done", **done)
        await live.end()
        # A record leaves no screenshot either, however it ends.
        saved = await evidence.save(completed=is_record or (bool(done) and is_good(spec, done)))
        saved["missing"] |= missing_files
        await self._parts.worker.send("left", **attempt.left(saved))
        retire_reason = await self._clean_up(prepared, attempt)
        if retire_reason is None:
            self._parts.worker.post("cleared")  # who has stopped the Attempt need not wait for the next one's process
            await self._make_ready(attempt)
        else:
            await self._in_thread(prepared.workspace.remove)
            self._parts.worker.post("idle", retireReason=f"the last Attempt left {retire_reason}")

    def _downloads(self, spec: dict[str, Any]) -> Downloads | None:
        """Return what keeps the downloads of an Attempt; None if they are not wanted."""
        if (wanted := spec["evidence"]) is None or not wanted["downloads"]:
            return None
        return Downloads(self._scratch / KEPT, partial(take_download, self._scratch))

    async def _take_files(self, workspace: Workspace, evidence: Evidence, state: AttemptState) -> dict[str, str]:
        """Take the files that an Attempt leaves, log what is lost, and return what is missing of the former."""
        page_events, missing = self._parts.page_events, list[str]()
        if page_events.downloads is not None:
            if page_events.downloads.is_pending and not state.stop.is_set():
                self._parts.worker.post("capturing", within=_DOWNLOADED_WITHIN)  # user code has ended in its time
                await page_events.downloads.wait(_DOWNLOADED_WITHIN, unless=state.stop)
            await page_events.downloads.wait(_LAST_DOWNLOADED_WITHIN)
            missing += page_events.downloads.end()
        refused, unkept = await self._in_thread(_take_and_name, self._scratch, workspace, evidence.folder)
        missing += [refused] if refused else []
        await page_events.tell_lost(unkept)
        if not missing:
            return {}
        sentence = f"{'; '.join(missing).removesuffix('.')}."
        self._parts.lines.say("warning", "callboard", f"Files are not kept: {sentence}")
        return {FILES: sentence}

    async def _clean_up(self, used: Prepared, attempt: Attempt) -> str | None:
        """Close and delete all that an Attempt has left to driver and browser. Return what stays; None if nothing."""
        if not await used.user.opens_no_more(OPEN_WITHIN):
            return "a context that is still being opened"
        if not await self._parts.browser.close_contexts():
            return "a context that does not close"
        try:
            await self._in_thread(self._delete_files, used.workspace)
            if await attempt.used_default_context():
                return "what it did in the browser's own context"
        except (OSError, PlaywrightError) as error:
            return f"what cannot be cleaned up: {error}"
        if state_of_pipe() != self._pipe:
            return "a changed pipe for its output"
        if self._parts.keeper.passed is not None:
            return f"more {self._parts.keeper.passed} in use than the limit allows"
        return attempt.retire_reason

    async def _make_ready(self, last: Attempt | None = None) -> None:
        """Prepare the next Attempt, and tell the worker whether there can be one."""
        retire_reason = None
        try:
            self._prepared = await self._prepare(last)
        except (PlaywrightError, TimeoutError, OSError, ZygoteError) as error:
            retire_reason = f"no fresh context: {error}"
        else:
            self._parts.keeper.idle()
        self._parts.worker.post("idle", retireReason=retire_reason)

    async def _change_version(self, setup: dict[str, Any]) -> None:
        """Serve another version of the project: its user code comes from a zygote of its own, in the same browser."""
        before, self._prepared = self._prepared, None
        project = Path(setup["project"])
        if before is None or _has_hook(setup) != (self._parts.browser.cdp_url is not None):
            self._parts.worker.post("idle", retireReason="the debugging port of its browser is for the version before")
            return
        self._parts.project = project
        self._parts.keeper.busy()
        try:
            zygote, self._parts.zygote = self._parts.zygote, _start_zygote(setup)
            await zygote.close()
            before.user.close()
            await close_context(before.tab.context)
            await self._in_thread(before.workspace.remove)
        except (OSError, ZygoteError) as error:
            self._parts.worker.post("idle", retireReason=f"the version before does not end: {error}")
        else:
            await self._make_ready()

    async def _use(self, prepared: Prepared, proxy: ProxySettings | None) -> None:
        """Check that the browser and the process for user code are alive, and make the prepared tab the Attempt's.

        An Attempt with a proxy gets a new context instead.
        """
        await self._parts.browser.check()
        if self._parts.zygote.has_ended or prepared.user.has_ended:
            raise ZygoteError("the process for user code has ended")
        if proxy is not None or prepared.tab.page.is_closed():
            await close_context(prepared.tab.context)
            prepared.tab = await self._parts.browser.open_tab(proxy)
        prepared.policy.proxy = proxy


async def _serve(fd: int, keeper: int, network: int | None) -> None:
    if network is not None:
        asyncio.get_running_loop().add_reader(network, _end_without_network)
    channel = await Channel.over(socket.socket(fileno=fd))
    setup = await anext(channel.messages, None)
    if setup is None:
        return
    lines = LogLines()
    page_events = PageEvents(lines.say, loopback_is_closed=setup["loopbackIsClosed"])
    scratch = Path(setup["scratch"])
    zygote = _start_zygote(setup)
    os.environ.update({**PLACES_OF_DRIVER, NODE_OF_DRIVER: _script(scratch, setup["driver"])})
    async with async_playwright() as playwright:
        project = Path(setup["project"])
        try:
            browser = await WarmBrowser.launch(
                playwright,
                setup,
                debugging=_has_hook(setup),
                watch=page_events.watch,
                on_refused_file=page_events.refused_file,
            )
        except (PlaywrightError, OSError) as error:
            await channel.send("unable", reason=str(error)[:MESSAGE_LIMIT])
            return
        keeper_socket = KeeperSocket(socket.socket(fileno=keeper))
        parts = Parts(channel, browser, zygote, project, lines, page_events, keeper_socket)
        try:
            await Supervisor(parts, scratch).serve()
        finally:
            await browser.close()


def _take_and_name(
    scratch: Path, workspace: Workspace, evidence: Path | None
) -> tuple[str | None, list[tuple[str, int]]]:
    """Take the files that an Attempt leaves. Return why some are not taken, if so, and which others it has written."""
    refused = None if evidence is None else take_files(scratch, evidence)
    return refused, workspace.unkept_files()


def _has_hook(setup: dict[str, Any]) -> bool:
    """Tell whether the version that the worker's message is about has a hook."""
    return has_hook(Path(setup["project"]), is_typescript=setup["zygote"]["node"] is not None)


def _start_zygote(setup: dict[str, Any]) -> Zygote:
    """Start the zygote of the version that the worker's message is about. Raises OSError."""
    return Zygote.start(setup["zygote"], Path(setup["scratch"], ATTEMPT), guarded=not setup["allowFileUrls"])


def _end_without_network() -> NoReturn:
    """End at once, as in a crash: no page can be reached any more, and the keeper ends all else."""
    print("pasta, the network of this Machine, has ended.", flush=True)  # noqa: T201  # for the Attempt's log
    os._exit(1)


def _script(scratch: Path, command: Sequence[str]) -> str:
    """Write the script that starts the driver, where Playwright expects the path of Node.js, and return its path."""
    script = scratch / _DRIVER
    script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    script.chmod(0o700)
    return str(script)


def main(fd: int, keeper: int, network: int | None) -> None:
    """Serve the worker at the other end of the socket `fd`.

    The descriptor `keeper` is a socket to the keeper. `network` is one that tells when the Machine's network has ended,
    if it has one of its own.
    """
    asyncio.run(_serve(fd, keeper, network))
