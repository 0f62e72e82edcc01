"""The shop's inbox for webhooks: it takes what Callboard has signed, once, and tells what has come."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Request, Response
from standardwebhooks.webhooks import Webhook, WebhookVerificationError


@dataclass
class Letter:
    """The result of one Run."""

    delivered: dict[str, Any]
    times: int = 1
    """How often it has come: senders repeat what they are not sure of."""


def routes(secret_file: Path | None) -> APIRouter:
    """POST results to `/inbox`, GET what has become of one at `/inbox/{runId}`.

    Args:
        secret_file: Holds the secret that senders sign with. It is looked at when something comes, since a stack that
            starts meanwhile may have made it only now. Where CALLBOARD_WEBHOOK_SECRETS is set, the newest of those
            counts.
    """
    router = APIRouter(prefix="/inbox")
    letters: dict[str, Letter] = {}

    @router.post("", status_code=204)
    async def take(request: Request, webhook_id: Annotated[str, Header()]) -> Response:
        secret = _secret(secret_file)
        if not secret:
            raise HTTPException(503, "There is no secret here yet to verify with.")
        try:
            delivered = Webhook(secret).verify(await request.body(), dict(request.headers))
        except WebhookVerificationError as error:
            raise HTTPException(401, f"This is not signed as it must be: {error}") from error
        if webhook_id in letters:
            letters[webhook_id].times += 1
        else:
            letters[webhook_id] = Letter(delivered)
        return Response(status_code=204)

    @router.get("/{run_id}")
    async def look(run_id: str) -> Letter:
        if run_id not in letters:
            raise HTTPException(404, "That has not come.")
        return letters[run_id]

    return router


def _secret(file: Path | None) -> str:
    given = os.environ.get("CALLBOARD_WEBHOOK_SECRETS", "").split(",")[0].strip()
    if given:
        return given
    try:
        return "" if file is None else file.read_text().strip()
    except FileNotFoundError:
        return ""
