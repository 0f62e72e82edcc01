"""`callboard doctor` on a stack that runs."""

from __future__ import annotations

import json

from tests.support.polling import until
from tests.support.processes import CALLBOARD, Done, execute
from tests.support.stack import Stack


async def test_it_finds_a_running_stack_by_its_data_folder_and_all_is_well(stack: Stack) -> None:
    def is_well(done: Done) -> bool:
        failed = [check["check"] for check in done.json["checks"] if check["status"] == "failed"]
        assert failed in ([], ["Projects"])
        return done.code == 0

    async def doctor() -> Done:
        return await execute(CALLBOARD, "doctor", "--json", "--data", stack.data)

    done = await until(doctor, 90, true=is_well)  # workers say what they offer every ten seconds
    found = {check["check"]: check for check in done.json["checks"]}
    assert [told for told in found.values() if told["status"] not in {"ok", "warning"}] == []
    assert stack.dev.temporal.address in found["Temporal"]["message"]
    assert stack.api_key not in json.dumps(found)
