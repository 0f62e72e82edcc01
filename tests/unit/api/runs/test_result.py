"""Result and cancel: the bodies of every status, waiting, and clients that leave."""

import asyncio
import json
from typing import Any

import pytest

from schemas.rest.result import ResultResponse
from schemas.workflow.base import JsonRef
from schemas.workflow.run import ErrorCode, ReasonType, RunError, RunOutcome, RunReason, RunStatus
from tests.support.api_in_process import Api
from tests.support.polling import until


def inline(text: str) -> JsonRef:
    return JsonRef(text=text, size=len(text))


async def result(api: Api, run_id: str, query: str = "") -> Any:
    return await api.client.get(f"{api.base}/{run_id}/result{query}")


async def test_an_unfinished_run_has_only_its_id_and_status(api: Api):
    run_id = await api.run()
    answer = await result(api, run_id)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"runId": run_id, "status": "pending"}


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
    await api.store.put(f"runs/shop/{run_id}/attempts/1/result.json", big.encode())
    payloads = '[{"api": "products/details", "parameters": {"id": 7}}]'
    await api.store.put(f"runs/shop/{run_id}/attempts/1/extended-payloads.json", payloads.encode())
    outcome = RunOutcome(
        status=RunStatus.COMPLETED,
        result=JsonRef(key=f"runs/shop/{run_id}/attempts/1/result.json", size=len(big)),
        extended_payloads=JsonRef(key=f"runs/shop/{run_id}/attempts/1/extended-payloads.json", size=len(payloads)),
    )
    api.runs.end(run_id, outcome)
    body = (await result(api, run_id)).json()
    assert body["result"] == json.loads(big)
    assert body["extendedPayloads"] == json.loads(payloads)
    ResultResponse.model_validate(body)


async def test_an_artifact_that_is_gone_is_an_error_that_names_the_store(api: Api):
    run_id = await api.run()
    gone = JsonRef(key=f"runs/shop/{run_id}/attempts/1/result.json", size=50_000)
    api.runs.end(run_id, RunOutcome(status=RunStatus.COMPLETED, result=gone))
    answer = await result(api, run_id)
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal-server-error"
    assert "artifact store" in answer.json()["message"]


async def test_a_failed_run_has_error_and_message(api: Api):
    run_id = await api.run()
    error = RunError(
        code=ErrorCode.API_ATTEMPTS_FAILED,
        category="execution",
        message="No such element: »Kaufen« 😀",
        details={"attempts_count": 3, "last_error": None},
    )
    api.runs.end(run_id, RunOutcome(status=RunStatus.FAILED, error=error))
    body = (await result(api, run_id)).json()
    assert body == {
        "runId": run_id,
        "status": "failed",
        "message": "No such element: »Kaufen« 😀",
        "error": {
            "code": "api-attempts-failed",
            "category": "execution",
            "message": "No such element: »Kaufen« 😀",
            "retirable": False,
            "details": {"attempts_count": 3, "last_error": None},
        },
    }
    ResultResponse.model_validate(body)


async def test_a_canceled_run_has_reason_and_message(api: Api):
    run_id = await api.run()
    answer = await api.client.post(f"{api.base}/{run_id}/cancel")
    assert answer.status_code == 200
    assert answer.json() == (await result(api, run_id)).json()
    assert answer.json() == {
        "runId": run_id,
        "status": "canceled",
        "message": "The Run was canceled.",
        "reason": {"type": "cancelled-user-action", "message": "The Run was canceled."},
    }
    ResultResponse.model_validate(answer.json())


async def test_a_reason_keeps_its_details(api: Api):
    run_id = await api.run()
    reason = RunReason(type=ReasonType.TERMINATED, message="Ended in Temporal.", details={"by": "operator"})
    api.runs.end(run_id, RunOutcome(status=RunStatus.CANCELED, reason=reason))
    assert (await result(api, run_id)).json()["reason"]["details"] == {"by": "operator"}


async def test_cancel_is_idempotent_and_leaves_a_finished_run_as_it_is(api: Api):
    run_id = await api.run()
    api.runs.end(run_id, RunOutcome(status=RunStatus.COMPLETED, result=inline("1")))
    for _ in range(2):
        answer = await api.client.post(f"{api.base}/{run_id}/cancel", params={"wait": 0})
        assert answer.json() == {"runId": run_id, "status": "completed", "result": 1}


@pytest.mark.parametrize("wait", ["-1", "60.5", "61", "nan", "inf", "x", "", "1e9", "0x1", "5s"])
async def test_wait_goes_from_0_to_60_seconds(api: Api, wait: str):
    run_id = await api.run()
    for method, path in (("GET", "result"), ("POST", "cancel")):
        answer = await api.client.request(method, f"{api.base}/{run_id}/{path}", params={"wait": wait})
        assert answer.status_code == 400
        expected = {"path": "wait", "expected": "a number of seconds from 0 to 60"}
        assert answer.json()["details"] == {**expected, "errors": [expected]}
    assert (await result(api, run_id)).json()["status"] == "pending"


async def test_an_unknown_query_parameter_is_400(api: Api):
    answer = await result(api, await api.run(), "?wiat=5")
    assert answer.status_code == 400
    assert answer.json()["details"]["path"] == "wiat"


@pytest.mark.parametrize("wait", ["0", "0.0", "0.01", "1e-2"])
async def test_a_wait_that_passes_answers_with_the_status_as_it_is(api: Api, wait: str):
    run_id = await api.run()
    assert (await result(api, run_id, f"?wait={wait}")).json() == {"runId": run_id, "status": "pending"}


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


async def test_a_client_that_leaves_ends_its_wait_and_leaves_no_task_behind(api: Api):
    run_id = await api.run()
    before = asyncio.all_tasks()
    gone = asyncio.Event()
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        for message in messages:
            return message
        await gone.wait()
        return {"type": "http.disconnect"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": f"{api.base}/{run_id}/result",
        "raw_path": f"{api.base}/{run_id}/result".encode(),
        "query_string": b"wait=60",
        "root_path": "",
        "headers": [(b"host", b"api.test"), (b"x-api-key", b"test-key-number-one-of-two")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    serving = asyncio.create_task(api.app(scope, receive, send))
    await until(lambda: api.runs.waiting)
    gone.set()
    await asyncio.wait_for(serving, 10)
    assert sent == []
    assert api.runs.waiting == 0
    assert asyncio.all_tasks() - before == set()


async def test_a_canceled_request_leaves_no_task_behind(api: Api):
    run_id = await api.run()
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(result(api, run_id, "?wait=60"))
    await until(lambda: api.runs.waiting)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert api.runs.waiting == 0
    assert asyncio.all_tasks() - before == set()
