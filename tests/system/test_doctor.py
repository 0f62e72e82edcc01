"""`callboard doctor` on a stack that runs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.support.stack import Stack


async def doctor(data: Path) -> tuple[int | None, dict[str, dict[str, str]]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
    command = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("callboard"), "doctor", "--json", "--data", data), env=clean, stdout=-1
    )
    out, _ = await asyncio.wait_for(command.communicate(), 90)
    return command.returncode, {check["check"]: check for check in json.loads(out)["checks"]}


async def test_it_finds_a_running_stack_by_its_data_folder_and_all_is_well(stack: Stack) -> None:
    async with asyncio.timeout(90):
        while True:  # workers say what they offer every ten seconds
            code, found = await doctor(stack.data)
            if code == 0:
                break
            assert [check for check, told in found.items() if told["status"] == "failed"] == ["Projects"]
    assert [told for told in found.values() if told["status"] not in {"ok", "warning"}] == []
    assert stack.dev.temporal.address in found["Temporal"]["message"]
    assert stack.api_key not in json.dumps(found)
