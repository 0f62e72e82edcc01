"""Result and cancel: the bodies of every status, waiting, and clients that leave."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from callboard.schemas.rest.run_result import ResultResponse
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.run import ReasonType, RunError, RunOutcome, RunReason, RunStatus
from tests.support.api_in_process import KEY, Api
from tests.support.polling import until


def inline(text: str) -> JsonRef:
    return JsonRef(text=text, size=len(text))


async def result(api: Api, run_id: str, query: str = "") -> Any:
    return await api.client.get(f"{api.base}/{run_id}/result{query}")


async def test_a_completed_run_has_its_result_byte_for_byte(api: Api):
    run_id = await api.run()
    text = '{"half": "\\ud800", "big": 123456789012345678901234567890, "spaced" : 1.50, "twice": 1, "twice": 2}'
    api.runs.end(run_id, RunOutcome(status=RunStatus.COMPLETED, result=inline(text)))
    answer = await result(api, run_id)
    assert answer.text == f'{{"runId":"{run_id}","status":"completed","result":{text}}}'
    assert int(answer.headers["content-length"]) == len(answer.content)


@pytest.mark.parametrize("text", ["null", "0", "[]", '""', "false"])
async def test_a_result_that_is_empty_is_there_all_the_same(api: Api, text: str):
    run_id = await api.run()
    api.runs.end(run_id, RunOutcome(status=RunStatus.COMPLETED, result=inline(text)))
    assert (await result(api, run_id)).json() == {"runId": run_id, "status": "completed", "result": json.loads(text)}


async def test_a_big_result_and_extended_payloads_come_from_the_store(api: Api):
    run_id = await api.run()
    big = json.dumps({"x": "a" * 2_000_000})
    payloads = '[{"api": "products/details", "parameters": {"id": 7}}]'
    refs: list[JsonRef] = []
    for name, text in (("result", big), ("extended-payloads", payloads)):
        refs.append(JsonRef(key=f"runs/shop/{run_id}/attempts/1/{name}.json", size=len(text)))
        await api.store.put(f"runs/shop/{run_id}/attempts/1/{name}.json", text.encode())
    api.runs.end(run_id, RunOutcome(status=RunStatus.COMPLETED, result=refs[0], extended_payloads=refs[1]))
    body = (await result(api, run_id)).json()
    assert body["result"] == json.loads(big)
    assert body["extendedPayloads"] == json.loads(payloads)
    ResultResponse.model_validate(body)


async def test_an_artifact_that_is_gone_is_an_error_that_names_the_store(api: Api):
    run_id = await api.run()
    gone = JsonRef(key=f"runs/shop/{run_id}/attempts/1/result.json", size=50_000)
    api.runs.end(run_id, RunOutcome(status=RunStatus.COMPLETED, result=gone))
    answer = await result(api, run_id)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-server-error")
    assert "artifact store" in answer.json()["message"]


async def test_a_failed_run_has_error_and_message(api: Api):
    run_id = await api.run()
    error: dict[str, Any] = {
        "code": "api-attempts-failed",
        "category": "execution",
        "message": "No such element: »Kaufen« 😀",
        "retirable": False,
        "details": {"attempts_count": 3, "last_error": None},
    }
    api.runs.end(run_id, RunOutcome(status=RunStatus.FAILED, error=RunError.model_validate(error)))
    body = (await result(api, run_id)).json()
    assert body == {"runId": run_id, "status": "failed", "message": error["message"], "error": error}
    ResultResponse.model_validate(body)


async def test_a_canceled_run_has_reason_and_message(api: Api):
    run_id = await api.run()
    answer = await api.client.post(f"{api.base}/{run_id}/cancel")
    assert answer.status_code == 200
    assert answer.json() == (await result(api, run_id)).json()
    reason: dict[str, Any] = {"type": "cancelled-user-action", "message": "The Run was canceled."}
    assert answer.json() == {"runId": run_id, "status": "canceled", "message": reason["message"], "reason": reason}
    ResultResponse.model_validate(answer.json())
    reason = {"type": ReasonType.TERMINATED, "message": "Ended in Temporal.", "details": {"by": "operator"}}
    api.runs.end(run_id, RunOutcome(status=RunStatus.CANCELED, reason=RunReason.model_validate(reason)))
    assert (await result(api, run_id)).json()["reason"] == reason


async def test_cancel_is_idempotent_and_leaves_a_finished_run_as_it_is(api: Api):
    run_id = await api.run()
    api.runs.end(run_id, RunOutcome(status=RunStatus.COMPLETED, result=inline("1")))
    for _ in range(2):
        answer = await api.client.post(f"{api.base}/{run_id}/cancel", params={"wait": 0})
        assert answer.json() == {"runId": run_id, "status": "completed", "result": 1}


@pytest.mark.parametrize("wait", ["-1", "60.5", "61", "nan", "inf", "x", "", "1e9", "0x1", "5s"])
async def test_wait_goes_from_0_to_60_seconds_and_is_the_only_parameter(api: Api, wait: str):
    run_id = await api.run()
    for method, path in (("GET", "result"), ("POST", "cancel")):
        answer = await api.client.request(method, f"{api.base}/{run_id}/{path}", params={"wait": wait})
        assert answer.status_code == 400
        expected = {"path": "wait", "expected": "a number of seconds from 0 to 60"}
        assert answer.json()["details"] == {**expected, "errors": [expected]}
    assert (await result(api, run_id)).json()["status"] == "pending"
    answer = await result(api, run_id, "?wiat=5")
    assert (answer.status_code, answer.json()["details"]["path"]) == (400, "wiat")


@pytest.mark.parametrize("query", ["", "?wait=0", "?wait=0.0", "?wait=0.01", "?wait=1e-2"])
async def test_an_unfinished_run_has_only_its_id_and_status_after_a_wait(api: Api, query: str):
    run_id = await api.run()
    answer = await result(api, run_id, query)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"runId": run_id, "status": "pending"}


async def test_a_wait_ends_with_the_run(api: Api):
    run_id = await api.run()
    waiting = asyncio.create_task(result(api, run_id, "?wait=60"))
    await until(lambda: api.runs.waiting)
    api.runs.end(run_id, RunOutcome(status=RunStatus.COMPLETED, result=inline("[1]")))
    assert (await waiting).json() == {"runId": run_id, "status": "completed", "result": [1]}


async def test_a_wait_ends_when_the_service_is_told_to_stop(api: Api):
    run_id = await api.run()
    waiting = asyncio.create_task(result(api, run_id, "?wait=60"))
    await until(lambda: api.runs.waiting)
    api.services.shutting_down.set()
    assert (await waiting).json() == {"runId": run_id, "status": "pending"}
    await until(lambda: api.runs.waiting == 0)


async def test_a_client_that_leaves_ends_its_wait_and_leaves_no_task_behind(api: Api, served: str):
    run_id = await api.run()
    before = asyncio.all_tasks()
    async with httpx.AsyncClient(base_url=served, headers={"x-api-key": KEY}, trust_env=False) as client:
        asking = asyncio.create_task(client.get(f"{api.base}/{run_id}/result?wait=60"))
        await until(lambda: api.runs.waiting)
        asking.cancel()
        await asyncio.wait({asking})
    await until(lambda: api.runs.waiting == 0)
    await until(lambda: asyncio.all_tasks() <= before)


# Its rows, of which `tests/unit/api/test_rows.py` tells more.


async def test_a_result_that_is_a_table_has_rows_and_any_other_has_none(api: Api):
    run_id = await api.run()
    answer = await api.ask(f"runs/{run_id}/rows", status=409)
    assert (answer["code"], answer["message"]) == ("not-a-table", f"Run {run_id} has no rows: it has not completed.")
    api.runs.end(run_id, RunOutcome(status=RunStatus.COMPLETED, result=JsonRef(text='[{"a":[1]},{}]', size=14)))
    assert await api.ask(f"runs/{run_id}/rows") == {"columns": ["a"], "rows": [{"a": "[1]"}, {}]}
    other = await api.run()
    api.runs.end(other, RunOutcome(status=RunStatus.COMPLETED, result=JsonRef(text='"text"', size=6)))
    assert (await api.ask(f"runs/{other}/rows", status=409))["code"] == "not-a-table"
    answer = await api.ask(f"runs/{run_id}/rows", status=400, params={"format": "xml"})
    assert answer["details"]["path"] == "format"
