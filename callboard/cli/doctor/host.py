"""Checks of this host: the browser, its sandbox, the isolation of Machines, uv, and what TypeScript needs."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from callboard.cli.doctor.findings import Finding, failed, ok, warning
from callboard.machines.attempt_spec import NodeEnvironment
from callboard.machines.box import node_program
from callboard.machines.browser_program import browser_args, find_browser
from callboard.machines.isolation import Level, find_isolation
from callboard.machines.node_client import NodeClient
from callboard.machines.sandbox import sandbox_refusal
from callboard.projects.node.tools import SETUP, has_tools, tools_folder
from callboard.projects.processes import run_process
from callboard.projects.uv import UvError, run_uv
from callboard.schemas.errors import ConfigurationError, MachineError
from callboard.settings import Settings

_BROWSER_TIMEOUT = timedelta(seconds=45)
"""Limit for showing a page. It is longer than Playwright's own limit for the start, as that error says more."""
_UV_TIMEOUT = timedelta(seconds=20)
_NODE_TIMEOUT = timedelta(seconds=20)
_COMPILE = (
    "const esbuild = require(process.argv[1]); esbuild.transformSync('let a: 1', { loader: 'ts' });"
    "console.log(`Node ${process.version}, esbuild ${esbuild.version}`)"
)


async def check_browser(settings: Settings) -> Finding:
    """Check that a browser is found and that it shows a page."""
    try:
        path = await asyncio.to_thread(find_browser, settings.chromium)
    except MachineError as error:
        # The second sentence of the message says what to do.
        found, *fix = re.split(r"(?<=\.) (?=Install|Name)", error.message, maxsplit=1)
        return failed("Browser", found, *(fix or ["Set CALLBOARD_CHROMIUM to the path of a Chromium executable."]))
    try:
        refusal = await _sandbox_refusal(settings, path)
        # This browser has no box, in which Chromium's own sandbox works for root, too.
        version = await _open_page(path, sandbox=refusal is None and os.geteuid() != 0)
    except MachineError as error:
        fix = (
            f"Install its libraries with `{sys.executable} -m playwright install-deps chromium`, or set"
            " CALLBOARD_CHROMIUM to another executable."
        )
        return failed("Browser", f"{path} {error.message}", fix)
    return ok("Browser", f"Chromium {version} ({path})")


async def check_sandbox(settings: Settings) -> Finding:
    """Check whether Chromium's own sandbox separates pages from the worker's user."""
    check = "Browser sandbox"
    try:
        path = await asyncio.to_thread(find_browser, settings.chromium)
    except MachineError:
        return warning(check, "It is not known, as no browser was found.", "Install a browser first.")
    refusal = await _sandbox_refusal(settings, path)
    if refusal is None:
        return ok(check, "Chromium's own sandbox is on.")
    fix = (
        "Install bubblewrap with `callboard setup`, or run workers as a user other than root."
        if os.geteuid() == 0
        else f'Allow user {os.geteuid()} to create user namespaces; see "Chromium\'s sandbox" in docs/isolation.md.'
    )
    return warning(check, f"Chromium's own sandbox is off: {refusal}.", fix)


async def _sandbox_refusal(settings: Settings, browser: Path) -> str | None:
    """Say why browsers of this host's Machines, which are in boxes if boxes can be made, have no sandbox."""
    wanted = Level.NONE if settings.isolation == Level.NONE else Level.OPEN
    try:
        boxed = (await asyncio.to_thread(find_isolation, wanted)).level is Level.OPEN
    except ConfigurationError:
        boxed = False
    return await asyncio.to_thread(sandbox_refusal, browser, boxed=boxed)


async def check_isolation(settings: Settings) -> Finding:
    """Check how far a worker isolates its Machines here."""
    check = "Isolation"
    fix = "Install programs with `callboard setup`, and give the worker what else is missing (docs/isolation.md)."
    try:
        found = await asyncio.to_thread(find_isolation, settings.isolation)
    except ConfigurationError as error:
        return failed(check, error.message, fix)
    return ok(check, f"{found}.") if found.level is Level.FULL else warning(check, f"{found}.", fix)


async def _open_page(path: Path, *, sandbox: bool) -> str:
    """Let the browser show a page, and return its version.

    Raises:
        MachineError: It shows no page.
    """
    # This is not imported with the others above, because all other commands would have to wait for it.
    from playwright.async_api import Error, async_playwright

    try:
        async with asyncio.timeout(_BROWSER_TIMEOUT.total_seconds()), async_playwright() as playwright:
            started = await playwright.chromium.launch(
                executable_path=path, args=browser_args(), chromium_sandbox=sandbox
            )
            page = await started.new_page()
            await page.set_content("<title>well</title>")
            await page.get_by_text("well").count()
            version = started.version
            await started.close()
            return version
    except TimeoutError:
        raise MachineError(f"has shown no page within {_BROWSER_TIMEOUT.total_seconds():g} seconds.") from None
    except Error as error:
        raise MachineError(f"shows no page: {error.message.strip().splitlines()[0]}") from error


async def check_uv() -> Finding:
    """Check that uv starts, which builds the environments of projects that declare dependencies."""
    try:
        said = await run_uv("--version", cwd=Path.cwd(), timeout=_UV_TIMEOUT)
    except UvError as error:
        fix = f"Install it again with `{sys.executable} -m pip install --force-reinstall uv`."
        return failed("uv", f"uv does not start: {error}.", fix)
    return ok("uv", said.strip())


async def check_typescript() -> Finding:
    """Check that Node and esbuild start, which compile projects in TypeScript; nobody needs them for others."""
    check, node = "TypeScript", node_program()
    if not has_tools():
        return ok(check, f"Projects in TypeScript cannot be deployed here; `{SETUP}` installs what they need.")
    command = [str(node), "-e", _COMPILE, str(tools_folder() / "node_modules" / "esbuild")]
    try:
        with TemporaryDirectory(prefix="callboard-doctor-") as folder:  # as the first Machine for TypeScript makes it
            await asyncio.to_thread(NodeClient.of, NodeEnvironment(node, None), Path(folder))
        ended = await run_process(command, cwd=Path("/"), environment={}, timeout=_NODE_TIMEOUT)
    except (MachineError, OSError, TimeoutError) as error:
        return failed(check, str(error) or f"{node} takes too long.", "Set CALLBOARD_NODE to another one, or unset it.")
    if ended.code:
        why = next(reversed(ended.stderr.strip().splitlines()), f"exit code {ended.code}")
        return failed(check, f"esbuild does not work: {why}", f"Remove {tools_folder()}, and run `{SETUP}`.")
    return ok(check, f"{ended.stdout.strip()} ({node})")
