"""A store of each kind, empty."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callboard.storage.factory import open_store
from callboard.storage.store import Store
from tests.support.s3_server import BUCKET, S3Server, s3_server


@pytest.fixture(scope="session")
async def s3(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3Server]:
    async with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def with_keys(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """This process's environment has the keys of the server, and no AWS setting beside them."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3


@pytest.fixture
def bucket(with_keys: S3Server) -> Store:
    return open_store(f"s3://{BUCKET}/{uuid.uuid4().hex}", endpoint=with_keys.endpoint)


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(str(tmp_path / "artifacts"))
    return request.getfixturevalue("bucket")
