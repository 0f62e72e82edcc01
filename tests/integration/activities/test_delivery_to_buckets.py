"""Deliveries to buckets, on a real S3 server."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from schemas.workflow.delivery import DeliveryStatus
from tests.support.delivery_inputs import delivery
from tests.support.delivery_worker import Delivering, run_to_end
from tests.support.run_stage import Stage
from tests.support.s3_server import BUCKET, S3Server, s3_server

HIDDEN = "t0p-s3cret"


def bucket(server: S3Server, **fields: Any) -> dict[str, Any]:
    return {
        "type": "s3",
        "bucket": BUCKET,
        "region": "us-east-1",
        "endpoint": server.endpoint,
        "forcePathStyle": True,
        "accessKeyId": server.access_key,
        "secretAccessKey": server.secret_key,
        **fields,
    }


@pytest.fixture(scope="module")
async def s3(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[tuple[S3Server, Path]]:
    folder = tmp_path_factory.mktemp("s3")
    async with s3_server(folder) as server:
        yield server, folder / "buckets" / BUCKET


async def test_the_result_becomes_one_object_with_the_same_body_as_a_webhook(
    deliver: Delivering, stage: Stage, s3: tuple[S3Server, Path]
) -> None:
    server, folder = s3
    await run_to_end(stage, bucket(server, prefix="/runs/"))
    assert (await deliver.ended(stage.project, stage.run_id)).status is DeliveryStatus.DELIVERED
    stored = json.loads((folder / "runs" / f"{stage.run_id}.json").read_text())
    assert stored["apiInfo"]["result"] == {"status": "completed", "result": {"n": 1}, "statusCode": 200}
    (record,) = await deliver.tries(stage.project, stage.run_id)
    assert record.status_code == 200


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"bucket": "nowhere"}, "NoSuchBucket"),
        ({"secretAccessKey": HIDDEN}, "SignatureDoesNotMatch"),
        ({"accessKeyId": HIDDEN}, "InvalidAccessKeyId"),
    ],
)
async def test_a_lasting_refusal_by_a_bucket_fails_the_delivery_with_its_code(
    deliver: Delivering, name: str, s3: tuple[S3Server, Path], fields: dict[str, str], code: str
) -> None:
    await deliver.start(delivery(bucket(s3[0], **fields), run_id=name, project=name))
    state = await deliver.ended(name, name)
    assert state.status is DeliveryStatus.FAILED
    assert state.error is not None
    assert code in state.error.message
    (record,) = await deliver.tries(name, name)
    assert record.error is not None
    assert record.error.type == code
    assert HIDDEN not in record.model_dump_json()


async def test_a_server_that_is_restarted_in_the_middle_gets_it_all_the_same(
    deliver: Delivering, name: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as first:
        server = await first.enter_async_context(s3_server(tmp_path / "one"))
        port = int(server.endpoint.rpartition(":")[2])
        await first.aclose()
        await deliver.start(delivery(bucket(server), run_id=name, project=name))
        records = await deliver.until_tried(name, name, 2)
        assert {record.error and record.error.type for record in records} == {"ConnectError"}
        async with s3_server(tmp_path / "two", port=port):
            assert (await deliver.ended(name, name)).status is DeliveryStatus.DELIVERED
            assert (tmp_path / "two" / "buckets" / BUCKET / f"{name}.json").exists()
