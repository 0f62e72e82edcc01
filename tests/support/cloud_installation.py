"""An installation whose Temporal is behind a proxy like Temporal Cloud: an api and a worker as processes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.certificates import Authority
from tests.support.cloud_proxy import CloudProxy
from tests.support.parts import Parts
from tests.support.rest import Rest

NAMESPACE = "shop.abc12"
SERVER_NAME = f"{NAMESPACE}.tmprl.cloud"
API_KEY = "the-api-key-of-the-namespace"

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


class CloudInstallation(Parts):
    """What the processes are told, and a client of the api."""

    rest: Rest
    """While it runs."""

    def __init__(self, folder: Path, authority: Authority, proxy: CloudProxy) -> None:
        super().__init__(
            folder,
            project="cloud",
            HOME=str(folder),
            CALLBOARD_BROWSER_ALLOW="127.0.0.0/8",
            TEMPORAL_ADDRESS=proxy.address,
            TEMPORAL_NAMESPACE=NAMESPACE,
            TEMPORAL_TLS_SERVER_NAME=SERVER_NAME,
            TEMPORAL_TLS_SERVER_CA_CERT_PATH=str(authority.file),
        )
        self.authority = authority
        self.proxy = proxy

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

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The project deployed, and an api and a worker that are ready."""
        await self.deploy(PROJECT)
        async with self.part("worker", "worker"), self.api(CALLBOARD_READY_NEEDS_WORKERS="true") as self.rest:
            yield

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()
