"""Artifacts of Attempts, put into the store as a worker would."""

from __future__ import annotations

from typing import Any

from callboard.schemas.workflow.attempt import AttemptRecord, AttemptStatus
from callboard.storage import object_keys
from tests.support.api_in_process import Api


def attempt_record(
    run_id: str, number: int = 1, status: AttemptStatus = AttemptStatus.COMPLETED, **fields: Any
) -> AttemptRecord:
    return AttemptRecord(run_id=run_id, number=number, status=status, **fields)


async def store_artifact(api: Api, run_id: str, number: int, name: str, data: bytes) -> None:
    await api.store.put(object_keys.attempt("shop", run_id, number, name), data)


async def store_record(api: Api, record: AttemptRecord) -> None:
    await store_artifact(
        api, record.run_id, record.number, "attempt.json", record.model_dump_json(exclude_none=True).encode()
    )
