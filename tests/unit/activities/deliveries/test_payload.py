"""What a sink is sent, field by field (docs/contract.md, section 11.1)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from activities.deliveries.payload import GoneError, delivery_payload
from callboard.schemas.rest.files import LinkedFile
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.run import ErrorCode, ReasonType, RunOutcome, RunReason, RunStatus
from callboard.storage.folder import FolderStore
from tests.support.delivery_inputs import completed, delivery, failed, webhook
from tests.support.stage import WORKSPACE

SINK = webhook("https://hook.example")


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "artifacts")


async def body(store: FolderStore, outcome: RunOutcome, **fields: Any) -> dict[str, Any]:
    return json.loads(await delivery_payload(delivery(SINK, **fields), outcome, store))


async def test_a_completed_run(store: FolderStore) -> None:
    assert await body(store, completed({"n": [1, None]}), parameters={"page": 2}) == {
        "workspaceId": WORKSPACE,
        "project": {"id": "shop", "name": "shop"},
        "apiInfo": {
            "name": "list",
            "parameters": {"page": 2},
            "runId": "run-1",
            "result": {"status": "completed", "result": {"n": [1, None]}, "statusCode": 200},
        },
    }


@pytest.mark.parametrize(
    ("outcome", "error", "status_code"),
    [
        (failed(), "api-attempts-failed", 500),
        (failed(ErrorCode.RESULT_TOO_BIG), "result-too-big-error", 500),
        (failed(ErrorCode.SCRIPT_TIMEOUT), "script-timeout", 408),
        (failed(last_error={"code": "script-timeout"}), "api-attempts-failed", 408),
        (failed(last_error={"code": "script-execution-exception"}), "api-attempts-failed", 500),
    ],
)
async def test_a_failed_run(store: FolderStore, outcome: RunOutcome, error: str, status_code: int) -> None:
    result = (await body(store, outcome))["apiInfo"]["result"]
    assert result == {
        "status": "failed",
        "error": error,
        "message": "the price is missing",
        "statusCode": status_code,
    }


async def test_files_stand_beside_what_became_of_the_run_if_there_are_any(store: FolderStore) -> None:
    file = LinkedFile(name="a.csv", size=1, content_type="text/csv", sha256="ab", url=None, expires_at=None)
    for outcome in (completed(1), failed()):
        body = json.loads(await delivery_payload(delivery(SINK), outcome, store, [file]))
        assert body["apiInfo"]["result"]["files"] == [
            {"name": "a.csv", "size": 1, "contentType": "text/csv", "sha256": "ab", "url": None, "expiresAt": None}
        ]


async def test_an_auth_session_is_named_if_one_was_used(store: FolderStore) -> None:
    assert (await body(store, completed(), auth_session_id="ada"))["authSession"] == {"id": "ada"}


async def test_big_parameters_and_results_come_from_the_store_byte_for_byte(store: FolderStore) -> None:
    odd = '{"big":123456789012345678901234567890,"lone":"\\ud800","e":1e400}'
    await store.put("a.json", odd.encode())
    await store.put("b.json", b'"' + b"x" * 100_000 + b'"')
    input = delivery(SINK).model_copy(update={"parameters": JsonRef(key="b.json", size=100_002)})
    outcome = RunOutcome(status=RunStatus.COMPLETED, result=JsonRef(key="a.json", size=len(odd)))
    text = await delivery_payload(input, outcome, store)
    assert f'"result":{odd},"statusCode":200'.encode() in text
    assert text.isascii()


async def test_what_is_not_in_the_store_any_more_is_said(store: FolderStore) -> None:
    outcome = RunOutcome(status=RunStatus.COMPLETED, result=JsonRef(key="runs/shop/run-1/r.json", size=1))
    with pytest.raises(GoneError, match=r"runs/shop/run-1/r\.json is not in the artifact store any more"):
        await delivery_payload(delivery(SINK), outcome, store)


async def test_a_canceled_run_has_no_body(store: FolderStore) -> None:
    reason = RunReason(type=ReasonType.TERMINATED, message="x")
    with pytest.raises(ValueError, match="canceled is not delivered"):
        await delivery_payload(delivery(SINK), RunOutcome(status=RunStatus.CANCELED, reason=reason), store)
