"""A real S3 server for tests: `rclone serve s3` over a folder, on loopback, with a key of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from callboard.dev import ports
from callboard.dev.child import SupervisedProcess

BUCKET = "artifacts"


@dataclass(frozen=True)
class S3Server:
    """Where it is and how it is talked to."""

    endpoint: str
    access_key: str
    secret_key: str
    process: SupervisedProcess

    @property
    def environment(self) -> dict[str, str]:
        """What a process that is to use it finds in its environment, and nothing of this machine's own."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@asynccontextmanager
async def s3_server(folder: Path, port: int = 0, *, report: Callable[[str], None] = print) -> AsyncGenerator[S3Server]:
    """The server over `folder`, with one bucket, `BUCKET`; on a free port unless one is named.

    It reports when the server has died and is started again.
    """
    (folder / "buckets" / BUCKET).mkdir(parents=True)
    port = ports.choose_ports({"--addr": port})["--addr"]
    access_key, secret_key = "callboard-of-tests", "a-secret-of-no-worth"
    child = SupervisedProcess(
        "rclone",
        [
            Path(sys.executable).with_name("rclone"),
            *("serve", "s3", folder / "buckets", "--addr", f"127.0.0.1:{port}"),
            *("--config", os.devnull, "--cache-dir", folder / "cache"),
        ],
        log=folder / "s3.log",
        environment={
            "HOME": str(folder),
            "RCLONE_AUTH_KEY": f'"{access_key},{secret_key}"',
        },
        grace=timedelta(seconds=5),
        report=report,
    )
    try:
        await child.start()
        await child.wait_until_ready(_answers(port))
        yield S3Server(f"http://127.0.0.1:{port}", access_key, secret_key, child)
    finally:
        await child.stop()


async def _answers(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return
