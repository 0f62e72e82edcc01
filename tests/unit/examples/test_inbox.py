"""The example site's inbox takes what is signed, and nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from callboard.dev.data_folder import new_webhook_secret
from callboard.security.signing import WebhookSigner
from examples.site.app import create_app

BODY = json.dumps({"apiInfo": {"runId": "run-1"}}).encode()


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("CALLBOARD_WEBHOOK_SECRETS", raising=False)
    secret = new_webhook_secret()
    (tmp_path / "secret").write_text(secret + "\n")
    return secret


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(webhook_secret=tmp_path / "secret"))
    async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
        yield client


async def post(client: httpx.AsyncClient, secret: str) -> int:
    headers = WebhookSigner([secret]).sign("run-1", datetime.now(UTC), BODY)
    return (await client.post("/inbox", content=BODY, headers=headers)).status_code


async def test_a_result_is_taken_once_however_often_it_comes(client: httpx.AsyncClient, secret: str) -> None:
    assert (await client.get("/inbox/run-1")).status_code == 404
    assert [await post(client, secret), await post(client, secret)] == [204, 204]
    assert (await client.get("/inbox/run-1")).json() == {"delivered": json.loads(BODY), "times": 2}


async def test_what_another_has_signed_is_refused(client: httpx.AsyncClient, secret: str) -> None:
    assert await post(client, new_webhook_secret()) == 401
    assert (await client.get("/inbox/run-1")).status_code == 404


async def test_the_secret_may_be_made_later_or_stand_in_the_environment(
    client: httpx.AsyncClient, secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").unlink()
    assert await post(client, secret) == 503, "it will be tried again"
    newest = new_webhook_secret()
    monkeypatch.setenv("CALLBOARD_WEBHOOK_SECRETS", f"{newest},{secret}")
    assert await post(client, newest) == 204
