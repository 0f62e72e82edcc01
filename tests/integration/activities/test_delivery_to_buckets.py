"""Deliveries to buckets, on a real S3 server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from callboard.schemas.workflow.delivery import DeliveryStatus
from tests.support.control_worker import Delivering
from tests.support.delivery_inputs import delivery
from tests.support.present import present
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


@pytest.mark.parametrize("prefix", ["", "/runs/", "a b/é", "it's (fine)!*~+,;=@&$"])
async def test_a_delivery_becomes_one_object(
    deliver: Delivering, name: str, s3: tuple[S3Server, Path], prefix: str
) -> None:
    server, folder = s3
    await deliver.start(delivery(bucket(server, prefix=prefix), run_id=name, project=name))
    assert (await deliver.ended(name, name)).status is DeliveryStatus.DELIVERED
    assert (folder / prefix.strip("/") / f"{name}.json").read_bytes() == b'{"n":1}'
    (record,) = await deliver.tries(name, name)
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
    assert f"{code}: The " in present(state.error).message
    (record,) = await deliver.tries(name, name)
    assert present(record.error).type == code
    assert HIDDEN not in record.model_dump_json()
