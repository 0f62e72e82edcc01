"""Log in as a member whose phone is asked, and list the orders. The example site has to be served."""

import json
from pathlib import Path

import pytest
from callboard_runtime.pytest_plugin import RunApi

LOGIN = json.loads((Path(__file__).parents[1] / ".parameters/auth-sessions/create/tester.json").read_text())


async def test_a_login_with_a_code_lists_the_orders(run_api: RunApi) -> None:
    await run_api("auth-sessions/create", LOGIN, answers={"code": "493027"})
    run = await run_api("list-orders", {"baseUrl": LOGIN["baseUrl"]})
    assert run.result["member"] == "Tess Tester"


async def test_a_wrong_code_fails(run_api: RunApi) -> None:
    with pytest.raises(RuntimeError, match="This is not the code"):
        await run_api("auth-sessions/create", LOGIN, answers={"code": "000000"})
