"""An installation whose Temporal is behind a proxy like Temporal Cloud: an api and a worker as processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from devstack import ports
from settings import Settings
from tests.support.certificates import Authority
from tests.support.cloud_proxy import CloudProxy
from tests.support.polling import until

CALLBOARD = Path(sys.executable).with_name("callboard")
NAMESPACE = "shop.abc12"
SERVER_NAME = f"{NAMESPACE}.tmprl.cloud"
API_KEY = "the-api-key-of-the-namespace"
CALLBOARD_KEY = "key-of-the-cloud-installation"
PATIENCE = 90
RUNS = f"/api/v1/workspace/{Settings().workspace}/projects/cloud/run"
JOBS = f"/api/v1/workspace/{Settings().workspace}/projects/cloud/jobs"

PROJECT = {
    "Intuned.jsonc": '{"projectName": "cloud", "replication": {"maxConcurrentRequests": 2}}',
    "api/title.py": """
async def automation(page, params=None, **_):
    await page.set_content("<title>in the cloud</title>")
    return await page.title()
""",
    "api/variables.py": """
import os


async def automation(page, params=None, **_):
    return dict(os.environ)
""",
    "api/connect.py": """
import asyncio


async def automation(page, params, **_):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", params["port"])
    except PermissionError:
        return "closed"
    writer.close()
    return "open"
""",
    "api/gate.py": """
import asyncio
from pathlib import Path


async def automation(page, params, **_):
    folder = Path(params["folder"])
    with (folder / f"begun-{params['n']}").open("x"):  # a second Attempt fails
        pass
    while not (folder / "go").exists():
        await asyncio.sleep(0.02)
    return params["n"]
""",
}


class CloudInstallation:
    """What the processes are told, and a client of the api."""

    def __init__(self, folder: Path, authority: Authority, proxy: CloudProxy) -> None:
        self.folder = folder
        self.authority = authority
        self.proxy = proxy
        self.http = httpx.AsyncClient()
        self.environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "CALLBOARD_API_KEYS": CALLBOARD_KEY,
            "CALLBOARD_SECRET_KEY": "sealing-key-of-the-cloud",
            "CALLBOARD_WEBHOOK_SECRETS": "whsec_" + "c2lnbmluZyBzZWNyZXQgb2YgdGhlIGNsb3VkIQ==",
            "CALLBOARD_EGRESS_ALLOW": "127.0.0.0/8",
            "CALLBOARD_BROWSER_ALLOW": "127.0.0.0/8",
            "CALLBOARD_ARTIFACTS": str(folder / "artifacts"),
            "CALLBOARD_VIEWER_PORT": "0",
            "CALLBOARD_SHARED_FOLDERS": str(folder),
            "TEMPORAL_ADDRESS": proxy.address,
            "TEMPORAL_NAMESPACE": NAMESPACE,
            "TEMPORAL_TLS_SERVER_NAME": SERVER_NAME,
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(authority.file),
        }
        if chromium := os.environ.get("CALLBOARD_CHROMIUM"):
            self.environment["CALLBOARD_CHROMIUM"] = chromium

    def use_certificate(self) -> None:
        """Let the processes have a client certificate."""
        client = self.authority.sign("client")
        self.environment["TEMPORAL_TLS_CLIENT_CERT_PATH"] = str(client.certificate)
        self.environment["TEMPORAL_TLS_CLIENT_KEY_PATH"] = str(client.key)

    def use_api_key(self) -> None:
        """Let the processes have the API key, from a profile in a file."""
        file = self.folder / "temporal.toml"
        file.write_text(f'[profile.shop]\napi_key = "{API_KEY}"\naddress = "not.this.one:7233"\n')
        self.environment["TEMPORAL_CONFIG_FILE"] = str(file)
        self.environment["TEMPORAL_PROFILE"] = "shop"

    async def command(self, *arguments: str, **environment: str) -> tuple[int | None, str, str]:
        """Exit code and output of a `callboard` command."""
        process = await asyncio.create_subprocess_exec(
            *(CALLBOARD, *arguments),
            cwd=self.folder,
            env=self.environment | {"CALLBOARD_DATA_DIR": str(self.folder / "commands")} | environment,
            stdin=DEVNULL,
            stdout=-1,
            stderr=-1,
        )
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        return process.returncode, out.decode(), err.decode()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The project deployed, and an api and a worker that are ready."""
        for name, text in PROJECT.items():
            (self.folder / "project" / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / "project" / name).write_text(text)
        code, _, err = await self.command("deploy", str(self.folder / "project"))
        assert code == 0, err
        port = ports.choose_ports({"--port": 0})["--port"]
        async with (
            self._process("worker"),
            self._process("api", CALLBOARD_PORT=str(port), CALLBOARD_READY_NEEDS_WORKERS="true") as api,
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}",
                headers={"x-api-key": CALLBOARD_KEY},
                timeout=PATIENCE,
                trust_env=False,
            ) as self.http,
        ):
            await self._until_ready(api)
            yield

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    @asynccontextmanager
    async def _process(self, name: str, **environment: str) -> AsyncGenerator[Process]:
        with (self.folder / f"{name}.log").open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *(CALLBOARD, name),
                cwd=self.folder,
                env=self.environment | {"CALLBOARD_DATA_DIR": str(self.folder / name)} | environment,
                stdin=DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            yield process
            if process.returncode is None:
                process.terminate()
            # uvicorn ends by the signal that it was stopped with.
            assert await asyncio.wait_for(process.wait(), PATIENCE) in {0, -signal.SIGTERM}, self.log(name)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _until_ready(self, api: Process) -> None:
        async def is_ready() -> bool:
            assert api.returncode is None, self.log("api")
            try:
                return (await self.http.get("/readyz")).status_code == 200
            except httpx.TransportError:  # it does not listen yet
                return False

        await until(is_ready, PATIENCE, every=0.05)

    async def start(self, api: str, parameters: Any = None, **fields: Any) -> str:
        """Start a Run; its id."""
        body = {"api": api, "parameters": parameters or {}, **fields}
        answer = await self.http.post(f"{RUNS}/start", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["runId"]

    async def result(self, run_id: str) -> dict[str, Any]:
        """The result when the Run has ended."""
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = await self.http.get(f"{RUNS}/{run_id}/result", params={"wait": 30})
                assert answer.status_code == 200, answer.text
                if answer.json()["status"] not in {"pending", "started"}:
                    return answer.json()
