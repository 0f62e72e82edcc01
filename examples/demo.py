"""Real Runs, end to end: `make demo`. With `--stay` the stack is left running instead: `make dev`.

The bundled example site is the shop that the project `examples/projects/shop` reads; everything is on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from callboard.cli.dev import run_until_signalled
from callboard.dev import ports
from callboard.dev.banner import banner, example_curl
from callboard.dev.child import SupervisedProcess
from callboard.dev.dev import WEBHOOK_SECRET_FILE, DevStack
from callboard.dev.environment import build_environment
from callboard.schemas.errors import CallboardError, StackError
from callboard.settings import Settings
from callboard.temporal.hard_exit import hard_exit
from examples.caller import Caller
from examples.site.accounts import ACCOUNTS
from examples.site.proxy import PASSWORD, USER

PROJECTS = Path(__file__).parent / "projects"
SITE_PORT = 8401
PROXY_PORT = 8402
TEMPORAL_PORT = 7233
UI_PORT = 8233

_PROJECT = "shop"
_API = "list-products"
_LOGS_IN = "orders"
"""The project that needs an AuthSession."""


def main() -> int:
    """The demo; its exit code is 0 if all went well."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description="Runs from end to end.")
    parser.add_argument("--stay", action="store_true", help="leave the stack running, and try it yourself")
    parser.add_argument("--site-port", type=int, default=SITE_PORT, help="port of the example site that stays")
    parser.add_argument("--proxy-port", type=int, default=PROXY_PORT, help="port of the example proxy that stays")
    arguments = parser.parse_args()
    try:
        if arguments.stay:
            settings = Settings()
            stack = DevStack(PROJECTS, settings, temporal_port=TEMPORAL_PORT, ui_port=UI_PORT, report=print)
            asyncio.run(
                run_until_signalled(
                    _stay(stack, arguments.site_port, arguments.proxy_port), on_second_signal=stack.skip_grace
                )
            )
            return 0
        with tempfile.TemporaryDirectory(prefix="callboard-demo-") as data:
            # Whatever is set for an installation on this machine: the demo has keys and a store of its own.
            settings = Settings(
                data_dir=Path(data),
                artifacts=f"{data}/artifacts",
                api_keys=[],
                secret_key=[],
                webhook_secrets=[],
                egress_allow=[],
                port=0,
                viewer_port=0,
            )
            # These alone: another project declares dependencies, and would reach for the network.
            projects = Path(data, "projects")
            projects.mkdir()
            for project in (_PROJECT, _LOGS_IN):
                (projects / project).symlink_to(PROJECTS / project)
            stack = DevStack(projects, settings, temporal_port=0, ui_port=0, report=print)
            asyncio.run(run_until_signalled(_show(stack), on_second_signal=stack.skip_grace))
        print("Stopped everything, and removed the demo's data.")
    except CallboardError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


async def _show(stack: DevStack) -> None:
    began = time.monotonic()
    print("Starting the example site, Temporal, the api and a worker …")
    async with site_beside(stack.settings, {"--site-port": 0}) as (site, *_), stack, Caller.of(stack) as caller:
        print(f"All up after {time.monotonic() - began:.1f} s. Starting a Run of {_PROJECT}/{_API} …")
        await _show_run(caller, site)
        await _show_login(caller, site)
        print(
            "\nWhere to look next:"
            "\n  make dev                   the same stack, left running, with an address to open and a call to try"
            f"\n  {(PROJECTS / _PROJECT / 'api').relative_to(Path(__file__).parents[1])}/"
            "   the code that ran; a project of your own is a folder like this one"
            "\n  callboard dev DIR          serves every project folder below DIR"
            "\n"
        )


async def _show_run(caller: Caller, site: str) -> None:
    """One Run and its result, which is delivered to the site besides."""
    started = time.monotonic()
    sink = {"type": "webhook", "url": f"{site}/inbox"}
    body = {"api": _API, "parameters": {"baseUrl": site, "pages": 2}, "sink": sink}
    answer = await caller.run(_PROJECT, body)
    ended = time.monotonic()
    print(f"\nRun {answer['runId']} completed in {ended - started:.2f} s. Its result:\n")
    print(_shortened(json.dumps(answer["result"], indent=2, ensure_ascii=False)))
    delivered = await _delivered(site, answer["runId"])
    if delivered["apiInfo"]["result"]["result"] != answer["result"]:
        raise StackError(f"What was delivered to {sink['url']} is not the result of Run {answer['runId']}.")
    print(f"\nThe same result was delivered to {sink['url']}, where its signature was verified.")


async def _delivered(site: str, run_id: str) -> dict[str, Any]:
    """What the site's inbox has got of a Run; it takes only what is signed."""
    try:
        async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as shop:
            while (answer := await shop.get(f"{site}/inbox/{run_id}")).status_code == 404:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise StackError(f"The result of Run {run_id} did not arrive at {site}/inbox within 30 seconds.") from None
    answer.raise_for_status()
    return answer.json()["delivered"]


async def _show_login(caller: Caller, site: str) -> None:
    """A Run whose login has expired: it is made anew before the Attempt."""
    account = ACCOUNTS["alice"]
    print(f"\nCreating an AuthSession of {_LOGS_IN}, and having the site forget the login …")
    await caller.log_in(_LOGS_IN, "demo", {"baseUrl": site, "user": account.user, "password": account.password})
    at_the_shop = f"{site}/accounts/{account.user}"
    async with httpx.AsyncClient(trust_env=False) as shop:
        before = (await shop.get(at_the_shop)).json()["logins"]
        (await shop.post(f"{at_the_shop}/expire")).raise_for_status()
        started = time.monotonic()
        body = {"api": "list-orders", "parameters": {"baseUrl": site}, "authSession": {"id": "demo"}}
        answer = await caller.run(_LOGS_IN, body)
        took = time.monotonic() - started
        after = (await shop.get(at_the_shop)).json()["logins"]
    if after != before + 1:
        raise StackError(f"The login had expired, and was made {after - before} times instead of once.")
    print(
        f"The login had expired: it was made anew, once, before the Attempt. Run {answer['runId']} completed in "
        f"{took:.2f} s, with {len(answer['result']['orders'])} orders of {answer['result']['member']}."
    )


async def _stay(stack: DevStack, site_port: int, proxy_port: int) -> None:
    wanted = {"--site-port": site_port, "--proxy-port": proxy_port}
    async with site_beside(stack.settings, wanted) as (site, proxy), stack:
        print(banner(stack))
        shop = next((manifest for manifest in stack.projects.deployed if manifest.project == _PROJECT), None)
        if shop is not None:
            parameters = json.dumps({"baseUrl": site, "pages": 2})
            print(
                f"\nThe example shop is at {site}. A Run that reads it:\n{example_curl(stack, shop, _API, parameters)}"
            )
        print(f"\nA proxy that asks for credentials: http://{USER}:{PASSWORD}@{proxy.removeprefix('http://')}")
        await stack.wait()


@asynccontextmanager
async def site_beside(settings: Settings, wanted: Mapping[str, int]) -> AsyncGenerator[list[str]]:
    """The example site, as a process of its own, and perhaps its proxy; their addresses.

    Args:
        settings: Where its log goes.
        wanted: The ports: `--site-port`, and `--proxy-port` for one with a proxy.
    """
    claimed = ports.choose_ports(wanted)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = settings.data_dir.expanduser().resolve() / WEBHOOK_SECRET_FILE
    arguments = ["--port", str(claimed["--site-port"]), "--webhook-secret", str(secret)]
    if "--proxy-port" in claimed:
        arguments += ["--proxy-port", str(claimed["--proxy-port"])]
    child = SupervisedProcess(
        "site",
        [sys.executable, "-m", "examples.site", *arguments],
        log=settings.data_dir / "logs" / "site.log",
        environment=build_environment(settings),
        grace=timedelta(seconds=5),
        report=print,
    )
    try:
        await child.start()
        await child.wait_until_ready(_listening(claimed["--site-port"]))
        yield [f"http://127.0.0.1:{port}" for port in claimed.values()]
    finally:
        await child.stop()


async def _listening(port: int) -> None:
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    await writer.wait_closed()
                    return
    except TimeoutError:
        raise StackError(f"The example site does not listen on port {port} after 30 seconds.") from None


def _shortened(text: str, lines: int = 30) -> str:
    all_lines = text.splitlines()
    more = len(all_lines) - lines
    return text if more <= 0 else "\n".join([*all_lines[:lines], f"… ({more} more lines)"])


if __name__ == "__main__":
    hard_exit(main())
