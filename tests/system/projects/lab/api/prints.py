"""Prints lines, and others when the test says so."""

import asyncio
from pathlib import Path


async def automation(page, params, **_kwargs):
    for line in params["lines"]:
        print(line)
    if "printed" in params:
        Path(params["printed"]).touch()
    if "go" in params:
        while not Path(params["go"]).exists():
            await asyncio.sleep(0.02)
    for line in params.get("then", []):
        print(line)
